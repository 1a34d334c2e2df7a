"""Evaluating some checkpoints of a run, or those that it has yet to write; and stopping a run."""

import json
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from launching import Launcher, toy_flags, train_bindings

from t5x import actions, checkpoints, compilation_cache, following, speed
from t5x.errors import T5XError
from t5x.utils import RestoreCheckpointConfig

# Evaluated after each step, and never better than at the start.
STOPPING = {
    "MIXTURE_OR_TASK_NAME": "toy_copy",
    "train_script.train.train_eval_dataset_cfg": None,
    "EVAL_PERIOD": 1,
    "TRAIN_STEPS": 40,
    "utils.SaveCheckpointConfig.period": 1,
    "utils.create_learning_rate_scheduler.base_learning_rate": 1e-9,
    "trainer.EarlyStoppingAction.metric": ("toy_copy", "accuracy"),
    "trainer.EarlyStoppingAction.mode": "max",
    "trainer.EarlyStoppingAction.patience": 4,
    "train_script.train.concurrent_metrics": False,
}
ACTIONS = """
from __gin__ import dynamic_registration
import __main__ as train_script
from t5x import trainer
train_script.train.actions = {"INFER_EVAL": [@trainer.EarlyStoppingAction()]}
"""


@pytest.fixture
def launch(monkeypatch, capsys):
    return Launcher(monkeypatch, capsys)


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """The evaluations share their compiled programs."""
    with compilation_cache.given(tmp_path_factory.mktemp("compiled")):
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that was stopped, with checkpoints of steps 1 to 3."""
    directory = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        outcome = train(Launcher(patch, Silent()), directory)
    assert outcome.code == 0
    return directory


class Silent:
    def readouterr(self):
        return "", ""


def train(launch, directory, **changes):
    bindings = train_bindings(directory, **STOPPING | changes)
    file = directory.parent / "actions.gin"
    file.write_text(ACTIONS)
    return launch.raw("t5x.train", *toy_flags("t5x.train", **bindings), f"--gin_file={file}")


def evaluate(launch, path, out, **changes):
    bindings = {
        "MIXTURE_OR_TASK_NAME": "toy_copy",
        "CHECKPOINT_PATH": str(path),
        "EVAL_OUTPUT_DIR": str(out),
        "utils.RestoreCheckpointConfig.mode": "all",
        "utils.DatasetConfig.split": "validation",
        "utils.DatasetConfig.batch_size": 8,
    }
    return launch("t5x.eval", **bindings | changes)


def evaluated(out):
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [line["step"] for line in lines]


def of_eval(**values):
    return {f"eval_script.evaluate.{name}": value for name, value in values.items()}


def test_a_range_is_evaluated_and_no_checkpoint_twice(trained, launch, tmp_path):
    assert evaluate(launch, trained, tmp_path, **of_eval(first_step=2, last_step=2)).code == 0
    assert evaluated(tmp_path) == [2]
    outcome = evaluate(launch, trained, tmp_path)
    assert outcome.code == 0 and outcome.out.count("evaluated already") == 1
    assert evaluated(tmp_path) == [2, 1, 3]
    another = {"utils.DatasetConfig.seed": 1}
    assert evaluate(launch, trained, tmp_path, **another, **of_eval(first_step=3)).code == 0
    assert evaluated(tmp_path) == [2, 1, 3, 3]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (of_eval(first_step=9), ["between steps 9 and None"]),
        (of_eval(follow=True) | {"utils.RestoreCheckpointConfig.mode": "latest"}, ["'all'"]),
    ],
)
def test_what_selects_nothing_is_one_message(trained, launch, tmp_path, changes, parts):
    outcome = evaluate(launch, trained, tmp_path / "out", **changes)
    assert outcome.code == 1 and not (tmp_path / "out" / "metrics.jsonl").exists()
    assert all(part in outcome.err for part in parts), outcome.err


WRITER = textwrap.dedent("""
    import pathlib, shutil, sys, time
    source, target, out = map(pathlib.Path, sys.argv[1:])
    def finished(step):
        metrics = out / "metrics.jsonl"
        return metrics.exists() and f'"step": {step}' in metrics.read_text()
    def write(step):
        shutil.copytree(source / f"checkpoint_{step}", target / f"tmp_{step}")
        (target / f"tmp_{step}").rename(target / f"checkpoint_{step}")
    def wait(step):
        while not finished(step):
            time.sleep(0.05)
    target.mkdir()
    write(1)
    wait(1)
    write(2)
    wait(2)
    shutil.rmtree(target / "checkpoint_1")
    write(3)
    (target / "training_end.json").write_text('{"step": 3}')
