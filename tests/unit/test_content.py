"""What single cards promise beyond what all do, and the small vocabulary."""

import importlib.util
import re

import pytest
import sentencepiece
from card_samples import DATASETS, PACKAGE, each_dataset, prompts, samples, usable, words

from flan_tasks import catalog, render
from flan_tasks.sources import HELD_OUT_SAMPLES
from flan_tasks.spec import Variant, slots

# The cards whose samples the small vocabulary was trained on first of all.
FAMILIES = {"bool_q", "squad_v1", "cnn_dailymail", "cot_gsm8k", "niv2", "wiki_dialog"}


each_chain_of_thought = pytest.mark.parametrize(
    "name", [name for name, dataset in catalog.load().items() if dataset.collection == "cot"]
)


# Templates


@pytest.mark.parametrize("name", ["niv2_task1146_country_capital"])
def test_definition_is_stated_once_in_a_few_shot_prompt(name):
    for template in catalog.get(name).templates:
        assert "definition" in slots(template.preamble)
        assert "definition" not in slots(template.input)


def test_some_instruction_templates_show_the_positive_example_and_some_do_not():
    shown = [
        "positive_input" in slots(template.preamble)
        for template in catalog.get("niv2_task1146_country_capital").templates
    ]
    assert 3 <= sum(shown) <= len(shown) - 3


@each_chain_of_thought
def test_chain_of_thought_targets_hold_the_rationale_then_the_answer(name):
    for template in catalog.get(name).templates:
        assert slots(template.target) == ("chain_of_thought", "answer")
        assert template.target.endswith("answer is {answer}.")
        assert "chain_of_thought" not in slots(template.input)


@each_chain_of_thought
def test_chain_of_thought_is_inverted_in_three_directions(name):
    directions = {
        (frozenset(slots(t.preamble + t.input)), frozenset(slots(t.target)))
        for t in catalog.get(name).inverted
    }
    rationale, question, answer = {"chain_of_thought"}, {"question"}, {"answer"}
    assert directions == {
        (frozenset(rationale), frozenset(question)),
        (frozenset(question | answer), frozenset(rationale)),
        (frozenset(rationale), frozenset(question | answer)),
    }


def test_bool_q_samples_are_balanced_and_asked_as_people_type():
    rows = usable(catalog.get("bool_q"))
    assert sum(row["label"] for row in rows) == 8
    assert sum(row["label"] for row in rows[-HELD_OUT_SAMPLES:]) == 2
    assert all(row["question"] == row["question"].lower().rstrip("?") for row in rows)


def test_bool_q_prompts_do_not_tell_the_answer():
    dataset = catalog.get("bool_q")
    for row in usable(dataset):
        texts = render.answered(row, dataset, None).slots
        bare = render.AnsweredRow({**texts, "title": "", "text": "", "question": ""}, ())
        for template in dataset.templates_of(Variant.of_setting("zs_noopt")):
            frame = render.fill(template, bare)
            assert texts["answer"] not in words(frame.preamble + frame.input)


def test_squad_answers_stand_where_the_row_says():
    rows = samples(catalog.get("squad_v1"))
    for row in rows:
        for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
            assert row["context"].startswith(text, start)
    assert sum(len(row["answers"]["text"]) > 1 for row in rows) >= 4


def test_gsm8k_rationales_end_at_their_answers():
    for row in usable(catalog.get("cot_gsm8k")):
        last_sentence = re.split(r"(?<=\.) ", row["chain_of_thought"])[-1]
        assert re.findall(r"\d+", last_sentence.rpartition("=")[2])[0] == row["answer"]
        assert row["answer"] not in re.findall(r"\d+", row["question"])


def test_gsm8k_calculations_are_right():
    equation = re.compile(r"((?:\d+(?:\.\d+)?\s*[-+*/]\s*)+\d+(?:\.\d+)?) = [$€]?(\d+(?:\.\d+)?)")
    for row in usable(catalog.get("cot_gsm8k")):
        equations = equation.findall(row["chain_of_thought"])
        assert len(equations) == row["chain_of_thought"].count("=") > 0
        for left, right in equations:
            assert eval(left) == pytest.approx(float(right)), row["question"]


