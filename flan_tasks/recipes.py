"""What is mixed with what: recipes of mixtures, and those that the papers and the release name.

A recipe says which datasets and how they are balanced; `resolve` makes the tasks and their rates of
it. No TensorFlow: what a mixture is can be looked at in a second.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from flan_tasks import catalog, draws, rates, selection, sources
from flan_tasks.errors import CardError, FlanError, MixtureError
from flan_tasks.rates import Balance, Leaf
from flan_tasks.sources import Settings
from flan_tasks.spec import Dataset

# Examples per task that count at most, and the shares of the released Flan 2022 mixture.
CAPS: Mapping[str, int] = {
    "flan2021": 30_000,
    "t0": 20_000,
    "niv2": 5_000,
    "cot": 100_000,
    "dialog": 200_000,
}
FLAN2022_SHARES: Mapping[str, float] = {
    "flan2021": 0.40,
    "t0": 0.32,
    "niv2": 0.20,
    "cot": 0.05,
    "dialog": 0.03,
}
# Of the released mixtures: inverted tasks of Flan 2021 are not mixed in there.
INVERSION_WEIGHTS: Mapping[str, float] = {"flan2021": 0.0, "cot": 0.3, "dialog": 0.3}
ON_MISSING = ("error", "skip")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A mixture before its rates are reckoned.

    Attributes:
      balance: how tasks are weighed.
      include: terms of `flan_tasks.selection` that the datasets have to meet; empty: all.
      exclude: terms that none of them may meet.
      num_datasets: so many of them, drawn by the seed; of two numbers the larger draw holds the
        smaller one. None: all. (arXiv 2301.13688, section 3.3, calls them tasks.)
      subset_seed: what they are drawn by.
      on_missing: "error", or "skip" to leave out datasets whose training rows are not at hand.
    """

    balance: Balance
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    num_datasets: int | None = None
    subset_seed: int = 0
    on_missing: str = "error"


@dataclasses.dataclass(frozen=True)
class Resolved:
    """The tasks of a mixture.

    Attributes:
      leaves: its tasks with their rates, which sum to 1.
      missing: dataset -> why it was left out, where the recipe says to skip what is missing.
    """

    leaves: tuple[Leaf, ...]
    missing: Mapping[str, str]

    @property
    def rates(self) -> dict[str, float]:
        """Task -> rate."""
        return {leaf.task: leaf.rate for leaf in self.leaves}


def resolve(recipe: Recipe, settings: Settings | None = None) -> Resolved:
    """The tasks that a recipe mixes, by name in alphabetical order.

    Args:
      recipe: the recipe.
      settings: where to look for rows, for a recipe that skips what is missing; None: as set.

    Raises:
      MixtureError: a term that no dataset meets, a number out of range, or nothing left to mix.
    """
    try:
        datasets = selection.select(catalog.load().values(), recipe.include, recipe.exclude)
        leaves = rates.leaves(datasets, recipe.balance)
        chosen = list({leaf.dataset.name: leaf.dataset for leaf in leaves}.values())
        missing = _missing(recipe, chosen, settings)
        chosen = [dataset for dataset in chosen if dataset.name not in missing]
        if recipe.num_datasets is not None:
            chosen = _subset(chosen, recipe.num_datasets, recipe.subset_seed)
        if len(chosen) < len({leaf.dataset.name for leaf in leaves}):
            leaves = rates.leaves(chosen, recipe.balance)
    except CardError as error:
        raise MixtureError(error.what, where=error.where, remedy=error.remedy) from None
    return Resolved(tuple(sorted(leaves, key=lambda leaf: leaf.task)), missing)


def _missing(
    recipe: Recipe, datasets: Sequence[Dataset], settings: Settings | None
) -> dict[str, str]:
    if recipe.on_missing not in ON_MISSING:
        raise MixtureError(
            f"on_missing is {recipe.on_missing!r}",
            where="mixture",
            remedy=f"It is one of {', '.join(ON_MISSING)}.",
        )
    if recipe.on_missing == "error":
        return {}
    settings = settings or sources.settings()
    found = ((dataset.name, _why_missing(dataset, settings)) for dataset in datasets)
    return {name: why for name, why in found if why}


def _why_missing(dataset: Dataset, settings: Settings) -> str:
    """Why a dataset's training rows are not at hand; empty if they are."""
    from flan_tasks import store  # which reads Arrow files: only where rows are asked for

    try:
        store.find(dataset, "train", settings, fetch=False)
    except FlanError as error:
        return error.what
    return ""


def _subset(datasets: Iterable[Dataset], count: int, seed: int) -> list[Dataset]:
    """`count` of the datasets: those whose names come first in the order that the seed draws."""
    datasets = list(datasets)
    if not 1 <= count <= len(datasets):
        raise MixtureError(
            f"num_datasets is {count}, and there are {len(datasets)}",
            where="mixture",
            remedy=f"Take 1 to {len(datasets)} of them.",
        )
    order = sorted(datasets, key=lambda each: int(draws.hash64(seed, draws.name_key(each.name))))
    drawn = {dataset.name for dataset in order[:count]}
    return [dataset for dataset in datasets if dataset.name in drawn]
