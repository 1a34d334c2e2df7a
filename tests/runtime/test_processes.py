"""Several real processes on this machine: they compute what one computes, and end together.

None of them can hang a test: all are killed when it ends, after `PATIENCE` seconds at the latest.
"""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import seqio
import toy_tasks
from launching import HERE, RUNTIME, Launcher, toy_flags, train_bindings

from t5x import checkpoints, processes, training_data
from t5x.errors import T5XError
from t5x.utils import DatasetConfig

PATIENCE = 240
CHANGES = {
    "MIXTURE_OR_TASK_NAME": "toy_full",
    "DROPOUT_RATE": 0.0,  # rows lie elsewhere in a batch, and would drop something else
    "partitioning.standard_logical_axis_rules.parameter_partitioning_dims": 2,
    "EVAL_PERIOD": 0,
    "train_script.train.run_eval_before_training": False,
    "train_eval/utils.DatasetConfig.mixture_or_task_name": "toy_copy",
    "train_eval/utils.DatasetConfig.pack": False,
    "infer_eval/utils.DatasetConfig.mixture_or_task_name": "toy_copy",
}
EVALUATIONS = [f"train_script.train.{kind}_eval_dataset_cfg" for kind in ("train", "infer")]
EVALUATED = ("training_eval/toy_copy", "inference_eval/toy_copy")
WITHOUT_EVALUATIONS = dict.fromkeys(EVALUATIONS)


@contextlib.contextmanager
def started(count, command, devices=1, **environment):
    """That many processes, in order; `command` of an index and a port of their own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", f"device_count={devices}")
    paths = f"{RUNTIME}:{HERE}"
    environment = os.environ | {"PYTHONPATH": paths, "XLA_FLAGS": flags} | environment
    running = [
        subprocess.Popen(
            [sys.executable, *command(index, port)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(count)
    ]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def training(directory, count, **changes):
    """The command of each of `count` processes that train together."""
    flags = toy_flags("t5x.train", **train_bindings(directory, **CHANGES | changes))

    def command(index, port):
        return [
            *("-m", "t5x.train", *flags, "--multiprocess_gpu", f"--process_count={count}"),
            *(f"--coordinator_address=127.0.0.1:{port}", f"--process_index={index}"),
            *("--initialization_timeout=120", "--heartbeat_timeout=10"),
        ]

    return command


def outcomes(running):
    """Exit codes and outputs, when all have ended."""
    end = time.monotonic() + PATIENCE
    outputs = [process.communicate(timeout=end - time.monotonic())[0] for process in running]
    return [process.returncode for process in running], outputs


def metrics(directory):
    """{(step, name): metrics but for the clock}, after a look that none is written twice."""
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("tokens_per_second", None)
        line.pop("seconds_per_step", None)
    found = {(line.pop("step"), line.pop("name")): line for line in lines}
    assert len(found) == len(lines)
    return found


def predictions(directory):
    lines = (directory / "inference_eval" / "toy_copy-000008.jsonl").read_text().splitlines()
    return [(line["target"], line["prediction"]) for line in map(json.loads, lines)]


def assert_same_metrics(found, expected):
    for key, line in found.items():
        assert line == pytest.approx(expected[key], rel=1e-5), key


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """The directory of the same run in a single process."""

    class Silent:
        def readouterr(self):
            return "", ""

    directory = tmp_path_factory.mktemp("single")
    with pytest.MonkeyPatch.context() as patch:
        launch = Launcher(patch, Silent())
        assert launch("t5x.train", **train_bindings(directory, **CHANGES)).code == 0
    return directory


def test_two_processes_of_which_one_is_killed_end_and_go_on_as_one_would(single, tmp_path):
    """Two devices each; parameters, and checkpoints, in parts over both."""
    killing = {"TOY_KILL_AT_ROW": "41", "TOY_KILL_AFTER": str(tmp_path / "checkpoint_3")}
    command = training(tmp_path, 2, **WITHOUT_EVALUATIONS)
    with started(2, command, devices=2, **killing) as running:
        codes, outputs = outcomes(running)
    assert codes[1] == -signal.SIGKILL, outputs[1]
    assert codes[0] not in (0, -signal.SIGKILL), outputs[0]  # by itself
    assert checkpoints.steps(tmp_path) == [3]
    with started(2, training(tmp_path, 2), devices=2) as running:
        codes, outputs = outcomes(running)
    assert codes == [0, 0], outputs
    found = metrics(tmp_path)
    assert sorted(found) == sorted(metrics(single))
    assert {name for _, name in found} == {"train", *EVALUATED}
    assert_same_metrics(found, metrics(single))
    assert predictions(tmp_path) == predictions(single)
    assert checkpoints.steps(tmp_path) == checkpoints.steps(single) == [3, 6, 8]


def test_four_processes_with_a_model_axis_across_them_equal_one(single, tmp_path):
    partitions = {"partitioning.PjitPartitioner.num_partitions": 2, "TRAIN_STEPS": 4}
    with started(4, training(tmp_path, 4, **partitions, **WITHOUT_EVALUATIONS)) as running:
        codes, outputs = outcomes(running)
    assert codes == [0] * 4, outputs
    found = metrics(tmp_path)
    assert list(found) == [(step, "train") for step in (1, 2, 3, 4)]
    assert_same_metrics(found, metrics(single))


FAILING = """
import sys, jax
from jax.experimental import multihost_utils
from t5x import gin_utils, processes
index, port = map(int, sys.argv[1:])
processes._FAREWELL_SECONDS = 1
processes.connect(f"127.0.0.1:{port}", 2, index, heartbeat_timeout=5)
assert processes.of_first(10 + index) == 10
def fail():
    if index == 1:
        raise RuntimeError("a bug")
    multihost_utils.sync_global_devices("which process 1 never reaches")
