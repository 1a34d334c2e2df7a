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
from flan_tasks.prompts import Lengths, PromptStream
from flan_tasks.spec import Variant
from flan_tasks.variants import VariantPipeline
from flan_tasks.features import VOCABULARY

TASKS = sorted(
    f"{dataset.name}_{variant.name}"
    for dataset in catalog.load().values()
    for variant in dataset.variants
)
LENGTHS = {"inputs": 1024, "targets": 512}


def examples(name, **arguments):
    arguments = {"sequence_length": LENGTHS, "split": "train", "shuffle": False} | arguments
    task = seqio.get_mixture_or_task(name)
    return list(task.get_dataset(**arguments).as_numpy_iterator())


def rows(found):
    return [int(example["row"]) for example in found]


@pytest.mark.parametrize("name", TASKS)
def test_every_task_gives_every_row_with_its_provenance(name):
    found = examples(name, sequence_length=None)
    assert rows(found) == list(range(12))
    task = seqio.get_mixture_or_task(name)
    for example in found:
        inputs, targets = (example[f"{f}_pretokenized"].decode() for f in ("inputs", "targets"))
        assert inputs.strip() == inputs
        assert targets
        assert "{" not in inputs.replace("{{", "")
        assert "[[" not in inputs
        for feature, text in (("inputs", inputs), ("targets", targets)):
            ids = example[feature]
            assert ids[-1] == VOCABULARY.eos_id
            assert ids[:-1].tolist() == VOCABULARY.encode(text)
        assert example["collection"].decode() == task.pipeline.dataset.collection
        assert f"{example['dataset'].decode()}_{example['variant'].decode()}" == name
        assert example["split"] == b"train"
        assert example["template"].decode().startswith(task.pipeline.dataset.family)


@pytest.mark.parametrize("name", [name for name in TASKS if "_fs_" in name])
def test_exemplars_are_other_rows_and_stand_in_the_prompt(name):
    zero_shot = {int(e["row"]): e for e in examples(name.replace("_fs_", "_zs_"))}
    for example in examples(name, sequence_length=None):
        exemplars = example["exemplars"].tolist()
        assert exemplars
        assert example["row"] not in exemplars
        assert len(set(exemplars)) == len(exemplars)
    assert all(len(e["exemplars"]) == 0 for e in zero_shot.values())


def test_without_options_nothing_is_listed():
    for setting in ("zs_noopt", "fs_noopt"):
        for example in examples(f"bool_q_{setting}"):
            assert example["option_style"] == b""
            assert example["references"][0] in (b"no", b"yes")
            assert b"OPTIONS" not in example["inputs_pretokenized"].upper()


def test_with_options_the_answer_stands_in_the_list():
    for example in examples("bool_q_zs_opt"):
        assert example["option_style"]
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


@pytest.mark.parametrize("lengths", [Lengths(1024, 512), Lengths(200, 60), Lengths(90, 512)])
@pytest.mark.parametrize("name", TASKS)
def test_batches_hold_what_one_example_at_a_time_gives(name, lengths):
    pipeline = seqio.get_mixture_or_task(name).pipeline
    train = rows_of(pipeline, "train")
    for split in pipeline.dataset.splits:
        rows = train if split == "train" else rows_of(pipeline, split)
        count = 3 * len(rows)
        made = stream_of(pipeline, split, lengths, 7, num_epochs=3).examples(np.arange(count))
        for index, example in enumerate(made):
            plain = plain_example(
                *(pipeline, rows, train, index),
                seed=7,
                inputs_length=lengths.inputs,
                targets_length=lengths.targets,
            )
            if plain is None:
                assert example is None
                continue
            assert example.inputs_pretokenized == plain.inputs_text
            assert example.targets_pretokenized == plain.targets_text
            assert (example.inputs, example.targets) == (plain.inputs, plain.targets)
            assert list(example.exemplars) == plain.exemplars
            assert example.index == index


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


def test_features_are_the_documented_ones():
    assert set(examples("bool_q_zs_opt")[0]) == set(feed.FEATURES)


def test_metrics_of_perfect_answers_are_perfect():
    for name in TASKS:
        task = seqio.get_mixture_or_task(name)
        held_out = next(split for split in task.splits if split != "train")
        found = examples(name, split=held_out, sequence_length=None)
        targets = [
            task.postprocess_fn(e["targets_pretokenized"].decode(), example=e, is_target=True)
            for e in found
        ]
        perfect = [
            task.postprocess_fn(e["targets_pretokenized"].decode(), example=e, is_target=False)
            for e in found
        ]
        assert len(found) == 4
        for metric in task.metric_fns:
            for measure, value in metric(targets, perfect).items():
                # A single word has no pair of words for ROUGE-2 to find.
                assert measure == "rouge2" or value == pytest.approx(100), name
            assert max(metric(targets, ["???"] * 4).values()) < 50


def test_seqio_trims_nothing():
    for example in examples("squad_v1_zs_opt"):
        decoded = VOCABULARY.decode(example["inputs"].tolist())
        assert decoded.split() == example["inputs_pretokenized"].decode().split()


def test_draws_of_one_example_hang_apart():
    found = examples("bool_q_zs_opt", num_epochs=40)
    templates = np.array([int(e["template"].decode().split("/")[-1]) for e in found])
    assert len(set(templates)) >= 10
    styles = [e["option_style"] for e in found]
    assert len(set(styles)) > 300
