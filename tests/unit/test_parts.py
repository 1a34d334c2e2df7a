"""Parts of prompts: joined they are the prompt, to the character, and each is what it says."""

from card_samples import answered, cleaned, each_dataset, style_of, usable

from flan_tasks import fewshot, parts, render
from flan_tasks.spec import Exemplar, Template

LAYOUT = Exemplar(input_prefix="Q: ", target_prefix="\nA: ", separator="\n\n--\n\n")
TEMPLATE = Template(
    "0", "{text} {{so}} {text}?", "{answer}.", preamble="Judge.\n\n", exemplar=LAYOUT
)


def filled(text, answer="yes"):
    row = render.AnsweredRow({"text": text, "answer": answer}, (answer,))
    return render.fill(TEMPLATE, row)


def shown(found):
    return [(part.text, part.slot, part.exemplar, part.is_target) for part in found]


def joined(found):
    return "".join(part.text for part in found)


def test_each_stretch_is_what_it_says():
    prompt = fewshot.lay_out(filled("b"), [filled("a", "no"), filled("left out")])
    assert shown(parts.of_prompt(prompt, 1)) == [
        ("Judge.\n\n", "", None, False),
        ("Q: ", "", 0, False),
        ("a", "text", 0, False),
        (" {so} ", "", 0, False),
        ("a", "text", 0, False),
        ("?\nA: ", "", 0, False),
        ("no", "answer", 0, True),
        (".", "", 0, True),
        ("\n\n--\n\n", "", 0, False),
        ("Q: ", "", None, False),
        ("b", "text", None, False),
        (" {so} ", "", None, False),
        ("b", "text", None, False),
        ("?\nA:", "", None, False),
    ]
    assert shown(parts.of_target(filled("b"))) == [
        ("yes", "answer", None, True),
        (".", "", None, True),
    ]


def test_a_zero_shot_prompt_has_no_prefixes():
    asked = filled("b")
    prompt = fewshot.FewShotPrompt(asked.preamble, (), asked.input, asked)
    assert joined(parts.of_prompt(prompt, 0)) == "Judge.\n\nb {so} b?"


def test_a_few_shot_prompt_that_has_lost_its_exemplars_keeps_its_prefixes():
    prompt = fewshot.lay_out(filled("b"), [])
    assert joined(parts.of_prompt(prompt, 0)) == "Judge.\n\nQ: b {so} b?\nA:"


def test_braces_in_a_field_are_no_slots():
    prompt = fewshot.lay_out(filled("{text} {{"), [filled("{answer}")])
    assert joined(parts.of_prompt(prompt, 1)) == prompt.text(1)


def test_a_template_is_shown_with_its_slots():
    found = parts.of_template("{text} or {{so}}?[[ {options}]]")
    assert [(part.text, part.label) for part in found] == [
        ("{text}", "field"),
        (" or {so}?[[ ", "words"),
        ("{options}", "options"),
        ("]]", "words"),
    ]


@each_dataset
def test_joined_the_parts_are_the_prompt_of_every_dataset_variant_and_template(dataset):
    assert cleaned(dataset.name)
    for variant in dataset.variants:
        for number, template in enumerate(dataset.templates_of(variant)):
            style = style_of(dataset, variant, number)
            rows = [answered(dataset, fields, style) for fields in usable(dataset)]
            rows = [row for row in rows if render.is_complete(template, row.slots)]
            for place, row in enumerate(rows):
                check(template, row, rows[:place][:2], variant.few_shot)


def check(template, row, shots, few_shot):
    asked = render.fill(template, row)
    if few_shot:
        prompt = fewshot.lay_out(asked, [render.fill(template, shot) for shot in shots])
    else:
        prompt = fewshot.FewShotPrompt(asked.preamble, (), asked.input, asked)
    for count in range(len(prompt.exemplars) + 1):
        found = parts.of_prompt(prompt, count)
        assert joined(found) == prompt.text(count)
        assert {part.exemplar for part in found if part.exemplar is not None} == set(range(count))
    assert joined(parts.of_target(asked)) == asked.target
    for part in found:
        if part.slot:
            of = row if part.exemplar is None else shots[part.exemplar]
            assert part.text == of.slots[part.slot]
