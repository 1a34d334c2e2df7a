"""Killed, preempted, out of disk, fed nonsense: a run loses no step, and saves nothing bad."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import toy_tasks
from crashing import ONE_DEVICE, Trainings
from launching import HERE, RUNTIME, toy_flags, train_bindings

from t5x import checkpoints

STEPS, PERIOD = 40, 10
CHANGES = {
    "MIXTURE_OR_TASK_NAME": "toy_packed",
    "TRAIN_STEPS": STEPS,
    "EVAL_PERIOD": 20,
    "utils.SaveCheckpointConfig.period": PERIOD,
    "train_script.train.stats_period": 7,  # so that checkpoints fall between reports
    "train_script.train.train_eval_dataset_cfg": None,
    "train_script.train.run_eval_before_training": False,
}


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    return Trainings(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="module")
def whole(trainings, tmp_path_factory):
    """The directory of a run that nothing happened to."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    code, output = trainings.start(directory, **CHANGES).ended()
    assert code == 0, output
    return directory


def lines(directory):
    """metrics.jsonl without the clock; evaluations may be repeated, so in one order."""
    entries = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    clock = ("tokens_per_second", "seconds_per_step")
    return [{k: v for k, v in entry.items() if k not in clock} for entry in entries]


def content(path):
    """All that a checkpoint holds."""
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
        request = ocp.args.Composite(state=ocp.args.PyTreeRestore())
        state = reader.restore(path.absolute(), args=request)["state"]
    [position] = (path / "data").glob("process_*")
    return jax.tree.map(np.asarray, state), json.loads(position.read_text())


def assert_same_run(directory, reference):
    """Bit by bit, at every checkpoint and in every line."""
    assert lines(directory) == lines(reference)
    assert set(checkpoints.steps(directory)) >= set(checkpoints.steps(reference))
    for step in checkpoints.steps(reference):
        ours, theirs = (content(each / f"checkpoint_{step}") for each in (directory, reference))
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)


# What happens to a run, one launch after the other, and how the launch ends; the last is let be.
FATES = {
    "kill at 0": -signal.SIGKILL,
    "sigterm_while_compiling": "ends at step 1.",
    "kill at 10": -signal.SIGKILL,
    "sigterm_while_evaluating": "ends at step 20.",
    "sigterm_twice_while_a_checkpoint_is_written": "ends at step",
    "": 0,
}


def test_killed_and_preempted_again_and_again_equals_uninterrupted(trainings, whole, tmp_path):
    """Killed while it starts and while it writes a checkpoint."""
    directory = tmp_path / "unlucky"
    for fate, end in FATES.items():
        left_over = list(directory.glob("checkpoint_*"))
        is_killed = fate.startswith("kill")
        training = trainings.start(directory, "" if is_killed else fate, **CHANGES)
        if is_killed:
            if fate == "kill at 10":
                training.wait_for("checkpoint_10*", but_not=left_over)
            os.kill(training.process.pid, signal.SIGKILL)
        code, output = training.ended()
        assert code == (end if isinstance(end, int) else 0), output
        if isinstance(end, str):
            assert f"SIGTERM: the run {end}" in output
            saved = max(checkpoints.steps(directory))
            assert f"ends at step {saved}." in output
    assert not list(directory.glob("*tmp*"))
    assert_same_run(directory, whole)