def test_wiki_dialog_turns_alternate_and_the_passage_answers():
    rows = samples(catalog.get("wiki_dialog"))
    for row in rows:
        assert row["author_num"] == [i % 2 for i in range(len(row["utterances"]))]
        assert row["utterances"][2::2] == row["sentences"]
        assert " ".join(row["sentences"]) == row["passage"]
    assert "" in [row["title"] for row in rows]


def test_named_entity_outputs_only_add_labels():
    for row in usable(catalog.get("niv2_task610_conllpp_ner")):
        bare = re.sub(r" <[BI]-(?:PER|LOC|ORG|MISC)>", "", row["output"])
        assert bare == row["input"]


def test_cnn_dailymail_highlights_are_shorter_than_the_article():
    rows = usable(catalog.get("cnn_dailymail"))
    lengths = [len(row["text"].split()) for row in rows]
    assert min(lengths) >= 80
    assert max(lengths) >= 300
    assert all(len(row["highlights"]) < len(row["text"]) / 2 for row in rows)


# The small vocabulary


def _load_trainer():
    path = PACKAGE.parent / "tools" / "train_vocabulary.py"
    spec = importlib.util.spec_from_file_location("train_vocabulary", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


trainer = _load_trainer()


@pytest.fixture(scope="module")
def vocabulary():
    return sentencepiece.SentencePieceProcessor(model_file=str(trainer.OUTPUT))


def test_vocabulary_is_small(vocabulary):
    assert trainer.OUTPUT.stat().st_size < 100_000
    assert vocabulary.get_piece_size() == trainer.NUM_PIECES


def test_special_pieces_are_where_t5_has_them(vocabulary):
    special = (vocabulary.pad_id(), vocabulary.eos_id(), vocabulary.unk_id(), vocabulary.bos_id())
    assert special == (0, 1, 2, -1)
    last = vocabulary.get_piece_size() - 1
    assert vocabulary.id_to_piece(last) == "▁<extra_id_0>"
    assert vocabulary.id_to_piece(last - 99) == "▁<extra_id_99>"
    assert vocabulary.encode("<extra_id_0>") == [last]


@each_dataset
def test_prompts_survive_the_round_trip(dataset, vocabulary):
    for _, _, _, filled in prompts(dataset):
        text = filled.preamble + filled.input + "\n" + filled.target
        assert vocabulary.decode(vocabulary.encode(text)) == text


@pytest.mark.parametrize(
    "text",
    ["國家 и 日本", "a 😀 b", "½ ﬁ ① …", "two  spaces\n\n\nand\tlines\r\n", " edge ", "{x} <y>"],
)
def test_any_text_survives_the_round_trip(text, vocabulary):
    ids = vocabulary.encode(text)
    assert vocabulary.unk_id() not in ids
    assert vocabulary.decode(ids) == text


def test_unknown_characters_are_written_in_bytes(vocabulary):
    pieces = vocabulary.encode("😀", out_type=str)
    assert pieces[-4:] == ["<0xF0>", "<0x9F>", "<0x98>", "<0x80>"]


def test_digits_and_line_ends_stand_alone(vocabulary):
    pieces = vocabulary.encode("1568\nno", out_type=str)
    assert [piece for piece in pieces if piece.strip("▁")] == ["1", "5", "6", "8", "\n", "no"]


def test_samples_need_few_tokens(vocabulary):
    datasets = [dataset for dataset in DATASETS if dataset.family in FAMILIES]
    text = "\n".join(str(value) for d in datasets for row in usable(d) for value in row.values())
    assert len(text) / len(vocabulary.encode(text)) > 2.4


def test_same_texts_train_the_same_model():
    texts = trainer.training_texts()
    assert texts == trainer.training_texts()
    assert trainer.train(texts) == trainer.train(texts)


def test_dry_run_writes_nothing(tmp_path, capsys):
    assert trainer.main(["--dry_run", "--output", str(tmp_path / "x.model")]) == 0
    assert "would write" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_too_many_pieces_is_an_error_that_says_so(tmp_path, capsys):
    assert trainer.main(["--num_pieces", "100000", "--output", str(tmp_path / "x.model")]) == 1
    assert "--num_pieces" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
