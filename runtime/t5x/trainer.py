"""One training step: gradients, optimizer and sharding. Pure JAX; knows no data, no files.

The state lives on the mesh of the partitioner for the whole run. Nothing here waits for the device
except `Trainer.train_step`, which lets the host run at most a few steps ahead of it.
"""

import collections
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax.core import meta
from jax.sharding import NamedSharding, PartitionSpec

from t5x.actions import EarlyStoppingAction as EarlyStoppingAction  # T5X has it here
from t5x.errors import T5XError
from t5x.partitioning import PjitPartitioner

Batch = Mapping[str, jax.Array]
Sums = dict[str, jax.Array]

# More would keep input batches alive on the device without making it any busier.
_MAX_STEPS_AHEAD = 3


class Model(Protocol):
    """What a trainer asks of a model; `t5x.models.EncoderDecoderModel` is one."""

    optimizer_def: Any

    def initial_variables(self, rng: jax.Array, input_shapes: Mapping[str, tuple]) -> Any:
        """Boxed variables `{"params": ...}`."""

    def loss_fn(
        self, params: Any, batch: Batch, dropout_rng: jax.Array | None
    ) -> tuple[jax.Array, Sums]:
        """Loss summed over target tokens, and the sums that metrics are made of."""


@flax.struct.dataclass
class TrainState:
    """Everything that one step changes: the step count, the parameters, the optimizer's memory.

    `step` is an int32 scalar and counts the steps already taken, those of an initial checkpoint
    included.
    """

    step: Any
    params: Any
    optimizer: Any


