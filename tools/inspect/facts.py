"""The head of what `inspect dataset` shows: what the card says, and what is at hand."""

import dataclasses
from collections.abc import Iterator

from flan_tasks import sources, store
from flan_tasks.errors import FlanError
from flan_tasks.sources import Availability
from flan_tasks.spec import ANSWER_SLOT, OPTIONS_SLOT, Dataset, slots


@dataclasses.dataclass(frozen=True)
class SplitFacts:
    """A split: its rows by the card and, where it is prepared, in the store."""

    name: str
    instruction: str
    num_examples: int | None
    prepared: str


def splits(dataset: Dataset) -> Iterator[SplitFacts]:
    """Each split of the card."""
    for name, instruction in dataset.splits.items():
        yield SplitFacts(
            name, instruction, dataset.num_examples.get(name), _prepared(dataset, name)
        )


def card(dataset: Dataset) -> dict[str, str]:
    """What a row is made of, how it is answered and scored, and in how many ways it is asked."""
    answer = dataset.answer
    inverted = f" and {len(dataset.inverted)} inverted" if dataset.inverted else ""
    facts = {
        "fields": ", ".join(dataset.fields),
        "answer": answer.text or answer.label,
        "options": answer.options_from or " | ".join(answer.options),
        "references": answer.references,
        "cleaning": dataset.clean,
        "metrics": ", ".join(dataset.metrics),
        "templates": f"{len(dataset.templates)}{inverted}",
    }
    return {key: value for key, value in facts.items() if value}


def places(dataset: Dataset) -> list[Availability]:
    """Each kind of source there is, in use or not, and whether it has the dataset at hand."""
    every_kind = dataclasses.replace(sources.settings(), use=sources.KINDS)
    return sources.availability(dataset, every_kind)


def fields(dataset: Dataset) -> list[str]:
    """The fields that templates show, in the order of the card: what gets a color each."""
    texts = [
        text
        for template in (*dataset.templates, *dataset.inverted)
        for text in (template.preamble, template.input, template.target)
    ]
    used = {slot for text in texts for slot in slots(text)} - {ANSWER_SLOT, OPTIONS_SLOT}
    return [name for name in dict.fromkeys([*dataset.fields, *dataset.constants]) if name in used]


def _prepared(dataset: Dataset, split: str) -> str:
    try:
        found = store.find(dataset, split, sources.settings(), fetch=False)
    except FlanError:
        return "not at hand"
    if not isinstance(found, store.PreparedSplit):
        return "not prepared yet"
    drops = "".join(f", {count:,} dropped: {reason}" for reason, count in found.drops.items())
    return f"{found.num_rows:,} prepared{drops} (from {found.origin})"
