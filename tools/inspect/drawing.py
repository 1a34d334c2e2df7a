"""Examples of a mixture drawn through the real pipeline: how long they are, and how often which."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import examples
import numpy as np
import scipy.stats
from examples import Shown
from groups import Group
from mixture_named import Mixture

from flan_tasks import packing, sources, store, vocabulary
from flan_tasks.errors import FlanError, MixtureError, VocabularyError
from flan_tasks.prompts import Example, Lengths, PromptStream
from flan_tasks.variants import VariantPipeline

# Of fewer draws than this nothing is said.
FEWEST = 8
# Positions rendered at once, and packed together as in training.
_WINDOW = 1024
# Cells of a chi-squared test that expect fewer counts than this are put together.
_LEAST_EXPECTED = 5


@dataclasses.dataclass(frozen=True)
class Lengthy:
    """How long some drawn examples are.

    Attributes:
      drawn: how many were drawn.
      dropped: the part of them that is left out: too long, or without a field asked for.
      inputs, targets: tokens of the mean example that stays.
      rows: packed rows that they fill, if nothing else is packed with them.
      density: the part of these rows' inputs and targets that is not padding.
    """

    drawn: int
    dropped: float
    inputs: float
    targets: float
    rows: int
    density: Mapping[str, float]


class Drawing:
    """Draws from the tasks whose rows are at hand, in proportion to their rates.

    Rows that are not prepared are prepared only where samples serve; nothing is downloaded.

    Args:
      mixture: what is drawn from.
      seed: what the stream is drawn by.
      lengths: of a row, in tokens.

    Attributes:
      kinds: kind of source -> the part of the mixture, by rate, whose rows it has at hand.
      lengths: as given.
      trouble: why nothing could be rendered, though rows are at hand; empty: there is none.
    """

    def __init__(self, mixture: Mixture, *, seed: int, lengths: Lengths):
        self._mixture = mixture
        self._leaves = mixture.resolved.leaves
        self._seed = seed
        self.lengths = lengths
        self.kinds: dict[str, float] = {}
        self.trouble = ""
        kind_of = _kinds_at_hand(mixture)
        self._at_hand = [i for i, leaf in enumerate(self._leaves) if leaf.dataset.name in kind_of]
        for leaf in self._leaves:
            kind = kind_of.get(leaf.dataset.name)
            if kind:
                self.kinds[kind] = self.kinds.get(kind, 0.0) + leaf.rate
        # Number of a task of the mixture -> of each example drawn of it, in order.
        self._task = np.zeros(0, np.int64)
        self._examples: list[Example | None] = []

    @property
    def known(self) -> float:
        """The part of the mixture, by rate, that is drawn from."""
        return sum(self.kinds.values())

    def known_of(self, group: Group) -> float:
        """The part of a group, by rate, that is drawn from."""
        at_hand = np.isin(group.tasks, self._at_hand)
        rates = np.array([leaf.rate for leaf in group.leaves])
        return float(rates[at_hand].sum() / rates.sum())

    def draw(self, count: int) -> None:
        """Renders the examples at the stream's first positions; or says what hinders it."""
        if not self._at_hand:
            return
        try:
            vocabulary.tokenizer()
        except VocabularyError as error:
            self.trouble = str(error)
            return
        for start in range(0, count, _WINDOW):
            positions = np.arange(start, min(start + _WINDOW, count))
            task, _, _ = self._stream.locate(positions)
            self._task = np.append(self._task, np.array(self._at_hand)[task])
            self._examples += self._stream.examples(positions)

    def lengths_of(self, group: Group) -> Lengthy | None:
        """How long the drawn examples of a group are; None: too few were drawn to say."""
        places = np.flatnonzero(np.isin(self._task, group.tasks))
        kept = [each for place in places.tolist() if (each := self._examples[place])]
        if len(places) < FEWEST or not kept:
            return None
        sizes = {
            "inputs": np.array([len(each.inputs) for each in kept]),
            "targets": np.array([len(each.targets) for each in kept]),
        }
        room = dataclasses.asdict(self.lengths)
        rows = sum(
            len(packing.arrange(_cut(sizes, start), room, key=self._seed))
            for start in range(0, len(kept), _WINDOW)
        )
        return Lengthy(
            drawn=len(places),
            dropped=1 - len(kept) / len(places),
            inputs=float(sizes["inputs"].mean()),
            targets=float(sizes["targets"].mean()),
            rows=rows,
            density={side: float(each.sum() / rows / room[side]) for side, each in sizes.items()},
        )

    def shown(self, group: Group, count: int) -> Iterator[Shown]:
        """Some drawn examples of a group, each of another dataset while there are others."""
        settings = sources.settings()
        places = np.flatnonzero(np.isin(self._task, group.tasks)).tolist()
        drawn = [each for place in places if (each := self._examples[place])]
        first_of = {each.task.dataset.name: each for each in reversed(drawn)}
        firsts = list(reversed(first_of.values()))
        for example in [*firsts, *(each for each in drawn if each not in firsts)][:count]:
            rows_of = example.task.open(example.split, settings, drop_list=self._mixture.drop_list)
            yield examples.taken_apart(example, rows_of)

    def empirical(self, count: int) -> dict[str, Any]:
        """How often each task stands at the stream's first positions, against its rate.

        Returns:
          `draws`, chi-squared `statistic`, `dof` and `p`, and `pooled`, the number of tasks that
          are counted together because they are expected less than five times each.

        Raises:
          MixtureError: rows of some tasks are not at hand.
        """
        if len(self._at_hand) < len(self._leaves):
            raise MixtureError(
                f"rows of {len(self._leaves) - len(self._at_hand):,} of {len(self._leaves):,} "
                "tasks are not prepared, so that draws cannot match the rates",
                where=f"mixture {self._mixture.name}",
                remedy="Prepare them with tools/prepare.py; --on_missing skip leaves out what is "
                "nowhere at hand.",
            )
        task, _, _ = self._stream.locate(np.arange(count))
        observed = np.bincount(task, minlength=len(self._leaves))
        expected = np.array([leaf.rate for leaf in self._leaves]) * count
        return {"draws": count, **chi_squared(observed, expected)}

    @functools.cached_property
    def _stream(self) -> PromptStream:
        leaves = [self._leaves[task] for task in self._at_hand]
        return PromptStream(
            [VariantPipeline(leaf.dataset, leaf.variant) for leaf in leaves],
            [leaf.rate for leaf in leaves],
            split="train",
            shuffle=True,
            seed=self._seed,
            lengths=self.lengths,
            num_epochs=None,
            prepare_missing=True,
            drop_list=self._mixture.drop_list,
        )


