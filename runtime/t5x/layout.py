"""What the leaves of a training state are called on disk: as in T5X's own checkpoints.

    target/<parameter>                        such as target/encoder/encoder_norm/scale
    state/step
    state/param_states/<parameter>/<slot>     what the optimizer remembers of it: v_row, v_col, v
    state/<name>                              what else it remembers: count

T5X's Adafactor has a fourth slot, `m`, which is a placeholder where there is no momentum, and no
count but the step: see `momentum_slots` and `counts`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax.tree_util import SequenceKey, keystr

from t5x.trainer import TrainState

# What T5X's Adafactor writes for a moment that it doesn't keep.
PLACEHOLDER = np.zeros((1,), np.float32)

STEP_ZERO = np.int32(0)


def flatten(state: TrainState) -> dict[str, Any]:
    """The leaves of a state by name."""
    return dict(zip(_names(state), jax.tree.leaves(state), strict=True))


def unflatten(leaves: Mapping[str, Any], like: TrainState) -> TrainState:
    """The state of the same structure as `like` whose leaves have these names."""
    return jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in _names(like)])


def momentum_slots(names: Iterable[str]) -> set[str]:
    """The slots `m` that T5X expects beside Adafactor's other slots."""
    return {f"{name.removesuffix('/v_row')}/m" for name in names if name.endswith("/v_row")}


def counts(names: Iterable[str]) -> set[str]:
    """Those among the leaves for which the step stands in where T5X wrote the checkpoint."""
    return {name for name in names if name.startswith("state/") and name.endswith("/count")}


def _names(state: TrainState) -> list[str]:
    parameters = {_joined(path) for path, _ in jax.tree_util.tree_leaves_with_path(state.params)}
    named = [_name(path, parameters) for path, _ in jax.tree_util.tree_leaves_with_path(state)]
    assert len(set(named)) == len(named), "two leaves of the optimizer have one name"
    return named


def _name(path: tuple, parameters: set[str]) -> str:
    part, rest = _joined(path[:1]), path[1:]
    if part == "step":
        return "state/step"
    if part == "params":
        return f"target/{_joined(rest)}"
    # The place in a chain of optimizers is no name: it changes with their settings.
    keys = [key for key in rest if not isinstance(key, SequenceKey)]
    for start in range(1, len(keys)):
        if _joined(keys[start:]) in parameters:
            return f"state/param_states/{_joined(keys[start:])}/{_joined(keys[start - 1 : start])}"
    return f"state/{_joined(keys)}"


def _joined(path: Iterable[Any]) -> str:
    return keystr(tuple(path), simple=True, separator="/")
