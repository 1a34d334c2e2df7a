"""What seqio's datasets become: rows per process, evaluation batches, and what is refused."""

import dataclasses

import jax
import numpy as np
import pytest
import seqio
import toy_tasks

from t5x import data
from t5x.errors import T5XError
from t5x.utils import DatasetConfig

CONFIG = DatasetConfig(
    "toy_both", toy_tasks.LENGTHS, "train", batch_size=4, shuffle=True, seed=None, pack=True
)


def test_evaluation_reads_every_example_once_and_fills_up_without_weight():
    config = dataclasses.replace(CONFIG, split="validation", shuffle=False, pack=False)
    [task, _] = data.tasks_with_split(config)
    batches = list(data.EvaluationBatches(config).of(task))
    assert [len(batch["encoder_input_tokens"]) for batch in batches] == [4, 4, 4]
    weights = np.concatenate([batch["decoder_loss_weights"] for batch in batches])
    assert np.count_nonzero(weights.any(axis=1)) == toy_tasks.NUM_VALIDATION
    assert not weights[toy_tasks.NUM_VALIDATION :].any()
    assert len(list(data.EvaluationBatches(config).of(task, 2))) == 2


def test_tasks_share_one_conversion_and_keep_their_rows():
    config = dataclasses.replace(CONFIG, split="validation", shuffle=False)
    tasks = data.tasks_with_split(config)
    shared = data.EvaluationBatches(config)
    for task in [*tasks, tasks[0]]:
        alone = data.EvaluationBatches(config).of(task)
        for batch, expected in zip(shared.of(task), alone, strict=True):
            assert set(batch) == set(expected)
            for name in batch:
                np.testing.assert_array_equal(batch[name], expected[name])
    assert len(shared._conversions) == 1


def test_evaluation_of_a_packed_mixture_packs_its_tasks():
    """Its tasks give single examples; rows that do come packed keep their segments."""
    config = dataclasses.replace(
        CONFIG, mixture_or_task_name="toy_packed", split="validation", shuffle=False
    )
    converter_cls = toy_tasks.PackedRowsConverter
    [task, _] = data.tasks_with_split(config)
    batches = list(data.EvaluationBatches(config, converter_cls).of(task))
    words = [example["targets"] for example in task.get_dataset(None, "validation", shuffle=False)]
    weight = sum(batch["decoder_loss_weights"].sum() for batch in batches)
    assert weight == sum(len(word) for word in words)
    assert batches[0]["encoder_segment_ids"].max() > 2

    rows = seqio.get_mixture_or_task("toy_packed")
    [batch] = data.EvaluationBatches(config, converter_cls).of(rows, 1)
    assert batch["encoder_segment_ids"].max() == 2
    with pytest.raises(T5XError, match="come packed"):
        list(data.EvaluationBatches(config).of(rows, 1))


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


def test_a_task_object_is_found_by_its_name():
    mixture = seqio.get_mixture_or_task("toy_both")
    assert data.registered_name(mixture) == "toy_both"
    unregistered = seqio.Mixture("toy_new", [("toy_copy", 1.0)])
    assert data.registered_name(unregistered) == "toy_new"
    with pytest.raises(T5XError, match="another task or mixture"):
        data.registered_name(seqio.Mixture("toy_new", [("toy_copy_2", 1.0)]))


def test_other_vocabulary_is_refused():
    class Model:
        input_vocabulary = output_vocabulary = seqio.ByteVocabulary(extra_ids=5)

    with pytest.raises(T5XError, match="vocabulary"):
        data.check_vocabularies(CONFIG, Model())
