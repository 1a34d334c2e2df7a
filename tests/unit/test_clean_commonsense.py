"""Cleaning of common sense and question classification: every published form, the same fields."""

import pytest

from flan_tasks import catalog, clean
from flan_tasks.clean import Drop, classification, commonsense

# Question classification

QUESTION = "What 's the origin of `` jazz '' ?"
TFDS_CLASSES = ("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC")
HUB_CLASSES = ("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM")


@pytest.mark.parametrize("name", TFDS_CLASSES)
def test_trec_numbers_its_classes_alike_wherever_it_comes_from(name):
    tfds = {"label-coarse": TFDS_CLASSES.index(name), "label-fine": 7, "text": QUESTION}
    hub = {"coarse_label": HUB_CLASSES.index(name), "fine_label": 7, "text": QUESTION}
    fields = classification.trec(tfds)
    assert fields == classification.trec(hub)
    assert fields == {
        "text": 'What\'s the origin of "jazz"?',
        "label": TFDS_CLASSES.index(name),
    }


@pytest.mark.parametrize("column", ["label-coarse", "coarse_label"])
@pytest.mark.parametrize("label", [-1, None])
def test_trec_drops_questions_without_a_class(column, label):
    with pytest.raises(Drop, match="no label"):
        classification.trec({column: label, "text": QUESTION})


# Stories

SENTENCES = ["It rained.", "Ann had no coat.", "She ran.", "The bus was late."]
ENDINGS = ["She got wet.", "She got a tan."]


def published_story(right):
    row = {f"InputSentence{number}": text for number, text in enumerate(SENTENCES, start=1)}
    row |= {f"RandomFifthSentenceQuiz{n}": text for n, text in enumerate(ENDINGS, start=1)}
    return row | {"InputStoryid": "1", "AnswerRightEnding": right}


@pytest.mark.parametrize("right", [1, 2])
def test_stories_count_their_endings_from_one(right):
    tfds = {"context": " ".join(SENTENCES), "endings": ENDINGS, "label": right}
    fields = commonsense.story_cloze(tfds)
    assert fields == commonsense.story_cloze(published_story(str(right)))
    assert fields == {"context": " ".join(SENTENCES), "endings": ENDINGS, "label": right - 1}


def test_stories_without_a_right_ending_are_dropped():
    unlabelled = published_story("")
    del unlabelled["AnswerRightEnding"]
    rows = [published_story(""), unlabelled, {"context": "x", "endings": ENDINGS, "label": -1}]
    for row in rows:
        with pytest.raises(Drop, match="no label"):
            commonsense.story_cloze(row)


# Causes and effects


def test_copa_asks_for_a_cause_or_for_an_effect():
    row = {"premise": "It broke.", "choice1": "It fell.", "choice2": "It lay.", "idx": 3}
    asked = {}
    for question in ("cause", "effect"):
        fields = commonsense.copa({**row, "question": question, "label": 1})
        assert fields["choices"] == ["It fell.", "It lay."] and fields["label"] == 1
        assert fields["question"] == question
        asked[question] = fields["asked"]
    assert asked["cause"].startswith("Why") and "result" in asked["effect"]
    with pytest.raises(Drop, match="no label"):
        commonsense.copa({**row, "question": "cause"})
    with pytest.raises(KeyError):
        commonsense.copa({**row, "question": "reason", "label": 0})


# Blanks


@pytest.mark.parametrize("label", [0, 1])
def test_winogrande_labels_count_from_zero_and_published_answers_from_one(label):
    row = {"sentence": "Bo lent Cy a pen, so _ wrote.", "option1": "Bo", "option2": "Cy"}
    fields = commonsense.winogrande({**row, "label": label})
    assert fields == commonsense.winogrande({**row, "qID": "x", "answer": str(label + 1)})
    assert fields["label"] == label and fields["context"].count("_") == 1


@pytest.mark.parametrize("secret", [{"answer": ""}, {"label": -1}, {}])
def test_winogrande_drops_rows_whose_answer_is_secret(secret):
    row = {"sentence": "Bo lent Cy a pen, so _ wrote.", "option1": "Bo", "option2": "Cy"}
    with pytest.raises(Drop, match="no label"):
        commonsense.winogrande(row | secret)


def test_lambada_parts_with_its_last_word_and_with_its_tokens():
    row = {"passage": "`` do n't , '' she said . he did not , of course , want\n"}
    assert commonsense.lambada(row) == {
        "sentence": '"don\'t," she said. he did not, of course,',
        "answer": "want",
    }
    with pytest.raises(Drop, match="no passage"):
        commonsense.lambada({"passage": " \n"})


# What to do, and what comes next


def test_piqa_solutions_that_are_the_same_leave_nothing_to_decide():
    to_fields = clean.cleaner(catalog.get("piqa"))
    row = {"goal": "Dry a  shoe", "sol1": "Stuff it .", "sol2": "Wet it.", "label": 0}
    fields = to_fields(row)
    assert fields["goal"] == "Dry a shoe" and fields["solutions"] == ["Stuff it.", "Wet it."]
    with pytest.raises(Drop, match="one option only"):
        to_fields({**row, "sol2": "Stuff it."})


HELLASWAG = {"activity_label": "Pets", "endings": ["runs .", "[title] Stop [step] Rest"]}


def test_hellaswag_reads_alike_in_every_form_and_without_marks():
    text = "[header] How to walk a dog [title] Take a lead. [step] The dog"
    tfds = commonsense.hellaswag({**HELLASWAG, "context": text, "label": 1})
    hub = commonsense.hellaswag({**HELLASWAG, "ctx": text, "ctx_a": "", "label": "1"})
    assert tfds == hub
    assert tfds == {
        "activity": "Pets",
        "context": "How to walk a dog. Take a lead. The dog",
        "endings": ["runs.", "Stop. Rest"],
        "label": 1,
    }


@pytest.mark.parametrize("secret", [{"label": -1}, {"label": ""}, {}])
def test_hellaswag_drops_rows_without_a_label(secret):
    with pytest.raises(Drop, match="no label"):
        commonsense.hellaswag({**HELLASWAG, "ctx": "A dog"} | secret)
