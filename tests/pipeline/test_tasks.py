"""Every task through seqio: what comes out is seeded, complete, sharded exactly, and fits."""

import dataclasses
import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
import seqio
from plain import plain_example

from flan_tasks import catalog, feed, mixtures, sources, tasks
from flan_tasks.errors import FlanError
from flan_tasks.features import VOCABULARY
from flan_tasks.prompts import Lengths, PromptStream
from flan_tasks.spec import Variant
from flan_tasks.variants import VariantPipeline

# Of a table's datasets only some have samples; every other dataset has.
SAMPLES = sources.settings(use=("samples",))
DATASETS = [
    name
    for name, dataset in catalog.load().items()
    if not dataset.constants or sources.availability(dataset, SAMPLES)[0].ok
]
LENGTHS = {"inputs": 1024, "targets": 512}
# One of each kind: options or none, references, rationales, a table's row, dialog.
SOME = ["bool_q", "cot_gsm8k", "niv2_task1146_country_capital", "squad_v1", "wiki_dialog"]

each_dataset = pytest.mark.parametrize("name", DATASETS)
each_of_some = pytest.mark.parametrize("name", SOME)


def tasks_of(dataset_name):
    dataset = catalog.get(dataset_name)
    names = [f"{dataset_name}_{variant.name}" for variant in dataset.variants]
    return [seqio.TaskRegistry.get(name) for name in names]


def examples(name, **arguments):
    arguments = {"sequence_length": LENGTHS, "split": "train", "shuffle": False} | arguments
    task = seqio.get_mixture_or_task(name)
    return list(task.get_dataset(**arguments).as_numpy_iterator())


def stream_of(pipeline, split="train", lengths=None, seed=0, num_epochs=1):
    return PromptStream(
        [pipeline],
        None,
        split=split,
        shuffle=False,
        seed=seed,
        lengths=lengths or Lengths(),
        num_epochs=num_epochs,
        prepare_missing=True,
    )


def rows_of(pipeline, split):
    queries = pipeline.open(split, sources.settings()).queries
    return [queries.row(row) for row in range(queries.num_rows)]


def rows(found):
    return [int(example["row"]) for example in found]


@each_dataset
def test_every_task_gives_every_row_with_its_provenance(name):
    for task in tasks_of(name):
        for split in task.splits:
            rows = rows_of(task.pipeline, split)
            num_rows = len(rows)
            made = stream_of(task.pipeline, split).examples(np.arange(num_rows))
            assert [example.row for example in made] == list(range(num_rows))
            for example in made:
                assert (example.task, example.split) == (task.pipeline, split)
                assert example.template.startswith(task.pipeline.dataset.family)
                assert example.inputs_pretokenized.strip() == example.inputs_pretokenized
                assert example.targets_pretokenized
                assert "[[" not in example.inputs_pretokenized or "[[" in str(rows[example.row])
                if example.task.variant.few_shot:
                    assert example.exemplars
                    assert len(set(example.exemplars)) == len(example.exemplars)
                    # Exemplars of another split are rows of "train".
                    own = split == "train" or "train" not in task.splits
                    assert example.row not in example.exemplars or not own
                else:
                    assert example.exemplars == ()


@each_of_some
def test_through_seqio_a_task_gives_the_same_with_all_features(name):
    for task in tasks_of(name):
        found = examples(task.name, sequence_length=None)
        made = stream_of(task.pipeline).examples(np.arange(len(found)))
        for example, expected in zip(found, made, strict=True):
            assert set(example) == set(feed.FEATURES)
            assert example["inputs"].tolist() == expected.inputs
            assert example["targets"].tolist() == expected.targets
            assert example["inputs_pretokenized"].decode() == expected.inputs_pretokenized
            assert example["references"].tolist() == [r.encode() for r in expected.references]
            assert example["exemplars"].tolist() == list(expected.exemplars)
            assert (example["row"], example["index"]) == (expected.row, expected.index)
            assert example["collection"].decode() == task.pipeline.dataset.collection
            assert f"{example['dataset'].decode()}_{example['variant'].decode()}" == task.name
            for feature in ("inputs", "targets"):
                ids, text = example[feature], example[f"{feature}_pretokenized"].decode()
                assert ids.tolist() == [*VOCABULARY.encode(text), VOCABULARY.eos_id]


