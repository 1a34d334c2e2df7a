"""Cleaning of reasoning: the TSVs of chains of thought, and the datasets' own releases."""

import pytest

from flan_tasks.clean import Drop, reasoning

TABLE_ROW = {
    "question": "Is it?\\nOptions:\\n- yes\\n- no",
    "answer": "no",
    "chain_of_thought": "It",
}


@pytest.mark.parametrize(
    "name",
    [
        *("explained", "aqua", "creak", "ecqa", "esnli", "gsm8k", "qasc", "qed", "sensemaking"),
        "strategyqa",
    ],
)
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
        ('He calls it "home"', 'He calls it "home".'),
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


PROBLEM = {
    "question": "How far does a train go in 2 hours at 40 km/h?",
    "options": ["A)20 km", "B) 40 km", "C )80 km"],
    "correct": "C",
}
STEPS = "2 * 40 = 80"


def test_aqua_from_its_own_release():
    assert reasoning.aqua({**PROBLEM, "rationale": f"{STEPS}\nAnswer: C"}) == {
        "question": "How far does a train go in 2 hours at 40 km/h?\n"
        "Options:\n(A) 20 km\n(B) 40 km\n(C) 80 km",
        "answer": "(C)",
        "chain_of_thought": "2 * 40 = 80.",
    }


@pytest.mark.parametrize(
    "verdict",
    [
        *("\nAnswer:C", " The answer is C.", "\nANS : C", ". Hence, the correct option is (C)"),
        *("\nC", "\nC)", "\nC is the answer", ". So option C is correct.", "\nChoice C."),
        *("\nAnswer: C) 80 km", "\nAnswer:\nC. 80 km", "\nCorrect answer - C", "\nOption C"),
    ],
)
def test_aqua_takes_the_verdict_off_the_rationale(verdict):
    fields = reasoning.aqua({**PROBLEM, "rationale": STEPS + verdict})
    assert fields["chain_of_thought"] == "2 * 40 = 80."


@pytest.mark.parametrize(
    "steps",
    [
        "Triangle ABC has the side AB = C, and C = 80.",
        "The answer is C times two, and that is 80.",
        "Options are A and B for the others, so 80 is left.",
        "Let the distance be D. Then D = 80.",
    ],
)
def test_aqua_leaves_letters_that_are_no_verdict(steps):
    assert reasoning.aqua({**PROBLEM, "rationale": steps})["chain_of_thought"] == steps


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"rationale": f"{STEPS}\nAnswer: B"}, "another option"),
        ({"rationale": "B is the correct answer"}, "another option"),
        ({"rationale": "Answer: C"}, "no chain of thought"),
        ({"rationale": " "}, "no chain of thought"),
        ({"rationale": STEPS, "correct": ""}, "no answer"),
        ({"rationale": STEPS, "correct": "E"}, "no answer"),
    ],
)
def test_aqua_drops_what_does_not_lead_to_the_answer(row, reason):
    with pytest.raises(Drop, match=reason):
        reasoning.aqua({**PROBLEM, **row})


STEM = {
    "stem": "Where do boats stay?",
    "choices": [{"label": "A", "text": "harbor"}, {"label": "B", "text": "kitchen"}],
}


@pytest.mark.parametrize(
    "explanation",
    [
        "boats are tied up in harbors",
        {"open-ended": "boats are tied up in harbors", "selected": ""},
    ],
)
def test_ecqa_from_a_question_and_its_explanation(explanation):
    row = {"question": STEM, "answerKey": "A", "explanation": explanation}
    assert reasoning.ecqa(row) == {
        "question": "Where do boats stay?\nOptions:\n- harbor\n- kitchen",
        "answer": "harbor",
        "chain_of_thought": "Boats are tied up in harbors.",
    }
    with pytest.raises(Drop, match="no answer"):
        reasoning.ecqa({"question": STEM, "explanation": explanation})
    with pytest.raises(Drop, match="no chain of thought"):
        reasoning.ecqa({**row, "explanation": ""})


