"""An array of a checkpoint that is still on disk, and arrays made of others of that kind.

Nothing is read before `Leaf.read`, and then only the part that is asked for.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

Part: TypeAlias = tuple[slice, ...]  # One slice for each axis, with start and stop, of step 1.


@dataclasses.dataclass(frozen=True)
class Leaf:
    """An array on disk.

    Attributes:
        shape: its shape.
        dtype: its dtype on disk.
        read_part: reads a part of it, as a dtype.
        where: the file or folder that holds it.
        covered: the corner of it that was on disk, where it is larger than that (see `resized`).
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read_part: Callable[[Part, np.dtype], np.ndarray] = dataclasses.field(repr=False)
    where: str = ""
    covered: tuple[int, ...] | None = None

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array in its own dtype."""
        return self.size * self.dtype.itemsize

    def read(self, index: Any = (), dtype: Any = None) -> np.ndarray:
        """Reads a part, given as a tuple of slices of step 1; or all of it."""
        index = (*index, *[slice(None)] * (len(self.shape) - len(index)))
        part = tuple(
            slice(*axis.indices(size)[:2]) for axis, size in zip(index, self.shape, strict=True)
        )
        if any(axis.start >= axis.stop for axis in part):
            return np.empty([max(0, axis.stop - axis.start) for axis in part], dtype or self.dtype)
        return self.read_part(part, np.dtype(dtype or self.dtype))


def constant(value: Any, where: str = "") -> Leaf:
    """An array that is in memory already."""
    array = np.asarray(value)
    return Leaf(array.shape, array.dtype, lambda part, dtype: array[part].astype(dtype), where)


def transposed(leaf: Leaf) -> Leaf:
    """A matrix the other way round."""

    def read(part: Part, dtype: np.dtype) -> np.ndarray:
        return leaf.read(part[::-1], dtype).T

    return Leaf(leaf.shape[::-1], leaf.dtype, read, leaf.where)


def reshaped(leaf: Leaf, shape: tuple[int, ...]) -> Leaf:
    """The same numbers in another shape; any part of it reads the whole."""

    def read(part: Part, dtype: np.dtype) -> np.ndarray:
        return leaf.read(dtype=dtype).reshape(shape)[part]

    return Leaf(shape, leaf.dtype, read, leaf.where)


def layer(leaf: Leaf, number: int, axis: int = 0) -> Leaf:
    """One layer of arrays that are stacked along an axis."""

    def read(part: Part, dtype: np.dtype) -> np.ndarray:
        whole = (*part[:axis], slice(number, number + 1), *part[axis:])
        return leaf.read(whole, dtype).squeeze(axis)

    shape = (*leaf.shape[:axis], *leaf.shape[axis + 1 :])
    return Leaf(shape, leaf.dtype, read, leaf.where)


def stacked(layers: Sequence[Leaf]) -> Leaf:
    """Arrays of one shape, stacked along a new first axis."""

    def read(part: Part, dtype: np.dtype) -> np.ndarray:
        chosen, rest = layers[part[0]], part[1:]
        shape = [axis.stop - axis.start for axis in part]
        result = np.empty(shape, dtype)
        for number, each in enumerate(chosen):
            result[number] = each.read(rest, dtype)
        return result

    return Leaf((len(layers), *layers[0].shape), layers[0].dtype, read, layers[0].where)


def resized(leaf: Leaf, shape: tuple[int, ...]) -> Leaf:
    """The array cut to a shape; where that is larger, what is beyond `covered` is not read."""
    covered = tuple(min(sizes) for sizes in zip(leaf.shape, shape, strict=True))
    return Leaf(shape, leaf.dtype, leaf.read_part, leaf.where, covered)
