"""Evaluation tasks through seqio's own evaluator, on the embedded samples."""

import functools
import random

import gin
import numpy as np
import pytest
import seqio

from flan_tasks import catalog, mixtures, recipes
from flan_tasks.errors import FlanError, MixtureError, SourceError
from flan_tasks.evaluation import cards, tasks
from flan_tasks.published import PUBLISHED

# Each way of asking and of reading; every other task is asked in tests/unit, without TensorFlow.
ASKED = [
    *("mmlu_elementary_mathematics_5shot", "mmlu_astronomy_cot", "bbh_date_understanding_cot"),
    *("bbh_boolean_expressions_0shot", "bbh_word_sorting_cot_0shot", "gsm8k_cot"),
    *("commonsense_qa_cot", "tydiqa_finnish_1shot", "conda_qa_0shot", "cxc_0shot"),
    *("held_in_squad_v2_0shot", "held_in_anli_r1_5shot"),
]
RANKED = ["mmlu_astronomy_5shot_rank", "bbh_boolean_expressions_0shot_rank", "aqua_0shot_rank"]
LENGTHS = {"inputs": 4096, "targets": 256}


@functools.cache
def evaluator(name, **lengths):
    return seqio.Evaluator(
        name,
        seqio.EncDecFeatureConverter(pack=False),
        eval_split="test",
        sequence_length={**LENGTHS, **lengths},
    )


def examples(name, **lengths):
    return list(evaluator(name, **lengths).cached_task_datasets[name].as_numpy_iterator())


def evaluate(name, **functions):
    future, _ = evaluator(name).evaluate(compute_metrics=True, **functions)
    return {key: float(each) for key, each in future.result()[name].items()}


def answers_gold(dataset):
    for index, features in dataset.as_numpy_iterator():
        yield int(index), features["decoder_target_tokens"].tolist()


@pytest.mark.parametrize("name", ASKED)
def test_gold_answers_score_everything_and_empty_ones_nothing(name):
    right = evaluate(name, predict_fn=lambda dataset: list(answers_gold(dataset)))
    assert right["accuracy"] == 100 and right["no_answer"] == 0 and right["empty"] == 0
    assert all(abs(score - 100) < 1e-6 for key, score in right.items() if key in ("em", "f1"))
    empty = evaluate(name, predict_fn=lambda dataset: [(i, [1]) for i, _ in answers_gold(dataset)])
    assert empty["accuracy"] == 0 and empty["no_answer"] == empty["empty"] == 100


@pytest.mark.parametrize("name", RANKED)
def test_the_likeliest_option_is_the_answer(name):
    right = [each["targets_pretokenized"] in each["references"] for each in examples(name)]
    assert sum(right) == len({int(each["row"]) for each in examples(name)})
    best = evaluate(name, score_fn=lambda _: list(enumerate(np.where(right, -1.0, -20.0).tolist())))
    assert best["accuracy"] == best["accuracy_per_token"] == 100
    worst = evaluate(name, score_fn=lambda _: list(enumerate(np.where(right, -9e9, -1).tolist())))
    assert worst["accuracy"] == worst["accuracy_per_token"] == 0
    equal = evaluate(name, score_fn=lambda _: [(i, -1.0) for i in range(len(right))])
    assert equal["accuracy"] == pytest.approx(equal["chance"])
    nothing = evaluate(name, score_fn=lambda _: [(i, float("nan")) for i in range(len(right))])
    assert nothing["accuracy"] == 0


def test_guessing_scores_at_chance():
    name = "mmlu_astronomy_5shot_rank"
    draw = random.Random(0)
    scores = [
        evaluate(name, score_fn=lambda _: [(i, draw.random()) for i in range(16)])["accuracy"]
        for _ in range(100)
    ]
    spread = 100 * (0.25 * 0.75 / 400) ** 0.5
    assert abs(np.mean(scores) - 25) < 4 * spread


# Prompts


@pytest.mark.parametrize("name", ASKED)
def test_exemplars_come_first_and_are_not_evaluated_on(name):
    task = seqio.TaskRegistry.get(name)
    setting = task.pipeline.setting
    for each in examples(name):
        assert each["exemplars"].tolist() == sorted(each["exemplars"].tolist())
        assert len(each["exemplars"]) == setting.num_shots
        assert each["split"] == b"test"
    opened = task.pipeline.open("test")
    shown = {shot.input for _, shot in opened.shots}
    asked = {each["inputs_pretokenized"].decode() for each in examples(name)}
    assert len(asked) == len(examples(name))
    for shot in shown:  # no question of the test split is among the exemplars
        assert not any(prompt.count(shot) > 1 for prompt in asked)


def test_a_prompt_reads_as_the_benchmark_writes_it():
    prompt = examples("mmlu_astronomy_5shot_rank")[0]["inputs_pretokenized"].decode()
    assert prompt.startswith(
        "The following are multiple choice questions (with answers) about astronomy.\n\n"
        "Which planet is nearest to the Sun?\nA. Venus\nB. Mercury\nC. Earth\nD. Mars\n"
        "Answer: B\n\n"
    )
    assert prompt.endswith("\nD. The Sombrero\nAnswer:")
    reasoned = examples("bbh_date_understanding_cot")[0]["inputs_pretokenized"].decode()
    assert reasoned.startswith("Work out the date.\n\nQ: Today is 06/01/2018.")
    assert "\nA: Let's think step by step.\nMay has 31 days" in reasoned
    assert reasoned.endswith("\nA: Let's think step by step.")


def test_exemplars_are_of_the_questions_language():
    prompt = examples("tydiqa_finnish_1shot")[0]["inputs_pretokenized"].decode()
    assert "Helsinki" in prompt and "Norway" not in prompt


