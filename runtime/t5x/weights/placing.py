"""Leaves of a checkpoint into the shards of devices; each process reads its own parts only."""

import concurrent.futures
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from t5x.weights.leaves import Leaf

# Arrays that are read at the same time: what they hold in memory twice, at most.
_READERS = 8


def read(
    leaves: Mapping[str, Leaf],
    wanted: Mapping[str, jax.ShapeDtypeStruct],
    fresh: Mapping[str, jax.Array] | None = None,
) -> dict[str, jax.Array]:
    """Reads leaves.

    Args:
        leaves: by name, of the shapes that are wanted.
        wanted: by name, with the dtypes and shardings to read them with.
        fresh: arrays for names that are not among the leaves, and for what resized leaves lack.

    Raises:
        T5XError: a leaf is damaged; names it, and its file.
    """
    fresh = fresh or {}
    result = {
        name: array.astype(wanted[name].dtype)
        for name, array in fresh.items()
        if name not in leaves
    }
    with contextlib.ExitStack() as stack:
        readers = stack.enter_context(concurrent.futures.ThreadPoolExecutor(_READERS))
        stack.callback(readers.shutdown, cancel_futures=True)
        reading = {
            name: readers.submit(_placed, leaves[name], target, fresh.get(name))
            for name, target in wanted.items()
            if name not in result
        }
        return result | {name: array.result() for name, array in reading.items()}


def _placed(leaf: Leaf, target: jax.ShapeDtypeStruct, fresh: jax.Array | None) -> jax.Array:
    indices = target.sharding.addressable_devices_indices_map(target.shape).values()
    box = bounding_box([index for index in indices if index is not None], target.shape)
    # Read once, whatever the devices: an array may be compressed as a whole.
    is_whole = leaf.covered in (None, leaf.shape)
    found = leaf.read(box, target.dtype) if is_whole else _corner(leaf, box, target)
    filling = {str(s.index): s.data for s in fresh.addressable_shards} if fresh is not None else {}

    def piece(index: Any) -> np.ndarray:
        part = tuple(
            slice(*(bound - outer.start for bound in axis.indices(size)[:2]))
            for axis, outer, size in zip(index, box, target.shape, strict=True)
        )
        if is_whole:
            return found[part]
        result = np.asarray(filling[str(index)]).astype(target.dtype)  # A copy.
        known = found[part]
        result[tuple(slice(size) for size in known.shape)] = known
        return result

    return jax.make_array_from_callback(target.shape, target.sharding, piece)


def bounding_box(indices: Sequence[Any], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The smallest part of an array that has all of these in it."""
    bounds = [
        [axis.indices(size)[:2] for axis, size in zip(index, shape, strict=True)]
        for index in indices
    ]
    return tuple(
        slice(min(start for start, _ in axis), max(stop for _, stop in axis))
        for axis in zip(*bounds, strict=True)
    )


def _corner(leaf: Leaf, box: tuple[slice, ...], target: jax.ShapeDtypeStruct) -> np.ndarray:
    """What is on disk of a part of a resized leaf: less, or nothing, where the part goes beyond."""
    assert leaf.covered is not None
    stops = [min(axis.stop, limit) for axis, limit in zip(box, leaf.covered, strict=True)]
    corner = tuple(
        slice(axis.start, max(axis.start, stop)) for axis, stop in zip(box, stops, strict=True)
    )
    return leaf.read(corner, target.dtype)
