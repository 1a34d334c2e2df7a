"""What `inspect dataset` shows: examples as training sees them, taken apart again."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from flan_tasks import catalog, draws, parts, sources, store
from flan_tasks.errors import CardError, FlanError
from flan_tasks.parts import Part
from flan_tasks.prompts import Example, Lengths, PromptStream
from flan_tasks.spec import Dataset, Variant
from flan_tasks.variants import OpenSplit, VariantPipeline

# What the papers train with: so many exemplars are shown as fit.
LENGTHS = Lengths(inputs=2048, targets=512)
# For each example asked for, so many rows are tried: some cannot be asked about, or are too long.
_ROWS_TRIED = 50


@dataclasses.dataclass(frozen=True)
class Shown:
    """An example, and where each stretch of its prompt and of its target comes from."""

    example: Example
    prompt: Sequence[Part]
    target: Sequence[Part]


@dataclasses.dataclass(frozen=True)
class Group:
    """The examples of a task; `left_out` rows were passed over."""

    task: str
    shown: Sequence[Shown]
    left_out: int

    @property
    def note(self) -> str:
        """Why rows were passed over, for people to read."""
        return f"rows passed over: {self.left_out} (too long, or without a field asked for)"


@dataclasses.dataclass(frozen=True)
class Rows:
    """Which rows are shown: the first `count` of a split in the order that the seed draws."""

    split: str
    count: int
    seed: int


def named(name: str) -> tuple[Dataset, Sequence[Variant]]:
    """The dataset of that name with its variants; or a task's dataset with its one variant.

    Raises:
      CardError: there is neither.
    """
    for dataset in catalog.load().values():
        for variant in dataset.variants:
            if name == f"{dataset.name}_{variant.name}":
                return dataset, [variant]
    dataset = catalog.get(name)
    return dataset, dataset.variants


def chosen(
    dataset: Dataset, variants: Sequence[Variant], settings: Sequence[str] | None
) -> Sequence[Variant]:
    """Those of the variants that are asked for by name; None: all.

    Raises:
      CardError: one is not among them.
    """
    names = [variant.name for variant in variants]
    for setting in settings or ():
        if setting not in names:
            raise CardError(
                f"there is no {setting!r} to show",
                where=f"dataset {dataset.name}",
                remedy=f"There are: {', '.join(names)}.",
            )
    return [variant for variant in variants if settings is None or variant.name in settings]


def check_at_hand(dataset: Dataset, splits: Iterable[str]) -> None:
    """Sees to it that rows are prepared, or can be without downloading anything.

    Raises:
      FlanError: they are not, or cannot be; says what to do.
    """
    for split in splits:
        store.find(dataset, split, sources.settings(), fetch=False)


def of_variants(dataset: Dataset, variants: Sequence[Variant], rows: Rows) -> Iterator[Group]:
    """Each variant on the same rows."""
    for variant in variants:
        yield _group(VariantPipeline(dataset, variant), rows)


def of_template(
    dataset: Dataset, variants: Sequence[Variant], template: str, rows: Rows
) -> Iterator[Group]:
    """Each variant that has the template, in this template.

    Args:
      dataset: the dataset.
      variants: the variants to look at.
      template: its id, as provenance has it ("bool_q/3", "bool_q/inverted/0") or without the name.
      rows: which rows.

    Raises:
      CardError: there is no such template.
    """
    wanted = template.removeprefix(f"{dataset.family}/")
    ids = [*(f"{each.id}" for each in dataset.templates)]
    ids += [f"inverted/{each.id}" for each in dataset.inverted]
    if wanted not in ids:
        raise CardError(
            f"there is no template {template!r}",
            where=f"dataset {dataset.name}",
            remedy=f"There are: {', '.join(ids)}.",
        )
    inverted = wanted.startswith("inverted/")
    for variant in variants:
        if variant.inverted == inverted:
            yield _group(_in_template(dataset, variant, wanted.removeprefix("inverted/")), rows)


def of_all_templates(dataset: Dataset, variants: Sequence[Variant], rows: Rows) -> Iterator[Group]:
    """Each template once, on the first row that it can ask about, in the first variant with it."""
    one_row = dataclasses.replace(rows, count=1)
    for inverted in (False, True):
        for variant in [each for each in variants if each.inverted == inverted][:1]:
            groups = [
                _group(_in_template(dataset, variant, template.id), one_row)
                for template in dataset.templates_of(variant)
            ]
            shown = [each for group in groups for each in group.shown]
            yield Group(groups[0].task, shown, sum(group.left_out for group in groups))


def _in_template(dataset: Dataset, variant: Variant, template: str) -> VariantPipeline:
    """The task as if it had this template only; whatever else is drawn stays the same."""
    forward, inverted = (
        tuple(each for each in templates if each.id == template)
        for templates in (dataset.templates, dataset.inverted)
    )
    only = dataclasses.replace(dataset, templates=forward, inverted=inverted)
    return VariantPipeline(only, variant)


def _group(pipeline: VariantPipeline, rows: Rows) -> Group:
    stream = PromptStream(
        [pipeline],
        None,
        split=rows.split,
        shuffle=False,
        seed=rows.seed,
        lengths=LENGTHS,
        num_epochs=1,
        prepare_missing=True,
    )
    rows_of = pipeline.open(rows.split, sources.settings())
    order = _drawn(pipeline.dataset, rows_of.queries.num_rows, rows)
    shown: list[Shown] = []
    tried = 0
    while len(shown) < rows.count and tried < len(order):
        (example,) = stream.examples(order[tried : tried + 1])
        tried += 1
        if example is not None:
            shown.append(taken_apart(example, rows_of))
    return Group(pipeline.name, shown, tried - len(shown))


def _drawn(dataset: Dataset, num_rows: int, rows: Rows) -> np.ndarray:
    """The rows to try, int64 [n]; the same for every variant."""
    tried = np.arange(min(rows.count * _ROWS_TRIED, num_rows))
    return draws.permute(tried, num_rows, rows.seed, draws.name_key(dataset.name))


def taken_apart(example: Example, rows_of: OpenSplit) -> Shown:
    """The example made once more, from its provenance, as a draft that still has its parts."""
    pipeline = example.task
    ids = [template.id for template in pipeline.templates]
    draft = pipeline.draft(
        rows_of,
        example.row,
        start=ids.index(example.template.rpartition("/")[2]),
        style=next((each for each in pipeline.styles if each.name == example.style), None),
        num_shots=len(example.exemplars),
        shot_rows=example.exemplars,
    )
    assert draft is not None  # it was drafted before
    prompt = parts.of_prompt(draft.prompt, len(example.exemplars))
    if "".join(part.text for part in prompt) != example.inputs_pretokenized:
        raise FlanError(
            "the prompt cannot be made again from its provenance",
            where=f"task {pipeline.name}, row {example.row}",
            remedy="Prepare the dataset again: its rows changed in between.",
        )
    return Shown(example, prompt, parts.of_target(draft.prompt.asked))
