"""A stack of equal layers: one after the other, or one loop over stacked parameters.

Either way a layer may be rematerialized: the backward pass computes it again, in place of keeping
what it needs of it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import linen as nn

from t5x.examples.t5.layers import PROJECTED

# The axis of a stacked cache is the second, because decoding reorders rows along the first.
_STACKED_AXES: Mapping[Any, int] = {"params": 0, "memory": 0, "cache": 1}

REMAT_POLICIES: dict[str | None, Callable[..., Any] | None] = {
    None: None,
    "none": None,
    "minimal": jax.checkpoint_policies.save_only_these_names(PROJECTED),
    "full": jax.checkpoint_policies.nothing_saveable,
}

Step = Callable[[Any, jax.Array], jax.Array]


def make(layer_cls: Callable[..., nn.Module], config: Any, count: int) -> Any:
    """Returns the layers of a stack: a list of `count`, or the one that `run` repeats."""
    if config.scan_layers:
        return layer_cls(config)
    return [layer_cls(config) for _ in range(count)]


def run(step: Step, layers: Any, x: jax.Array, config: Any, count: int) -> jax.Array:
    """Sends `x` through a stack.

    Args:
        step: Sends it through one layer; the shape and the dtype stay the same.
        layers: What `make` returned; a stack's parameters get a first axis "layers".
        x: The input of the first layer.
        config: A `T5Config`, for `scan_layers` and `remat_policy`.
        count: The number of layers.

    Returns:
        The output of the last layer.
    """
    policy = REMAT_POLICIES[config.remat_policy]
    if policy is not None:
        # Within a loop, nothing could be merged with the first computation anyway.
        step = nn.remat(step, policy=policy, prevent_cse=not config.scan_layers)
    if not config.scan_layers:
        for layer in layers:
            x = step(layer, x)
        return x
    loop = nn.scan(
        lambda layer, x, _: (step(layer, x), None),
        variable_axes=_STACKED_AXES,
        split_rngs={"params": True, "dropout": True},
        length=count,
        metadata_params={nn.PARTITION_NAME: "layers"},
    )
    return loop(layers, x, None)[0]
