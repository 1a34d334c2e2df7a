"""Adafactor (Shazeer and Stern, https://arxiv.org/abs/1804.04235) with T5X's names and defaults."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import optax
from flax import linen as nn

from t5x.errors import T5XError

_FACTORINGS = ("row", "column", "batch", "none")
_ALONE = "alone"


def standard_logical_factor_rules() -> dict[str, str]:
    """Returns T5X's table of how each logical axis takes part in factoring.

    Of it, only "batch" has an effect here: see `Adafactor`. The rest serves T5X's gin files, which
    bind it.
    """
    columns = ("vocab", "mlp", "heads", "kv", "joined_kv")
    return {
        "embed": "row",
        **dict.fromkeys(columns, "column"),
        "relpos_buckets": "none",
        "layers": "batch",
    }


@dataclasses.dataclass(frozen=True)
class Adafactor:
    """The settings of Adafactor; `transformation` makes the optimizer.

    The second moment of a matrix is factored if both its dimensions are at least
    `min_dim_size_to_factor`: one running mean per row and one per column are kept in place of one
    per entry. That is optax's rule, and T5X's for every parameter of at most two dimensions,
    whatever `logical_factor_rules` say. In T5 it factors `[vocab, embed]`, `[embed, joined_kv]`
    and `[embed, mlp]`, and never relative position biases (32 buckets) or norm scales.

    A parameter whose first axis the rules call "batch" is a stack of parameters ("layers" of a
    scanned model), and each of them is treated as if it were alone.

    Args:
        learning_rate: Must stay None: the trainer multiplies by its own schedule
            (`Trainer.learning_rate_fn`). T5X has this argument and overrides it.
        factored: Whether to factor at all.
        multiply_by_parameter_scale: Whether a step is relative to the parameter's root mean
            square, so that a learning rate of 0.001 changes it by about 0.1 %.
        decay_rate: Exponent of the second-moment schedule: at step t (from 0), the running mean
            keeps 1 - (t - step_offset + 1) ** -decay_rate of its past.
        step_offset: The step at which that schedule starts over, for fine-tuning.
        clipping_threshold: Greatest root mean square of an update before scaling; None is no
            limit.
        min_dim_size_to_factor: See above.
        epsilon1: Added to squared gradients.
        epsilon2: Smallest root mean square that a parameter is taken to have.
        logical_factor_rules: {logical axis: "row" | "column" | "batch" | "none"}, all checked; what
            "batch" does is said above, and the others, as in T5X, have no effect on parameters of
            at most two dimensions.
        global_norm_clip_threshold: Greatest norm of the gradient of all parameters together,
            which is clipped to it first; None is no limit.

    Raises:
        T5XError: `learning_rate` is set, or a factoring rule is unknown.
    """

    learning_rate: None = None
    factored: bool = True
    multiply_by_parameter_scale: bool = True
    decay_rate: float = 0.8
    step_offset: int = 0
    clipping_threshold: float | None = 1.0
    min_dim_size_to_factor: int = 128
    epsilon1: float = 1e-30
    epsilon2: float = 1e-3
    logical_factor_rules: Mapping[str, str] | None = None
    global_norm_clip_threshold: float | None = None

    def __post_init__(self) -> None:
        if self.learning_rate is not None:
            raise T5XError(
                f"learning_rate is {self.learning_rate!r}, but the trainer sets it",
                where="adafactor.Adafactor",
                remedy="Bind Trainer.learning_rate_fn instead.",
            )
        for axis, factoring in (self.logical_factor_rules or {}).items():
            if factoring not in _FACTORINGS:
                raise T5XError(
                    f'the rule for "{axis}" is {factoring!r}',
                    where="adafactor.Adafactor.logical_factor_rules",
                    remedy=f"Use one of {', '.join(_FACTORINGS)}.",
                )

    def transformation(self, params: Any = None) -> optax.GradientTransformation:
        """Returns the optimizer, whose updates still lack the learning rate and the sign.

        A step is `params - learning_rate * updates`, with updates from
        `transformation.update(gradients, state, params)`. The state's arrays have the dtypes of
        the parameters.

        Args:
            params: Shapes of the parameters, boxed with the names of their axes, which tell what
                is a stack. None, or no box, is for models that have no stacks.

        Raises:
            T5XError: From its `init`, for a parameter of more than two dimensions.
        """
        labels = jax.tree.map(self._label, params, is_leaf=_is_box)
        sizes = set(jax.tree.leaves(labels)) - {_ALONE}
        optimizer = self._of_matrices()
        if sizes:
            stacks = {size: _of_each_in_a_stack(optimizer) for size in sizes}
            optimizer = optax.partition({_ALONE: optimizer, **stacks}, labels)
        if self.global_norm_clip_threshold is None:
            return optimizer
        return optax.chain(optax.clip_by_global_norm(self.global_norm_clip_threshold), optimizer)

    def _of_matrices(self) -> optax.GradientTransformation:
        parts = [
            _at_most_two_dimensions(),
            optax.scale_by_factored_rms(
                factored=self.factored,
                decay_rate=self.decay_rate,
                step_offset=self.step_offset,
                min_dim_size_to_factor=self.min_dim_size_to_factor,
                epsilon=self.epsilon1,
            ),
        ]
        if self.clipping_threshold is not None:
            parts.append(optax.clip_by_block_rms(self.clipping_threshold))
        if self.multiply_by_parameter_scale:
            parts.append(optax.scale_by_param_block_rms(min_scale=self.epsilon2))
        return optax.chain(*parts)

    def _label(self, leaf: Any) -> str:
        """Sorts parameters: stacks of one size are updated together."""
        if not _is_box(leaf) or (self.logical_factor_rules or {}).get(leaf.names[0]) != "batch":
            return _ALONE
        return f"stacks_of_{leaf.value.shape[0]}"


def _is_box(leaf: Any) -> bool:
    return isinstance(leaf, nn.LogicallyPartitioned)


def _of_each_in_a_stack(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Applies `inner` to each entry of the first axis of all arrays, its state's included."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.vmap(inner.update)(updates, state, params)

    return optax.GradientTransformation(jax.vmap(inner.init), update)


def _at_most_two_dimensions() -> optax.GradientTransformation:
    """Passes updates through; its `init` refuses parameters that need explicit factoring."""

    def init(params: Any) -> optax.EmptyState:
        for path, leaf in jax.tree_util.tree_leaves_with_path(params):
            if len(leaf.shape) > 2:
                raise T5XError(
                    f"its shape {tuple(leaf.shape)} has more than two dimensions",
                    where=f"parameter {jax.tree_util.keystr(path, simple=True, separator='/')}",
                    remedy="Store it as a matrix. The stacked layers of a scanned model need "
                    "logical_factor_rules = @adafactor.standard_logical_factor_rules().",
                )
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        return updates, state

    return optax.GradientTransformation(init, update)
