"""What a kind of source answers when asked for a raw split: an Origin, or Unavailable."""

import dataclasses
from collections.abc import Callable, Iterator

from flan_tasks.readers import Row


@dataclasses.dataclass(frozen=True)
class Origin:
    """A raw split, or the samples that stand for it, found and ready to be read.

    Attributes:
      place: where it lies: a path or a name.
      stamp: changes when the data change.
      read: yields the rows, each time from the first one on.
    """

    place: str
    stamp: str
    read: Callable[[], Iterator[Row]]


class Unavailable(Exception):
    """A source that cannot serve: why, and what would make it.

    Another source may still do; when none does, the reasons are gathered in one SourceError.
    """

    def __init__(self, why: str, remedy: str = ""):
        super().__init__(why)
        self.why = why
        self.remedy = remedy
