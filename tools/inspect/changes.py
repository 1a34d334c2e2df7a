"""What changes between two mixtures, told in as few words as are true of every task."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import groups

from flan_tasks.rates import Leaf

# Factors are told apart in so many digits; rates are sums of floating-point numbers.
_DIGITS = 7


@dataclasses.dataclass(frozen=True)
class Change:
    """A task's rate in one mixture and in another; 0 where it is not."""

    leaf: Leaf
    before: float
    after: float

    @functools.cached_property
    def factor(self) -> float:
        """After over before: 1 unchanged, 0 gone, infinite new."""
        return ratio(self.before, self.after)


@dataclasses.dataclass(frozen=True)
class Statement:
    """Groups of tasks whose rates all change by the same factor.

    Attributes:
      way: what the groups are: "collection", "setting", … "task".
      names: the groups.
      changes: their tasks.
    """

    way: str
    names: Sequence[str]
    changes: Sequence[Change]

    @property
    def factor(self) -> float:
        """By which the rate of each of the tasks changes."""
        return self.changes[0].factor

    @property
    def before(self) -> float:
        """Share of the first mixture."""
        return math.fsum(change.before for change in self.changes)

    @property
    def after(self) -> float:
        """Share of the second mixture."""
        return math.fsum(change.after for change in self.changes)


def ratio(before: float, after: float) -> float:
    """After over before, in digits that mean something."""
    return float(f"{after / before:.{_DIGITS}g}") if before else math.inf


def between(before: Iterable[Leaf], after: Iterable[Leaf]) -> list[Change]:
    """Each task of either mixture with its two rates, by name."""
    first, second = ({leaf.task: leaf for leaf in leaves} for leaves in (before, after))
    old, new = ({task: leaf.rate for task, leaf in each.items()} for each in (first, second))
    return [
        Change(leaf, old.get(task, 0.0), new.get(task, 0.0))
        for task, leaf in sorted({**first, **second}.items())
    ]


def in_groups(changes: Sequence[Change], way: str) -> dict[str, list[Change]]:
    """Name of a group -> its tasks, those with the largest share of either mixture first."""
    found: dict[str, list[Change]] = {}
    for change in changes:
        for name in groups.WAYS[way](change.leaf):
            found.setdefault(name, []).append(change)
    return dict(sorted(found.items(), key=lambda item: -_larger_share(item[1])))


def statements(changes: Sequence[Change]) -> list[Statement]:
    """What changes, the largest change first: one statement for each factor that there is."""
    by_factor: dict[float, list[Change]] = {}
    for change in changes:
        by_factor.setdefault(change.factor, []).append(change)
    found = [_stated(changes, same) for same in by_factor.values()]
    return sorted(found, key=lambda each: -abs(each.after - each.before))


def _stated(everything: Sequence[Change], some: Sequence[Change]) -> Statement:
    """The statement on some tasks that needs the fewest names: groups of none but these tasks."""
    tasks = {change.leaf.task for change in some}
    others = [change.leaf for change in everything if change.leaf.task not in tasks]
    found = []
    for way, names_of in _NAMES.items():
        names = dict.fromkeys(name for change in some for name in names_of(change.leaf))
        if names.keys().isdisjoint(name for leaf in others for name in names_of(leaf)):
            found.append(Statement(way, list(names), some))
    return min(found, key=lambda each: len(each.names))  # each task is a group


# What tasks are called by together, the plainest first.
_NAMES: Mapping[str, Callable[[Leaf], Iterable[str]]] = {
    "collection": groups.WAYS["collection"],
    "setting": groups.WAYS["setting"],
    "collection/setting": lambda leaf: (f"{leaf.dataset.collection}/{leaf.variant.name}",),
    "dataset": groups.WAYS["dataset"],
    "source": groups.WAYS["source"],
    "category": groups.WAYS["category"],
    "task": lambda leaf: (leaf.task,),
}


def _larger_share(changes: Sequence[Change]) -> float:
    before = math.fsum(change.before for change in changes)
    return max(before, math.fsum(change.after for change in changes))
