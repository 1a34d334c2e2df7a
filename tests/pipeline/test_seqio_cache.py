"""seqio's own cache-building program caches our tasks, and training reads what it wrote."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import seqio

from flan_tasks import mixtures
from flan_tasks.features import VOCABULARY

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="apache-beam is not installed"
)

ROOT = pathlib.Path(__file__).parents[2]
ROWS = {"train": 12, "validation": 4, "test": 4}
TASKS = ("bool_q_fs_opt", "bool_q_zs_opt")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder in which seqio_cache_tasks cached the TASKS."""
    folder = tmp_path_factory.mktemp("seqio_cache")
    environment = {
        **os.environ,
        "FLAN_STORE_DIR": str(folder / "store"),
        "FLAN_TASKS_REGISTER": "1",
        "FLAN_USE": "samples",
        "FLAN_VOCABULARY": "small",
        "PYTHONPATH": str(ROOT),
    }
    arguments = (
        "--module_import=flan_tasks",
        f"--tasks={','.join(TASKS)}",
        f"--output_cache_dir={folder / 'cache'}",
        "--min_shards=2",
        # The name "DirectRunner" may stand for one that is downloaded first; this one never does.
        "--pipeline_options=--runner=BundleBasedDirectRunner",
    )
    result = subprocess.run(
        [sys.executable, "-m", "seqio.scripts.cache_tasks_main", *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return folder / "cache"


@pytest.fixture(autouse=True)
def cache_in_use(cache):
    before = seqio.get_global_cache_dirs()
    seqio.set_global_cache_dirs([str(cache)])
    yield
    seqio.set_global_cache_dirs(before)


def cached(name, split="train", sequence_length=None, **arguments):
    dataset = seqio.get_mixture_or_task(name).get_dataset(
        sequence_length, split=split, use_cached=True, shuffle=False, **arguments
    )
    return list(dataset.as_numpy_iterator())


@pytest.mark.parametrize("split", ROWS)
@pytest.mark.parametrize("task", TASKS)
def test_a_cache_holds_every_row_once_with_its_provenance(cache, task, split):
    examples = cached(task, split)
    assert sorted(example["row"] for example in examples) == list(range(ROWS[split]))
    for example in examples:
        assert example["dataset"] == b"bool_q" and example["split"].decode() == split
        assert f"bool_q_{example['variant'].decode()}" == task
        assert len(example["exemplars"]) == 0 or task == "bool_q_fs_opt"
        assert example["targets_pretokenized"] in example["references"]
        for feature in ("inputs", "targets"):
            text = example[f"{feature}_pretokenized"].decode()
            assert example[feature].dtype == np.int32
            assert example[feature].tolist() == [*VOCABULARY.encode(text), VOCABULARY.eos_id]
    assert any(len(example["exemplars"]) for example in examples) == (task == "bool_q_fs_opt")
    stats = json.loads((cache / task / f"stats.{split}.json").read_text())
    assert stats["examples"] == ROWS[split]


def test_a_cache_is_read_and_not_rendered_anew(cache):
    [task, _] = [seqio.TaskRegistry.get(name) for name in TASKS]
    assert task.cache_dir == str(cache / task.name)
    live = task.get_dataset(None, split="train", shuffle=False)  # of another seed than the cache's
    live_texts = {example["inputs_pretokenized"] for example in live.as_numpy_iterator()}
    assert live_texts != {example["inputs_pretokenized"] for example in cached(task.name)}


def test_a_mixture_of_cached_tasks_trains():
    name = mixtures.register(
        "cached",
        include=["bool_q"],
        setting_weights={"zs_noopt": 0, "fs_noopt": 0},
        inversion_weights={"flan2021": 0},
    )
    mixture = seqio.get_mixture_or_task(name)
    assert {task.name for task in mixture.tasks} == set(TASKS)
    known = {tuple(example["inputs"].tolist()) for task in TASKS for example in cached(task)}
    drawn = mixture.get_dataset(None, split="train", use_cached=True, seed=0, num_epochs=None)
    for example in drawn.take(40).as_numpy_iterator():
        assert tuple(example["inputs"].tolist()) in known
    packed = seqio.get_dataset(
        name,
        {"inputs": 1024, "targets": 64},
        seqio.EncDecFeatureConverter(pack=True),
        use_cached=True,
        seed=1,
        num_epochs=None,
    )
    batch = next(packed.batch(2).as_numpy_iterator())
    assert batch["encoder_input_tokens"].shape == (2, 1024)
    assert batch["encoder_segment_ids"].max() > 1


def test_a_cached_example_that_is_too_long_is_left_out_and_not_cut():
    whole = {example["row"]: example for example in cached("bool_q_fs_opt")}
    longest = sorted(len(example["inputs"]) for example in whole.values())[ROWS["train"] // 2]
    fitting = cached("bool_q_fs_opt", sequence_length={"inputs": longest, "targets": 64})
    assert 0 < len(fitting) < ROWS["train"]
    for example in fitting:
        assert example["inputs"].tolist() == whole[example["row"]]["inputs"].tolist()
