"""Mixtures: rates that tell the truth, one stream, seqio's own interface."""

import numpy as np
import pytest
import seqio
from scipy import stats

from flan_tasks import catalog, mixtures, recipes, selection, sources, stream
from flan_tasks.errors import MixtureError

LENGTHS = {"inputs": 1024, "targets": 512}


def take(mixture, count, passthrough=("dataset", "variant", "row", "index"), **arguments):
    arguments = {"sequence_length": LENGTHS, "split": "train", "seed": 0} | arguments
    dataset = mixture.get_dataset(passthrough_features=passthrough, **arguments)
    return list(dataset.take(count).as_numpy_iterator())


@pytest.fixture(scope="module")
def flan():
    """Flan 2022 of the datasets that have samples."""
    name = mixtures.register("flan2022_samples", base="flan2022", on_missing="skip")
    return seqio.get_mixture_or_task(name)


def test_rates_are_those_of_the_balance(flan):
    by_collection = {}
    for task in flan.tasks:
        collection = task.pipeline.dataset.collection
        by_collection[collection] = by_collection.get(collection, 0) + flan.get_rate(task)
    present = {name: recipes.FLAN2022_SHARES[name] for name in by_collection}
    for name, share in present.items():
        assert by_collection[name] == pytest.approx(share / sum(present.values()))


def test_examples_come_at_their_rates(flan):
    found = take(flan, 3000, sequence_length=None)
    names = [f"{e['dataset'].decode()}_{e['variant'].decode()}" for e in found]
    expected = {task.name: flan.get_rate(task) * 3000 for task in flan.tasks}
    often = [name for name, count in expected.items() if count >= 20]
    chi_squared = sum((names.count(n) - expected[n]) ** 2 / expected[n] for n in often)
    assert chi_squared < len(often) + 4 * np.sqrt(2 * len(often))


def test_a_hundred_thousand_draws_match_the_rates(flan):
    found = flan.stream(None, seed=5)
    task, _, _ = found.locate(np.arange(100_000))
    counts = np.bincount(task, minlength=len(flan.tasks))
    expected = 100_000 * np.array([flan.get_rate(each) for each in flan.tasks])
    rare = expected < 5
    observed = [*counts[~rare], counts[rare].sum()]
    p_value = stats.chisquare(observed, [*expected[~rare], expected[rare].sum()]).pvalue
    assert p_value > 0.001


def test_a_mixed_example_is_the_tasks_own(flan):
    for example in take(flan, 50, sequence_length=None):
        name = f"{example['dataset'].decode()}_{example['variant'].decode()}"
        epoch = int(example["index"]) // 6  # no dataset has fewer samples to train on
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
        flan.name,
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
    assert mixtures.register("two", include=["bool_q", "cot_gsm8k"]) == "two"
    assert mixtures.register("two", include=["bool_q", "cot_gsm8k"]) == "two"
    with pytest.raises(MixtureError, match="name"):
        mixtures.register("two", include=["bool_q"])


def test_a_family_stands_for_its_datasets():
    name = mixtures.register("instructions", include=["niv2"])
    tasks = seqio.get_mixture_or_task(name).tasks
    assert len({task.pipeline.dataset.name for task in tasks}) > 1


def datasets_of(mixture):
    return {task.pipeline.dataset.name for task in seqio.get_mixture_or_task(mixture).tasks}


def test_include_and_exclude_choose_by_what_datasets_are():
    everything = list(catalog.load().values())
    name = mixtures.register("permitted", include=["license:commercial", "collection:cot"])
    chosen = selection.select(everything, ["license:commercial", "collection:cot"])
    assert datasets_of(name) == {dataset.name for dataset in chosen}
    name = mixtures.register(
        "others", include=["cot_gsm8k", "rte", "wmt14_enfr"], exclude=["kind:trans*"]
    )
    assert datasets_of(name) == {"cot_gsm8k", "rte"}


def test_without_a_dataset_the_others_keep_their_rates_to_each_other():
    three = seqio.get_mixture_or_task(
        mixtures.register("three", include=["bool_q", "rte", "cot_gsm8k"])
    )
    name = mixtures.register("but_rte", include=["bool_q", "rte", "cot_gsm8k"], exclude=["rte"])
    two = seqio.get_mixture_or_task(name)
    of_cot = [sum(m.get_rate(t) for t in m.tasks if "gsm8k" in t.name) for m in (three, two)]
    assert of_cot[0] == pytest.approx(of_cot[1])  # shares of collections stay
    assert sum(two.get_rate(task) for task in two.tasks) == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"include": ["license:comercial"]}, r"mixture wrong: .*comercial[\s\S]*commercial"),
        ({"exclude": ["bolq"]}, "bool_q"),
        ({"exclude": ["*"]}, "no dataset"),
        ({"include": ["rte", "cb"], "exclude": ["rte", "cb"]}, "no dataset is rte, cb"),
        ({"base": "flan2023"}, r"'flan2023' to build on[\s\S]*flan2022"),
        ({"include": ["cot"], "cot_share": 1.0}, "cot cannot have a share of 1.0"),
        ({"include": ["cot_*"], "shares": {"t0": 1}}, "leave nothing"),
    ],
)
def test_terms_that_select_nothing_and_mixtures_of_nothing_are_errors(arguments, complaint):
    with pytest.raises(MixtureError, match=complaint):
        mixtures.register("wrong", **arguments)
    assert "wrong" not in seqio.MixtureRegistry.names()


def test_an_unknown_dataset_is_an_error_with_a_suggestion():
    with pytest.raises(MixtureError, match=r"'boolq'[\s\S]*bool_q"):
        mixtures.register("wrong", include=["boolq"])


def test_a_split_that_no_task_has_is_an_error(flan):
    with pytest.raises(MixtureError, match="nosuch"):
        flan.get_dataset(LENGTHS, split="nosuch")


def test_the_evaluator_takes_it():
    name = mixtures.register("evaluated", include=["bool_q"], setting_weights={"fs_opt": 0})
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
