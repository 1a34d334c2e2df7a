"""The tasks of a mixture in groups: by collection, source, dataset, setting, category, language."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from flan_tasks.rates import Leaf


def source(leaf: Leaf) -> str:
    """What a task's rows were first published as; tables ask for some datasets in many ways.

    "DuoRC (SelfRC)" and "DuoRC (ParaphraseRC)" are one source, DuoRC.
    """
    dataset = leaf.dataset
    return dataset.constants.get("dataset", dataset.name).partition(" (")[0]


# Way of grouping -> the groups that a task is in; it may speak several languages.
WAYS: Mapping[str, Callable[[Leaf], Iterable[str]]] = {
    "collection": lambda leaf: (leaf.dataset.collection,),
    "setting": lambda leaf: (leaf.variant.name,),
    "source": lambda leaf: (f"{leaf.dataset.collection}/{source(leaf)}",),
    "dataset": lambda leaf: (leaf.dataset.name,),
    "category": lambda leaf: (leaf.dataset.kind,),
    "language": lambda leaf: leaf.dataset.languages,
}


@dataclasses.dataclass(frozen=True)
class Group:
    """Some tasks of a mixture, by their numbers there.

    Attributes:
      name: what they have in common.
      tasks: their numbers, in order.
      leaves: the tasks.
    """

    name: str
    tasks: tuple[int, ...]
    leaves: tuple[Leaf, ...]

    @functools.cached_property
    def rate(self) -> float:
        """Its share of the mixture."""
        return math.fsum(leaf.rate for leaf in self.leaves)

    @functools.cached_property
    def num_datasets(self) -> int:
        """How many datasets it has."""
        return len({leaf.dataset.name for leaf in self.leaves})

    @functools.cached_property
    def num_examples(self) -> int:
        """Rows of its datasets; the tasks of a dataset ask about the same rows."""
        rows: dict[str, int] = {}
        for leaf in self.leaves:
            rows[leaf.dataset.name] = max(rows.get(leaf.dataset.name, 0), leaf.num_examples)
        return sum(rows.values())

    @property
    def cap(self) -> int | None:
        """The examples per task that count at most, where that is the same for all its tasks."""
        caps = {leaf.cap for leaf in self.leaves}
        return caps.pop() if len(caps) == 1 else None


def grouped(leaves: Sequence[Leaf], way: str) -> list[Group]:
    """The groups of a way of grouping, the largest rate first."""
    numbers: dict[str, list[int]] = {}
    for number, leaf in enumerate(leaves):
        for name in WAYS[way](leaf):
            numbers.setdefault(name, []).append(number)
    found = [
        Group(name, tuple(tasks), tuple(leaves[task] for task in tasks))
        for name, tasks in numbers.items()
    ]
    return sorted(found, key=lambda group: (-group.rate, group.name))


def each_task(leaves: Sequence[Leaf]) -> list[Group]:
    """Each task as a group of its own, in order."""
    return [Group(leaf.task, (number,), (leaf,)) for number, leaf in enumerate(leaves)]
