"""The pipeline written out for one example at a time: slow, and plain to see.

What the batched pipeline must equal, byte for byte. Only the draws, the styles of options and the
tokenizer are shared.
"""

import dataclasses
import re

from flan_tasks import draws
from flan_tasks.features import VOCABULARY


@dataclasses.dataclass
class PlainExample:
    inputs_text: str
    targets_text: str
    inputs: list
    targets: list
    exemplars: list


def plain_example(task, rows, shot_rows, index, *, seed, inputs_length, targets_length):
    """The example of a task at an index; None if it has to be left out.

    `rows` are those of the split, `shot_rows` those that exemplars come from: lists of rows, the
    same list where exemplars come from the split itself.
    """
    row = index % len(rows)
    key = draws.hash64(seed, draws.name_key(task.name), index)
    style = task.styles[int(draws.below(len(task.styles), key, 1))] if task.styles else None
    slots = slots_of(task.dataset, rows[row], style)
    if "options" in slots or not task.dataset.answer.has_options:
        templates = task.dataset.templates_of(task.variant)
    else:
        style = task.dataset.turns and style
        templates = task.dataset.templates_of(dataclasses.replace(task.variant, options=False))
    start = int(draws.below(len(templates), key, 0))
    usable = [t for t in templates[start:] + templates[:start] if is_complete(t, slots)]
    if not usable:
        return None
    template = usable[0]

    shots = {}
    if task.variant.few_shot:
        drawn = draws.hash64(key, 2)
        wanted = 1 + int(draws.below(4, drawn, 0))
        for number in drawn_rows(row, drawn, len(shot_rows), rows is shot_rows):
            shot = slots_of(task.dataset, shot_rows[number], style)
            repeats = fill(template.input, shot) == fill(template.input, slots)
            if task.variant.inverted:
                repeats &= fill(template.target, shot) == fill(template.target, slots)
            if is_complete(template, shot) and not repeats and len(shots) < wanted:
                shots[number] = shot

    def text(num_shots):
        if not task.variant.few_shot:
            return fill(template.preamble, slots) + fill(template.input, slots)
        layout = template.exemplar
        parts = [fill(template.preamble, slots)]
        for shot in list(shots.values())[:num_shots]:
            parts += [layout.input_prefix, fill(template.input, shot), layout.target_prefix]
            parts += [fill(template.target, shot), layout.separator]
        parts += [layout.input_prefix, fill(template.input, slots), layout.target_prefix.rstrip()]
        return "".join(parts)

    num_shots = number_that_fits(template, slots, list(shots.values()), text, inputs_length - 1)
    eos = VOCABULARY.eos_id
    target = fill(template.target, slots)
    inputs, targets = [*VOCABULARY.encode(text(num_shots)), eos], [*VOCABULARY.encode(target), eos]
    if len(inputs) > inputs_length or len(targets) > targets_length:
        return None
    return PlainExample(text(num_shots), target, inputs, targets, list(shots)[:num_shots])


def number_that_fits(template, slots, shots, text, budget):
    number = len(shots)
    layout = template.exemplar
    if number and len(text(number).encode()) > 3 * budget:
        words = [layout.input_prefix, layout.target_prefix]
        room = budget - tokens_of(words, template.preamble + template.input, slots)
        number = 0
        for shot in shots:
            words = [layout.input_prefix, layout.target_prefix, layout.separator]
            room -= tokens_of(words, template.input + template.target, shot)
            if room < 0:
                break
            number += 1
    while number and len(VOCABULARY.encode(text(number))) > budget:
        number -= 1
    return number


def tokens_of(words, format_text, slots):
    """Tokens of a template's own words and of what fills its slots."""
    names = re.findall(r"\{(\w+)\}", format_text)
    words[1:1] = [fill(format_text, dict.fromkeys(names, ""))]
    pieces = ["".join(words), *(slots[name] for name in names)]
    return sum(len(VOCABULARY.encode(piece)) for piece in pieces)


def drawn_rows(row, key, num_rows, same_split):
    """Rows other than the query's own: the most that are shown, and two to spare."""
    candidates = num_rows - 1 if same_split else num_rows
    count = min(4 + 2, candidates)
    rows = [int(draws.permute(turn, candidates, key, 1)) for turn in range(count)]
    return [other + 1 if same_split and other >= row else other for other in rows]


def slots_of(dataset, row, style):
    """Slot -> text of a row under a style of options or of speakers."""
    fields = dict(dataset.constants) | row
    slots = {name: str(value) for name, value in fields.items() if not isinstance(value, list)}
    answer = dataset.answer
    choices = fields[answer.options_from] if answer.options_from else answer.options
    right = choices[int(fields[answer.label])] if answer.label else slots[answer.text]
    slots["answer"] = right
    if dataset.turns:
        slots[dataset.turns] = style.text(fields[dataset.turns])
    elif style and choices:
        slots["answer"] = style.answer(choices, choices.index(right))
        slots["options"] = style.listing(choices)
    return slots


def is_complete(template, slots):
    names = re.findall(r"\{(\w+)\}", template.preamble + template.input + template.target)
    return all(slots.get(name) for name in names)


def fill(format_text, slots):
    """The text with its slots filled, in one pass: a row's own braces stay."""

    def one(match):
        return {"{{": "{", "}}": "}"}.get(match[0]) or slots[match[1]]

    return re.sub(r"\{\{|\}\}|\{(\w+)\}", one, format_text)
