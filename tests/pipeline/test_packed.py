"""Mixtures of packed rows: every example of a window once, resumable, sharded, through seqio."""

import numpy as np
import pytest
import seqio

from flan_tasks import mixtures, packed
from flan_tasks.converters import FeatureConverter
from flan_tasks.errors import MixtureError

LENGTHS = {"inputs": 512, "targets": 256}
WINDOW = 64


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(packed, "WINDOW", WINDOW)


@pytest.fixture
def mixture():
    name = mixtures.register("to_be_packed", include=["bool_q", "squad_v1", "cot_gsm8k"])
    return seqio.get_mixture_or_task(packed.register(name))


def rows_of(provider, count, **arguments):
    arguments = {"sequence_length": LENGTHS, "seed": 3} | arguments
    return list(provider.get_dataset(**arguments).take(count).as_numpy_iterator())


def segments(row, side):
    ids = row[f"{side}_segment_ids"]
    return [row[side][ids == segment].tolist() for segment in range(1, ids.max() + 1)]


def equal(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_a_window_holds_its_examples_once(mixture):
    plain = seqio.get_mixture_or_task("to_be_packed").stream(LENGTHS, seed=3)
    examples = [e for e in plain.examples(np.arange(2 * WINDOW)) if e]
    ends = [row["resume_at"] for row in rows_of(mixture.starting_at(0), 128)]
    rows = rows_of(mixture, ends.index(2 * WINDOW) + 1)
    pairs = [
        pair
        for row in rows
        for pair in zip(segments(row, "inputs"), segments(row, "targets"), strict=True)
    ]
    assert sorted(pairs) == sorted((e.inputs, e.targets) for e in examples)
    assert len(rows) < len(examples) * 0.75


def test_same_seed_same_rows_and_another_seed_others(mixture):
    equal(rows_of(mixture, 12), rows_of(mixture, 12))
    other = rows_of(mixture, 12, seed=4)
    assert any(
        (a["inputs"] != b["inputs"]).any() for a, b in zip(rows_of(mixture, 12), other, strict=True)
    )


@pytest.mark.parametrize("shard_info", [None, seqio.ShardInfo(0, 2), seqio.ShardInfo(2, 3)])
def test_entered_where_a_row_says_it_goes_on_after_that(mixture, shard_info):
    whole = rows_of(mixture.starting_at(0), 30, shard_info=shard_info)
    for place in range(0, 29):
        later = mixture.starting_at(int(whole[place]["resume_at"]))
        equal(rows_of(later, 29 - place, shard_info=shard_info), whole[place + 1 :])


@pytest.mark.parametrize("num_shards", [2, 3, 8])
def test_shards_take_windows_in_turn(mixture, num_shards):
    whole = rows_of(mixture.starting_at(0), 10**6, num_epochs=8)
    windows = np.array([(row["resume_at"] - 1) // WINDOW for row in whole])
    for index in range(num_shards):
        shard = seqio.ShardInfo(index, num_shards)
        expected = [
            {name: value for name, value in row.items() if name != "resume_at"}
            for row, window in zip(whole, windows, strict=True)
            if window % num_shards == index
        ]
        equal(rows_of(mixture, 10**6, num_epochs=8, shard_info=shard), expected)


@pytest.mark.parametrize("shard", [None, seqio.ShardInfo(1, 2)])
def test_rows_tell_which_examples_they_are_made_of(mixture, shard):
    """Of each, the dataset and the row lead to the example whose tokens stand there."""
    position = WINDOW + 3
    rows = rows_of(mixture.starting_at(position), 40, shard_info=shard)
    origins = mixture.provenance(position, 40, sequence_length=LENGTHS, seed=3, shard_info=shard)
    plain = seqio.get_mixture_or_task("to_be_packed").stream(LENGTHS, seed=3)
    examples = [e for e in plain.examples(np.arange(8 * WINDOW)) if e]
    by_origin = {(e.task.dataset.name, e.task.variant.name, e.index): e for e in examples}
    for row, found in zip(rows, origins, strict=True):
        made_of = [by_origin[each["dataset"], each["variant"], each["index"]] for each in found]
        assert segments(row, "inputs") == [example.inputs for example in made_of]
        assert [each["row"] for each in found] == [example.row for example in made_of]


def test_a_task_can_be_packed_too():
    provider = seqio.get_mixture_or_task(packed.register("squad_v1_zs_opt"))
    rows = rows_of(provider, 10**6, num_epochs=1)
    assert sum(len(segments(row, "inputs")) for row in rows) == 12
    assert [task.name for task in provider.tasks] == ["squad_v1_zs_opt"]


def test_through_seqio_with_the_converter(mixture):
    dataset = seqio.get_dataset(
        mixture.name, LENGTHS, FeatureConverter(pack=True), shuffle=True, num_epochs=None, seed=3
    )
    batch = next(dataset.batch(8).as_numpy_iterator())
    assert batch["encoder_input_tokens"].shape == (8, 512)
    assert batch["decoder_segment_ids"].shape == (8, 256)
    assert batch["encoder_segment_ids"].max(1).mean() > 1.5


def test_tasks_and_rates_are_those_of_the_mixture(mixture):
    plain = seqio.get_mixture_or_task("to_be_packed")
    assert mixture.tasks == plain.tasks
    assert [mixture.get_rate(t) for t in mixture.tasks] == [plain.get_rate(t) for t in plain.tasks]
    assert packed.register("to_be_packed") == mixture.name == "to_be_packed_packed"


def test_what_rows_cannot_give_is_an_error(mixture):
    with pytest.raises(MixtureError, match="lengths"):
        mixture.get_dataset(None)
    with pytest.raises(MixtureError, match="to_be_packed"):
        mixture.get_dataset(LENGTHS, passthrough_features=["row"])
    with pytest.raises(MixtureError, match="nosuch"):
        packed.register("nosuch")