def test_without_options_nothing_is_listed():
    for setting in ("zs_noopt", "fs_noopt"):
        for example in examples(f"bool_q_{setting}"):
            assert example["style"] == b""
            assert example["references"][0] in (b"no", b"yes")
            assert b"OPTIONS" not in example["inputs_pretokenized"].upper()


def test_with_options_the_answer_stands_in_the_list():
    for example in examples("bool_q_zs_opt"):
        assert example["style"]
        assert example["targets_pretokenized"] in example["inputs_pretokenized"]


def test_all_references_are_kept_for_the_metric():
    several = [e for e in examples("squad_v1_zs_opt") if len(e["references"]) > 1]
    assert several
    for example in several:
        assert example["targets_pretokenized"] in example["references"].tolist()


def test_same_seed_same_bytes_and_another_seed_other_prompts():
    first, again, other = (
        [e["inputs_pretokenized"] for e in examples("bool_q_fs_opt", seed=seed)]
        for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_another_process_gives_the_same_bytes(tmp_path):
    program = f"""
import gin, seqio, flan_tasks
gin.bind_parameter("flan_tasks.sources.settings.use", ("samples",))
gin.bind_parameter("flan_tasks.sources.settings.store_dir", {str(tmp_path)!r})
task = seqio.get_mixture_or_task("cot_gsm8k_fs_opt")
for example in task.get_dataset(None, seed=5, shuffle=True).as_numpy_iterator():
    print(example["row"], example["inputs"].tolist(), example["targets"].tolist())
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"FLAN_TASKS_REGISTER": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = examples("cot_gsm8k_fs_opt", sequence_length=None, seed=5, shuffle=True)
    assert run.stdout.splitlines() == [
        f"{e['row']} {e['inputs'].tolist()} {e['targets'].tolist()}" for e in here
    ]


def test_prompts_are_drawn_anew_in_each_epoch():
    found = examples("bool_q_zs_opt", num_epochs=2)
    assert rows(found) == 2 * list(range(12))
    prompts = [example["inputs_pretokenized"] for example in found]
    assert prompts[:12] != prompts[12:]


def test_shuffling_keeps_every_row_once_an_epoch():
    found = rows(examples("bool_q_zs_opt", shuffle=True, num_epochs=2))
    assert sorted(found[:12]) == sorted(found[12:]) == list(range(12))
    assert found[:12] != found[12:]


@pytest.mark.parametrize("num_shards", [1, 2, 3, 8])
def test_shards_taken_in_turn_are_the_whole(num_shards):
    whole = examples("squad_v1_fs_opt", shuffle=True, seed=1)
    merged = [None] * len(whole)
    for index in range(num_shards):
        shard = seqio.ShardInfo(index, num_shards)
        merged[index::num_shards] = examples(
            "squad_v1_fs_opt", shuffle=True, seed=1, shard_info=shard
        )
    for a, b in zip(whole, merged, strict=True):
        assert a["inputs"].tolist() == b["inputs"].tolist()


def test_a_long_few_shot_prompt_loses_whole_exemplars_and_no_word_of_the_query():
    free = examples("bool_q_fs_opt", sequence_length=None)
    tight = examples("bool_q_fs_opt", sequence_length={"inputs": 300, "targets": 64})
    by_row = {int(example["row"]): example for example in free}
    assert any(len(e["exemplars"]) < len(by_row[int(e["row"])]["exemplars"]) for e in tight)
    for example in tight:
        full = by_row[int(example["row"])]
        kept = example["exemplars"].tolist()
        assert len(example["inputs"]) <= 300
        assert kept == full["exemplars"].tolist()[: len(kept)]
        tail = example["inputs_pretokenized"].decode()[-40:]
        assert full["inputs_pretokenized"].decode().endswith(tail)


def test_examples_that_cannot_fit_are_dropped_and_never_cut():
    all_rows = examples("cnn_dailymail_zs_opt", sequence_length=None)
    fitting = {int(e["row"]) for e in all_rows if len(e["inputs"]) <= 250}
    found = examples("cnn_dailymail_zs_opt", sequence_length={"inputs": 250, "targets": 512})
    assert set(rows(found)) == fitting
    assert 0 < len(found) < len(all_rows)


def test_a_task_of_which_nothing_fits_says_so_instead_of_looping():
    task = seqio.get_mixture_or_task("cnn_dailymail_zs_opt")
    endless = task.get_dataset({"inputs": 5, "targets": 5}, split="train", num_epochs=None)
    with pytest.raises(Exception, match=r"was dropped: too long.*inputs 5 / targets 5 tokens"):
        next(iter(endless.as_numpy_iterator()))


def test_a_row_that_no_template_can_ask_about_is_dropped_with_the_reason(caplog):
    dataset = catalog.get("wiki_dialog")
    titled = tuple(t for t in dataset.templates if "{title}" in t.input + t.preamble)
    pipeline = VariantPipeline(
        dataclasses.replace(dataset, templates=titled), Variant.of_setting("fs_opt")
    )
    made = stream_of(pipeline).examples(np.arange(12))
    rows_read = rows_of(pipeline, "train")
    untitled = [row for row, fields in enumerate(rows_read) if not fields["title"]]
    assert untitled
    assert [row for row, example in enumerate(made) if example is None] == untitled
    assert "a field that every template asks for is empty" in caplog.text
    # Nor can it stand in as an exemplar.
    shown = [row for example in made if example for row in example.exemplars]
    assert not set(untitled) & set(shown)


@pytest.mark.parametrize("lengths", [Lengths(1024, 512), Lengths(200, 60)])
@each_dataset
def test_batches_hold_what_one_example_at_a_time_gives(name, lengths):
    for epoch, task in enumerate(tasks_of(name)):
        rows_by_split = {split: rows_of(task.pipeline, split) for split in task.splits}
        for split, rows in rows_by_split.items():
            train = rows_by_split.get("train", rows)
            indices = np.arange(len(rows)) + epoch * len(rows)
            made = stream_of(task.pipeline, split, lengths, 7, num_epochs=9).examples(indices)
            for index, example in zip(indices.tolist(), made, strict=True):
                check_equal(
                    example,
                    plain_example(
                        *(task.pipeline, rows, train, index),
                        seed=7,
                        inputs_length=lengths.inputs,
                        targets_length=lengths.targets,
                    ),
                )


def check_equal(example, plain):
    if plain is None:
        assert example is None
        return
    assert example.inputs_pretokenized == plain.inputs_text
    assert example.targets_pretokenized == plain.targets_text
    assert (example.inputs, example.targets) == (plain.inputs, plain.targets)
    assert list(example.exemplars) == plain.exemplars


@pytest.mark.parametrize("shard_info", [None, seqio.ShardInfo(1, 3)])
def test_a_task_entered_where_an_example_says_goes_on_after_it(shard_info):
    task = seqio.get_mixture_or_task("squad_v1_fs_opt")
    arguments = {"num_epochs": 2, "seed": 4, "shard_info": shard_info, "split": "train"}
    tight = {"inputs": 150, "targets": 64}  # some examples are left out
    whole = list(task.starting_at(0).get_dataset(tight, **arguments).as_numpy_iterator())
    assert 2 < len(whole) < (24 if shard_info is None else 8)
    for place in range(len(whole)):
        later = task.starting_at(int(whole[place]["resume_at"])).get_dataset(tight, **arguments)
        rest = list(later.as_numpy_iterator())
        assert [e["index"] for e in rest] == [e["index"] for e in whole[place + 1 :]]
        assert [e["resume_at"] for e in rest] == [e["resume_at"] for e in whole[place + 1 :]]
    assert "resume_at" not in task.get_dataset(tight, **arguments).element_spec


def test_a_missing_dataset_is_an_error_that_says_where_it_looked(monkeypatch):
    import gin

    monkeypatch.delenv("FLAN_DATA_DIR", raising=False)
    with gin.config_scope("nowhere"):
        gin.bind_parameter("nowhere/flan_tasks.sources.settings.use", ("files",))
        with pytest.raises(FlanError, match=r"bool_q[\s\S]*FLAN_DATA_DIR"):
            examples("bool_q_zs_opt")


@pytest.mark.parametrize(
    ("ours", "seqios"), [(tasks.PromptTask, seqio.Task), (mixtures.PromptMixture, seqio.Mixture)]
)
def test_the_interface_is_seqios(ours, seqios):
    assert list(inspect.signature(ours.get_dataset).parameters) == list(
        inspect.signature(seqios.get_dataset).parameters
    )


def test_on_several_hosts_the_exemplars_rows_must_be_prepared_too(tmp_path):
    import gin

    with gin.config_scope("elsewhere"):
        gin.bind_parameter("elsewhere/flan_tasks.sources.settings.use", ("samples",))
        gin.bind_parameter("elsewhere/flan_tasks.sources.settings.store_dir", str(tmp_path))
        examples("bool_q_zs_opt", split="validation")  # prepares validation alone
        with pytest.raises(FlanError, match=r"bool_q[\s\S]*tools/prepare.py"):
            examples("bool_q_fs_opt", split="validation", shard_info=seqio.ShardInfo(0, 2))


@each_dataset
def test_metrics_of_perfect_answers_are_perfect(name):
    for task in tasks_of(name):
        held_out = next((split for split in task.splits if split != "train"), "train")
        num_rows = len(rows_of(task.pipeline, held_out))
        made = stream_of(task.pipeline, held_out).examples(np.arange(num_rows))
        targets, perfect = (
            [
                task.postprocess_fn(
                    example.targets_pretokenized, example=features(example), is_target=is_target
                )
                for example in made
            ]
            for is_target in (True, False)
        )
        for metric in task.metric_fns:
            for measure, value in metric(targets, perfect).items():
                # A single word has no pair of words for ROUGE-2 to find; STS-B wants whole numbers,
                # and its references are means of several judgments.
                if measure != "rouge2":
                    least = 97 if name == "stsb" else 99.99
                    assert value >= least, (task.name, measure)
            assert max(metric(targets, ["???"] * num_rows).values()) < 50


def features(example):
    """What seqio's evaluator hands on of an example."""
    return {
        "references": np.array([each.encode() for each in example.references], object),
        "style": example.style.encode(),
    }


def test_seqio_trims_nothing():
    for example in examples("squad_v1_zs_opt"):
        decoded = VOCABULARY.decode(example["inputs"].tolist())
        assert decoded.split() == example["inputs_pretokenized"].decode().split()


def test_draws_of_one_example_hang_apart():
    found = examples("bool_q_zs_opt", num_epochs=40)
    templates = np.array([int(e["template"].decode().split("/")[-1]) for e in found])
    assert len(set(templates)) >= 10
    styles = [e["style"] for e in found]
    assert len(set(styles)) > 300


def test_answers_to_one_question_are_in_one_group():
    groups = [example["group"] for example in examples("multirc_zs_opt")]
    assert 1 < len(set(groups)) < len(groups)
    assert {example["group"] for example in examples("bool_q_zs_opt")} == {0}