def test_esnli_from_its_csv():
    row = {"gold_label": "contradiction", "Sentence1": "A dog runs.", "Sentence2": "It rests."}
    row["Explanation_1"] = PAIR["explanation_1"]
    assert reasoning.esnli(row) == reasoning.esnli({**PAIR, "label": 2})


def test_esnli_from_its_tokenised_lines():
    row = {"s1": "A dog runs . ", "s2": "It rests . ", "labels": "contradiction"}
    row["expl_1"] = "to run is no rest"
    assert reasoning.esnli(row) == reasoning.esnli({**PAIR, "label": 2})
    with pytest.raises(Drop, match="no label"):
        reasoning.esnli({**row, "labels": "-"})
    with pytest.raises(Drop, match="sentence is missing"):
        reasoning.esnli({**row, "s2": ""})


def test_gsm8k_from_its_own_release():
    row = {"question": "How many?", "answer": "2+2=<<2+2=4>>4 pens\nTwo more: 6\n#### 6"}
    assert reasoning.gsm8k(row) == {
        "question": "How many?",
        "answer": "6",
        "chain_of_thought": "2+2=4 pens\nTwo more: 6.",
    }
    with pytest.raises(Drop, match="no final answer"):
        reasoning.gsm8k({"question": "How many?", "answer": "Six."})


FACTS = {
    "answerKey": "A",
    "fact1": "boats float",
    "fact2": "Harbors hold water.",
    "combinedfact": "",
}


@pytest.mark.parametrize(
    "columns",
    [
        {"question": STEM},
        {
            "question": STEM["stem"],
            "choices": {"label": ["A", "B"], "text": ["harbor", "kitchen"]},
        },
    ],
)
def test_qasc_from_its_own_release_and_from_tfds(columns):
    assert reasoning.qasc({**FACTS, **columns}) == {
        "question": "Where do boats stay?\nOptions:\n- (A) harbor\n- (B) kitchen",
        "answer": "(A)",
        "chain_of_thought": "Boats float. Harbors hold water.",
    }
    with pytest.raises(Drop, match="no answer"):
        reasoning.qasc({**FACTS, **columns, "answerKey": ""})


def statements(correct, incorrect, reason="stones are hard"):
    return {
        "Correct Statement": correct,
        "Incorrect Statement": incorrect,
        "Right Reason1": reason,
    }


def test_sensemaking_from_its_own_release():
    fields = reasoning.sensemaking(statements("He eats a pear", "He eats a stone"))
    assert fields == {
        "question": "Which of these two sentences makes no sense?\nOptions:\n"
        '- Sentence A: "He eats a pear"\n- Sentence B: "He eats a stone"',
        "answer": "Sentence B",
        "chain_of_thought": "Stones are hard.",
    }
    turned = reasoning.sensemaking(statements("He eats a stone", "He eats a pear"))
    assert (turned["question"], turned["answer"]) == (fields["question"], "Sentence A")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (statements("He eats.", " "), "missing"),
        (statements("He eats.", "He eats. "), "the same"),
        (statements("He eats.", "He flies.", " "), "no chain of thought"),
    ],
)
def test_sensemaking_drops_what_cannot_be_told_apart(row, reason):
    with pytest.raises(Drop, match=reason):
        reasoning.sensemaking(row)


@pytest.mark.parametrize(("published", "answer"), [(True, "yes"), (False, "no")])
def test_strategyqa_from_its_own_release(published, answer):
    row = {
        "question": "Is it?",
        "answer": published,
        "facts": ["one  fact", "", 'a "second" one.', 'the "last"'],
    }
    assert reasoning.strategyqa(row) == {
        "question": "Is it?",
        "answer": answer,
        "chain_of_thought": 'One fact. A "second" one. The "last".',
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "Is it?", "facts": ["It is."]}, "no answer"),
        ({"question": "Is it?", "facts": [], "answer": True}, "no chain of thought"),
    ],
)
def test_strategyqa_without_an_answer_or_facts_is_dropped(row, reason):
    with pytest.raises(Drop, match=reason):
        reasoning.strategyqa(row)
