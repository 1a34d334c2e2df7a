"""Rates of tasks: caps, weights and nesting, flattened by plain arithmetic.

A mixture gives each collection a share. Inside a collection a task counts with its number of
examples up to a cap, times the weight of its setting, times the weight of inversion
(arXiv 2210.11416, table 23; the released mixtures).
"""

import dataclasses
from collections.abc import Iterable, Mapping

from flan_tasks.errors import MixtureError
from flan_tasks.spec import Dataset, Variant

# Examples per task that count at most, and shares of the released Flan 2022 mixture.
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
INVERSION_WEIGHTS: Mapping[str, float] = {"cot": 0.3, "dialog": 0.3}


@dataclasses.dataclass(frozen=True)
class Balance:
    """How tasks are weighed against each other.

    Attributes:
      shares: collection -> share of the mixture; they need not sum to 1.
      caps: collection -> examples per task that count at most.
      setting_weights: setting (zs_opt, …) -> weight; a setting that is not named weighs 1.
      inversion_weights: collection -> weight of its inverted tasks against 1; 1 where not named.
    """

    shares: Mapping[str, float]
    caps: Mapping[str, int]
    setting_weights: Mapping[str, float]
    inversion_weights: Mapping[str, float]


def flat_rates(datasets: Iterable[Dataset], balance: Balance) -> dict[str, float]:
    """Task name -> rate of every task that the balance gives any; the rates sum to 1.

    A collection's share is spread over those of its datasets that are given; the shares of
    collections without a dataset fall to the others in proportion.

    Raises:
      MixtureError: no task is left, or a share is negative.
    """
    weights: dict[str, dict[str, float]] = {}
    for dataset in datasets:
        for variant in dataset.variants:
            weight = _weight(dataset, variant, balance)
            if weight > 0:
                in_collection = weights.setdefault(dataset.collection, {})
                in_collection[f"{dataset.name}_{variant.name}"] = weight
    shares = {name: balance.shares.get(name, 0.0) for name in weights}
    if min(shares.values(), default=0) < 0 or sum(shares.values()) <= 0:
        raise MixtureError(
            f"shares {dict(balance.shares)} leave nothing of the collections {sorted(weights)}",
            where="mixture",
            remedy="Give at least one collection that has datasets here a share above 0.",
        )
    total_share = sum(shares.values())
    return {
        task: shares[collection] / total_share * weight / sum(tasks.values())
        for collection, tasks in weights.items()
        if shares[collection] > 0
        for task, weight in tasks.items()
    }


def _weight(dataset: Dataset, variant: Variant, balance: Balance) -> float:
    counted = dataset.num_examples.get("train", 0)
    if dataset.collection in balance.caps:
        counted = min(counted, balance.caps[dataset.collection])
    weight = counted * balance.setting_weights.get(variant.setting, 1.0)
    if variant.inverted:
        weight *= balance.inversion_weights.get(dataset.collection, 1.0)
    return weight
