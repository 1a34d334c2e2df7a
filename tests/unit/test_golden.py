"""Every template rendered on a sample row, to be read: a card's change shows as a change of text.

After a change that is meant:  FLAN_WRITE_GOLDEN=1 pytest tests/unit/test_golden.py
"""

import os
import pathlib

import pytest
from card_samples import DATASETS, answered, each_dataset, templates_for, usable

from flan_tasks import fewshot, render
from flan_tasks.variants import VariantPipeline

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
NUM_SHOTS = 2


def rendered(dataset) -> str:
    """All templates of the dataset, each with its own row and, where it lists options, style."""
    return "\n".join(_renderings(dataset))


def _renderings(dataset):
    rows = usable(dataset)
    forward = dataset.variants[0]
    for variant in [forward, *[v for v in dataset.variants if v.inverted and not v.few_shot][:1]]:
        styles = VariantPipeline(dataset, variant).styles
        for number in range(len(dataset.templates_of(variant))):
            style = styles[(number * 397 + 11) % len(styles)] if styles else None
            shown = [answered(dataset, row, style) for row in rows]
            shown = shown[number % len(rows) :] + shown[: number % len(rows)]
            template = templates_for(dataset, variant, shown[0])[number]
            complete = [row for row in shown if render.is_complete(template, row.slots)]
            filled = [render.fill(template, row) for row in complete]
            yield from _shown(f"{variant.name} {template.id}", filled[0])
            if number == 0:
                prompt = fewshot.lay_out(filled[0], filled[1 : 1 + NUM_SHOTS])
                yield f"===== {variant.name} {template.id}, few-shot\n{prompt.text(NUM_SHOTS)}"
                yield f"----- target\n{filled[0].target}\n"


def _shown(title, filled):
    yield f"===== {title}\n{filled.preamble}{filled.input}"
    yield f"----- target\n{filled.target}\n"


@each_dataset
def test_prompts_read_as_they_did(dataset):
    path = FOLDER / f"{dataset.name}.txt"
    text = rendered(dataset)
    if os.environ.get("FLAN_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    assert path.is_file(), f"no {path}: see the head of this module"
    assert text == path.read_text("utf-8")


def test_there_is_no_rendering_of_a_dataset_that_is_gone():
    assert {path.stem for path in FOLDER.glob("*.txt")} == {dataset.name for dataset in DATASETS}


@pytest.mark.parametrize("setting", ["with", "without"])
def test_options_come_and_go(setting):
    for dataset in DATASETS:
        if dataset.answer.has_options:
            asked = dataset.templates[0]
            text = (asked.with_options() if setting == "with" else asked.without_options()).input
            assert ("{options}" in text) == (setting == "with")
