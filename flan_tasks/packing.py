"""Packing: several short examples in one row, kept apart by segment ids.

The examples of a window of a stream are packed together, each where it fits best, which leaves far
less padding than packing them in the order they come in. A window's rows depend on nothing but its
own examples and a key, so a packed stream can be resumed at any row. The larger the window, the
denser the rows, with little left to gain beyond a thousand examples.
"""

import bisect
import dataclasses
import struct
from collections.abc import Mapping, Sequence

import numpy as np

from flan_tasks import draws
from flan_tasks.errors import FlanError

# What the encoder reads and what the decoder writes: an example needs room on both sides of a row.
SIDES = ("inputs", "targets")
# Features that only packed rows have, on each side.
SEGMENT_SUFFIXES = ("_segment_ids", "_positions")
ROW_FEATURES = tuple(side + suffix for side in SIDES for suffix in ("", *SEGMENT_SUFFIXES))
# Where best fit fills less than this part of the scarcer side, another way is tried too.
_DENSE_ENOUGH = 0.97
# Steps in which the sides' weights are counted: sums of products stay below 2**63.
_WEIGHTS = 1024
# What the draws below are for: part of their keys.
_TIES, _ORDER_OF_ROWS = range(2)


class PackingError(FlanError):
    """Examples that fit no row, or packed rows that are not what was asked for."""


@dataclasses.dataclass(frozen=True)
class PackedRows:
    """A window of examples as rows, in a drawn order.

    Attributes:
      columns: for `inputs` and `targets` each, int32 [rows, length]: the tokens under the side's
        own name; `_segment_ids`: 1, 2, … for the examples of a row in the order they stand in;
        `_positions`: 0, 1, … within each example. All are 0 in the padding at the end of a row.
      examples: the indices of each row's examples in the window, in the order they stand in.
    """

    columns: dict[str, np.ndarray]
    examples: list[list[int]]

    def __len__(self) -> int:
        return len(self.examples)


def pack(
    inputs: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    lengths: Mapping[str, int],
    key: int,
) -> PackedRows:
    """Packs the examples of a window, each into exactly one row.

    Args:
      inputs: token ids that the encoder reads, of each example.
      targets: token ids that the decoder writes, of each example.
      lengths: tokens in a row, e.g. {"inputs": 2048, "targets": 512}.
      key: what the order of rows, and of examples of one size, is drawn from; see `draws`.

    Raises:
      PackingError: an example is longer than a row.
    """
    tokens = dict(zip(SIDES, (inputs, targets), strict=True))
    sizes = {side: np.fromiter(map(len, tokens[side]), np.int64) for side in SIDES}
    rows = arrange(sizes, lengths, key)
    columns: dict[str, np.ndarray] = {}
    for side in SIDES:
        columns |= _fill(side, tokens[side], rows, lengths[side])
    return PackedRows(columns, rows)


def arrange(
    sizes: Mapping[str, np.ndarray], lengths: Mapping[str, int], key: int
) -> list[list[int]]:
    """The examples of each row that `pack` makes, by their indices in the window.

    Args:
      sizes: for `inputs` and `targets` each, the tokens of each example: int64 [examples].
      lengths: as for `pack`.
      key: as for `pack`.

    Raises:
      PackingError: an example is longer than a row.
    """
    for side in SIDES:
        _check_fits(sizes[side], lengths[side], side)
    placed = _place(sizes, lengths, key)
    drawn_order = np.argsort(draws.hash64(key, _ORDER_OF_ROWS, np.arange(len(placed))))
    return [placed[row] for row in drawn_order]


