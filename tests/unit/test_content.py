"""What is written in the cards, the samples and the small vocabulary, checked as text."""

import importlib.util
import json
import math
import pathlib
import re
from collections import Counter

import pytest
import sentencepiece

import flan_tasks
from flan_tasks import catalog, clean, options, render
from flan_tasks.spec import Dataset, Template, Variant, slots

PACKAGE = pathlib.Path(flan_tasks.__file__).parent
FAMILIES = {"bool_q", "squad_v1", "cnn_dailymail", "cot_gsm8k", "niv2", "wiki_dialog"}
DATASETS = [dataset for dataset in catalog.load().values() if dataset.family in FAMILIES]
NUM_HELD_OUT = 4
FORWARD = Variant.of_setting("zs_opt")
OPTION_WORDS = re.compile(r"\b(options?|choices?|choose|pick|select|alternatives?)\b", re.I)

each_dataset = pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)


def samples(dataset: Dataset) -> list[dict]:
    name = dataset.name.removeprefix("niv2_")
    folder = PACKAGE / "samples" / ("niv2" if dataset.family == "niv2" else "")
    lines = (folder / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def cleaned(dataset: Dataset) -> list[dict]:
    return [clean.cleaner(dataset)(row) for row in samples(dataset)]


def all_templates(dataset: Dataset) -> list[Template]:
    return [*dataset.templates, *dataset.inverted]


def prompts(dataset: Dataset):
    """Every sample in every template, with and without options, as (template, filled)."""
    for variant in dataset.variants:
        style = options.STYLES[0] if variant.options and dataset.answer.has_options else None
        for row in cleaned(dataset):
            slot_texts = {**dataset.constants, **row}
            row = render.answered(slot_texts, dataset.answer, style)
            for template in dataset.templates_of(variant):
                if render.is_complete(template, row.slots):
                    yield template, render.fill(template, row)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def test_the_families_are_there():
    assert {dataset.family for dataset in DATASETS} == FAMILIES
    assert sum(dataset.family == "niv2" for dataset in DATASETS) == 4


# Templates


@each_dataset
def test_enough_templates_in_both_directions(dataset):
    assert len(dataset.templates) >= 10
    fewest_inverted = {"squad_v1": 2, "cnn_dailymail": 10, "cot_gsm8k": 10, "wiki_dialog": 10}
    assert len(dataset.inverted) >= fewest_inverted.get(dataset.family, 0)


@each_dataset
def test_no_two_templates_have_the_same_words(dataset):
    wordings = [tuple(words(t.preamble + t.input)) for t in all_templates(dataset)]
    assert [wording for wording, count in Counter(wordings).items() if count > 1] == []


def test_instructions_differ_in_more_than_a_word_or_two():
    for dataset in DATASETS:
        instructions = [
            set(words(re.sub(r"\{\w+\}", "", t.preamble + t.input))) for t in dataset.templates
        ]
        for index, first in enumerate(instructions):
            for second in instructions[:index]:
                if len(first) > 3 and len(second) > 3:
                    assert len(first & second) / len(first | second) < 0.6, (first, second)


@each_dataset
def test_templates_are_tidy(dataset):
    for template in all_templates(dataset):
        layout = template.exemplar
        for text in (template.preamble, template.input, template.target):
            assert "  " not in text
            assert " \n" not in text
            assert "\n\n\n\n" not in text
        assert template.input == template.input.strip()
        assert template.target == template.target.strip()
        assert not template.preamble or template.preamble.endswith("\n\n")
        assert layout.separator.startswith("\n\n")
        assert layout.target_prefix.startswith("\n")
        assert "{" not in layout.input_prefix + layout.target_prefix + layout.separator


@each_dataset
def test_an_input_reads_complete_without_what_follows_it(dataset):
    # Zero-shot prompts end with the input: a label that announces the answer would be left hanging.
    for template in all_templates(dataset):
        bare = template.without_options().input
        assert not bare.endswith((":", "=>", "->")), bare
        assert not re.search(r"(^|\n)(Q|A): ", bare), bare


@each_dataset
def test_forward_inputs_do_not_hold_the_answer(dataset):
    hidden = {"answer", dataset.answer.text, dataset.answer.label, dataset.answer.references}
    for template in dataset.templates:
        assert not hidden & set(slots(template.with_options().preamble))
        assert not hidden & set(slots(template.with_options().input))


@each_dataset
def test_forward_targets_hold_the_answer(dataset):
    assert all("answer" in slots(template.target) for template in dataset.templates)


@each_dataset
def test_options_are_spoken_of_only_in_the_optional_part(dataset):
    for template in all_templates(dataset):
        bare = template.without_options()
        assert not OPTION_WORDS.search(bare.preamble + bare.input)
        for option in dataset.answer.options:
            assert option not in words(bare.preamble + bare.input)
        marked = "[[" in template.input + template.preamble
        assert marked == (dataset.answer.has_options and template in dataset.templates)


@each_dataset
def test_few_shot_formats_vary(dataset):
    assert len({template.exemplar for template in dataset.templates}) >= 6


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


def test_chain_of_thought_targets_hold_the_rationale_then_the_answer():
    for template in catalog.get("cot_gsm8k").templates:
        assert slots(template.target) == ("chain_of_thought", "answer")
        assert template.target.endswith("answer is {answer}.")
        assert "chain_of_thought" not in slots(template.input)


def test_chain_of_thought_is_inverted_in_three_directions():
    directions = {
        (frozenset(slots(t.preamble + t.input)), frozenset(slots(t.target)))
        for t in catalog.get("cot_gsm8k").inverted
    }
    rationale, question, answer = {"chain_of_thought"}, {"question"}, {"answer"}
    assert directions == {
        (frozenset(rationale), frozenset(question)),
        (frozenset(question | answer), frozenset(rationale)),
        (frozenset(rationale), frozenset(question | answer)),
    }


@each_dataset
def test_inverted_targets_are_not_in_the_input(dataset):
    for template in dataset.inverted:
        asked = set(slots(template.target))
        assert asked
        assert not asked & set(slots(template.preamble + template.input))


# Samples


@each_dataset
def test_sixteen_samples_that_clean_without_loss(dataset):
    rows = cleaned(dataset)
    assert len(rows) == 16
    assert len({json.dumps(row, sort_keys=True) for row in rows}) == 16


@each_dataset
def test_held_out_samples_are_like_the_others(dataset):
    lengths = [len(str(row)) for row in cleaned(dataset)]
    train, held_out = lengths[:-NUM_HELD_OUT], lengths[-NUM_HELD_OUT:]
    assert max(held_out) <= max(train)
    train_mean, held_out_mean = math.fsum(train) / len(train), math.fsum(held_out) / len(held_out)
    assert 0.5 < held_out_mean / train_mean < 2


@each_dataset
def test_every_sample_can_be_asked_in_several_ways(dataset):
    for row in cleaned(dataset):
        texts = render.answered(row, dataset.answer, options.STYLES[0]).slots
        for templates in filter(None, (dataset.templates, dataset.inverted)):
            plain = [template.with_options() for template in templates]
            complete = [t for t in plain if render.is_complete(t, dataset.constants | texts)]
            assert len(complete) >= len(templates) // 2


@each_dataset
def test_rendered_prompts_are_tidy(dataset):
    for template, filled in prompts(dataset):
        assert filled.input and filled.target, template
        assert "[[" not in filled.input and "{" not in filled.preamble + filled.target
        assert "  " not in filled.preamble + filled.input, template


def test_bool_q_samples_are_balanced_and_asked_as_people_type():
    rows = cleaned(catalog.get("bool_q"))
    assert sum(row["label"] for row in rows) == 8
    assert sum(row["label"] for row in rows[-NUM_HELD_OUT:]) == 2
    assert all(row["question"] == row["question"].lower().rstrip("?") for row in rows)


def test_bool_q_prompts_do_not_tell_the_answer():
    dataset = catalog.get("bool_q")
    for row in cleaned(dataset):
        texts = render.answered(row, dataset.answer, None).slots
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
    for row in cleaned(catalog.get("cot_gsm8k")):
        last_sentence = re.split(r"(?<=\.) ", row["chain_of_thought"])[-1]
        assert re.findall(r"\d+", last_sentence.rpartition("=")[2])[0] == row["answer"]
        assert row["answer"] not in re.findall(r"\d+", row["question"])


def test_gsm8k_calculations_are_right():
    equation = re.compile(r"((?:\d+(?:\.\d+)?\s*[-+*/]\s*)+\d+(?:\.\d+)?) = [$€]?(\d+(?:\.\d+)?)")
    for row in cleaned(catalog.get("cot_gsm8k")):
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
    for row in cleaned(catalog.get("niv2_task610_conllpp_ner")):
        bare = re.sub(r" <[BI]-(?:PER|LOC|ORG|MISC)>", "", row["output"])
        assert bare == row["input"]


def test_cnn_dailymail_highlights_are_shorter_than_the_article():
    rows = cleaned(catalog.get("cnn_dailymail"))
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
    for _, filled in prompts(dataset):
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
    text = "\n".join(str(value) for d in DATASETS for row in cleaned(d) for value in row.values())
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
