r"""Template lists of somebody else's, laid over the cards: a folder of TOML files.

    serves = ["arc_easy", "arc_challenge"]  # datasets, or families of datasets

    [[template]]  # as in a card; [[inverted]] likewise
    id = "flan2022:zs_opt:0"
    settings = ["zs_opt"]
    input = "{question}\n\n{options}"
    target = "{answer}"

A list takes the place of the card's list of that name; the other one stays as it is. The templates
have to be ones that can be filled, and there has to be one for every setting; how many there are,
and how they are worded, is up to who wrote them.
"""

import dataclasses
import pathlib
from collections.abc import Collection, Mapping

from flan_tasks import card_checks, card_schema, cards
from flan_tasks.errors import CardError
from flan_tasks.spec import Dataset


def apply(datasets: Mapping[str, Dataset], folder: str | pathlib.Path) -> dict[str, Dataset]:
    """The datasets, those that a file of the folder serves with its templates.

    Raises:
      CardError: the folder holds no overlay, a file is at fault, or two serve the same dataset.
    """
    paths = sorted(pathlib.Path(folder).expanduser().glob("*.toml"))
    if not paths:
        raise CardError(
            "there is no .toml file",
            where=f"FLAN_TEMPLATES={folder}",
            remedy="Name a folder of template lists, such as tools/import_templates.py makes.",
        )
    changed: dict[str, Dataset] = {}
    for path in paths:
        for dataset in _changed(path, datasets):
            if dataset.name in changed:
                raise CardError(
                    f"another file serves {dataset.name!r} too",
                    where=f"{path} serves",
                    remedy="Name it in one file.",
                )
            changed[dataset.name] = dataset
    return {**datasets, **changed}


def _changed(path: pathlib.Path, datasets: Mapping[str, Dataset]) -> list[Dataset]:
    """The datasets that a file serves, with its templates."""
    lists = cards.read_toml(path)
    card_schema.check(lists, card_schema.OVERLAY, str(path))
    templates = cards.template_list(lists, "template", path)
    inverted = cards.template_list(lists, "inverted", path)
    changed = []
    for dataset in _served(lists["serves"], datasets, path):
        dataset = dataclasses.replace(
            dataset,
            templates=templates or dataset.templates,
            inverted=inverted or dataset.inverted,
        )
        card_checks.check_templates(dataset, str(path))
        changed.append(dataset)
    return changed


def _served(
    names: Collection[str], datasets: Mapping[str, Dataset], path: pathlib.Path
) -> list[Dataset]:
    served = [each for each in datasets.values() if each.name in names or each.family in names]
    found = {name for each in served for name in (each.name, each.family)}
    for name in names:
        if name not in found:
            raise CardError(
                f"there is no dataset {name!r}",
                where=f"{path} serves",
                remedy="Name datasets, or families as their cards are called.",
            )
    return served
