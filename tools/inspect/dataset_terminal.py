"""`inspect dataset` in the terminal."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

import facts
from examples import Group, Shown

from flan_tasks.parts import Part
from flan_tasks.spec import Dataset

# Colors of the terminal's own palette, readable on dark and on light ground.
_FIELD_COLORS = (36, 35, 34, 96, 95, 94)
_COLORS = {"words": 0, "options": 33, "answer": 32}
_TARGET, _FAINT, _BOLD = 32, 2, 1


class Terminal:
    """Lines of text for a dataset, colored or not, folded to a width."""

    def __init__(self, dataset: Dataset, *, width: int, color: bool):
        self._dataset = dataset
        self._width = width
        self._color = color
        self._fields = facts.fields(dataset)

    def head(self) -> Iterator[str]:
        """What the card says, what is at hand, and what the colors mean."""
        dataset = self._dataset
        languages = ", ".join(dataset.languages)
        yield self._paint(dataset.name, _BOLD)
        yield f"  {dataset.kind} · {dataset.collection} · {languages} · {dataset.license}"
        yield from (f"  {dataset.homepage}", f"  {dataset.citation}")
        for split in facts.splits(dataset):
            count = "?" if split.num_examples is None else f"{split.num_examples:,}"
            yield f"  {split.name:<12} {count:>10} rows = {split.instruction}; {split.prepared}"
        for place in facts.places(dataset):
            why = textwrap.shorten(place.why, self._width - 16, placeholder=" …")
            yield f"  {place.kind:<8} {'yes' if place.ok else 'no':<4} {why}"
        for key, value in facts.card(dataset).items():
            yield f"  {key}: {value}"
        if self._color:
            yield f"  colors: {self._legend()}"

    def group(self, group: Group) -> Iterator[str]:
        """The examples of a task."""
        yield ""
        yield self._paint(f"━━ {group.task} ".ljust(self._width, "━"), _BOLD)
        if group.left_out:
            yield group.note
        for shown in group.shown:
            yield from self._example(shown)

    def _example(self, shown: Shown) -> Iterator[str]:
        yield ""
        for line in textwrap.wrap(" · ".join(provenance(shown)), self._width):
            yield self._paint(line, _FAINT)
        for exemplar, cut in _folded(shown.prompt, self._width - 3):
            rail = " │ " if exemplar is None else f"{exemplar + 1}┊ "
            yield self._paint(rail, _FAINT) + self._colored(cut)
        for number, (_, cut) in enumerate(_folded(shown.target, self._width - 3)):
            yield ("   " if number else " → ") + self._colored(cut)
        if shown.example.references != (shown.example.targets_pretokenized,):
            yield self._paint(f"   references: {' | '.join(shown.example.references)}", _FAINT)

    def _colored(self, line: Iterable[Part]) -> str:
        return "".join(self._paint(part.text, self._color_of(part)) for part in line)

    def _color_of(self, part: Part) -> int:
        if part.is_target:
            return _TARGET
        if part.label == "field" and part.slot in self._fields:
            return _FIELD_COLORS[self._fields.index(part.slot) % len(_FIELD_COLORS)]
        return _COLORS.get(part.label, 0)

    def _legend(self) -> str:
        kinds = [Part("words"), *(Part(name, name) for name in self._fields)]
        kinds += [Part("options", "options"), Part("answer", "answer")]
        return "  ".join(self._colored([part]) for part in kinds)

    def _paint(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color and code and text else text


def provenance(shown: Shown) -> Iterator[str]:
    """Where an example comes from, and how long it is."""
    example = shown.example
    yield f"{example.split} row {example.row}"
    yield f"index {example.index}"
    yield f"template {example.template}"
    if example.style:
        yield f"style {example.style}"
    if example.task.variant.few_shot:
        yield f"exemplars rows {', '.join(map(str, example.exemplars)) or 'none'}"
    yield f"{len(example.inputs):,} + {len(example.targets):,} tokens"


def _folded(parts: Sequence[Part], width: int) -> Iterator[tuple[int | None, list[Part]]]:
    """The parts line by line, each after the number of the exemplar that it begins in, or None.

    Lines longer than `width` are broken at spaces where there are any.
    """
    start = 0
    for line in "".join(part.text for part in parts).split("\n"):
        for piece in re.finditer(rf"^$|.{{1,{width}}}$|.{{0,{width - 1}}} |.{{{width}}}", line):
            first, last = start + piece.start(), start + piece.end()
            begins = _cut(parts, first, first + 1)  # the line break of an empty line
            yield begins[0].exemplar if begins else None, _cut(parts, first, last)
        start += len(line) + 1


def _cut(parts: Sequence[Part], start: int, stop: int) -> list[Part]:
    """The parts of the characters from `start` to `stop`."""
    cut = []
    offset = 0
    for part in parts:
        text = part.text[max(0, start - offset) : max(0, stop - offset)]
        if text:
            cut.append(Part(text, part.slot, part.exemplar, part.is_target))
        offset += len(part.text)
    return cut