gin_utils.main = lambda function, argv: function()
gin_utils.run(fail)
"""


def test_a_process_that_fails_says_why_and_ends_the_others():
    with started(2, lambda index, port: ["-c", FAILING, str(index), str(port)]) as running:
        codes, outputs = outcomes(running)
    assert codes[1] == 1
    assert "RuntimeError: a bug" in outputs[1]
    assert codes[0] != 0


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (("127.0.0.1", 2, 0), "no port"),
        (("127.0.0.1:1", 2, 2), "process_id"),
        ((None, None, None), "coordinator_address"),
    ],
)
def test_settings_that_make_no_group_are_refused(monkeypatch, settings, named):
    # JAX refuses anything once it has looked for devices, as other tests have made it do.
    monkeypatch.setattr("jax._src.xla_bridge.backends_are_initialized", lambda: False)
    with pytest.raises(T5XError, match=f"{named}.*--process_count"):
        processes.connect(*settings)


@pytest.mark.parametrize(("name", "packed"), [("toy_full", True), ("toy_copy", False)])
@pytest.mark.parametrize("count", [2, 4])
def test_what_processes_read_together_is_what_one_reads(name, packed, count):
    """Batch by batch, nothing twice or never."""
    config = DatasetConfig(
        name, toy_tasks.LENGTHS, "train", batch_size=4, shuffle=False, seed=None, pack=packed
    )
    whole = rows_of_batches(config, seqio.ShardInfo(0, 1))
    parts = [rows_of_batches(config, seqio.ShardInfo(i, count)) for i in range(count)]
    for expected, *found in zip(whole, *parts, strict=True):
        assert sorted(itertools.chain(*found)) == sorted(expected)
    assert len({row for rows in whole for row in rows}) > 30


def rows_of_batches(config, shard):
    """The rows of twelve batches, as the process of that shard reads them."""
    stream = training_data.open_stream(config, shard, toy_tasks.PackedRowsConverter)
    batches = [next(stream) for _ in range(12)]
    stream.close()
    names = ("encoder_input_tokens", "decoder_target_tokens")
    return [
        [row.tobytes() for row in np.concatenate([batch[name] for name in names], axis=1)]
        for batch in batches
    ]
