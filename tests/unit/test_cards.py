"""What every card promises: run over all of them, on their own sample rows."""

import itertools
import json
import re
from collections import Counter

from card_samples import (
    all_templates,
    answered,
    cleaned,
    each_dataset,
    prompts,
    style_of,
    templates_for,
    usable,
    words,
)

from flan_tasks import render
from flan_tasks.sources import HELD_OUT_SAMPLES
from flan_tasks.spec import Dataset, slots

OPTION_WORDS = re.compile(r"\b(options?|choices?|choose|pick|select|alternatives?)\b", re.I)


# The card


@each_dataset
def test_a_card_says_where_its_rows_come_from_and_under_what_terms(dataset):
    assert dataset.num_examples.get("train", 0) > 0 or "train" not in dataset.splits
    assert dataset.homepage.startswith("http")
    assert len(dataset.license) > 2
    assert len(dataset.citation) > 20


# Templates


@each_dataset
def test_no_two_templates_have_the_same_words(dataset):
    wordings = [tuple(words(t.preamble + t.input)) for t in all_templates(dataset)]
    assert [wording for wording, count in Counter(wordings).items() if count > 1] == []


@each_dataset
def test_instructions_differ_in_more_than_a_word_or_two(dataset):
    instructions = [
        set(words(re.sub(r"\{\w+\}", "", t.preamble + t.input))) for t in dataset.templates
    ]
    for index, first in enumerate(instructions):
        for second in instructions[:index]:
            if len(first) > 3 and len(second) > 3:
                assert len(first & second) / len(first | second) < 0.6, (first, second)


@each_dataset
def test_templates_differ_in_the_order_of_their_parts(dataset):
    """Where there are several fields to show, or an instruction beside one."""
    orders = set()
    for template in dataset.templates:
        text = template.preamble + template.without_options().input
        starts_with_field = text.startswith("{")
        orders.add((slots(text), starts_with_field, text.endswith("}")))
    assert len(orders) >= 3, orders


@each_dataset
def test_templates_are_tidy(dataset):
    for template in all_templates(dataset):
        layout = template.exemplar
        for text in (template.preamble, template.input, template.target):
            assert "  " not in text
            assert " \n" not in text
            assert "\n\n\n\n" not in text
        assert template.input == template.input.strip()
        assert template.target == template.target.strip()
        assert not template.preamble or template.preamble.endswith("\n\n")
        assert layout.separator.startswith("\n\n")
        assert layout.target_prefix.startswith("\n")
        assert "{" not in layout.input_prefix + layout.target_prefix + layout.separator


@each_dataset
def test_an_input_reads_complete_without_what_follows_it(dataset):
    # Zero-shot prompts end with the input: a label that announces the answer would be left hanging.
    for template in all_templates(dataset):
        bare = template.without_options().input
        assert not bare.endswith((":", "=>", "->", ",")), bare
        assert not re.search(r"(^|\n)(Q|A): ", bare), bare


@each_dataset
def test_forward_inputs_do_not_hold_the_answer_and_targets_do(dataset):
    hidden = {"answer", dataset.answer.text, dataset.answer.label, dataset.answer.references}
    for template in dataset.templates:
        shown = template.with_options().preamble + template.with_options().input
        assert not hidden & set(slots(shown))
        assert {"answer", dataset.answer.text} & set(slots(template.target))


@each_dataset
def test_options_are_spoken_of_only_in_the_optional_part(dataset):
    for template in all_templates(dataset):
        bare = template.without_options()
        assert not OPTION_WORDS.search(bare.preamble + bare.input), bare.input
        marked = "[[" in template.input + template.preamble
        assert marked == (dataset.answer.has_options and template in dataset.templates)
    for template in dataset.templates:
        bare = template.without_options()
        plain = words(re.sub(r"\{\w+\}", "", bare.preamble + bare.input))
        for option in dataset.answer.options:
            assert option.lower() not in plain, (option, bare.input)


@each_dataset
def test_few_shot_formats_vary(dataset):
    assert len({template.exemplar for template in dataset.templates}) >= 6


@each_dataset
def test_inverted_targets_are_not_in_the_input(dataset):
    for template in dataset.inverted:
        asked = set(slots(template.target))
        assert asked
        assert not asked & set(slots(template.preamble + template.input))


# Samples


@each_dataset
def test_samples_are_enough_and_no_two_alike(dataset):
    rows = usable(dataset)
    assert len(rows) >= 8 + HELD_OUT_SAMPLES - 1
    assert len({json.dumps(row, sort_keys=True) for row in rows}) == len(rows)
    # Held-out rows are asked for by number: none of them may be one that cleaning drops.
    assert None not in cleaned(dataset.name)[-HELD_OUT_SAMPLES:]


@each_dataset
def test_held_out_samples_are_like_the_others(dataset):
    lengths = [len(str(row)) for row in usable(dataset)]
    train, held_out = lengths[:-HELD_OUT_SAMPLES], lengths[-HELD_OUT_SAMPLES:]
    assert max(held_out) <= max(train)


@each_dataset
def test_every_label_has_a_sample(dataset):
    if not dataset.answer.label:
        return
    found = Counter(int(row[dataset.answer.label]) for row in usable(dataset))
    num_labels = len(dataset.answer.options) or 2
    assert len(found) >= min(num_labels, 6), found


@each_dataset
def test_every_sample_can_be_asked_in_several_ways(dataset):
    for fields in usable(dataset):
        row = answered(dataset, fields, style_of(dataset, dataset.variants[0], 0))
        for templates in filter(None, (dataset.templates, dataset.inverted)):
            listed = "options" in row.slots
            plain = [t.with_options() if listed else t.without_options() for t in templates]
            complete = [t for t in plain if render.is_complete(t, row.slots)]
            assert len(complete) >= len(templates) // 2


@each_dataset
def test_rendered_prompts_are_tidy(dataset):
    for variant, template, row, filled in prompts(dataset):
        prompt = filled.preamble + filled.input
        rows_own = any("  " in text for text in row.slots.values())  # code is indented
        assert filled.input and filled.target, template
        assert "[[" not in template.input and "]]" not in template.input
        assert "  " not in prompt or rows_own, (template, prompt)
        assert not re.search(r" [,.;?!](\s|$)", template.input), template
        if not variant.options:
            assert "{options}" not in template.input


@each_dataset
def test_another_answer_is_another_target_and_the_same_input(dataset):
    for fields in usable(dataset):
        for variant, number in itertools.product(dataset.variants, (0, 3)):
            style = style_of(dataset, variant, number)
            right = answered(dataset, fields, style)
            wrong = answered(dataset, with_another_answer(dataset, fields), style)
            for template in () if variant.inverted else templates_for(dataset, variant, right):
                if render.is_complete(template, right.slots):
                    before, after = render.fill(template, right), render.fill(template, wrong)
                    assert before.target != after.target
                    assert (before.preamble, before.input) == (after.preamble, after.input)


def with_another_answer(dataset: Dataset, fields: dict) -> dict:
    answer = dataset.answer
    if answer.text:
        others = [
            each for each in fields.get(answer.options_from, ()) if each != fields[answer.text]
        ]
        return {**fields, answer.text: others[0] if others else "quite another answer"}
    choices = fields[answer.options_from] if answer.options_from else answer.options
    return {**fields, answer.label: (int(fields[answer.label]) + 1) % len(choices)}
