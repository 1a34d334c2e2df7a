"""Cleaning of questions: every published form gives the same fields, every answer is kept."""

import pytest

from flan_tasks import catalog, clean
from flan_tasks.clean import Drop, multiple_choice, qa


def texts(*answers: str) -> dict:
    return {"text": list(answers), "answer_start": [0] * len(answers)}


def records(*answers: str, key: str = "text") -> list[dict]:
    return [{key: answer, "answer_start": 0} for answer in answers]


# Putting tokenised text together


@pytest.mark.parametrize(
    ("tokenised", "written"),
    [
        ("We did n't , they 'd say .", "We didn't, they'd say."),
        ("I ' m sure they do nt", "I'm sure they don't"),
        ('He said " no , Ann " and " yes " .', 'He said "no, Ann" and "yes".'),
        ("a ( very old ) dog ... or two !", "a (very old) dog... or two!"),
        ("`` done '' means $ 5 or 7 %", '"done" means $5 or 7%'),
        ("one  two\nthree", "one two\nthree"),
    ],
)
def test_tokenised_text_is_put_together(tokenised, written):
    assert qa.detokenised(tokenised) == written
    assert qa.detokenised(written) == written


@pytest.mark.parametrize(
    "text",
    [
        "Nijmegen, 's-Hertogenbosch and 't Zand",
        'He said, "No." Then: "Yes, I do."',
        "the 'watercooler' effect of a 6'' man",
        "It cost $5 (or 7%), didn't it?",
    ],
)
def test_text_as_usually_written_stays(text):
    assert qa.detokenised(text) == text


# SQuAD 2.0


@pytest.mark.parametrize("form", [texts, records])
def test_squad_v2_keeps_answers_and_names_their_absence(form):
    row = {"title": "Old_Mill", "context": "c", "question": "q", "plausible_answers": form("x")}
    answered = qa.squad_v2({**row, "answers": form("four", "4", "four")})
    assert (answered["answer"], answered["answers"]) == ("four", ["four", "4"])
    assert answered["title"] == "Old Mill"
    empty = qa.squad_v2({**row, "answers": form(), "is_impossible": True})
    assert (empty["answer"], empty["answers"]) == ("unanswerable", ["unanswerable"])


# QuAC


def test_quac_keeps_all_answers_and_hides_the_marker_in_the_text():
    row = {"title": "t", "background": "", "question": "q", "context": "It rained. CANNOTANSWER"}
    tfds = {**row, "orig_answer": {"text": "rained", "answer_start": 3}}
    tfds["answers"] = texts("It rained.", "CANNOTANSWER", "rained")
    json = {**tfds, "answers": records("It rained.", "CANNOTANSWER", "rained")}
    fields = qa.quac(tfds)
    assert qa.quac(json) == fields
    assert fields["answer"] == "rained"
    assert fields["answers"] == ["rained", "It rained.", "unanswerable"]
    assert fields["context"] == "It rained."


# CoQA


def test_coqa_numbers_questions_and_answers_in_every_form():
    questions, answers = ["Who?", "Why  so\nlate?"], ["Ann", "rain"]
    tfds = {"story": "s", "source": "x", "questions": questions}
    tfds["answers"] = {"input_text": answers, "answer_start": [0, 1], "answer_end": [1, 2]}
    json = {
        "story": "s",
        "questions": records(*questions, key="input_text"),
        "answers": records(*answers, key="input_text"),
    }
    fields = qa.coqa(tfds)
    assert fields == qa.coqa(json)
    assert fields["numbered_questions"] == "1. Who?\n2. Why so late?"
    assert fields["numbered_answers"] == "1. Ann\n2. rain"
    others = {"0": records("Ann", "bad weather", key="input_text")}
    more = qa.coqa({**json, "additional_answers": others})
    assert more["answers"] == ["1. Ann\n2. rain", "1. Ann\n2. bad weather"]


@pytest.mark.parametrize("answers", [["Ann"], ["Ann", " "]])
def test_coqa_drops_a_conversation_that_does_not_pair_up(answers):
    row = {"story": "s", "questions": ["Who?", "Why?"], "answers": {"input_text": answers}}
    with pytest.raises(Drop):
        qa.coqa(row)


