"""Training batches: repeatable, and gone on with exactly where a checkpoint stopped."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import seqio
import toy_tasks
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t5x.errors import T5XError
from t5x.training_data import TrainingData, open_stream
from t5x.utils import DatasetConfig

CONFIG = DatasetConfig(
    "toy_both", toy_tasks.LENGTHS, "train", batch_size=4, shuffle=True, seed=None, pack=True
)
POSITIONED = {"mixture_or_task_name": "toy_positioned", "pack": False}
PACKED = {"mixture_or_task_name": "toy_packed"}
PACKED_ON_THE_WAY = {"mixture_or_task_name": "toy_positioned"}


def sharding(devices=4):
    mesh = Mesh(np.array(jax.devices()[:devices]).reshape(-1, 1), ("data", "model"))
    return NamedSharding(mesh, PartitionSpec("data"))


@pytest.fixture
def stream():
    """Opens training data, and closes it afterwards."""
    opened = []

    def open_data(converter_cls=toy_tasks.PackedRowsConverter, **changes):
        config = dataclasses.replace(CONFIG, **changes)
        opened.append(TrainingData(config, sharding(), converter_cls))
        return opened[-1]

    yield open_data
    for each in opened:
        each.close()


def take(batches, count):
    return [jax.device_get(next(batches)) for _ in range(count)]


def assert_equal(batches, others):
    for batch, other in zip(batches, others, strict=True):
        jax.tree.map(np.testing.assert_array_equal, batch, other)


@pytest.mark.parametrize("changes", [{}, PACKED])
def test_batches_are_global_packed_and_repeatable(stream, changes):
    first, second, other_seed = stream(**changes), stream(**changes), stream(**changes, seed=1)
    batch = next(first)
    assert {name: x.shape for name, x in batch.items()} == first.shapes
    assert first.shapes["encoder_input_tokens"] == (4, 16)
    assert batch["encoder_input_tokens"].sharding == sharding()
    assert np.asarray(batch["encoder_segment_ids"]).max() > 1
    assert_equal([jax.device_get(batch)], take(second, 1))
    with pytest.raises(AssertionError):
        assert_equal([jax.device_get(batch)], take(other_seed, 1))


@pytest.mark.parametrize("changes", [{}, POSITIONED, PACKED, PACKED_ON_THE_WAY])
def test_position_survives_at_any_step(stream, tmp_path, changes):
    """40 packed batches of `toy_both` are over two epochs; shuffling and packing hold some back."""
    steps = (0, 3, 40)
    whole = stream(**changes)
    batches = []
    for step in steps:
        batches += take(whole, step - len(batches))
        whole.save(tmp_path / str(step))
    batches += take(whole, 10)
    for step in steps:
        resumed = stream(**changes)
        resumed.restore(tmp_path / str(step))
        assert_equal(take(resumed, 10), batches[step : step + 10])


def test_looking_for_a_first_batch_does_not_take_it(stream, tmp_path):
    for changes in ({}, POSITIONED):
        looked = stream(**changes)
        looked.check_not_empty()
        looked.check_not_empty()
        looked.save(tmp_path / "position")
        expected = take(stream(**changes), 2)
        assert_equal(take(looked, 2), expected)
        resumed = stream(**changes)
        resumed.restore(tmp_path / "position")
        assert_equal(take(resumed, 2), expected)


@pytest.mark.parametrize("changes", [POSITIONED, PACKED])
def test_a_position_is_one_number_and_costs_no_replay(stream, tmp_path, monkeypatch, changes):
    whole = stream(**changes)
    take(whole, 5)
    whole.save(tmp_path / "position")
    assert [file.name for file in tmp_path.iterdir()] == ["position.json"]
    saved = json.loads((tmp_path / "position.json").read_text())
    assert saved == {"position": saved["position"], "seed": 0, "shard": [0, 1]}
    assert saved["position"] >= 5 * CONFIG.batch_size

    rendered = []
    mixture = type(seqio.get_mixture_or_task(changes["mixture_or_task_name"]))
    row_at = mixture.row_at

    def recorded(position, *args):
        rendered.append(position)
        return row_at(position, *args)

    monkeypatch.setattr(mixture, "row_at", staticmethod(recorded))
    resumed = stream(**changes)
    resumed.restore(tmp_path / "position")
    take(resumed, 1)
    assert min(rendered) == saved["position"]


def rows_by_position(config, index, count, path):
    """A shard's rows before position 20 of the whole stream; stopped and resumed on the way.

    With one row a batch, the position is known after each.
    """
    config = dataclasses.replace(config, batch_size=count)
    rows, position = {}, 0
    for end in (4 * (index + 1), 20):
        stream = open_stream(config, seqio.ShardInfo(index, count), toy_tasks.PackedRowsConverter)
        if position:
            stream.restore(path)
        while position < end:
            row = next(stream)
            stream.save(path)
            position = json.loads(path.with_suffix(".json").read_text())["position"]
            rows[position - count + index] = row
        stream.close()
    return {at: row for at, row in rows.items() if at < 20}


@pytest.mark.parametrize(("changes", "counts"), [(POSITIONED, (2, 3)), (PACKED, (2,))])
def test_shards_together_are_the_single_stream(tmp_path, changes, counts):
    config = dataclasses.replace(CONFIG, **changes)
    single = rows_by_position(config, 0, 1, tmp_path / "position")
    assert 6 < len(single) < 20
    for count in counts:
        shards = [rows_by_position(config, i, count, tmp_path / "position") for i in range(count)]
        union = {at: row for shard in shards for at, row in shard.items()}
        assert len(union) == sum(map(len, shards))
        assert sorted(union) == list(single)
        assert_equal([union[at] for at in single], single.values())


def test_another_seed_is_refused(stream, tmp_path):
    stream(**POSITIONED, seed=3).save(tmp_path / "position")
    with pytest.raises(T5XError, match=r"position\.json: .* seed 3; seed 4 .*seed = 3,"):
        stream(**POSITIONED, seed=4).restore(tmp_path / "position")


def test_another_shard_is_refused(tmp_path):
    config = dataclasses.replace(CONFIG, **POSITIONED)
    open_stream(config, seqio.ShardInfo(0, 2), None).save(tmp_path / "position")
    with pytest.raises(T5XError, match="shard 0 of 2; this process now reads shard 0 of 4"):
        open_stream(config, seqio.ShardInfo(0, 4), None).restore(tmp_path / "position")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [(POSITIONED, {}, "is a number"), ({}, POSITIONED, r"tf\.data's own")],
)
def test_a_position_of_the_other_kind_is_refused(stream, tmp_path, before, after, message):
    stream(**before).save(tmp_path / "position")
    with pytest.raises(T5XError, match=message) as caught:
        stream(**after).restore(tmp_path / "position")
    assert "or start in a new MODEL_DIR" in str(caught.value)


@pytest.mark.parametrize(
    ("converter_cls", "pack"),
    [(None, True), (None, False), (toy_tasks.PackedRowsConverter, False)],
)
def test_packed_rows_are_never_taken_for_single_examples(stream, converter_cls, pack):
    with pytest.raises(T5XError, match=r"feature_converter_cls: .*'toy_packed' come packed"):
        stream(converter_cls, **PACKED, pack=pack)


def test_task_objects_work_like_names(stream):
    mixture = seqio.get_mixture_or_task("toy_both")
    assert_equal(take(stream(mixture_or_task_name=mixture), 2), take(stream(), 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixture_or_task_name": "toy_bothe"}, "toy_bothe.*Did you mean toy_both"),
        ({"split": "test"}, "no split 'test'.*train, validation"),
        ({"module": "toy_tasksies"}, "toy_tasksies"),
        ({"task_feature_lengths": None}, "task_feature_lengths"),
    ],
)
def test_what_does_not_exist_is_named(stream, changes, message):
    with pytest.raises(T5XError, match=message):
        stream(**changes)


def test_empty_dataset_is_an_error_not_a_hang(stream):
    with pytest.raises(T5XError, match=r"toy_empty.*no example"):
        stream(mixture_or_task_name="toy_empty").check_not_empty()


def test_errors_of_the_pipeline_reach_the_consumer(stream, monkeypatch):
    def explode(dataset):
        return dataset.map(lambda x: x | {"targets": x["targets"] // (len(x["targets"]) * 0)})

    source = seqio.get_mixture_or_task("toy_copy")
    broken = source.replace(name="toy_broken", preprocessors=[*source.preprocessors, explode])
    with pytest.raises(Exception, match=r"(?i)zero"):
        next(stream(mixture_or_task_name=broken))

    def broken_row_at(*args):
        raise RuntimeError("a bug in the rows")

    monkeypatch.setattr(toy_tasks.PositionedMixture, "row_at", staticmethod(broken_row_at))
    with pytest.raises(Exception, match="a bug in the rows"):
        next(stream(**POSITIONED))
