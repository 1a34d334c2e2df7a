"""The datasets there are, by name.

FLAN_TEMPLATES in the environment names a folder of template lists that take the place of the
cards' own (see `overlay`).
"""

import difflib
import functools
import os
import pathlib
import types
from collections.abc import Collection, Mapping

from flan_tasks import overlay
from flan_tasks.cards import load_card
from flan_tasks.errors import CardError
from flan_tasks.spec import Dataset

__all__ = ["get", "load", "load_card", "named"]

_CARDS = pathlib.Path(__file__).parent / "datasets"


@functools.cache
def load() -> Mapping[str, Dataset]:
    """Every dataset of the package's cards, in alphabetical order.

    Raises:
      CardError: a card, template list, table or overlay is at fault; names the file and the key.
    """
    datasets: dict[str, Dataset] = {}
    for path in sorted(_CARDS.glob("*.toml")):
        for dataset in load_card(path):
            first = datasets.setdefault(dataset.name, dataset)
            if first is not dataset:
                raise CardError(
                    f"dataset {dataset.name!r} is there twice",
                    where=str(path),
                    remedy=f"Rename it here or in the card of {first.family!r}.",
                )
    if folder := os.environ.get("FLAN_TEMPLATES"):
        datasets = overlay.apply(datasets, folder)
    return types.MappingProxyType(dict(sorted(datasets.items())))


def get(name: str) -> Dataset:
    """The dataset of that name.

    Raises:
      CardError: there is none; suggests the names that come near.
    """
    datasets = load()
    if name not in datasets:
        raise _unknown(name, datasets)
    return datasets[name]


def named(name: str) -> list[Dataset]:
    """The dataset of that name, or all datasets of the family of that name.

    Raises:
      CardError: there is neither; suggests the names that come near.
    """
    datasets = load()
    found = [dataset for dataset in datasets.values() if name in (dataset.name, dataset.family)]
    if not found:
        families = (dataset.family for dataset in datasets.values())
        raise _unknown(name, dict.fromkeys([*families, *datasets]))
    return found


def _unknown(name: str, known: Collection[str]) -> CardError:
    near = difflib.get_close_matches(name, known, n=3)
    names = near or [*list(known)[:8], f"… ({len(known)} in all)"]
    return CardError(
        f"there is no dataset {name!r}",
        where="flan_tasks/datasets",
        remedy=f"{'Did you mean' if near else 'There are'}: {', '.join(names)}",
    )
