"""Which row of which task stands at a position of the stream of examples.

A stream is a pure function of the position: it has no state, so any shard of it, and any place to
resume at, is found without replay, and its cost does not grow with the number of tasks.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from flan_tasks import draws

# A mixture repeats its rates exactly in every block of this many positions; a rate is therefore
# kept to within one part in a million, and a task below that still gets one position a block.
_BLOCK = 1 << 20
# Positions are shuffled among so many neighbours.
_WINDOW = 1 << 10
# The key of a place in a split is the split's number and, in so many lower bits, the place.
_PLACE_BITS = 44


@dataclasses.dataclass(frozen=True)
class Locations:
    """Rows found at some positions: three int64 arrays [n].

    Attributes:
      task: index of the task.
      row: row of the task's split.
      epoch: how often the task had gone through all its rows before.
    """

    task: np.ndarray
    row: np.ndarray
    epoch: np.ndarray


class Kept:
    """Finds the rows that stay of some splits when others of their rows are left out.

    Args:
      left_out: of each split the rows that are left out, in order: int64 [any].
    """

    def __init__(self, left_out: Sequence[np.ndarray]):
        self._starts = np.cumsum([0, *map(len, left_out)])
        # Before the row that stays at place p come the rows left out whose number, less that of
        # those left out before them, is p at most.
        places = [rows - np.arange(len(rows)) for rows in left_out]
        self._keys = np.concatenate([_of_split(i, each) for i, each in enumerate(places)])

    def rows(self, split: np.ndarray, place: np.ndarray) -> np.ndarray:
        """The rows at some places among those that stay: int64 [n].

        Args:
          split: int64 [n], numbers of the splits.
          place: int64 [n].
        """
        before = np.searchsorted(self._keys, _of_split(split, place), side="right")
        return place + before - self._starts[split]


class EveryRow:
    """All rows of all tasks, once an epoch; in order, or in an order drawn anew for each epoch."""

    def __init__(self, num_rows: Sequence[int], *, seed: int, shuffle: bool):
        self._ends = np.cumsum(num_rows)
        self._seed = seed
        self._shuffle = shuffle

    def __len__(self) -> int:
        """Positions in one epoch."""
        return int(self._ends[-1])

    def locate(self, positions: np.ndarray) -> Locations:
        """The rows at int64 positions [n]."""
        epoch, place = np.divmod(positions, len(self))
        if self._shuffle:
            place = draws.permute(place, len(self), self._seed, epoch)
        task = np.searchsorted(self._ends, place, side="right")
        starts = np.concatenate([[0], self._ends[:-1]])
        return Locations(task, place - starts[task], epoch)


class ByRate:
    """An endless stream in which each task comes up at its rate, evenly spread.

    The positions are cut into blocks; in each block every task owns a run of slots, as many as its
    rate gives it. A block's positions visit its slots in golden-ratio steps, so that any stretch of
    the stream holds the tasks nearly at their rates (Knuth, The Art of Computer Programming, 6.4),
    and are shuffled among their neighbours. How often a task came up before a position is then
    known in closed form, and with it the row: a task goes through all its rows before it repeats
    one.

    Args:
      num_rows: rows of each task.
      rates: relative rate of each task, above 0.
      keys: uint64 key of each task; with the seed it says in which order the task's rows come, so
        that the order is the same in every mixture.
      seed: what the order of the tasks and of the rows is drawn from.
      shuffle: whether a task's rows come in an order drawn anew for each epoch.
    """

    def __init__(
        self,
        num_rows: Sequence[int],
        rates: Sequence[float],
        keys: Sequence[int],
        *,
        seed: int,
        shuffle: bool,
    ):
        self._num_rows = np.asarray(num_rows, np.int64)
        self._keys = np.asarray(keys, np.uint64)
        self._slots = apportion(rates, _BLOCK)
        self._ends = np.cumsum(self._slots)
        self._stride = round(_BLOCK * (5**0.5 - 1) / 2) | 1  # odd: every slot is visited once
        self._seed = seed
        self._shuffle = shuffle

    def locate(self, positions: np.ndarray) -> Locations:
        """The rows at int64 positions [n]."""
        size = min(_WINDOW, _BLOCK)
        window, place = np.divmod(positions, size)
        shuffled = window * size + draws.permute(place, size, self._seed, window)
        block, step = np.divmod(shuffled, _BLOCK)
        first = draws.below(_BLOCK, self._seed, block)
        slot = (first + step * self._stride) % _BLOCK
        task = np.searchsorted(self._ends, slot, side="right")
        turn = block * self._slots[task] + self._turns_before(step, first, task)
        epoch, row = np.divmod(turn, self._num_rows[task])
        if self._shuffle:
            row = draws.permute(row, self._num_rows[task], self._seed, self._keys[task], epoch)
        return Locations(task, row, epoch)

    def _turns_before(self, step: np.ndarray, first: np.ndarray, task: np.ndarray) -> np.ndarray:
        """How many of the block's first `step` steps hit the task's slots."""
        end = self._ends[task]
        return self._hits_below(end, step, first) - self._hits_below(
            end - self._slots[task], step, first
        )

    def _hits_below(self, bound: np.ndarray, step: np.ndarray, first: np.ndarray) -> np.ndarray:
        # x mod m < bound exactly where floor(x / m) - floor((x - bound) / m) is 1.
        wraps = floor_sum(step, _BLOCK, self._stride, first)
        return wraps - floor_sum(step, _BLOCK, self._stride, first - bound + _BLOCK) + step


def _of_split(split, place: np.ndarray) -> np.ndarray:
    return (split << _PLACE_BITS) + place


def floor_sum(count: np.ndarray, modulus: int, slope: int, offset: np.ndarray) -> np.ndarray:
    """Sum of floor((slope * i + offset) / modulus) over i = 0 .. count-1, elementwise, in int64.

    By the Euclidean algorithm on slope and modulus, in a logarithmic number of steps (Graham, Knuth
    and Patashnik, Concrete Mathematics, 3.5). `count` and `offset` are int64 [n], none negative.
    """
    total = np.zeros_like(count)
    while count.any():
        total += count * (count - 1) // 2 * (slope // modulus) + count * (offset // modulus)
        slope %= modulus
        reach = slope * count + offset % modulus
        count, offset = np.divmod(reach, modulus)
        if slope == 0:
            break
        slope, modulus = modulus, slope
    return total


def apportion(rates: Sequence[float], seats: int) -> np.ndarray:
    """Seats in proportion to the rates: largest remainders, at least one seat each.

    Returns int64 [len(rates)] that sums to `seats`.
    """
    shares = np.asarray(rates, np.float64) / np.sum(rates) * seats
    counts = np.maximum(1, np.floor(shares).astype(np.int64))
    by_remainder = np.argsort(-(shares - counts), kind="stable")
    missing = seats - int(counts.sum())
    if missing >= 0:
        counts[by_remainder[:missing]] += 1
        return counts
    for _ in range(-missing):  # the guaranteed seats of tiny tasks come from the largest
        counts[np.argmax(counts)] -= 1
    return counts
