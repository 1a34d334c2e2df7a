"""Cleaning of inference and paraphrase rows: the same fields from every form of publication."""

import pytest

from flan_tasks import catalog, clean
from flan_tasks.clean import Drop, inference
from flan_tasks.clean.inference import detokenized

SENTENCES = {"sentence1": "a", "sentence2": "b"}
PAIR = {"premise": "a", "hypothesis": "b"}
WORD = {**SENTENCES, "word": "w"}
ANLI_PAIR = {"context": "a", "hypothesis": "b"}
QUESTION = {"question": "a", "sentence": "b"}


@pytest.mark.parametrize(
    ("function", "row", "names"),
    [
        (inference.rte, PAIR, ("entailment", "not_entailment")),
        (inference.cb, PAIR, ("entailment", "contradiction", "neutral")),
        (inference.three_way, PAIR, ("entailment", "neutral", "contradiction")),
        (inference.anli, ANLI_PAIR, ("e", "n", "c")),
        (inference.qnli, QUESTION, ("entailment", "not_entailment")),
        (inference.wic, WORD, (False, True)),
        (inference.paraphrase, SENTENCES, ("0", "1")),
    ],
)
def test_a_class_by_its_name_is_the_class_by_its_number(function, row, names):
    for number, name in enumerate(names):
        assert function({**row, "label": name}) == {**row, "label": number}
        assert function({**row, "label": number}) == {**row, "label": number}
    for missing in (-1, None, ""):
        with pytest.raises(Drop, match="no label"):
            function({**row, "label": missing})
    with pytest.raises(ValueError):
        function({**row, "label": "perhaps"})


@pytest.mark.parametrize("name", ["rte", "cb", "snli", "anli_r1"])
def test_the_option_of_a_class_says_what_the_class_means(name):
    dataset = catalog.get(name)
    option = {"e": "yes", "n": "it's impossible to say", "c": "no"}
    option |= {"entailment": "yes", "contradiction": "no", "not_entailment": "no"}
    option |= {"neutral": option["n"]}
    classes = {"rte": ("entailment", "not_entailment"), "anli_r1": ("e", "n", "c")}
    names = classes.get(name, ("entailment", "neutral", "contradiction"))
    columns = ANLI_PAIR if name == "anli_r1" else PAIR
    for label in names:
        index = clean.cleaner(dataset)({**columns, "label": label})["label"]
        assert dataset.answer.options[int(index)].lower() == option[label]


def test_snli_and_mnli_as_their_authors_publish_them():
    row = {**SENTENCES, "gold_label": "contradiction", "pairID": "1", "genre": "fiction"}
    assert inference.three_way(row) == {**PAIR, "label": 2}
    with pytest.raises(Drop, match="no label"):
        inference.three_way({**row, "gold_label": "-"})
    with pytest.raises(KeyError, match="sentence1"):
        inference.three_way({"hypothesis": "b", "label": 0})


def test_anli_as_the_hub_holds_it():
    assert inference.anli({**PAIR, "label": 1}) == {**ANLI_PAIR, "label": 1}


WSC_TEXT = 'Bob paid for Carl \'s tea , but he said to him, " Is he here ? "'


def test_wsc_from_tfds_and_from_super_glue():
    spans = {"span1_text": "Bob", "span1_index": 0, "span2_text": "he", "span2_index": 8}
    wanted = {
        "context": 'Bob paid for Carl\'s tea, but he said to him, "Is he here?"',
        "marked": 'Bob paid for Carl\'s tea, but *he* said to him, "Is he here?"',
        "text1": "Bob",
        "text2": "he",
        "label": 1,
    }
    assert inference.wsc({"text": WSC_TEXT, "label": 1, **spans}) == wanted
    assert inference.wsc({"text": WSC_TEXT, "label": True, "target": spans}) == wanted
    with pytest.raises(Drop, match="no label"):
        inference.wsc({"text": WSC_TEXT, "label": -1, **spans})


@pytest.mark.parametrize(
    ("pronoun", "index", "marked"),
    [
        ("him", 11, " said to *him*, "),
        ("Him", 11, " said to *him*, "),
        ("he", 14, '"Is *he* here?'),
    ],
)
def test_the_pronoun_at_its_index_is_marked(pronoun, index, marked):
    spans = {"span1_text": "Bob", "span1_index": 0, "span2_text": pronoun, "span2_index": index}
    fields = inference.wsc({"text": WSC_TEXT, "label": 0, **spans})
    assert marked in fields["marked"]
    assert fields["marked"].replace("*", "") == fields["context"]


@pytest.mark.parametrize("index", [3, 15, 99])
def test_a_wrong_index_marks_nothing(index):
    spans = {"span1_text": "Bob", "span1_index": 0, "span2_text": "him", "span2_index": index}
    fields = inference.wsc({"text": WSC_TEXT, "label": 0, **spans})
    assert fields["marked"] == "" and fields["context"]


@pytest.mark.parametrize(
    ("score", "label", "reference"),
    [
        (3.799999952316284, 4, "3.8"),
        ("2.400", 2, "2.4"),
        (0.0, 0, "0"),
        (5, 5, "5"),
        (4.5, 4, "4.5"),
    ],
)
def test_stsb_is_asked_for_a_whole_number_and_scored_on_the_mean(score, label, reference):
    wanted = {**SENTENCES, "label": label, "scores": [reference]}
    assert inference.stsb({**SENTENCES, "label": score}) == wanted
    assert inference.stsb({**SENTENCES, "score": score}) == wanted


@pytest.mark.parametrize("score", [-1, -1.0, "", None])
def test_stsb_without_a_score_is_dropped(score):
    with pytest.raises(Drop, match="no label"):
        inference.stsb({**SENTENCES, "label": score})


def test_tokenised_sentences_become_text():
    row = {
        "sentence1": "`` I ca n't , '' she said .",
        "sentence2": "It 's ( not ) hers .",
        "label": 0,
    }
    fields = inference.paraphrase(row)
    assert fields["sentence1"] == '"I can\'t," she said.'
    assert fields["sentence2"] == "It's (not) hers."


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ('He called it " the one " , and left .', 'He called it "the one", and left.'),
        ("They did n't ; we didn 't !", "They didn't; we didn't!"),
        ("$ 5.2 million -LRB- 3 % -RRB- ...", "$5.2 million (3%)..."),
        ("the players ' union", "the players' union"),
        ("the .NET code rose .5 percent", "the .NET code rose .5 percent"),
        ("two  spaces", "two spaces"),
    ],
)
def test_detokenized(tokens, text):
    assert detokenized(tokens) == text


@pytest.mark.parametrize(
    "text",
    [
        "She said, \"It's 4:30,\" and left (at once) for the players' room.",
        '"Hello" and "goodbye" - both cost $5; don\'t they?',
        "À la carte: 1,550 metres... or 3.5%!",
    ],
)
def test_what_is_text_already_stays_as_it_is(text):
    assert detokenized(text) == text