class Trainer:
    """Takes training and evaluation steps on a mesh.

    Args:
        model: what to train.
        partitioner: the mesh, and how parameters and batches lie on it.
        rng: the key of the run: one half initializes parameters, the other half, folded with the
            step, drives dropout. Step N therefore draws the same dropout whenever it is taken.
        input_shapes: shape `[batch, length]` of every feature of a global batch.
        learning_rate_fn: learning rate of a step, given the number of steps taken before it.
        num_microbatches: how many slices a batch is cut into; gradients are summed over them in
            float32, so that memory shrinks and the update stays the same. None means one.
        max_skipped_steps: how many steps in a row may have a loss or a gradient that is not finite.
            Such a step then changes nothing but the step count, and is counted as `skipped`. (0,
            the default, leaves them to whoever looks at the sums. T5X has no such argument.)

    Attributes:
        max_skipped_steps: see above.

    Raises:
        T5XError: the mesh or the microbatches don't divide the batch.
    """

    def __init__(
        self,
        model: Model,
        partitioner: PjitPartitioner,
        rng: jax.Array,
        input_shapes: Mapping[str, tuple[int, ...]],
        *,
        learning_rate_fn: Callable[[jax.Array], jax.Array],
        num_microbatches: int | None = None,
        max_skipped_steps: int = 0,
    ) -> None:
        self._model = model
        self._partitioner = partitioner
        self._learning_rate_fn = learning_rate_fn
        self._num_microbatches = num_microbatches or 1
        self.max_skipped_steps = max_skipped_steps
        self._init_rng, self._dropout_rng = jax.random.split(rng)
        self._input_shapes = dict(input_shapes)
        boxed = jax.eval_shape(
            lambda rng: model.initial_variables(rng, self._input_shapes), self._init_rng
        )["params"]
        self._optimizer: optax.GradientTransformation = model.optimizer_def.transformation(boxed)
        self._check_batch_size(next(iter(self._input_shapes.values()))[0])

        self._replicated = NamedSharding(partitioner.mesh, PartitionSpec())
        self.abstract_state = self._describe_state(boxed)
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.abstract_state)
        self._init = jax.jit(self._initialize, out_shardings=shardings)
        self._train = jax.jit(
            self._update, donate_argnums=0, out_shardings=(shardings, self._replicated)
        )
        self._eval = jax.jit(self._evaluate, out_shardings=self._replicated)
        self._in_flight: collections.deque[Sums] = collections.deque()

    def initial_state(self) -> TrainState:
        """A fresh state at step 0, already sharded: no device ever holds it whole."""
        with self._partitioner.scope():
            return self._init(self._init_rng)

    def initial_part(self, choose: Callable[[TrainState], Any]) -> Any:
        """What a function chooses of a fresh state, sharded; the rest of it is never there."""
        shardings = jax.tree.map(lambda leaf: leaf.sharding, choose(self.abstract_state))
        part = jax.jit(lambda rng: choose(self._initialize(rng)), out_shardings=shardings)
        with self._partitioner.scope():
            return part(self._init_rng)

    def with_fresh_optimizer(self, state: TrainState) -> TrainState:
        """The state with an optimizer that remembers nothing yet, at the step of the state."""
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.abstract_state.optimizer)

        def init(params: Any, step: jax.Array) -> Any:
            return _at_step(step, self._optimizer.init(params))

        fresh = jax.jit(init, out_shardings=shardings)(state.params, state.step)
        return TrainState(state.step, state.params, fresh)

    def train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, Sums]:
        """One update; `state` is consumed.

        Returns:
            The next state and, as float32 scalars that may still be computing, the model's sums
            plus `tokens` (input and target tokens that are not padding), `learning_rate` and
            `gradient_norm`.
        """
        with self._partitioner.scope():
            state, sums = self._train(state, batch)
        self._in_flight.append(sums)
        if len(self._in_flight) > _MAX_STEPS_AHEAD:
            jax.block_until_ready(self._in_flight.popleft())
        return state, sums

    def trace_step(self, batch: Mapping[str, Any]) -> jax.stages.Traced:
        """The program of `train_step` for a batch of `jax.ShapeDtypeStruct`, to be compiled."""
        with self._partitioner.scope():
            return self._train.trace(self.abstract_state, batch)

    def eval_step(self, params: Any, batch: Batch) -> Sums:
        """The model's sums on a batch, with teacher forcing and without dropout."""
        with self._partitioner.scope():
            return self._eval(params, batch)

    def _check_batch_size(self, batch_size: int) -> None:
        self._partitioner.check_batch_size(batch_size)
        count, shards = self._num_microbatches, self._partitioner.num_data_shards
        if batch_size % count or batch_size // count % shards:
            divisors = [str(n) for n in range(1, batch_size + 1) if batch_size // shards % n == 0]
            raise T5XError(
                f"a batch of {batch_size} can't be cut into {count} slices that each give "
                f"{shards} data shards equally much",
                where="Trainer.num_microbatches",
                remedy=f"Use one of {', '.join(divisors)}, or another batch size.",
            )

    def _initialize(self, rng: jax.Array) -> TrainState:
        params = meta.unbox(self._model.initial_variables(rng, self._input_shapes)["params"])
        return TrainState(
            step=jnp.zeros((), jnp.int32), params=params, optimizer=self._optimizer.init(params)
        )

    def _describe_state(self, boxed: Any) -> TrainState:
        """Shape, dtype and sharding of every leaf, without computing any."""
        state = jax.eval_shape(self._initialize, self._init_rng)
        place = self._partitioner.state_sharding
        slots = jax.eval_shape(self._optimizer.init, boxed)
        return TrainState(
            step=_described(state.step, self._replicated),
            params=jax.tree.map(_described, state.params, place(boxed)),
            optimizer=jax.tree.map(_described, state.optimizer, place(slots)),
        )

    def _update(self, state: TrainState, batch: Batch) -> tuple[TrainState, Sums]:
        gradients, sums = self._gradients(
            state.params, batch, jax.random.fold_in(self._dropout_rng, state.step)
        )
        learning_rate = self._learning_rate_fn(state.step)
        direction, optimizer = self._optimizer.update(gradients, state.optimizer, state.params)
        params = jax.tree.map(
            lambda p, d: (p - learning_rate * d).astype(p.dtype), state.params, direction
        )
        sums |= {
            "tokens": _count_tokens(batch),
            "learning_rate": jnp.asarray(learning_rate, jnp.float32),
            "gradient_norm": optax.tree.norm(gradients),
        }
        updated = TrainState(step=state.step + 1, params=params, optimizer=optimizer)
        if self.max_skipped_steps:
            return _unless_not_finite(state, updated, sums)
        return updated, sums

    def _gradients(self, params: Any, batch: Batch, rng: jax.Array) -> tuple[Any, Sums]:
        grad_fn = jax.grad(self._model.loss_fn, has_aux=True)
        if self._num_microbatches == 1:
            return grad_fn(params, batch, rng)

        def add_slice(total: Any, numbered_slice: tuple[jax.Array, Batch]) -> tuple[Any, None]:
            index, part = numbered_slice
            found = grad_fn(params, part, jax.random.fold_in(rng, index))
            return jax.tree.map(jnp.add, total, found), None

        slices = {name: self._slice(feature) for name, feature in batch.items()}
        first = jax.tree.map(lambda x: x[0], slices)
        shapes = jax.eval_shape(grad_fn, params, first, rng)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), shapes)
        total, _ = jax.lax.scan(add_slice, zeros, (jnp.arange(self._num_microbatches), slices))
        return total

    def _slice(self, feature: jax.Array) -> jax.Array:
        """`[batch, ...]` to `[slices, batch / slices, ...]`, every device keeping its own rows."""
        count = self._num_microbatches
        strided = feature.reshape(feature.shape[0] // count, count, *feature.shape[1:])
        spec = PartitionSpec(None, *self._partitioner.batch_sharding.spec)
        return jax.lax.with_sharding_constraint(
            strided.swapaxes(0, 1), NamedSharding(self._partitioner.mesh, spec)
        )

    def _evaluate(self, params: Any, batch: Batch) -> Sums:
        return self._model.loss_fn(params, batch, None)[1]


def abstract_inference_state(model: Model, partitioner: PjitPartitioner) -> TrainState:
    """Shape, dtype and sharding of step and parameters, without an optimizer: what `eval` reads."""
    # No parameter's shape depends on the lengths of the inputs.
    shapes = {"encoder_input_tokens": (1, 1), "decoder_input_tokens": (1, 1)}
    boxed = jax.eval_shape(lambda rng: model.initial_variables(rng, shapes), jax.random.key(0))
    shardings = partitioner.state_sharding(boxed["params"])
    step = jax.ShapeDtypeStruct((), jnp.int32)
    return TrainState(
        step=_described(step, NamedSharding(partitioner.mesh, PartitionSpec())),
        params=jax.tree.map(_described, meta.unbox(boxed["params"]), shardings),
        optimizer=None,
    )


def _unless_not_finite(
    state: TrainState, updated: TrainState, sums: Sums
) -> tuple[TrainState, Sums]:
    """The update, or the old state one step on, and sums that leave the step out of all means."""
    finite = jnp.isfinite(sums["loss"]) & jnp.isfinite(sums["gradient_norm"])
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), updated, state)
    counted = {name: jnp.where(finite, x, jnp.zeros_like(x)) for name, x in sums.items()}
    counted |= {name: sums[name] for name in ("tokens", "learning_rate")}
    counted["skipped"] = 1.0 - finite.astype(jnp.float32)
    return kept.replace(step=updated.step), counted


def _at_step(step: jax.Array, optimizer: Any) -> Any:
    """The optimizer's state with Adafactor's schedule at a step, as T5X has it.

    It goes by the steps of the whole run, those of an initial checkpoint included, and so does
    `Adafactor.step_offset`.
    """

    def counting(part: Any) -> Any:
        return part._replace(count=jnp.full_like(part.count, step)) if _is_adafactor(part) else part

    return jax.tree.map(counting, optimizer, is_leaf=_is_adafactor)


def _is_adafactor(part: Any) -> bool:
    return isinstance(part, optax.FactoredState)


def _described(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _count_tokens(batch: Batch) -> jax.Array:
    names = ("encoder_input_tokens", "decoder_target_tokens")
    counts = [jnp.count_nonzero(batch[name]) for name in names if name in batch]
    return jnp.asarray(sum(counts), jnp.float32)
