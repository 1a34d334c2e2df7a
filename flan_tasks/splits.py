"""Which rows of the raw splits make up a split: TFDS's ReadInstruction syntax, the part cards use.

train               every row of the raw split
train[200:]         rows 200 and up           train[:-200]    all but the last 200
train[:10%]         the first tenth           train+dev       one after the other
"""

import collections
import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

_T = TypeVar("_T")

_PART = re.compile(
    r"(?P<name>[A-Za-z_][\w-]*)"
    r"(?:\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?"
)


@dataclasses.dataclass(frozen=True)
class Bound:
    """One end of a slice: a row number or a percentage; negative counts from the end."""

    value: int
    percent: bool = False

    def row(self, num_rows: int) -> int:
        """The row number in a raw split of `num_rows` rows, within 0 … num_rows."""
        # Percentages are rounded as TFDS does: to the nearest row, halves to the even one.
        row = round(num_rows * self.value / 100) if self.percent else self.value
        return max(0, min(num_rows, row + num_rows if self.value < 0 else row))


@dataclasses.dataclass(frozen=True)
class Slice:
    """Consecutive rows of one raw split; a missing bound is the raw split's end."""

    raw_split: str
    start: Bound | None = None
    stop: Bound | None = None

    def cut(self, read: Callable[[], Iterator[_T]]) -> Iterator[_T]:
        """The rows of the slice, in order.

        One reading will do where no bound is a share of all rows; the rows from or up to one that
        is counted from the end are then held in memory.

        Args:
          read: yields the rows of the raw split, each time from the first one on.
        """
        start, stop = self.start or Bound(0), self.stop
        if start.percent or (stop and (stop.percent or start.value < 0 <= stop.value)):
            rows = self.range(sum(1 for _ in read()))
            yield from itertools.islice(read(), rows.start, rows.stop)
        elif start.value < 0:
            tail = list(collections.deque(read(), maxlen=-start.value))
            yield from tail[: stop.value if stop else None]
        elif stop and stop.value < 0:
            yield from _all_but_last(itertools.islice(read(), start.value, None), -stop.value)
        else:
            yield from itertools.islice(read(), start.value, stop.value if stop else None)

    def range(self, num_rows: int) -> range:
        """The rows that the slice takes of a raw split of `num_rows` rows."""
        start = self.start.row(num_rows) if self.start else 0
        stop = self.stop.row(num_rows) if self.stop else num_rows
        return range(start, max(start, stop))


def _all_but_last(rows: Iterator[_T], count: int) -> Iterator[_T]:
    held = collections.deque(itertools.islice(rows, count))
    for row in rows:
        held.append(row)
        yield held.popleft()


def parse(instruction: str) -> tuple[Slice, ...]:
    """The slices that an instruction names, in order.

    Raises:
      ValueError: not an instruction; says which part is wrong and what may stand there.
    """
    return tuple(_parse_part(part.strip()) for part in instruction.split("+"))


def _parse_part(part: str) -> Slice:
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(
            f"{part!r} is not a split: write train, train[:-200], train[10%:20%] or train+test"
        )
    return Slice(match["name"], _bound(match["start"]), _bound(match["stop"]))


def _bound(text: str | None) -> Bound | None:
    if text is None:
        return None
    bound = Bound(int(text.rstrip("%")), percent=text.endswith("%"))
    if bound.percent and abs(bound.value) > 100:
        raise ValueError(f"{text} is more than all rows: percentages end at 100%")
    return bound
