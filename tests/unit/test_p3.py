"""P3: which tasks there are, and how choices come out of a prompt."""

import pytest

from flan_tasks import catalog, clean
from flan_tasks.clean import choices, p3
from flan_tasks.spec import Variant
from flan_tasks.variants import VariantPipeline

TASKS = [dataset for dataset in catalog.load().values() if dataset.family == "p3"]

# The datasets of P3 whose tasks are in the collection; those of all others are left out, for they
# are in Flan 2021 already.
SOURCES = (
    *("adversarial_qa", "amazon_polarity", "app_reviews", "cos_e", "dbpedia_14", "dream", "duorc"),
    *("kilt_tasks_hotpotqa", "qasc", "quail", "quarel", "quartz", "quoref", "race", "ropes"),
    *("sciq", "social_i_qa", "web_questions", "wiki_bio", "wiki_hop", "wiki_qa", "wiqa"),
)


# The table


def test_there_are_193_tasks_and_every_kind_of_prompt():
    kinds = [task.constants["task_type"] for task in TASKS]
    assert kinds.count("question_answer") == 104
    assert kinds.count("multiple_choice_separated_options") == 19
    assert kinds.count("multiple_choice") == 70
    assert len(kinds) == 193


def test_tasks_come_from_the_datasets_that_flan_2021_lacks():
    names = [task.constants["task_name"] for task in TASKS]
    assert [name for name in names if not name.startswith(SOURCES)] == []
    assert [source for source in SOURCES if not any(n.startswith(source) for n in names)] == []
    assert [name for name in names if name.endswith("_score_eval")] == []


def test_a_task_is_read_from_where_it_is_published():
    task = catalog.get("p3_cos_e_v1_11_i_think")
    folder = "cos_e_v1.11_i_think"
    assert task.source.hub_files["train"] == f"data/{folder}/train.tfrecord-*"
    assert task.source.files["validation"] == f"p3/{folder}/validation.tfrecord-*"


def test_splits_are_those_that_the_dataset_has():
    assert "validation" not in catalog.get("p3_app_reviews_generate_review").splits
    assert catalog.get("p3_wiki_bio_who").splits["validation"] == "val"
    for task in TASKS:
        assert set(task.splits.values()) <= task.source.files.keys() & task.source.hub_files.keys()


def test_licenses_are_those_of_the_datasets():
    assert catalog.get("p3_sciq_Multiple_Choice").license == "CC BY-NC 3.0"
    assert len({task.license for task in TASKS}) > 5


# Choices that come out of a prompt

COLORS = ("red", "dark blue", "green")


@pytest.mark.parametrize(
    ("prompt", "rest"),
    [
        (
            "What color is the sea?\n\nChoices:\n- red\n - dark blue\n - green",
            "What color is the sea?",
        ),
        (
            "Q: What color is the sea?\n\n Answer choices:\n\n- red\n\n- dark blue\n\n- green\n\nA",
            "Q: What color is the sea?\n\nA",
        ),
        (
            "What is its color?\nOptions: A. red\nB. dark blue\nC. green\nThink first.",
            "What is its color?\nThink first.",
        ),
        (
            "What is its color?\nOptions:\n(A) red\n(B) dark blue\n(C) green",
            "What is its color?",
        ),
        (
            "Seas are deep. So what color is it among the following options:\n* red\n* dark blue\n"
            "* green",
            "Seas are deep. So what color is it?",
        ),
        (
            'You see the question "What color?" and the following answer choices: \n- red\n'
            " - dark blue\n - green\n\nNow answer.",
            'You see the question "What color?"\n\nNow answer.',
        ),
        (
            "Name the color of the sea from the following choices:\n- red\n- dark blue\n- green",
            "Name the color of the sea.",
        ),
        ("The sea?\n\nPossible answers: red, dark blue, green", "The sea?"),
        ("Color it. The options are - red, dark blue or green. The sea.", "Color it. The sea."),
        (
            "It is the sea. Given a list of colors: red, dark blue or green, what color is it?",
            "It is the sea. What color is it?",
        ),
        (
            "Select the most suitable option for the sea from the list below.\n\nChoices:\n- red\n"
            "- dark blue\n- green",
            "Select the most suitable answer for the sea.",
        ),
    ],
)
def test_choices_are_taken_out_with_their_announcement(prompt, rest):
    assert choices.take_out(prompt, "dark blue") == (rest, COLORS, "dark blue")
    # Knowing the choices, from the row, changes nothing but how they are spelled.
    upper = tuple(color.upper() for color in COLORS)
    assert choices.take_out(prompt, "DARK BLUE", upper) == (rest, upper, "DARK BLUE")


@pytest.mark.parametrize(
    ("prompt", "rest"),
    [
        ("The sea?\n- red\n- dark blue\n- green", "The sea?"),
        ("- red\n- dark blue\n- green\nWhich color is the sea?", "Which color is the sea?"),
        ("What color is the sea? Red, dark blue, or green?", "What color is the sea?"),
    ],
)
def test_choices_without_announcement_take_knowing_them(prompt, rest):
    assert choices.take_out(prompt, "dark blue") is None
    assert choices.take_out(prompt, "dark blue", COLORS) == (rest, COLORS, "dark blue")


