"""Which stretch of a prompt comes from where: the template's words, a field, an exemplar, a target.

For showing prompts to people. Joined, the parts are the text, to the character.
"""

import dataclasses
import string
from collections.abc import Iterable, Iterator

from flan_tasks.fewshot import FewShotPrompt
from flan_tasks.render import AnsweredRow, Filled
from flan_tasks.spec import ANSWER_SLOT, OPTIONS_SLOT


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a prompt or of a target.

    Attributes:
      text: the stretch.
      slot: the slot that it fills, "" for the template's own words.
      exemplar: number of the exemplar that it stands in, None outside.
      is_target: whether it belongs to what is answered, an exemplar's answer included.
    """

    text: str
    slot: str = ""
    exemplar: int | None = None
    is_target: bool = False

    @property
    def label(self) -> str:
        """What the stretch is: "words", "options", "answer" or "field"."""
        if not self.slot:
            return "words"
        return self.slot if self.slot in (ANSWER_SLOT, OPTIONS_SLOT) else "field"


def of_prompt(prompt: FewShotPrompt, num_exemplars: int) -> list[Part]:
    r"""The parts of a prompt with its first exemplars; joined: `prompt.text(num_exemplars)`.

    >>> [(part.text, part.slot) for part in of_prompt(prompt, 0)]
    [('Is this true? ', ''), ('Snow is white.', 'statement'), ('\nAnswer:', '')]
    """
    asked = prompt.asked
    parts = list(_filled(asked.template.preamble, asked.row))
    for number, shot in enumerate(prompt.shots[:num_exemplars]):
        parts += _of_exemplar(shot, number)
    # A zero-shot query stands without the exemplars' prefixes.
    bare = prompt.query == asked.input
    prefix = "" if bare else asked.template.exemplar.input_prefix
    parts.append(Part(prefix))
    parts += _filled(asked.template.input, asked.row)
    parts.append(Part(prompt.query[len(prefix) + len(asked.input) :]))
    return _merged(parts)


def of_target(asked: Filled) -> list[Part]:
    """The parts of a target; joined they are `asked.target`."""
    return _merged(_filled(asked.template.target, asked.row, target=True))


def of_template(text: str) -> list[Part]:
    """The parts of a template's text, each slot as "{slot}"."""
    return _merged(_parsed(text))


def _of_exemplar(shot: Filled, number: int) -> Iterator[Part]:
    layout = shot.template.exemplar
    yield Part(layout.input_prefix, exemplar=number)
    yield from _filled(shot.template.input, shot.row, number)
    yield Part(layout.target_prefix, exemplar=number)
    yield from _filled(shot.template.target, shot.row, number, target=True)
    yield Part(layout.separator, exemplar=number)


def _filled(
    text: str, row: AnsweredRow, exemplar: int | None = None, *, target: bool = False
) -> Iterator[Part]:
    for part in _parsed(text):
        filled = row.slots[part.slot] if part.slot else part.text
        yield Part(filled, part.slot, exemplar, target)


def _parsed(text: str) -> Iterator[Part]:
    for words, slot, _, _ in string.Formatter().parse(text):
        yield Part(words)
        if slot:
            yield Part(f"{{{slot}}}", slot)


def _merged(parts: Iterable[Part]) -> list[Part]:
    """The parts that are not empty, with neighboring words of one place in one piece."""
    merged: list[Part] = []
    for part in parts:
        last = merged[-1] if merged else None
        if last and not part.slot and dataclasses.replace(last, text=part.text) == part:
            merged[-1] = dataclasses.replace(last, text=last.text + part.text)
        elif part.text:
            merged.append(part)
    return merged
