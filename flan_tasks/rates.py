"""Rates of tasks: caps, weights and shares, flattened by plain arithmetic.

A mixture is nested: it gives each group of datasets a share; the settings of a group (zero- or
few-shot, with options or without) divide its share; the tasks of a setting divide what that gets,
each by the number of its examples up to a cap (arXiv 2210.11416, table 23; the released mixtures).
The rate of a task is the product of the three.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from flan_tasks import selection
from flan_tasks.errors import MixtureError
from flan_tasks.spec import SETTINGS_OF_COLLECTION, Dataset, Variant

_CASES = pathlib.Path(__file__).parent / "tables" / "num_cases.tsv"
_FEW_SHOT = "fs_"


@dataclasses.dataclass(frozen=True)
class Balance:
    """How tasks are weighed against each other.

    Attributes:
      shares: collection, or terms of `flan_tasks.selection` with commas between -> share of the
        mixture. A dataset counts with the first of these keys that it meets, and is left out if it
        meets none. The shares need not sum to 1. Empty: everything is one group.
      caps: collection -> examples per task that count at most.
      setting_weights: setting (zs_opt, …) -> weight; a setting that is not named weighs 1.
      few_shot_share: share of few-shot prompts in each group; None: as the settings weigh.
      inversion_weights: collection -> weight of its inverted tasks against 1; 1 where not named.
      temperature: the number of examples counts to the power of 1 / temperature: 1 in proportion,
        infinity all tasks alike (arXiv 1910.10683, section 3.5.2).
    """

    shares: Mapping[str, float]
    caps: Mapping[str, int] = dataclasses.field(default_factory=dict)
    setting_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    few_shot_share: float | None = None
    inversion_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    temperature: float = 1.0


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A task of a mixture.

    Attributes:
      dataset, variant: what the task is.
      group: the key of `Balance.shares` that it counts under, "" if everything is one group.
      rate: its share of the mixture's examples.
      num_examples: how many examples it has in its setting.
      cap: how many of them count at most, None for all.
    """

    dataset: Dataset
    variant: Variant
    group: str
    rate: float
    num_examples: int
    cap: int | None

    @property
    def task(self) -> str:
        """The task's name."""
        return f"{self.dataset.name}_{self.variant.name}"


def leaves(datasets: Iterable[Dataset], balance: Balance) -> list[Leaf]:
    """The tasks that a balance gives any rate, in the datasets' order; the rates sum to 1.

    A group's share is spread over those of its datasets that are given, and the shares of groups
    without any fall to the others in proportion; so with the settings of a group.

    Raises:
      MixtureError: no task is left, or a number is out of its range.
    """
    _check(balance)
    groups: dict[str, dict[str, list[Leaf]]] = {}
    for dataset, group in _grouped(list(datasets), balance.shares):
        for leaf in _weighed(dataset, group, balance):
            groups.setdefault(group, {}).setdefault(leaf.variant.setting, []).append(leaf)
    shares = _shares_of(groups, balance)
    scale = {}
    for group, settings in groups.items():
        weights = _setting_weights(tuple(settings), balance)
        for setting, share in weights.items():
            total = math.fsum(leaf.rate for leaf in settings[setting])
            scale[group, setting] = shares[group] * share / total
    return [
        dataclasses.replace(leaf, rate=leaf.rate * scale[group, setting])
        for group, settings in groups.items()
        for setting, found in settings.items()
        for leaf in found
        if scale[group, setting] > 0
    ]


def leaf(dataset: Dataset, variant: Variant, rate: float = 1.0) -> Leaf:
    """A task that no balance has weighed: alone, or at a rate that somebody gave it."""
    counts = num_cases(dataset, variant.setting)
    return Leaf(dataset, variant, "", rate, round(sum(counts) / len(counts)), None)


def num_cases(dataset: Dataset, setting: str) -> tuple[int, ...]:
    """How many training examples a dataset has in a setting, by style of prompt.

    For the datasets of the released mixtures these are the numbers that those weigh by, of the
    examples that fit 2048 input and 512 target tokens. There, few-shot prompts with options come in
    two styles, with a number of exemplars that varies or is fixed, each counted and capped by
    itself. For all others it is the number of training rows.
    """
    released = _released_cases().get(dataset.name)
    if released is None:
        return (dataset.num_examples.get("train", 0),)
    zero_shot, mixed_few_shot, fixed_few_shot = released
    if not setting.startswith(_FEW_SHOT):
        return (zero_shot,)
    return (mixed_few_shot, fixed_few_shot) if setting == "fs_opt" else (mixed_few_shot,)