def density(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The part of packed rows that is not padding, of `inputs` and of `targets`.

    `columns` holds both sides' `_segment_ids` [rows, length], of one row at least.
    """
    return {side: float((columns[f"{side}_segment_ids"] > 0).mean()) for side in SIDES}


def _check_fits(sizes: np.ndarray, length: int, side: str) -> None:
    if sizes.max(initial=0) > length:
        example = int(sizes.argmax())
        raise PackingError(
            f"{sizes[example]} tokens of {side} do not fit a row of {length}",
            where=f"example {example} of a window to pack",
            remedy="Leave out what is too long before packing, or make rows longer.",
        )


def _place(
    sizes: Mapping[str, np.ndarray], lengths: Mapping[str, int], key: int
) -> list[list[int]]:
    """The examples of each row, in the order in which they were placed."""
    # Parts of a row that examples take up, as integers: over the product of both lengths.
    parts = {side: sizes[side] * lengths[other] for side, other in (SIDES, SIDES[::-1])}
    ties = draws.hash64(key, _TIES, np.arange(len(sizes["inputs"])))
    largest_first = np.lexsort((ties, -np.maximum(parts["inputs"], parts["targets"])))
    scarce, other = sorted(SIDES, key=lambda side: -parts[side].sum())
    rows = _best_fit(
        largest_first.tolist(),
        sizes[scarce].tolist(),
        sizes[other].tolist(),
        lengths[scarce],
        lengths[other],
    )
    if sizes[scarce].sum() >= _DENSE_ENOUGH * len(rows) * lengths[scarce]:
        return rows
    whole = lengths["inputs"] * lengths["targets"]
    others = _row_by_row(largest_first, parts["inputs"], parts["targets"], whole)
    return min(rows, others, key=len)


def _best_fit(
    order: Sequence[int],
    sizes: Sequence[int],
    other_sizes: Sequence[int],
    room: int,
    other_room: int,
) -> list[list[int]]:
    """Puts each example, in `order`, into the row that it leaves the least room in.

    That is the room of one side, of which a row has `room`; among the rows with enough of it, the
    fullest is taken that has enough of the other side too.
    """
    rows: list[list[int]] = []
    other_left: list[int] = []
    # Rows to search, the fullest first: a row is the number `room left * scale + index of the row`.
    open_rows: list[int] = []
    scale = len(order)
    smallest, other_smallest = min(sizes, default=0) * scale, min(other_sizes, default=0)
    for example in order:
        size, other_size = sizes[example] * scale, other_sizes[example]
        for place in range(bisect.bisect_left(open_rows, size), len(open_rows)):
            row = open_rows[place] % scale
            if other_left[row] >= other_size:
                left = open_rows.pop(place) - size
                break
        else:
            row = len(rows)
            left = room * scale + row - size
            rows.append([])
            other_left.append(other_room)
        rows[row].append(example)
        other_left[row] -= other_size
        # What not even the smallest example fits is searched no more.
        if left >= smallest and other_left[row] >= other_smallest:
            bisect.insort(open_rows, left)
    return rows


def _row_by_row(
    order: np.ndarray, inputs: np.ndarray, targets: np.ndarray, whole: int
) -> list[list[int]]:
    """Fills one row after the other with the examples most alike to the room that it has left.

    Where examples compete for both sides this wastes less than best fit, and takes longer: the
    likeness is the inner product of an example's parts with the room, weighted by how much is asked
    of each side in all (Panigrahy et al., "Heuristics for vector bin packing", 2011).

    Args:
      order: the examples, largest first, int64 [examples].
      inputs: part of a row that each example takes up on this side, int64 [examples].
      targets: likewise.
      whole: the part that a whole row is.
    """
    asked = int(inputs.sum() + targets.sum())
    weight = _WEIGHTS * int(inputs.sum()) // max(asked, 1)
    left, inputs, targets = order, inputs[order], targets[order]
    rows = []
    while len(left):
        row: list[int] = []
        room, other_room = whole, whole
        while True:
            fitting = np.flatnonzero((inputs <= room) & (targets <= other_room))
            if not len(fitting):
                break
            alike = inputs[fitting] * (room // _WEIGHTS * weight)
            alike += targets[fitting] * (other_room // _WEIGHTS * (_WEIGHTS - weight))
            best = int(fitting[alike.argmax()])
            row.append(int(left[best]))
            room, other_room = room - int(inputs[best]), other_room - int(targets[best])
            inputs[best] = whole + 1  # fits no more
        rows.append(row)
        kept = inputs <= whole
        left, inputs, targets = left[kept], inputs[kept], targets[kept]
    return rows


def _fill(
    side: str, tokens: Sequence[Sequence[int]], rows: Sequence[Sequence[int]], length: int
) -> dict[str, np.ndarray]:
    """The three columns of one side, int32 [rows, length]."""
    columns = np.zeros((3, len(rows), length), np.int32)
    counting = np.arange(length, dtype=np.int32)
    for token_ids, segment_ids, positions, examples in zip(*columns, rows, strict=True):
        end = 0
        for segment, example in enumerate(examples, start=1):
            piece = tokens[example]
            start, end = end, end + len(piece)
            # Most of packing's time is spent here, half of what assigning to a slice would take.
            struct.pack_into(f"{len(piece)}i", token_ids, start * counting.itemsize, *piece)
            segment_ids[start:end] = segment
            positions[start:end] = counting[: end - start]
    names = [side + suffix for suffix in ("", *SEGMENT_SUFFIXES)]
    return dict(zip(names, columns, strict=True))
