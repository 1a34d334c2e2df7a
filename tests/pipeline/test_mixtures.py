"""Mixtures: rates that tell the truth, one stream, seqio's own interface."""

import numpy as np
import pytest
import seqio

from flan_tasks import mixtures, rates, sources, stream
from flan_tasks.errors import MixtureError

LENGTHS = {"inputs": 1024, "targets": 512}


def take(mixture, count, passthrough=("dataset", "variant", "row", "index"), **arguments):
    arguments = {"sequence_length": LENGTHS, "split": "train", "seed": 0} | arguments
    dataset = mixture.get_dataset(passthrough_features=passthrough, **arguments)
    return list(dataset.take(count).as_numpy_iterator())


@pytest.fixture(scope="module")
def flan():
    return seqio.get_mixture_or_task("flan2022")


def test_rates_are_those_of_the_balance(flan):
    by_collection = {}
    for task in flan.tasks:
        collection = task.pipeline.dataset.collection
        by_collection[collection] = by_collection.get(collection, 0) + flan.get_rate(task)
    present = {name: rates.FLAN2022_SHARES[name] for name in by_collection}
    for name, share in present.items():
        assert by_collection[name] == pytest.approx(share / sum(present.values()))


def test_examples_come_at_their_rates(flan):
    found = take(flan, 3000, sequence_length=None)
    names = [f"{e['dataset'].decode()}_{e['variant'].decode()}" for e in found]
    expected = {task.name: flan.get_rate(task) * 3000 for task in flan.tasks}
    often = [name for name, count in expected.items() if count >= 20]
    chi_squared = sum((names.count(n) - expected[n]) ** 2 / expected[n] for n in often)
    assert chi_squared < len(often) + 4 * np.sqrt(2 * len(often))


def test_a_mixed_example_is_the_tasks_own(flan):
    for example in take(flan, 50, sequence_length=None):
        name = f"{example['dataset'].decode()}_{example['variant'].decode()}"
        epoch = int(example["index"]) // 12
        alone = seqio.get_mixture_or_task(name).get_dataset(
            None, split="train", shuffle=False, seed=0, num_epochs=epoch + 1
        )
        [same] = [e for e in alone.as_numpy_iterator() if e["index"] == example["index"]]
        assert same["inputs"].tolist() == example["inputs"].tolist()
        assert same["targets"].tolist() == example["targets"].tolist()


@pytest.mark.parametrize("num_shards", [1, 2, 3, 8])
def test_shards_taken_in_turn_are_the_whole(flan, num_shards):
    whole = take(flan, 72, sequence_length=None)
    for index in range(num_shards):
        shard = seqio.ShardInfo(index, num_shards)
        part = take(flan, 72 // num_shards, sequence_length=None, shard_info=shard)
        for a, b in zip(whole[index::num_shards], part, strict=True):
            assert a["inputs"].tolist() == b["inputs"].tolist()


@pytest.mark.parametrize("shard_info", [None, seqio.ShardInfo(2, 3)])
def test_entered_where_an_example_says_it_goes_on_after_it(flan, shard_info):
    tight = {"inputs": 200, "targets": 64}  # some examples are left out
    whole = take(flan.starting_at(0), 100, sequence_length=tight, shard_info=shard_info)
    for place in (0, 1, 50, 97):
        later = flan.starting_at(int(whole[place]["resume_at"]))
        rest = take(later, 99 - place, sequence_length=tight, shard_info=shard_info)
        for a, b in zip(whole[place + 1 :], rest, strict=True):
            assert a["inputs"].tolist() == b["inputs"].tolist()
            assert a["resume_at"] == b["resume_at"]


def test_entering_far_into_the_stream_replays_nothing(flan, monkeypatch):
    located = []
    locate = stream.ByRate.locate

    def counting(self, positions):
        located.extend(positions.tolist())
        return locate(self, positions)

    monkeypatch.setattr(stream.ByRate, "locate", counting)
    far = 10**15 + 7
    [example] = take(flan.starting_at(far), 1)
    assert example["resume_at"] > far
    assert min(located) == far


def test_with_epochs_every_row_of_every_task_comes_once(flan):
    found = take(flan, 10**6, sequence_length=None, num_epochs=1)
    seen = {(e["dataset"], e["variant"], int(e["row"])) for e in found}
    opened = [task.pipeline.open("train", sources.settings()) for task in flan.tasks]
    assert len(seen) == len(found) == sum(rows_of.queries.num_rows for rows_of in opened)


def test_only_output_features_without_passthrough(flan):
    [example] = take(flan, 1, passthrough=None)
    assert set(example) == {"inputs", "targets"}
    [copied] = take(flan, 1, passthrough=None, copy_pretokenized=True)
    assert set(copied) == {"inputs", "targets", "inputs_pretokenized", "targets_pretokenized"}


def test_through_seqio_get_dataset_with_packing(flan):
    dataset = seqio.get_dataset(
        "flan2022",
        {"inputs": 512, "targets": 128},
        seqio.EncDecFeatureConverter(pack=True),
        shuffle=True,
        num_epochs=None,
        seed=1,
    )
    batch = next(dataset.batch(4).as_numpy_iterator())
    assert batch["encoder_input_tokens"].shape == (4, 512)
    assert batch["encoder_segment_ids"].max() > 1


def test_registering_twice_is_once_and_another_balance_needs_another_name():
    assert mixtures.register("two", datasets=["bool_q", "cot_gsm8k"]) == "two"
    assert mixtures.register("two", datasets=["bool_q", "cot_gsm8k"]) == "two"
    with pytest.raises(MixtureError, match="name"):
        mixtures.register("two", datasets=["bool_q"])


def test_a_family_stands_for_its_datasets():
    name = mixtures.register("instructions", datasets=["niv2"])
    tasks = seqio.get_mixture_or_task(name).tasks
    assert len({task.pipeline.dataset.name for task in tasks}) > 1


def test_an_unknown_dataset_is_an_error_with_a_suggestion():
    with pytest.raises(MixtureError, match=r"'boolq'[\s\S]*bool_q"):
        mixtures.register("wrong", datasets=["boolq"])


def test_a_split_that_no_task_has_is_an_error(flan):
    with pytest.raises(MixtureError, match="nosuch"):
        flan.get_dataset(LENGTHS, split="nosuch")


def test_the_evaluator_takes_it():
    name = mixtures.register("evaluated", datasets=["bool_q"], setting_weights={"fs_opt": 0})
    evaluator = seqio.Evaluator(
        name, seqio.EncDecFeatureConverter(pack=False), eval_split="validation"
    )

    def predict_gold(dataset):
        return [
            (int(i), e["decoder_target_tokens"].tolist()) for i, e in dataset.as_numpy_iterator()
        ]

    metrics, _ = evaluator.evaluate(compute_metrics=True, predict_fn=predict_gold)
    for task_metrics in metrics.result().values():
        assert task_metrics["accuracy"] == 100.0