@functools.cache
def _released_cases() -> Mapping[str, tuple[int, ...]]:
    _, *lines = (line.split("\t") for line in _CASES.read_text("utf-8").splitlines())
    return {name: tuple(map(int, counts)) for name, *counts in lines}


def _grouped(datasets: Sequence[Dataset], shares: Mapping[str, float]) -> list[tuple[Dataset, str]]:
    """Each dataset with the key of its share."""
    if not shares:
        return [(dataset, "") for dataset in datasets]
    group_of: dict[str, str] = {}
    for group in shares:
        if group in SETTINGS_OF_COLLECTION:
            found = [each for each in datasets if each.collection == group]
        else:
            found = selection.select(datasets, [term.strip() for term in group.split(",")])
        for dataset in found:
            group_of.setdefault(dataset.name, group)
    return [(each, group_of[each.name]) for each in datasets if each.name in group_of]


def _weighed(dataset: Dataset, group: str, balance: Balance) -> Iterable[Leaf]:
    """The dataset's tasks that weigh anything, with their weight in their setting as rate."""
    cap = balance.caps.get(dataset.collection)
    for variant in dataset.variants:
        counts = num_cases(dataset, variant.setting)
        counted = sum(min(count, cap or count) for count in counts) / len(counts)
        weight = counted ** (1 / balance.temperature) if counted else 0.0
        if variant.inverted:
            weight *= balance.inversion_weights.get(dataset.collection, 1.0)
        if weight > 0:
            yield Leaf(dataset, variant, group, weight, round(sum(counts) / len(counts)), cap)


def _shares_of(groups: Iterable[str], balance: Balance) -> dict[str, float]:
    shares = {group: balance.shares.get(group, 1.0) for group in groups}
    total = math.fsum(shares.values())
    if total <= 0:
        raise MixtureError(
            f"shares {dict(balance.shares)} leave nothing of {', '.join(shares) or 'the datasets'}",
            where="mixture",
            remedy="Give at least one group that has datasets here a share above 0.",
        )
    return {group: share / total for group, share in shares.items()}


def _setting_weights(settings: Sequence[str], balance: Balance) -> dict[str, float]:
    """Setting -> share of a group that has these settings."""
    weights = {setting: balance.setting_weights.get(setting, 1.0) for setting in settings}
    few = math.fsum(weight for name, weight in weights.items() if name.startswith(_FEW_SHOT))
    total = math.fsum(weights.values())
    if total <= 0:
        raise MixtureError(
            f"the settings {', '.join(settings)} all weigh 0",
            where="mixture",
            remedy="Give a setting of each group a weight above 0, or the group no share.",
        )
    # A group with prompts of one sort only has nothing to divide.
    if balance.few_shot_share is not None and 0 < few < total:
        share = balance.few_shot_share
        factors = {True: share / few, False: (1 - share) / (total - few)}
        return {
            name: weight * factors[name.startswith(_FEW_SHOT)] for name, weight in weights.items()
        }
    return {name: weight / total for name, weight in weights.items()}


def _check(balance: Balance) -> None:
    """Sees to it that every number is in its range."""
    weights = {
        "shares": balance.shares,
        "setting_weights": balance.setting_weights,
        "inversion_weights": balance.inversion_weights,
    }
    faults = [
        f"{key}[{name!r}] is {weight}, below 0"
        for key, table in weights.items()
        for name, weight in table.items()
        if weight < 0
    ]
    faults += [f"caps[{name!r}] is {cap}, below 1" for name, cap in balance.caps.items() if cap < 1]
    if balance.few_shot_share is not None and not 0 <= balance.few_shot_share <= 1:
        faults.append(f"few_shot_share is {balance.few_shot_share}, not in 0 … 1")
    if not balance.temperature >= 1:
        faults.append(f"temperature is {balance.temperature}, below 1")
    known = {
        "caps": SETTINGS_OF_COLLECTION,
        "inversion_weights": SETTINGS_OF_COLLECTION,
        "setting_weights": dict.fromkeys(sum(SETTINGS_OF_COLLECTION.values(), ())),
    }
    for key, names in known.items():
        for name in getattr(balance, key).keys() - names.keys():
            faults.append(f"{key} names {name!r}; there are {', '.join(names)}")
    if faults:
        raise MixtureError("; ".join(faults), where="mixture", remedy="Mend the numbers or names.")
