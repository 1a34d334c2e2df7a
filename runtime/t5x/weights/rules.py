"""Rules by which a checkpoint fits another model: leaves renamed, left out, or resized.

`RestoreCheckpointConfig.assignment_map` and `state_transformation_fns` are T5X's names and mean the
same here. `leave_out` and `resize` make functions for the latter, and are this engine's own.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from flax import traverse_util

from t5x.errors import T5XError
from t5x.weights import leaves
from t5x.weights.leaves import Leaf

# From the trees (nested dicts) of the checkpoint and of the model to that of the checkpoint.
Transformation: TypeAlias = Callable[..., dict[str, Any]]
AssignmentMap: TypeAlias = Sequence[tuple[str, str | None]]


def apply(
    found: Mapping[str, Leaf], wanted: Mapping[str, Any], transformations: Sequence[Transformation]
) -> dict[str, Leaf]:
    """Sends a checkpoint's leaves through functions, one after the other.

    Args:
        found: the leaves by name.
        wanted: what the model expects by name, with `shape` and `dtype`.
        transformations: called with two trees and `is_resuming = False`, as T5X does.
    """
    model = traverse_util.unflatten_dict(dict(wanted), sep="/")
    for function in transformations:
        tree = traverse_util.unflatten_dict(dict(found), sep="/")
        takes = inspect.signature(function).parameters
        resuming = {"is_resuming": False} if "is_resuming" in takes else {}
        tree = function(tree, model, **resuming)
        found = traverse_util.flatten_dict(tree, sep="/")
    return dict(found)


def assign(assignment_map: AssignmentMap) -> Transformation:
    r"""What `assignment_map` stands for, a function that renames leaves.

    Each rule is a regular expression that must match the whole name of a leaf of the model, and the
    name of a leaf of the checkpoint, with groups as `\1`. The first that matches counts. With None
    in the place of the latter the leaf is not taken, and neither is one of that name in the
    checkpoint. A leaf that no rule matches is taken under its own name.
    """

    def transform(checkpoint: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
        found = traverse_util.flatten_dict(checkpoint, sep="/")
        taken: dict[str, Any] = {}
        dropped: set[str] = set()
        moved: set[str] = set()
        idle = dict.fromkeys(pattern for pattern, _ in assignment_map)
        names = traverse_util.flatten_dict(model, sep="/").keys()
        for name in names:
            for pattern, replacement in assignment_map:
                match = re.fullmatch(pattern, name)
                if not match:
                    continue
                idle.pop(pattern, None)
                if replacement is None:
                    dropped.add(name)
                else:
                    old = match.expand(replacement)
                    if old not in found:
                        raise _wrong(f"{name} shall be {old}, which is not in the checkpoint")
                    taken[name] = found[old]
                    moved.add(old)
                break
        if idle:
            raise _wrong(f"no parameter of the model matches {', '.join(map(repr, idle))}")
        gone = (moved - names) | dropped
        rest = {name: leaf for name, leaf in found.items() if name not in gone}
        return traverse_util.unflatten_dict(rest | taken, sep="/")

    return transform


def leave_out(pattern: str) -> Transformation:
    r"""Leaves of the checkpoint that have no place in the model are not read.

    For a model with fewer layers, say: `target/decoder/layers_(6|7)/.*`.

    Args:
        pattern: a regular expression that must match the whole name.
    """

    def transform(checkpoint: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
        found = traverse_util.flatten_dict(checkpoint, sep="/")
        kept = {name: leaf for name, leaf in found.items() if not re.fullmatch(pattern, name)}
        if len(kept) == len(found):
            raise _wrong(f"no leaf of the checkpoint matches {pattern!r}", "leave_out.pattern")
        return traverse_util.unflatten_dict(kept, sep="/")

    return transform


def resize(
    pattern: str = "target/(token_embedder/embedding|decoder/logits_dense/kernel)",
) -> Transformation:
    """Arrays take the model's size: rows beyond it are cut, and new ones initialized.

    New rows need `RestoreCheckpointConfig.fallback_to_scratch = True`.

    Args:
        pattern: a regular expression that must match the whole name; the default are the matrices
            that have a row or a column for each token of the vocabulary.
    """

    def transform(checkpoint: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
        found = traverse_util.flatten_dict(checkpoint, sep="/")
        wanted = traverse_util.flatten_dict(model, sep="/")
        matching = [name for name in found if re.fullmatch(pattern, name) and name in wanted]
        if not matching:
            raise _wrong(f"no leaf that both have matches {pattern!r}", "resize.pattern")
        for name in matching:
            leaf, shape = found[name], tuple(wanted[name].shape)
            if leaf.shape != shape and len(leaf.shape) == len(shape):
                found[name] = leaves.resized(leaf, shape)
        return traverse_util.unflatten_dict(found, sep="/")

    return transform


def _wrong(what: str, where: str = "assignment_map") -> T5XError:
    return T5XError(
        what,
        where=f"RestoreCheckpointConfig: {where}",
        remedy="python tools/convert_checkpoint.py inspect PATH lists the names in a checkpoint.",
    )
