"""The sample rows of every card, cleaned and rendered."""

import dataclasses
import functools
import json
import pathlib
import re

import pytest

import flan_tasks
from flan_tasks import catalog, clean, render
from flan_tasks.spec import Dataset, Template, Variant
from flan_tasks.variants import VariantPipeline

PACKAGE = pathlib.Path(flan_tasks.__file__).parent


def samples_file(dataset: Dataset) -> pathlib.Path:
    row_name = dataset.constants.get("task_name")
    folder = PACKAGE / "samples" / (dataset.family if row_name else "")
    return folder / f"{row_name or dataset.name}.jsonl"


# Of a table's datasets only some have samples; every other dataset has.
DATASETS = [
    dataset
    for dataset in catalog.load().values()
    if not dataset.constants or samples_file(dataset).is_file()
]

each_dataset = pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)


def samples(dataset: Dataset) -> list[dict]:
    return [json.loads(line) for line in samples_file(dataset).read_text("utf-8").splitlines()]


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


def answered(dataset: Dataset, row: dict, style: render.Style | None) -> render.AnsweredRow:
    return render.answered({**dataset.constants, **row}, dataset, style)


def style_of(dataset: Dataset, variant: Variant, number: int) -> render.Style | None:
    """One of the styles that a task may draw, another for each number; None if it draws none."""
    styles = VariantPipeline(dataset, variant).styles
    return styles[number * 37 % len(styles)] if styles else None


def prompts(dataset: Dataset):
    """Every sample in every template of every variant, as (variant, template, row, filled)."""
    for variant in dataset.variants:
        for number, fields in enumerate(usable(dataset)):
            row = answered(dataset, fields, style_of(dataset, variant, number))
            for template in templates_for(dataset, variant, row):
                if render.is_complete(template, row.slots):
                    yield variant, template, row, render.fill(template, row)


def templates_for(
    dataset: Dataset, variant: Variant, row: render.AnsweredRow
) -> tuple[Template, ...]:
    """The templates that a row can be asked with: a row without options has none to list."""
    listed = variant.options and ("options" in row.slots or not dataset.answer.has_options)
    return dataset.templates_of(dataclasses.replace(variant, options=listed))


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
