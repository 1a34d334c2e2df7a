"""The sample rows of every card, cleaned and rendered."""

import functools
import json
import pathlib
import re

import pytest

import flan_tasks
from flan_tasks import catalog, clean, options, render
from flan_tasks.spec import Dataset, Template

PACKAGE = pathlib.Path(flan_tasks.__file__).parent
DATASETS = list(catalog.load().values())

each_dataset = pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)


def samples(dataset: Dataset) -> list[dict]:
    row_name = dataset.constants.get("task_name")
    folder = PACKAGE / "samples" / (dataset.family if row_name else "")
    lines = (folder / f"{row_name or dataset.name}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@functools.cache
def cleaned(dataset_name: str) -> list[dict | None]:
    """The sample rows' fields; None for a row that cleaning drops."""
    to_fields = clean.cleaner(catalog.get(dataset_name))
    rows = []
    for row in samples(catalog.get(dataset_name)):
        try:
            rows.append(to_fields(row))
        except clean.Drop:
            rows.append(None)
    return rows


def usable(dataset: Dataset) -> list[dict]:
    return [row for row in cleaned(dataset.name) if row is not None]


def all_templates(dataset: Dataset) -> list[Template]:
    return [*dataset.templates, *dataset.inverted]


def answered(dataset: Dataset, row: dict, style: options.OptionStyle | None) -> render.AnsweredRow:
    return render.answered({**dataset.constants, **row}, dataset.answer, style)


def prompts(dataset: Dataset):
    """Every sample in every template of every variant, as (variant, template, row, filled)."""
    for variant in dataset.variants:
        lists_options = variant.options and dataset.answer.has_options and not variant.inverted
        for number, fields in enumerate(usable(dataset)):
            style = options.STYLES[number * 37 % len(options.STYLES)] if lists_options else None
            row = answered(dataset, fields, style)
            for template in dataset.templates_of(variant):
                if render.is_complete(template, row.slots):
                    yield variant, template, row, render.fill(template, row)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
