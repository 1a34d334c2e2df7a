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
      num_bytes: its size on disk, where that is known.
      pending: what has to be done first, once and without a network, e.g. "unpacked on first use";
        only then is it known whether the rows are there.
    """

    place: str
    stamp: str
    read: Callable[[], Iterator[Row]]
    num_bytes: int | None = None
    pending: str = ""

    @property
    def in_words(self) -> str:
        """The place, and what is pending, for people to read."""
        return f"{self.place} ({self.pending})" if self.pending else self.place


class Unavailable(Exception):
    """A source that cannot serve: why, and what would make it.

    Another source may still do; when none does, the reasons are gathered in one SourceError.
    """

    def __init__(self, why: str, remedy: str = ""):
        super().__init__(why)
        self.why = why
        self.remedy = remedy