# DROP


@pytest.mark.parametrize(
    ("published", "readable"),
    [
        ("1863-July-4", "4 July 1863"),
        ("-July-4", "4 July"),
        ("--4", "4"),
        ("12-10", "12-10"),
        ("3.5", "3.5"),
        ("Moreno&#160;Jr.", "Moreno Jr."),
    ],
)
def test_drop_writes_answers_as_people_do(published, readable):
    row = {"passage": "p&amp;q", "question": "How many?", "answer": published}
    fields = qa.drop({**row, "validated_answers": [published, "another", ""]})
    assert fields["answer"] == readable
    assert fields["answers"] == [readable, "another"]
    assert fields["context"] == "p&q"


def test_drop_without_an_answer_is_dropped():
    with pytest.raises(Drop, match="no answer"):
        qa.drop({"passage": "p", "question": "q", "answer": "", "validated_answers": [""]})


# Closed book


def test_natural_questions_keeps_every_answer():
    fields = qa.natural_questions({"question": "how many ?", "answer": ["one", "1", "one"]})
    assert fields == {"question": "how many", "answer": "one", "answers": ["one", "1"]}
    with pytest.raises(Drop, match="no answer"):
        qa.natural_questions({"question": "q", "answer": []})


def test_trivia_qa_puts_the_given_answer_before_its_aliases():
    answer = {"value": "Icarus", "aliases": ["Ikaros", "Icarus", ""], "type": "WikipediaEntity"}
    fields = qa.trivia_qa({"question": "Who flew ?", "answer": answer})
    assert fields == {"question": "Who flew?", "answer": "Icarus", "answers": ["Icarus", "Ikaros"]}
    quoted = {"value": '"""Fast Eddie"" Felson"', "aliases": ['"Eddie"']}
    fields = qa.trivia_qa({"question": '"Who was ""The Hustler""?"', "answer": quoted})
    assert fields["question"] == 'Who was "The Hustler"?'
    assert fields["answers"] == ['"Fast Eddie" Felson', '"Eddie"']
    with pytest.raises(Drop, match="no answer"):
        qa.trivia_qa({"question": "q", "answer": {"value": "<unk>", "aliases": []}})


# SuperGLUE


def test_multirc_reads_labels_in_every_form_and_drops_rows_without():
    to_fields = clean.cleaner(catalog.get("multirc"))
    row = {"paragraph": "It rained .", "question": "Did it ?", "answer": "It did n't ."}
    for label in (0, False):
        fields = to_fields({**row, "label": label})
        assert fields["label"] == 0
    assert (fields["paragraph"], fields["response"]) == ("It rained.", "It didn't.")
    for label in (-1, None):
        with pytest.raises(Drop, match="no label"):
            to_fields({**row, "label": label})


def test_record_lists_each_candidate_once_and_keeps_every_answer():
    passage = "Ann met Bo. Bo  left.\n@highlight\nAnn meets Bo"
    starts = {"Ann": (0, 33), "Bo": (8, 12)}
    entities = [{"start": s, "end": s + len(name) - 1} for name, at in starts.items() for s in at]
    tfds = {"passage": passage, "query": "@placeholder left.", "entities": ["Ann", "Bo"]}
    tfds["answers"] = ["Bo", "Bo"]
    json = {"passage": {"text": passage, "entities": entities}, "query": tfds["query"]}
    json["answers"] = [{"start": 8, "end": 9, "text": "Bo"}, {"start": 12, "end": 13, "text": "Bo"}]
    fields = qa.record(tfds)
    assert qa.record(json) == fields
    assert fields["passage"] == "Ann met Bo. Bo left.\n- Ann meets Bo"
    assert fields["options_str"] == "- Ann\n- Bo"
    assert (fields["answer"], fields["answers"]) == ("Bo", ["Bo"])
    assert qa.record({**tfds, "answers": ["Ann", "Bo"]})["answers"] == ["Ann", "Bo"]
    for unlabeled in ({**tfds, "answers": []}, {k: v for k, v in json.items() if k != "answers"}):
        with pytest.raises(Drop, match="no answer"):
            qa.record(unlabeled)


