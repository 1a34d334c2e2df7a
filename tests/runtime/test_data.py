"""The data edge: positions that survive, rows per process, filling up, and what is refused."""

import dataclasses

import jax
import numpy as np
import pytest
import seqio
import toy_tasks
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t5x import data
from t5x.errors import T5XError
from t5x.utils import DatasetConfig

CONFIG = DatasetConfig(
    "toy_both", toy_tasks.LENGTHS, "train", batch_size=4, shuffle=True, seed=None, pack=True
)


def sharding(devices=4):
    mesh = Mesh(np.array(jax.devices()[:devices]).reshape(-1, 1), ("data", "model"))
    return NamedSharding(mesh, PartitionSpec("data"))


@pytest.fixture
def stream():
    """Opens training data, and closes it afterwards."""
    opened = []

    def open_stream(**changes):
        opened.append(data.TrainingData(dataclasses.replace(CONFIG, **changes), sharding()))
        return opened[-1]

    yield open_stream
    for each in opened:
        each.close()


def take(batches, count):
    return [jax.device_get(next(batches)) for _ in range(count)]


def assert_equal(batches, others):
    for batch, other in zip(batches, others, strict=True):
        jax.tree.map(np.testing.assert_array_equal, batch, other)


def test_batches_are_global_packed_and_repeatable(stream):
    first, second, other_seed = stream(), stream(), stream(seed=1)
    batch = next(first)
    assert {name: x.shape for name, x in batch.items()} == first.shapes
    assert first.shapes["encoder_input_tokens"] == (4, 16)
    assert batch["encoder_input_tokens"].sharding == sharding()
    assert np.asarray(batch["encoder_segment_ids"]).max() > 1
    assert_equal([jax.device_get(batch)], take(second, 1))
    with pytest.raises(AssertionError):
        assert_equal([jax.device_get(batch)], take(other_seed, 1))


@pytest.mark.parametrize("taken", [0, 1, 13, 40])
def test_position_survives_within_and_across_epochs(stream, tmp_path, taken):
    """40 packed batches are more than two epochs; shuffling and packing both hold examples back."""
    whole = stream()
    take(whole, taken)
    whole.save(tmp_path / "position")
    expected = take(whole, 20)
    resumed = stream()
    resumed.restore(tmp_path / "position")
    assert_equal(take(resumed, 20), expected)


def test_evaluation_reads_every_example_once_and_fills_up_without_weight():
    config = dataclasses.replace(CONFIG, split="validation", shuffle=False, pack=False)
    [task, _] = data.tasks_with_split(config)
    batches = list(data.evaluation_batches(config, task, None))
    assert [len(batch["encoder_input_tokens"]) for batch in batches] == [4, 4, 4]
    weights = np.concatenate([batch["decoder_loss_weights"] for batch in batches])
    assert np.count_nonzero(weights.any(axis=1)) == toy_tasks.NUM_VALIDATION
    assert not weights[toy_tasks.NUM_VALIDATION :].any()
    assert len(list(data.evaluation_batches(config, task, 2))) == 2


class Device:
    """A device of some process, as far as `process_shard` looks at it."""

    def __init__(self, process_index):
        self.process_index = process_index


class Placement:
    """Rows by device: `process_of[row part][replica]` says whose device holds it."""

    def __init__(self, process_of):
        self._process_of = process_of

    def devices_indices_map(self, shape):
        rows = shape[0] // len(self._process_of)
        return {
            Device(process): (slice(i * rows, (i + 1) * rows),)
            for i, replicas in enumerate(self._process_of)
            for process in replicas
        }


@pytest.mark.parametrize(
    ("process_of", "process", "expected"),
    [
        ([[0], [0], [1], [1]], 0, (0, 2)),
        ([[0], [0], [1], [1]], 1, (1, 2)),
        ([[0, 1], [2, 3]], 1, (0, 2)),  # model parallel over two processes: they read the same
        ([[0, 1], [2, 3]], 2, (1, 2)),
        ([[0, 1]], 1, (0, 1)),
    ],
)
def test_each_process_reads_the_rows_of_its_devices(monkeypatch, process_of, process, expected):
    monkeypatch.setattr(jax, "process_index", lambda: process)
    assert data.process_shard(Placement(process_of), 8) == expected


def test_task_objects_work_like_names(stream):
    mixture = seqio.get_mixture_or_task("toy_both")
    assert_equal(take(stream(mixture_or_task_name=mixture), 2), take(stream(), 2))
    assert data.registered_name(mixture) == "toy_both"
    unregistered = seqio.Mixture("toy_new", [("toy_copy", 1.0)])
    assert data.registered_name(unregistered) == "toy_new"
    with pytest.raises(T5XError, match="another task or mixture"):
        data.registered_name(seqio.Mixture("toy_new", [("toy_copy_2", 1.0)]))


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


def test_errors_of_the_pipeline_reach_the_consumer(stream):
    def explode(dataset):
        return dataset.map(lambda x: x | {"targets": x["targets"] // (len(x["targets"]) * 0)})

    source = seqio.get_mixture_or_task("toy_copy")
    broken = source.replace(name="toy_broken", preprocessors=[*source.preprocessors, explode])
    with pytest.raises(Exception, match=r"(?i)zero"):
        next(stream(mixture_or_task_name=broken))


def test_other_vocabulary_is_refused():
    class Model:
        input_vocabulary = output_vocabulary = seqio.ByteVocabulary(extra_ids=5)

    with pytest.raises(T5XError, match="vocabulary"):
        data.check_vocabularies(CONFIG, Model())