""")


def test_a_run_of_another_process_is_followed_to_its_end(trained, launch, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    command = [sys.executable, "-c", WRITER, str(trained), str(run), str(out)]
    with subprocess.Popen(command) as writer:
        outcome = evaluate(launch, run, out, **of_eval(follow=True, poll_seconds=0.05))
        assert writer.wait(10) == 0
    assert outcome.code == 0 and "The training is over" in outcome.out
    assert evaluated(out) == [1, 2, 3]


def test_following_ends_with_the_last_step_or_its_patience(trained, tmp_path, capsys):
    config = RestoreCheckpointConfig(str(trained), mode="all")
    found = following.Selection(config, last_step=2, follow=True, poll_seconds=0.01).paths()
    assert [path.name for path in found] == ["checkpoint_1", "checkpoint_2"]
    config = RestoreCheckpointConfig(str(tmp_path / "never"), mode="all")
    waiting = following.Selection(config, follow=True, poll_seconds=0.01, patience_seconds=0.05)
    assert not list(waiting.paths()) and "no news" in capsys.readouterr().out


def test_a_checkpoint_that_vanishes_is_skipped_and_a_damaged_one_is_not(
    trained, launch, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    for step in (1, 2):
        shutil.copytree(trained / f"checkpoint_{step}", run / f"checkpoint_{step}")
    restore = checkpoints.restore

    def vanishing(path, *arguments, **named):
        if path.name == "checkpoint_1":
            shutil.rmtree(path)
        return restore(path, *arguments, **named)

    monkeypatch.setattr(checkpoints, "restore", vanishing)
    outcome = evaluate(launch, run, tmp_path / "out")
    assert outcome.code == 0 and "checkpoint_1 is gone" in outcome.out
    assert evaluated(tmp_path / "out") == [2]
    shutil.rmtree(run / "checkpoint_2" / "state")
    assert evaluate(launch, run, tmp_path / "other").code == 1


def test_a_run_stops_when_its_metric_no_longer_improves_and_stays_stopped(trained, launch):
    assert checkpoints.steps(trained) == [1, 2, 3]  # evaluated at 0, 1, 2, 3
    assert json.loads((trained / "training_end.json").read_text()) == {"step": 3}
    outcome = train(launch, trained)
    assert outcome.code == 0 and "an action stopped it" in outcome.out
    assert checkpoints.steps(trained) == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"train_script.train.concurrent_metrics": True}, "concurrent_metrics"),
        ({"trainer.EarlyStoppingAction.mode": "up"}, "'min' or 'max'"),
    ],
)
def test_actions_that_make_no_sense_are_one_message(launch, tmp_path, changes, part):
    outcome = train(launch, tmp_path / "run", **changes)
    assert outcome.code == 1 and part in outcome.err and not (tmp_path / "run").exists()


def stopped_after(values, **arguments):
    """How many evaluations it takes to stop; None: these don't."""
    action = actions.EarlyStoppingAction(("task", "m"), **arguments)
    for number, value in enumerate(values, start=1):
        if action.run(None, {"task": {"m": value}}):
            return number
    return None


def test_what_counts_as_an_improvement():
    assert stopped_after([1, 2, 3, 3, 3], mode="max") == 5
    assert stopped_after([1, 2, 3, 4, 5], mode="min") == 3
    assert stopped_after([9, 8, 7, 6, 5], mode="min") is None
    assert stopped_after([5, 1, 4, 2, 6], mode="max", patience=4) == 4  # up and down, never better
    assert stopped_after([5, 1, 4, 6, 2, 3, 4], mode="max", patience=4) == 7
    assert stopped_after([10, 10.5, 11, 11.5], mode="max", patience=4, atol=1.0) is None
    assert stopped_after([10, 10.5, 10.9, 11.5], mode="max", atol=1.0) == 3
    assert stopped_after([100, 104, 108], mode="max", rtol=0.1) == 3
    assert stopped_after([float("nan"), 1, 2], mode="max") is None
    assert stopped_after([3, float("nan"), None], mode="max") == 3
    with pytest.raises(T5XError, match=r"'accuracy'[^\0]*task: m"):
        actions.EarlyStoppingAction(("task", "accuracy"), "max").run(None, {"task": {"m": 1}})


def test_speed_leaves_out_what_was_compiled_and_counts_all_tokens(monkeypatch):
    clock = iter([0.0, *(0.0, 50.0), *(50.0, 51.0), *(51.0, 60.0), *(60.0, 63.0)])
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    meter = speed.Speed()
    for length, rows in ((4, 8), (4, 8), (6, 8), (4, 2)):
        with meter.batch({"x": np.zeros((8, length))}, rows) as outputs:
            outputs.append(np.repeat(np.array([[5, 1, 0]], np.int32), rows, 0))
    found = meter.result()
    assert found["seconds"] == 4 and found["sequences_per_second"] == 2.5  # 50 and 9 not counted
    assert found["tokens_per_second"] == 5 and found["output_tokens"] == 52
    assert found["latency_seconds"]["50"] == 2


def test_a_call_that_only_compiled_has_no_speed():
    meter = speed.Speed()
    with meter.batch({"x": np.zeros((2, 2))}, 2) as outputs:
        outputs.append(np.zeros(2, np.float32))
    assert meter.result() is None


def test_following_wants_one_directory():
    with pytest.raises(T5XError, match="one directory"):
        following.Selection(RestoreCheckpointConfig(["a", "b"], mode="all"), follow=True)
