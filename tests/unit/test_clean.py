"""Cleaning: the same fields from every form in which a dataset is published."""

import pytest
from example_dataset import dataset

from flan_tasks import clean
from flan_tasks.clean import Drop, instructions, qa, reasoning, summarization, tidy
from flan_tasks.spec import Answer


def test_tidy_removes_what_is_not_text():
    assert tidy("\ufeff a\r\nb\rc\0 \n") == "a\nb\nc"
    assert tidy([" a ", "b\r\n"]) == ["a", "b"]
    assert tidy(True) == 1


PLAIN = dataset(fields={"question": "q", "label": "a"})


def test_the_default_cleaning_takes_columns_and_reads_labels():
    to_fields = clean.cleaner(PLAIN)
    for label in (1, "1", "yes", "YES ", 1.0):
        assert to_fields({"q": " Rain? ", "a": label}) == {"question": "Rain?", "label": 1}


@pytest.mark.parametrize("label", [-1, "-1", None, ""])
def test_rows_without_a_label_are_dropped(label):
    with pytest.raises(Drop, match="no label"):
        clean.cleaner(PLAIN)({"q": "Rain?", "a": label})


@pytest.mark.parametrize("label", [2, -2, "maybe"])
def test_a_label_that_is_none_of_the_options_is_a_fault(label):
    with pytest.raises(ValueError):
        clean.cleaner(PLAIN)({"q": "Rain?", "a": label})


def test_a_missing_column_is_a_fault_and_names_it():
    with pytest.raises(KeyError, match="q"):
        clean.cleaner(PLAIN)({"a": 1})


def test_rows_without_an_answer_are_dropped_and_other_empty_fields_stay():
    fields = {"question": "q", "words": "w"}
    to_fields = clean.cleaner(dataset(fields=fields, answer=Answer(text="words")))
    assert to_fields({"q": None, "w": "x"}) == {"question": "", "words": "x"}
    for empty in ("", " \n", None):
        with pytest.raises(Drop, match="no answer"):
            to_fields({"q": "Rain?", "w": empty})


def test_a_row_brings_its_own_options():
    fields = {"question": "q", "label": "a", "choices": "c"}
    card = dataset(fields=fields, answer=Answer(label="label", options_from="choices"))
    row = {"q": "Which?", "a": 2, "c": ["x ", "y", "z"]}
    assert clean.cleaner(card)(row)["choices"] == ["x", "y", "z"]
    with pytest.raises(ValueError, match="none of the 2 options"):
        clean.cleaner(card)({**row, "c": ["x", "y"]})


def test_a_nested_column_calls_for_a_clean_function():
    with pytest.raises(TypeError, match="needs a clean function"):
        clean.cleaner(PLAIN)({"q": {"text": "Rain?"}, "a": 1})


def test_a_clean_function_has_to_give_the_cards_fields():
    card = dataset(clean="qa.bool_q", fields={"question": "", "label": ""})
    with pytest.raises(ValueError, match="cleaning gave"):
        clean.cleaner(card)({"question": "q", "passage": "p", "label": True})


def test_bool_q_in_all_three_forms():
    wanted = {"title": "Rain", "text": "It is wet -- mostly.", "question": "is it wet", "label": 1}
    text, question = wanted["text"], wanted["question"]
    published = {"question": question, "title": "Rain", "answer": True, "passage": text}
    super_glue = {"question": question, "passage": f"Rain -- {text}", "label": True, "idx": 3}
    super_glue_tfds = {"question": question, "passage": f"Rain -- {text}", "label": 1}
    assert qa.bool_q(published) == qa.bool_q(super_glue) == qa.bool_q(super_glue_tfds) == wanted
    assert qa.bool_q({**published, "answer": "False"})["label"] == 0
    assert qa.bool_q({"question": "q", "passage": "No title.", "label": 0})["title"] == ""
    with pytest.raises(Drop):
        qa.bool_q({**super_glue, "label": -1})
    with pytest.raises(ValueError, match="neither true nor false"):
        qa.bool_q({**super_glue, "label": 2})


def test_squad_from_tfds_and_from_the_published_json():
    row = {"title": "Super_Bowl_50", "context": "c", "question": "q", "id": "1"}
    spans = ["four", "4 ", "four", ""]
    tfds = {**row, "answers": {"text": spans, "answer_start": [1, 2, 3, 4]}}
    json = {**row, "answers": [{"text": text, "answer_start": 1} for text in spans]}
    assert qa.squad(tfds) == qa.squad(json)
    assert qa.squad(tfds)["answers"] == ["four", "4"]
    assert qa.squad(tfds)["answer"] == "four"
    assert qa.squad(tfds)["title"] == "Super Bowl 50"
    with pytest.raises(Drop, match="no answer"):
        qa.squad({**row, "answers": []})


def test_an_opening_is_whole_sentences_of_forty_words_or_more():
    sentence = "It was said on Monday that nothing more was known. "
    opening = summarization.opening(sentence * 9)
    assert opening == (sentence * 4).strip()
    assert summarization.opening("Short. Text.") == "Short. Text."


def test_cnn_dailymail_keeps_one_highlight_to_a_line():
    row = {"article": " Text. ", "highlights": "One .\n\n Two .\n", "id": "x"}
    assert summarization.cnn_dailymail(row) == {
        "text": "Text.",
        "opening": "Text.",
        "highlights": "One .\nTwo .",
    }
    with pytest.raises(Drop, match="no article"):
        summarization.cnn_dailymail({**row, "article": " "})


def test_gsm8k_loses_calculator_marks_and_the_final_answer():
    json = {"question": "q", "answer": "48/2 = <<48/2=24>>24.\nSo $<<24*3=72>>72.\n#### 72"}
    wanted = {"question": "q", "chain_of_thought": "48/2 = 24.\nSo $72.", "answer": "72"}
    assert {name: tidy(value) for name, value in reasoning.gsm8k(json).items()} == wanted
    table = {"question": "q", "answer": "72", "chain_of_thought": "48/2 = 24.\nSo $72."}
    assert reasoning.gsm8k(table) == wanted
    with pytest.raises(Drop, match="no final answer"):
        reasoning.gsm8k({"question": "q", "answer": "72"})
    with pytest.raises(Drop, match="no chain of thought"):
        reasoning.gsm8k({**table, "chain_of_thought": ""})


def test_niv2_from_the_published_json_and_from_tfds():
    published = {
        "Definition": ["Name the capital."],
        "Positive Examples": [{"input": "India", "output": "New Delhi", "explanation": "Is."}],
        "input": "Syria",
        "output": ["Damascus", " Damascus", "Dimashq", ""],
    }
    fields = instructions.niv2(published)
    assert fields["outputs"] == ["Damascus", "Dimashq"] and fields["output"] == "Damascus"
    assert fields["positive_input"] == "India" and fields["definition"] == "Name the capital."
    tfds = {"definition": "Name the capital.", "input": "Syria", "output": "Damascus"}
    assert instructions.niv2(tfds).keys() == fields.keys()
    assert instructions.niv2(tfds)["positive_input"] == ""
    for output in ([], [" "], ""):
        with pytest.raises(Drop, match="no answer"):
            instructions.niv2({**published, "output": output})


def test_a_drop_for_the_lack_of_an_answer_holds_for_clean_functions_too():
    fields = dict.fromkeys(("dialog", "rewrite", "answer"), "")
    card = dataset(clean="dialog.qrecc", fields=fields, answer=Answer(text="answer"))
    row = {"context": [], "question": "Is it wet?", "question_rewrite": "", "answer": " "}
    with pytest.raises(Drop, match="no answer"):
        clean.cleaner(card)(row)