def test_a_comma_inside_a_choice_is_no_harm_where_the_choices_are_known():
    known = ("wait, then go", "stay")
    prompt = "And now?\nPossible answers: wait, then go, stay"
    assert choices.take_out(prompt, "stay", known) == ("And now?", known, "stay")


@pytest.mark.parametrize(
    "prompt",
    [
        "Is the sea red, dark blue or green?",
        'Choose between "red" and "dark blue". (A) red (B) dark blue',
        "Which of the following is a color of the sea?\n\nChoices:\n- red\n- dark blue\n- green",
        "The text refers to which one?\n\nChoices:\n- red\n- dark blue\n- green",
        "Say A, B or C, as in the choices above.\n\nChoices:\n- red\n- dark blue\n- green",
        "The sea. Options: A. red\nB. dark blue\nC. green",  # the heading has no line of its own
        "The sea?\n\nChoices:\n- red\n- green",  # the answer is not among them
        "The sea?\n\nChoices:\n- dark blue",
        "The sea?\n\nChoices:\nA. red\nC. dark blue",
        "How to paint:\n- take red\n- dark blue\n- stir",
    ],
)
def test_what_cannot_be_taken_apart_is_left_alone(prompt):
    assert choices.take_out(prompt, "dark blue") is None


def test_a_list_of_something_else_is_not_taken_for_the_choices():
    prompt = "Possible answers: red, dark blue, green, all in the text.\nWhat color is the sea?"
    assert choices.take_out(prompt, "dark blue", COLORS) is None


def test_taking_out_ends_on_blank_lines_and_half_lists():
    for prompt in ("a\n\nb", "\n\n\n", "- \n- ", "Choices:\n", "Options:", "- x\n\n\nB. y\n", "?"):
        assert choices.take_out(prompt, "x", ("x", "y")) is None


# Rows


def published(prompt: str, answer: str, known: list[str] | None = None) -> dict:
    row = {"inputs_pretokenized": prompt, "targets_pretokenized": answer}
    return row if known is None else {**row, "answer_choices": known}


def test_both_schemas_give_the_same_fields():
    prompt = "The sea?\n\nPossible answers: red, green\n"
    one = p3.prompt(published(prompt, "\nred\n"))
    other = p3.prompt({"prompt": prompt, "completion": "red<|endoftext|>"})
    assert one == other == {"prompt": "The sea?", "answer": "red", "options": ["red", "green"]}


def test_choices_that_the_prompt_does_not_show_are_the_options():
    fields = p3.prompt(published("Is the sea red?", "no", ["Yes", "No"]))
    assert fields == {"prompt": "Is the sea red?", "answer": "No", "options": ["Yes", "No"]}


def test_choices_in_the_words_of_a_prompt_stay_there():
    prompt = "Is the mood good or bad here?"
    fields = p3.prompt(published(prompt, "Bad", ["Good", "Bad"]))
    assert fields == {"prompt": prompt, "answer": "Bad", "options": []}


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        ("B", ["A", "B", "C"]),
        ("2", ["1", "2"]),
        ("other", ["red", "green"]),
        ("x", ["x"]),
        ("x", []),
    ],
)
def test_letters_numbers_and_strange_answers_make_no_options(answer, known):
    prompt = "The sea?\nA. red\nB. green\nC. blue"
    fields = p3.prompt(published(prompt, answer, known))
    assert fields == {"prompt": prompt, "answer": answer, "options": []}


def test_one_published_choice_may_come_as_a_text():
    assert p3.prompt({**published("The sea?", "x"), "answer_choices": "x"})["options"] == []


@pytest.mark.parametrize("ending", ["\n\nAnswer:", "\nA:", "\n===\nThe correct answer is"])
def test_a_line_that_waits_for_the_answer_goes(ending):
    assert p3.prompt(published("The sea?" + ending, "blue"))["prompt"] == "The sea?"


def test_text_is_tidied_and_nothing_else():
    fields = p3.prompt(published("It&#x27;s \n\n\n\n- wet  \n- A: b", "more\n\n\n\n&lt;b&gt;"))
    assert fields["prompt"] == "It's\n\n- wet\n- A: b"
    assert fields["answer"] == "more\n\n<b>"


def test_empty_prompts_and_answers_are_dropped_by_reason():
    cleaner = clean.cleaner(TASKS[0])
    with pytest.raises(clean.Drop, match="no prompt"):
        cleaner(published(" \n", "x"))
    with pytest.raises(clean.Drop, match="no answer"):
        cleaner(published("The sea?", " "))


def test_no_option_is_left_in_a_prompt_without_options():
    task = catalog.get("p3_wiki_hop_original_choose_best_object_interrogative_1")
    prompt = "Which sea is it?\n\nChoices:\n- north sea\n - red sea"
    fields = clean.cleaner(task)(published(prompt, "red sea", ["north sea", "red sea"]))
    bare = VariantPipeline(task, Variant(few_shot=False, options=False))
    for template in bare.templates:
        text = template.preamble + template.input.format_map(fields)
        assert "red" not in text and "{" not in text
    assert fields["options"] == ["north sea", "red sea"]