def flip_a_bit(path):
    """In the numbers of an array."""
    file = max((path / "state").glob("ocdbt.process_*/d/*"), key=lambda x: x.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def truncate(path):
    file = path / "state" / "_METADATA"
    file.write_bytes(file.read_bytes()[:100])


def lose(path):
    [file] = (path / "data").glob("process_*")
    file.unlink()


def empty(path):
    shutil.rmtree(path)
    path.mkdir()


def test_damaged_checkpoints_are_skipped_by_name_and_reason(trainings, whole, tmp_path):
    directory = tmp_path / "damaged"
    shutil.copytree(whole, directory)
    damage = {40: flip_a_bit, 30: truncate, 20: empty}
    reasons = {
        40: "does not hold what was written",
        30: "state/_METADATA is no longer of",
        20: "not a finished checkpoint",
    }
    for step, function in damage.items():
        function(directory / f"checkpoint_{step}")
    code, output = trainings.start(directory, **CHANGES).ended()
    assert code == 0, output
    for step, reason in reasons.items():
        assert re.search(f"checkpoint_{step}: .*{reason}", output)
        assert (directory / f"checkpoint_{step}.damaged-1").exists()
    assert_same_run(directory, whole)


def test_a_run_without_a_whole_checkpoint_does_not_start_over(trainings, whole, tmp_path):
    directory = tmp_path / "damaged"
    shutil.copytree(whole, directory)
    for step in range(PERIOD, STEPS + 1, PERIOD):
        lose(directory / f"checkpoint_{step}")
    before = sorted(directory.rglob("*"))
    code, output = trainings.start(directory, **CHANGES).ended()
    assert code == 1
    assert "none of which is whole" in output
    assert output.count("data/process_00000-of-00001.json is missing") == STEPS // PERIOD
    assert sorted(directory.rglob("*")) == before


SMALL_DISK = """
mount -t tmpfs -o size=1200k tmpfs "$0" || exit 77
"$@"
code=$?
cp -r "$0" "$0_kept"
exit $code
"""


def test_a_full_disk_ends_the_run_and_damages_nothing(trainings, whole, tmp_path):
    """The disk is a real one, of a megabyte, that nobody else sees."""
    directory = tmp_path / "small"
    directory.mkdir()
    flags = toy_flags("t5x.train", **train_bindings(directory, **CHANGES))
    command = [sys.executable, "-m", "t5x.train", *flags]
    ended = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, directory, *command],
        env=os.environ | {"PYTHONPATH": f"{RUNTIME}:{HERE}", "XLA_FLAGS": ONE_DEVICE},
        capture_output=True,
        timeout=300,
        text=True,
    )
    if ended.returncode == 77 or "unshare failed" in ended.stderr:
        pytest.skip("this machine lets nobody mount a disk of their own")
    assert ended.returncode == 1, ended.stderr
    assert f"Error: {directory}: the disk has no room" in ended.stderr
    assert ended.stderr.rstrip().endswith("from the last checkpoint, which is whole.")
    kept = tmp_path / "small_kept"
    assert not list(kept.glob("*tmp*"))
    found = checkpoints.steps(kept)
    assert found
    assert max(found) < STEPS
    for step in found:
        checkpoints.check(kept / f"checkpoint_{step}")
    code, output = trainings.start(kept, **CHANGES).ended()  # where there is room
    assert code == 0, output
    assert_same_run(kept, whole)


def test_a_loss_that_is_no_number_ends_the_run_and_names_its_examples(trainings, whole, tmp_path):
    """Then it is good sense that the same command goes on with."""
    directory = tmp_path / "nonsense"
    code, output = trainings.start(directory, "nonsense_in_step_15", **CHANGES).ended()
    assert code == 1
    folder = directory / "not_finite" / "step_15"
    assert f"Error: {folder}: the loss of step 15 is not finite" in output
    assert checkpoints.steps(directory) == [10]
    assert max(entry["step"] for entry in lines(directory)) == 14

    found = json.loads((folder / "process_00000-of-00001.json").read_text())
    assert (found["step"], found["loss"], found["data"]) == (15, "nan", "toy_packed")
    with np.load(folder / "process_00000-of-00001.npz") as batch:
        for i, (origins, texts) in enumerate(zip(found["rows"], found["texts"], strict=True)):
            row = toy_tasks.PackedMixture.row_at(origins[0]["at"], 0, toy_tasks.LENGTHS)
            np.testing.assert_array_equal(batch["encoder_input_tokens"][i], row["inputs"])
            marks = row["targets_segment_ids"]
            assert texts["targets"] == [
                toy_tasks.VOCABULARY.decode(row["targets"][marks == segment + 1].tolist())
                for segment in range(len(origins))
            ]

    code, output = trainings.start(directory, **CHANGES).ended()
    assert code == 0, output
    assert_same_run(directory, whole)