def chi_squared(observed: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """Pearson's test of counts [n] against expected counts [n] of the same sum.

    Returns `statistic`, `dof`, `p`, and `pooled`: cells that were put together, as each of them
    expects less than five.
    """
    few = expected < _LEAST_EXPECTED
    pooled = int(few.sum())
    if pooled:
        order = np.argsort(expected)
        # The next larger ones too, until the pool itself expects enough.
        enough = np.searchsorted(np.cumsum(expected[order]), _LEAST_EXPECTED) + 1
        pooled = max(pooled, min(int(enough), len(order)))
        pool, alone = order[:pooled], order[pooled:]
        observed = np.append(observed[alone], observed[pool].sum())
        expected = np.append(expected[alone], expected[pool].sum())
    if len(expected) < 2:
        return {"statistic": 0.0, "dof": 0, "p": 1.0, "pooled": pooled}
    test = scipy.stats.chisquare(observed, expected * (observed.sum() / expected.sum()))
    return {
        "statistic": float(test.statistic),
        "dof": len(expected) - 1,
        "p": float(test.pvalue),
        "pooled": pooled,
    }


def _kinds_at_hand(mixture: Mixture) -> dict[str, str]:
    """Dataset -> kind of the source whose training rows are prepared, or are samples."""
    settings = sources.settings()
    found = {}
    for name, dataset in {
        leaf.dataset.name: leaf.dataset for leaf in mixture.resolved.leaves
    }.items():
        try:
            rows = store.find(dataset, "train", settings, fetch=False)
        except FlanError:
            continue
        if isinstance(rows, store.PreparedSplit):
            found[name] = rows.origin.partition(":")[0]
        elif rows.found.kind == "samples":
            found[name] = rows.found.kind
    return found


def _cut(sizes: Mapping[str, np.ndarray], start: int) -> dict[str, np.ndarray]:
    return {side: each[start : start + _WINDOW] for side, each in sizes.items()}
