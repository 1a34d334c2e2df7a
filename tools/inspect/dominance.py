"""Datasets that dominate a mixture or a collection, and what cap or temperature would mend it."""

import bisect
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import groups
from mixture_named import Mixture

from flan_tasks import rates
from flan_tasks.rates import Balance, Leaf

# No dataset of a large collection should have more of it than this.
_LARGEST_SHARE = 0.10
_MIXTURE = "the mixture"
# Caps of two digits, largest first, and temperatures: what people write in a gin file.
_CAPS = [
    digits * 10**zeros for zeros in range(5, -1, -1) for digits in range(99, 9 if zeros else 0, -1)
]
_TEMPERATURES = [*(tenth / 10 for tenth in range(11, 101)), math.inf]


@dataclasses.dataclass(frozen=True)
class Remedy:
    """A change to a recipe, and what it does.

    Attributes:
      setting: the change as a gin file has it.
      share: what the dominant source has afterwards.
      moved: the part of the mixture's examples that other tasks then have.
      raised: the source that gains most, and the factor by which.
    """

    setting: str
    share: float
    moved: float
    raised: tuple[str, float] | None

    def __str__(self) -> str:
        text = f"{self.setting} makes that {self.share:.1%}, moving {self.moved:.1%} of the mixture"
        if self.raised:
            text += f"; {self.raised[0]} then comes {self.raised[1]:.1f} x as often"
        return text


@dataclasses.dataclass(frozen=True)
class Dominance:
    """A source with more than its limit.

    Attributes:
      source: which.
      within: the collection, or "the mixture".
      share, limit: what it has of that, and the most that it should have.
      num_tasks, of: its tasks, and all tasks there.
      remedies: what would mend it; empty if neither a cap nor a temperature does; None: the
        mixture has no recipe to try that with.
    """

    source: str
    within: str
    share: float
    limit: float
    num_tasks: int
    of: int
    remedies: tuple[Remedy, ...] | None

    def __str__(self) -> str:
        what = f"{self.source} is {self.share:.1%} of {self.within} (limit {self.limit:.0%})"
        if self.remedies is None:
            return what
        if not self.remedies and self.within == _MIXTURE:
            return f"{what}: no cap or temperature mends that; lower its collection's share"
        if not self.remedies:
            return (
                f"{what}: no cap or temperature mends that, as {self.num_tasks} of {self.of} tasks "
                "there are of it; exclude some of them, or give it a share of its own"
            )
        return f"{what}: " + "; or ".join(map(str, self.remedies))

    def as_json(self) -> dict[str, Any]:
        """The warning as plain data."""
        remedies = [
            {
                "setting": each.setting,
                "share": each.share,
                "moved": each.moved,
                "raised": dict([each.raised] if each.raised else []),
            }
            for each in self.remedies or ()
        ]
        return {**dataclasses.asdict(self), "remedies": remedies, "text": str(self)}


def limit(num_sources: int) -> float:
    """The most that one of so many sources should have: a tenth, or more among few.

    Twice what it would have as one of one more, all alike: a half of 3, a fifth of 9.
    """
    return max(_LARGEST_SHARE, 2 / (num_sources + 1))


def warnings(mixture: Mixture) -> Iterator[Dominance]:
    """The sources with more than their limit of the mixture or of their collection."""
    leaves = mixture.resolved.leaves
    collections = groups.grouped(leaves, "collection")
    for collection in collections:
        yield from _within(mixture, collection.name, collection.leaves)
    if len(collections) > 1:
        yield from _within(mixture, None, leaves)


def _within(
    mixture: Mixture, collection: str | None, leaves: Sequence[Leaf]
) -> Iterator[Dominance]:
    sources = groups.grouped(leaves, "source")
    most = limit(len(sources))
    whole = math.fsum(leaf.rate for leaf in leaves)
    for source in sources:
        if source.rate > most * whole:
            balance = mixture.recipe and mixture.recipe.balance
            trial = _Trial(mixture.resolved.leaves, source.name, collection)
            yield Dominance(
                source=source.name.partition("/")[2],
                within=collection or _MIXTURE,
                share=source.rate / whole,
                limit=most,
                num_tasks=len(source.leaves),
                of=len(leaves),
                remedies=balance and tuple(trial.remedies(balance, most)),
            )


class _Trial:
    """Tries other balances of the same datasets, for the share of a source.

    Args:
      leaves: the mixture's tasks.
      source: whose share is looked at.
      collection: what it is the share of; None: the mixture.
    """

    def __init__(self, leaves: Sequence[Leaf], source: str, collection: str | None):
        self._leaves = leaves
        self._datasets = list({leaf.dataset.name: leaf.dataset for leaf in self._leaves}.values())
        self._source = source
        self._here = {
            leaf.dataset.name
            for leaf in self._leaves
            if collection in (None, leaf.dataset.collection)
        }
        self._own = {
            leaf.dataset.name for leaf in self._leaves if source in groups.WAYS["source"](leaf)
        }

    def remedies(self, balance: Balance, most: float) -> Iterator[Remedy]:
        """The mildest cap and the mildest temperature that keep the source within `most`."""
        collection = self._source.partition("/")[0]
        largest = max(
            leaf.num_examples for leaf in self._leaves if leaf.dataset.collection == collection
        )
        now = min(largest, balance.caps.get(collection, largest))
        caps = [cap for cap in _CAPS if cap < now]
        capped = [
            dataclasses.replace(balance, caps={**balance.caps, collection: cap}) for cap in caps
        ]
        place = self._mildest(capped, most)
        if place is not None:
            yield self._remedy(f"caps['{collection}'] = {caps[place]:_}", capped[place])
        degrees = [each for each in _TEMPERATURES if each > balance.temperature]
        tempered = [dataclasses.replace(balance, temperature=each) for each in degrees]
        place = self._mildest(tempered, most)
        if place is not None:
            text = "1e999" if math.isinf(degrees[place]) else f"{degrees[place]:g}"
            yield self._remedy(f"temperature = {text}", tempered[place])

    def _mildest(self, balances: Sequence[Balance], most: float) -> int | None:
        """The place of the first of the balances, mildest first, that does; None: none does."""
        place = bisect.bisect_left(
            balances, True, key=lambda balance: self._share(self._tasks(balance)) <= most
        )
        return place if place < len(balances) else None

    def _tasks(self, balance: Balance) -> list[Leaf]:
        return rates.leaves(self._datasets, balance)

    def _share(self, leaves: Sequence[Leaf]) -> float:
        own = math.fsum(leaf.rate for leaf in leaves if leaf.dataset.name in self._own)
        return own / math.fsum(leaf.rate for leaf in leaves if leaf.dataset.name in self._here)

    def _remedy(self, setting: str, balance: Balance) -> Remedy:
        leaves = self._tasks(balance)
        before = {leaf.task: leaf.rate for leaf in self._leaves}
        moved = math.fsum(abs(leaf.rate - before.get(leaf.task, 0.0)) for leaf in leaves) / 2
        shares = {group.name: group.rate for group in groups.grouped(self._leaves, "source")}
        factors = [
            (group.rate / shares[group.name], group.name.partition("/")[2])
            for group in groups.grouped(leaves, "source")
        ]
        factor, raised = max(factors)
        return Remedy(setting, self._share(leaves), moved, (raised, factor) if factor > 1 else None)
