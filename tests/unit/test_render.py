"""From fields to text."""

from example_dataset import dataset

from flan_tasks import options, render, speakers
from flan_tasks.spec import Answer, Template

CHOOSE = dataset()
LABELLED = options.OptionStyle(
    "Options:", options.ItemStyle("({mark})", "upper", " ", "\n", True), ""
)


def template(text, target="{answer}", **parts):
    return Template("0", text, target, **parts)


def test_slots_are_filled_and_braces_of_the_row_are_left_alone():
    filled = render.fill(
        template("Q: {question} {{x}}"),
        render.AnsweredRow({"question": "{a}", "answer": "7"}, ("7",)),
    )
    assert filled.input == "Q: {a} {x}"
    assert filled.target == "7"


def test_without_a_style_the_answer_is_the_options_text():
    row = render.answered({"label": 1}, CHOOSE, None)
    assert row.slots["answer"] == "yes"
    assert "options" not in row.slots
    assert row.references == ("yes",)


def test_with_a_style_the_options_are_listed_and_the_answer_is_in_that_style():
    row = render.answered({"label": 1}, CHOOSE, LABELLED)
    assert row.slots["options"] == "Options:\n(A) no\n(B) yes"
    assert row.slots["answer"] == "(B)"


def test_options_of_the_row_and_all_references():
    several = dataset(answer=Answer(text="text", references="texts"))
    row = render.answered({"text": "a", "texts": ["a", "b"]}, several, None)
    assert row.references == ("a", "b")
    of_row = dataset(answer=Answer(label="label", options_from="choices"))
    chosen = render.answered({"label": 0, "choices": ["x", "y"]}, of_row, None)
    assert chosen.slots["answer"] == "x"


def test_a_text_may_be_one_of_the_rows_options_and_a_row_may_have_none():
    either = dataset(answer=Answer(text="text", options_from="choices"))
    listed = render.answered({"text": "y", "choices": ["x", "y"]}, either, LABELLED)
    assert (listed.slots["answer"], listed.slots["options"]) == ("(B)", "Options:\n(A) x\n(B) y")
    assert listed.style == LABELLED.name
    bare = render.answered({"text": "y", "choices": []}, either, LABELLED)
    assert (bare.slots["answer"], bare.style) == ("y", "")
    assert "options" not in bare.slots


def test_a_dialog_is_written_in_its_style():
    talk = dataset(answer=Answer(text="reply"), turns="dialog")
    style = speakers.STYLES[0]
    row = render.answered({"dialog": ["Hello?", "Hi!"], "reply": "Bye."}, talk, style)
    assert row.slots["dialog"] == style.text(["Hello?", "Hi!"])
    assert (row.slots["answer"], row.references, row.style) == ("Bye.", ("Bye.",), style.name)


def test_a_row_without_a_title_is_asked_without_one():
    titled, plain = template("{title}: {text}"), template("{text}")
    row = {"title": "", "text": "T", "answer": "A"}
    assert render.choose_template([titled, plain], row, 0) is plain
    assert render.choose_template([titled, plain], {**row, "title": "X"}, 0) is titled
    assert render.choose_template([titled], row, 0) is None


def test_what_stands_in_double_brackets_goes_with_the_options():
    asked = template("Is it?[[\n\n{options}]]")
    assert asked.without_options().input == "Is it?"
    assert asked.with_options().input == "Is it?\n\n{options}"
