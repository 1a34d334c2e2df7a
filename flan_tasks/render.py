"""From a row's fields to text: filling a template, plainly.

Plain Python, called on a batch of rows at a time: 250,000 fillings a second on one core, far more
than a tokenizer takes.
"""

import dataclasses
import functools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from flan_tasks.options import OptionStyle
from flan_tasks.speakers import SpeakerStyle
from flan_tasks.spec import ANSWER_SLOT, OPTIONS_SLOT, Answer, Dataset, Template, slots

# What a text is drawn to look like: a list of options, or a dialog.
Style = OptionStyle | SpeakerStyle

# A row's fields: text, an integer (a label) or a list of texts.
Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class AnsweredRow:
    """A row's slots under one style, and what its answer may be.

    Attributes:
      slots: slot -> text; `answer` and, where the row has options, `options` among them.
      references: every acceptable answer.
      style: name of the style of its options or of its dialog, "" without either.
      turns: the slot of its dialog, "" without one.
    """

    slots: Mapping[str, str]
    references: tuple[str, ...]
    style: str = ""
    turns: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Filled:
    """A template with its slots filled.

    Attributes:
      preamble, input, target: the template's parts.
      template: the template.
      row: what fills its slots.
      source: the row's identity.
    """

    preamble: str
    input: str
    target: str
    template: Template
    row: AnsweredRow
    source: Hashable = None

    def key(self, slot: str) -> Hashable:
        """The identity of the text in a slot: the style shapes some, the row all."""
        if slot in (ANSWER_SLOT, OPTIONS_SLOT, self.row.turns):
            return self.source, slot, self.row.style
        return self.source, slot


def answered(row: Row, dataset: Dataset, style: Style | None) -> AnsweredRow:
    """The slots of a row of the dataset's.

    With a style of options, they are listed and the answer is put in that style; else the answer is
    the right option's text. A dialog is written in its style of speakers.
    """
    texts = {name: str(value) for name, value in row.items() if not isinstance(value, list)}
    if isinstance(style, SpeakerStyle):
        texts[dataset.turns] = style.text(row[dataset.turns])
        return _answered(texts, row[dataset.answer.text], row, dataset, style)
    answer = dataset.answer
    choices = tuple(row[answer.options_from]) if answer.options_from else answer.options
    if not style or not choices:
        right = choices[int(row[answer.label])] if answer.label else texts[answer.text]
        return _answered(texts, right, row, dataset, None)
    index = int(row[answer.label]) if answer.label else choices.index(texts[answer.text])
    texts[OPTIONS_SLOT] = style.listing(choices)
    return _answered(texts, style.answer(choices, index), row, dataset, style)


def _answered(
    texts: dict[str, str], right: str, row: Row, dataset: Dataset, style: Style | None
) -> AnsweredRow:
    texts[ANSWER_SLOT] = right
    references = dataset.answer.references
    return AnsweredRow(
        texts,
        tuple(row[references]) if references else (right,),
        style.name if style else "",
        dataset.turns,
    )


def choose_template(
    templates: Sequence[Template], texts: Mapping[str, str], start: int
) -> Template | None:
    """The first template from `start` on, around the list, that leaves no slot of the row empty.

    A row without a title, say, is asked with the templates that do not speak of one. None when
    every template needs a slot that the row leaves empty.
    """
    for offset in range(len(templates)):
        template = templates[(start + offset) % len(templates)]
        if is_complete(template, texts):
            return template
    return None


def is_complete(template: Template, texts: Mapping[str, str]) -> bool:
    """Whether every slot of the template has text in this row."""
    return all(texts.get(name) for name in _template_slots(template))


@functools.cache
def asks_for(answer: Answer, template: Template) -> bool:
    """Whether the template's target holds the answer."""
    return not {ANSWER_SLOT, answer.text}.isdisjoint(slots(template.target))


def lists_options(template: Template) -> bool:
    """Whether the template, its optional parts resolved, lists the options."""
    return OPTIONS_SLOT in _template_slots(template)


def fill(template: Template, row: AnsweredRow, source: Hashable = None) -> Filled:
    """The template's parts with the row's texts in their slots; `source` identifies the row."""
    return Filled(
        template.preamble.format_map(row.slots),
        template.input.format_map(row.slots),
        template.target.format_map(row.slots),
        template,
        row,
        source,
    )


@functools.cache
def _template_slots(template: Template) -> frozenset[str]:
    return frozenset(slots(template.preamble) + slots(template.input) + slots(template.target))