# Mathematics


def test_math_dataset_reads_bytes_written_as_text():
    plain = {"question": "Solve 2*b = -6 for b.", "answer": "-3"}
    assert qa.math_dataset(plain) == plain
    hub = {"question": "b'Solve 2*b = -6 for b.\\n'", "answer": "b'-3\\n'"}
    to_fields = clean.cleaner(catalog.get("math_dataset"))
    assert to_fields(hub) == plain


# Multiple choice


def test_arc_in_all_three_forms():
    wanted = {"question": "Which?", "choices": ["x", "y", "z"], "label": 1}
    stem, options = "Which?", ["x", "y", "z"]
    for labels, key in (([0, 1, 2], 1), (["A", "B", "C"], "B"), (["1", "2", "3"], "2")):
        flat = {"question": stem, "choices": {"text": options, "label": labels}, "answerKey": key}
        assert multiple_choice.arc(flat) == wanted
        pairs = zip(options, labels, strict=True)
        nested = {"stem": stem, "choices": [{"text": t, "label": x} for t, x in pairs]}
        assert multiple_choice.arc({"question": nested, "answerKey": key}) == wanted


def test_openbookqa_in_all_three_forms():
    options = ["w", "x", "y", "z"]
    wanted = {"fact": "f", "question": "Which?", "choices": options, "label": 3}
    named = {f"choice_{letter}": text for letter, text in zip("ABCD", options, strict=True)}
    tfds = {"question": {"stem": "Which?", **named}, "fact1": "f", "answerKey": 3}
    choices = {"text": options, "label": list("ABCD")}
    hub = {"question_stem": "Which?", "choices": choices, "fact1": "f", "answerKey": "D"}
    pairs = [{"text": t, "label": x} for t, x in zip(options, "ABCD", strict=True)]
    json = {"question": {"stem": "Which?", "choices": pairs}, "fact1": "f", "answerKey": "D"}
    for row in (tfds, hub, json):
        assert multiple_choice.openbookqa(row) == wanted


@pytest.mark.parametrize("name", ["arc_easy", "openbookqa"])
def test_a_science_question_without_its_answer_is_dropped(name):
    choices = {"text": ["v", "x", "y", "z"], "label": list("ABCD")}
    row = {"question": "q", "question_stem": "q", "choices": choices, "fact1": "f"}
    with pytest.raises(Drop, match="no label"):
        clean.cleaner(catalog.get(name))({**row, "answerKey": ""})


def test_cosmos_qa_is_put_together_and_loses_repeated_options():
    to_fields = clean.cleaner(catalog.get("cosmos_qa"))
    row = {"context": "It 's late .", "question": "Why ?", "answer0": "She left .", "answer1": "x"}
    row |= {"answer2": "x", "answer3": "y"}
    fields = to_fields({**row, "label": "3"})
    assert fields["context"] == "It's late." and fields["choices"] == ["She left.", "x", "y"]
    assert fields["label"] == 2 == to_fields({**row, "label": 3})["label"]
    for label in (-1, "", None):
        with pytest.raises(Drop, match="no label"):
            to_fields({**row, "label": label})


@pytest.mark.parametrize("gap", [" \\n ", "\\n", " \n "])
def test_unified_qa_takes_question_and_options_apart(gap):
    row = {"input": f"Which gas (of air)?{gap}(A) neon (Ne) (B) iron (C) argon", "output": "Argon "}
    wanted = {"question": "Which gas (of air)?", "choices": ["neon (Ne)", "iron", "argon"]}
    assert multiple_choice.unified_qa(row) == {**wanted, "label": 2}
    with pytest.raises(Drop, match="none of the options"):
        multiple_choice.unified_qa({**row, "output": "xenon"})
    with pytest.raises(Drop, match="no options"):
        multiple_choice.unified_qa({"input": "Which gas?", "output": "neon"})