@pytest.mark.parametrize("room", [60, 120, 300])
def test_exemplars_that_do_not_fit_are_left_out_whole(room):
    name = "mmlu_elementary_mathematics_5shot"
    whole = examples(name)
    for each, complete in zip(examples(name, inputs=room), whole, strict=True):
        assert len(each["inputs"]) <= room
        assert len(each["exemplars"]) < 5 or room > 200
        text = each["inputs_pretokenized"].decode()
        assert text.count("\nAnswer:") == len(each["exemplars"]) + 1
        assert complete["inputs_pretokenized"].decode().endswith(text[-40:])


def test_a_question_too_long_is_kept_and_loses_its_beginning():
    name = "mmlu_elementary_mathematics_5shot"
    cut = examples(name, inputs=12)
    assert len(cut) == len(examples(name))
    for each, complete in zip(cut, examples(name), strict=True):
        assert len(each["inputs"]) == 12
        assert each["inputs"].tolist() == complete["inputs"].tolist()[-12:]


def test_an_answer_too_long_for_the_targets_is_an_error():
    with pytest.raises(SourceError, match="more than 3"):
        examples("conda_qa_0shot", targets=3)


def test_the_same_prompts_come_in_any_order_and_any_shard():
    task = seqio.TaskRegistry.get("aqua_0shot_rank")
    whole = [each["inputs"].tolist() for each in examples("aqua_0shot_rank")]
    shards = [
        task.get_dataset(LENGTHS, "test", shard_info=seqio.ShardInfo(i, 2)).as_numpy_iterator()
        for i in range(2)
    ]
    assert sorted(each["inputs"].tolist() for shard in shards for each in shard) == sorted(whole)
    drawn = [
        (int(each["row"]), each["targets_pretokenized"])
        for each in task.get_dataset(LENGTHS, "test", shuffle=True, seed=1).as_numpy_iterator()
    ]
    assert sorted(drawn) == sorted(
        (int(each["row"]), each["targets_pretokenized"]) for each in examples("aqua_0shot_rank")
    )
    assert [row for row, _ in drawn[::5]] != sorted(row for row, _ in drawn[::5])
    assert all(len({row for row, _ in drawn[i : i + 5]}) == 1 for i in range(0, len(drawn), 5))


# Not for training


def test_no_evaluation_dataset_is_in_any_mixture():
    datasets, _ = cards.load()
    assert not datasets.keys() & catalog.load().keys()
    evaluated = {task.name for name in mixture_names() for task in tasks.of_mixture(name)}
    assert len(evaluated) > 400
    for name, recipe in PUBLISHED.items():
        leaves = recipes.resolve(recipe, name).leaves
        assert not {leaf.task for leaf in leaves} & evaluated


def test_an_evaluation_dataset_cannot_be_mixed():
    for name in ("mmlu", "mmlu_astronomy", "bbh", "svamp"):
        with pytest.raises(FlanError):
            mixtures.register(name="mine", include=[name])
    with pytest.raises(MixtureError):
        mixtures.find("mmlu_astronomy_5shot")


@pytest.mark.parametrize("split", ["train", "exemplars"])
def test_there_is_no_split_to_train_on(split):
    for name in ("mmlu_astronomy_5shot", "gsm8k_cot", "held_in_rte_0shot"):
        task = seqio.TaskRegistry.get(name)
        assert split not in task.splits
        with pytest.raises(MixtureError, match="no split"):
            task.get_dataset(LENGTHS, split)


def test_there_is_neither_cache_nor_endless_repetition():
    task = seqio.TaskRegistry.get("svamp_0shot")
    with pytest.raises(MixtureError, match="not for"):
        task.get_dataset(LENGTHS, "test", use_cached=True)
    with pytest.raises(MixtureError, match="not for"):
        task.get_dataset(LENGTHS, "test", num_epochs=None)


# Mixtures


def mixture_names():
    return [name for name in seqio.MixtureRegistry.names() if name.startswith("eval_")]


def test_the_suites_are_mixtures_of_their_tasks():
    sizes = {name: len(tasks.of_mixture(name)) for name in mixture_names()}
    assert sizes["eval_mmlu_0shot"] == sizes["eval_mmlu_5shot"] == sizes["eval_mmlu_cot"] == 57
    assert sizes["eval_bbh_3shot"] == sizes["eval_bbh_cot"] == 27
    assert sizes["eval_mgsm"] == 10 and sizes["eval_tydiqa"] == 8
    assert sizes["eval_held_in"] == 8 and sizes["eval_cot"] == 6 and sizes["eval_held_out"] == 5
    assert "mgsm_en_cot" in seqio.TaskRegistry.names()
    groups = tasks.groups("eval_bbh_cot")
    assert len(groups) == 6 and len(set(groups.values())) == 2
    for name in mixture_names():
        for task in tasks.of_mixture(name):
            assert "test" in task.splits, task.name


def test_what_is_not_at_hand_can_be_left_out():
    assert tasks.at_hand("eval_mmlu_5shot") == "eval_mmlu_5shot_at_hand"
    left = {task.name for task in tasks.of_mixture("eval_mmlu_5shot_at_hand")}
    assert left == {"mmlu_astronomy_5shot", "mmlu_elementary_mathematics_5shot"}


def test_the_list_of_held_in_datasets_can_be_another():
    with gin.unlock_config():
        gin.bind_parameter("flan_tasks.evaluation.tasks.held_in.datasets", ["copa", "rte"])
        gin.bind_parameter("flan_tasks.evaluation.tasks.held_in.name", "mine")
    assert tasks.held_in() == "eval_mine_0shot"
    assert len(tasks.of_mixture("eval_mine_5shot")) == 2
    with pytest.raises(FlanError, match="no split"):
        tasks.held_in(["copa"], "others", split="train")
