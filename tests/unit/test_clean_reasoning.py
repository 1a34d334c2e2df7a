"""Cleaning of reasoning: the TSVs of chains of thought, and the datasets' own releases."""

import pytest

from flan_tasks.clean import Drop, reasoning

TABLE_ROW = {
    "question": "Is it?\\nOptions:\\n- yes\\n- no",
    "answer": "no",
    "chain_of_thought": "It",
}


@pytest.mark.parametrize("name", ["explained", "creak", "esnli", "qed"])
def test_a_row_of_a_table_has_its_lines_back_and_an_end(name):
    assert getattr(reasoning, name)(TABLE_ROW) == {
        "question": "Is it?\nOptions:\n- yes\n- no",
        "answer": "no",
        "chain_of_thought": "It.",
    }


@pytest.mark.parametrize(
    ("published", "written"),
    [
        ("x = 4\\ny = 12", "x = 4\ny = 12."),
        ("x = 4\\\\nVolume = 12 %", "x = 4\nVolume = 12 %."),
        ("He ran  home.", "He ran home."),
        ("Is it so? No!", "Is it so? No!"),
        ("half of it (or less)", "half of it (or less)."),
    ],
)
def test_rationales_can_be_followed_by_a_sentence(published, written):
    row = {**TABLE_ROW, "chain_of_thought": published}
    assert reasoning.explained(row)["chain_of_thought"] == written


@pytest.mark.parametrize("nothing", ["", " \\n "])
def test_a_row_without_a_rationale_is_dropped(nothing):
    with pytest.raises(Drop, match="no chain of thought"):
        reasoning.explained({**TABLE_ROW, "chain_of_thought": nothing})


CLAIM = {
    "ex_id": "dev_0",
    "sentence": "Stones swim.",
    "explanation": "They sink.",
    "entity": "Stone",
}


@pytest.mark.parametrize(("label", "answer"), [("true", "yes"), ("false", "no")])
def test_creak_from_its_own_release(label, answer):
    assert reasoning.creak({**CLAIM, "label": label}) == {
        "question": 'Claim: "Stones swim."\nIs this claim true?\nOptions:\n- yes\n- no',
        "answer": answer,
        "chain_of_thought": "They sink.",
    }


def test_creak_without_a_label_is_dropped():
    with pytest.raises(Drop, match="no label"):
        reasoning.creak({**CLAIM, "label": ""})


PAIR = {"premise": "A dog runs.", "hypothesis": "It rests.", "explanation_1": "To run is no rest"}


@pytest.mark.parametrize(
    ("label", "answer"), [(0, "yes"), (1, "it is not possible to tell"), (2, "no")]
)
def test_esnli_from_its_own_release(label, answer):
    fields = reasoning.esnli({**PAIR, "label": label})
    premise, hypothesis, _, *options = fields["question"].split("\n")
    assert (premise, hypothesis) == ('Premise: "A dog runs."', 'Hypothesis: "It rests."')
    assert f"- {answer}" in options
    assert (fields["answer"], fields["chain_of_thought"]) == (answer, "To run is no rest.")


def test_esnli_without_a_label_or_an_explanation_is_dropped():
    with pytest.raises(Drop, match="no label"):
        reasoning.esnli({**PAIR, "label": -1})
    with pytest.raises(Drop, match="no chain of thought"):
        reasoning.esnli({**PAIR, "label": 0, "explanation_1": ""})


def equality(asked, said, bridge):
    return {
        "question_reference": {"string": asked},
        "sentence_reference": {"string": said, "bridge": bridge},
    }


def article(**notes):
    return {
        "title_text": "The Mill",
        "paragraph_text": "The play ran for a year . It was Lund 's work .",
        "question_text": "who wrote the mill",
        "annotation": {
            "explanation_type": "single_sentence",
            "answer": [{"sentence_reference": {"string": "Lund"}}],
            "selected_sentence": {"string": "It was Lund 's work . "},
            "referential_equalities": [],
            **notes,
        },
    }


def test_qed_from_its_own_release():
    row = article(referential_equalities=[equality("the mill", "It", False)])
    assert reasoning.qed(row) == {
        "question": "The Mill\n\nThe play ran for a year. It was Lund's work.\n\n"
        "Going by this passage, who wrote the mill?",
        "answer": "Lund",
        "chain_of_thought": "The passage says: It was Lund's work.\n"
        '"It" is what the question calls "the mill".',
    }
    hub = {**row, "question": row.pop("question_text")}
    assert reasoning.qed(hub)["question"].endswith("who wrote the mill?")


@pytest.mark.parametrize(
    ("said", "bridge", "words"),
    [
        ("the plot", "of", '"the plot" is to be read as "the plot of the mill".'),
        ("", "in", 'It is to be read with "in the mill" in mind.'),
        ("it", None, '"it" is what the question calls "the mill".'),
    ],
)
def test_qed_says_how_expressions_hang_together(said, bridge, words):
    row = article(referential_equalities=[equality("the mill", said, bridge)])
    assert reasoning.qed(row)["chain_of_thought"].splitlines()[1:] == [words]


def test_qed_explains_no_expression_that_the_question_has_as_well():
    row = article(referential_equalities=[equality("the mill", "The Mill", False)])
    assert reasoning.qed(row)["chain_of_thought"] == "The passage says: It was Lund's work."


def test_qed_names_all_answers_and_needs_no_reference():
    answers = [{"sentence_reference": {"string": name}} for name in ("Lund", "Dahl")]
    fields = reasoning.qed(article(answer=answers))
    assert fields["answer"] == "Lund, Dahl"
    assert fields["chain_of_thought"] == "The passage says: It was Lund's work."


@pytest.mark.parametrize("kind", ["multi_sentence", "none"])
def test_qed_drops_what_no_single_sentence_explains(kind):
    with pytest.raises(Drop, match="single sentence"):
        reasoning.qed({**article(), "annotation": {"explanation_type": kind}})
