"""Killed, preempted, out of disk, fed nonsense: a run loses no step, and saves nothing bad."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import crashing
import numpy as np
import pytest
import toy_tasks
from crashing import PERIOD, STEPS, assert_same_run, lines
from forking import Forks, cached, xla_flags
from launching import HERE, RUNTIME, Launcher

from t5x import checkpoints


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """For compiled programs."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def forks(cache):
    return Forks(cache)


@pytest.fixture(scope="module")
def whole(forks, tmp_path_factory):
    """The directory of a run that nothing happened to."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    code, output = crashing.start(forks, directory).ended()
    assert code == 0, output
    return directory


# What happens to a run, one launch after the other, and how the launch ends; the last is let be.
FATES = {
    crashing.sigterm_while_compiling: "ends at step 1.",
    "killed while it writes checkpoint 10": -signal.SIGKILL,
    crashing.nonsense_in_step_15: 1,
    crashing.sigterm_while_evaluating: "ends at step 20.",
    crashing.sigterm_twice_while_a_checkpoint_is_written: "ends at step",
    None: 0,
}


def last_report(directory):
    """The step of the last line of metrics.jsonl, if there is one."""
    return lines(directory)[-1]["step"] if (directory / "metrics.jsonl").exists() else None


@pytest.fixture(scope="module")
def unlucky(forks, tmp_path_factory):
    """The directory of a run that all of this happened to; by fate, how the launch ended."""
    directory = tmp_path_factory.mktemp("runs") / "unlucky"
    ends = {}
    for fate in FATES:
        is_killed = isinstance(fate, str)
        left_over = list(directory.glob("checkpoint_*"))
        training = crashing.start(forks, directory, None if is_killed else fate)
        if is_killed:
            training.wait_for(directory, "checkpoint_10*", but_not=left_over)
            os.kill(training.process.pid, signal.SIGKILL)
        ends[fate] = (*training.ended(), checkpoints.steps(directory), last_report(directory))
    return directory, ends


def test_whatever_happens_to_a_run_it_arrives_where_it_would_have_arrived(unlucky, whole):
    """Killed, preempted, fed nonsense, and each time started again by the same command."""
    directory, ends = unlucky
    for fate, end in FATES.items():
        code, output, saved, _ = ends[fate]
        assert code == (end if isinstance(end, int) else 0), output
        if isinstance(end, str):
            assert f"SIGTERM: the run {end}" in output
            assert f"ends at step {max(saved)}." in output
    assert not list(directory.glob("*tmp*"))
    assert_same_run(directory, whole)


def test_a_loss_that_is_no_number_ends_the_run_and_names_its_examples(unlucky):
    directory, ends = unlucky
    _, output, saved, reported = ends[crashing.nonsense_in_step_15]
    folder = directory / "not_finite" / "step_15"
    assert f"Error: {folder}: the loss of step 15 is not finite" in output
    assert max(saved) == 10
    assert reported == 14

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


def test_damaged_checkpoints_are_skipped_by_name_and_reason(forks, whole, tmp_path):
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
    code, output = crashing.start(forks, directory).ended()
    assert code == 0, output
    for step, reason in reasons.items():
        assert re.search(f"checkpoint_{step}: .*{reason}", output)
        assert (directory / f"checkpoint_{step}.damaged-1").exists()
    assert_same_run(directory, whole)


def test_a_run_without_a_whole_checkpoint_does_not_start_over(whole, tmp_path, monkeypatch, capsys):
    directory = tmp_path / "damaged"
    shutil.copytree(whole, directory)
    for step in range(PERIOD, STEPS + 1, PERIOD):
        lose(directory / f"checkpoint_{step}")
    before = sorted(directory.rglob("*"))
    flags = crashing.flags(directory)
    outcome = Launcher(monkeypatch, capsys).raw("t5x.train", *flags)
    assert outcome.code == 1
    assert "none of which is whole" in outcome.err
    assert outcome.err.count("data/process_00000-of-00001.json is missing") == STEPS // PERIOD
    assert sorted(directory.rglob("*")) == before


SMALL_DISK = """
mount -t tmpfs -o size=1200k tmpfs "$0" || exit 77
"$@"
code=$?
cp -r "$0" "$0_kept"
exit $code
"""


def test_a_full_disk_ends_the_run_and_damages_nothing(forks, cache, whole, tmp_path):
    """The disk is a real one, of a megabyte, that nobody else sees."""
    directory = tmp_path / "small"
    directory.mkdir()
    environment = {"PYTHONPATH": f"{RUNTIME}:{HERE}", "XLA_FLAGS": xla_flags()}
    environment |= {name.upper(): str(value) for name, value in cached(cache).items()}
    command = [sys.executable, "-m", "t5x.train", *crashing.flags(directory)]
    ended = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, directory, *command],
        env=os.environ | environment,
        capture_output=True,
        timeout=300,
        text=True,
    )
    if ended.returncode == 77 or "unshare failed" in ended.stderr:
        pytest.skip("this machine lets nobody mount a disk of their own")
    assert ended.returncode == 1, ended.stderr
    assert f"Error: {directory}: the disk has no room" in ended.stderr
    # After it, Orbax's threads may tell of the same.
    assert "goes on from the last checkpoint, which is whole." in ended.stderr
    kept = tmp_path / "small_kept"
    assert not list(kept.glob("*tmp*"))
    found = checkpoints.steps(kept)
    assert found
    assert max(found) < STEPS
    for step in found:
        checkpoints.check(kept / f"checkpoint_{step}")
    code, output = crashing.start(forks, kept).ended()  # where there is room
    assert code == 0, output
    assert_same_run(kept, whole)
