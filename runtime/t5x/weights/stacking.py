"""The layers of a stack: side by side, or stacked in one array.

    side by side  encoder/layers_0/mlp/wo/kernel …   `scan_layers = False`
    stacked       encoder/layers/mlp/wo/kernel       `scan_layers = True`: along the first axis
    T5X's         encoder/encoder/mlp/wo/kernel      `t5x/examples/scalable_t5`: along the second;
                  kernels of attention have heads apart, and position biases are each layer's own

All are read as if they lay as the model wants them.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from t5x import layout
from t5x.errors import T5XError
from t5x.weights import leaves
from t5x.weights.leaves import Leaf

_STACKED = re.compile(r"(.*?)(encoder|decoder)/layers/(.*)")
_SINGLE = re.compile(r"(.*?)(encoder|decoder)/layers_(\d+)/(.*)")
_SCALABLE = re.compile(r"target/(encoder|decoder)/\1/(.*)")
_SCALABLE_SLOT = re.compile(r"state/param_states/(encoder|decoder)/\1/.*")
_BIASES = "relpos_bias/rel_embedding"


def is_stacked(names: Iterable[str]) -> bool:
    """Whether layers of these names are stacked."""
    return any(_STACKED.fullmatch(name) for name in names)


def arrange(found: Mapping[str, Leaf], *, stacked: bool) -> dict[str, Leaf]:
    """The same leaves with the layers stacked, or side by side.

    Raises:
        T5XError: layers have position biases of their own, or differ in shape.
    """
    side_by_side = _unstacked(_without_scalable(found))
    return _stacked(side_by_side) if stacked else side_by_side


def _unstacked(found: Mapping[str, Leaf]) -> dict[str, Leaf]:
    counts = {
        match[2]: leaf.shape[0]
        for name, leaf in found.items()
        if name.startswith("target/") and (match := _STACKED.fullmatch(name))
    }
    result = {}
    for name, leaf in found.items():
        match = _STACKED.fullmatch(name)
        if not match or match[2] not in counts:
            result[name] = leaf
            continue
        prefix, stack, rest = match.groups()
        for number in range(counts[stack]):
            # What stands for a moment that isn't kept stands for that of each layer.
            is_placeholder = rest.endswith("/m") and leaf.shape == layout.PLACEHOLDER.shape
            one = leaf if is_placeholder else leaves.layer(leaf, number)
            result[f"{prefix}{stack}/layers_{number}/{rest}"] = one
    return result


def _stacked(found: Mapping[str, Leaf]) -> dict[str, Leaf]:
    result = {}
    stacks: dict[str, dict[int, Leaf]] = defaultdict(dict)
    for name, leaf in found.items():
        match = _SINGLE.fullmatch(name)
        if match:
            prefix, stack, number, rest = match.groups()
            stacks[f"{prefix}{stack}/layers/{rest}"][int(number)] = leaf
        else:
            result[name] = leaf
    for name, by_number in stacks.items():
        layers = [by_number[number] for number in sorted(by_number)]
        missing = sorted({*range(max(by_number) + 1)} - {*by_number})
        if missing or len({layer.shape for layer in layers}) > 1:
            what = f"lacks layer {missing[0]}" if missing else "has layers of several shapes"
            raise T5XError(
                f"{name} {what}, so that they can't be stacked",
                where=layers[0].where,
                remedy="Read it with network.T5Config.scan_layers = False.",
            )
        is_placeholder = name.endswith("/m") and layers[0].shape == layout.PLACEHOLDER.shape
        result[name] = layers[0] if is_placeholder else leaves.stacked(layers)
    return result


def _without_scalable(found: Mapping[str, Leaf]) -> dict[str, Leaf]:
    """Side by side what T5X's scalable_t5 wrote; its optimizer's slots for layers are left out."""
    result = {}
    for name, leaf in found.items():
        match = _SCALABLE.fullmatch(name)
        if not match:
            if not _SCALABLE_SLOT.fullmatch(name):
                result[name] = leaf
            continue
        stack, rest = match.groups()
        if rest == _BIASES:
            result[f"target/{stack}/{_BIASES}"] = _common_bias(name, leaf)
            continue
        for number in range(leaf.shape[1]):
            one = _joined(leaves.layer(leaf, number, axis=1), rest)
            result[f"target/{stack}/layers_{number}/{rest}"] = one
    return result


def _joined(leaf: Leaf, name: str) -> Leaf:
    """A kernel of attention with its heads joined: those of the output are its first axes."""
    if len(leaf.shape) != 3:
        return leaf
    first, second, third = leaf.shape
    is_output = name.endswith("/out/kernel")
    return leaves.reshaped(leaf, (first * second, third) if is_output else (first, second * third))


def _common_bias(name: str, leaf: Leaf) -> Leaf:
    array = leaf.read()
    if not np.all(array == array[:, :1]):
        raise T5XError(
            f"{name}: each layer has position biases of its own, and in this model all share one",
            where=leaf.where,
            remedy="Such a checkpoint of t5x/examples/scalable_t5 fits Google's T5X only.",
        )
    return leaves.layer(leaf, 0, axis=1)
