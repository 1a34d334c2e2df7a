"""Runs of the toy model to which something happens, and what tells that they lost nothing by it."""

import itertools
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from forking import Fork, Forks
from jax.experimental import multihost_utils
from launching import toy_flags, train_bindings

from t5x import checkpoint_items, checkpoints, evaluation, gin_utils, processes, trainer

STEPS, PERIOD = 40, 10
CHANGES = {
    "MIXTURE_OR_TASK_NAME": "toy_packed",
    "TRAIN_STEPS": STEPS,
    "EVAL_PERIOD": 20,
    "utils.SaveCheckpointConfig.period": PERIOD,
    "train_script.train.stats_period": 7,  # so that checkpoints fall between reports
    "train_script.train.infer_eval_dataset_cfg": None,
    "train_script.train.run_eval_before_training": False,
}


def flags(directory: Path, **changes) -> list[str]:
    """The command line of a training that ends in a few seconds."""
    return toy_flags("t5x.train", **train_bindings(directory, **CHANGES | changes))


def start(forks: Forks, directory: Path, hook: Callable[[], None] | None = None, **changes) -> Fork:
    """Starts that training; `hook`, such as one of this module, is called in it first."""
    output = directory.with_name(f"{directory.name}.txt")
    return forks.start("t5x.train", flags(directory, **changes), output, hook=hook)


def lines(directory: Path) -> list[dict]:
    """metrics.jsonl without the clock."""
    entries = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    clock = ("tokens_per_second", "seconds_per_step", "seconds_waiting_for_data")
    return [{k: v for k, v in entry.items() if k not in clock} for entry in entries]


def content(path: Path) -> tuple[dict, dict]:
    """The state and the position in the data that a checkpoint holds."""
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
        request = ocp.args.Composite(state=ocp.args.PyTreeRestore())
        state = reader.restore(path.absolute(), args=request)["state"]
    [position] = (path / "data").glob("process_*")
    return jax.tree.map(np.asarray, state), json.loads(position.read_text())


def assert_same_run(directory: Path, reference: Path) -> None:
    """Bit by bit, at every checkpoint and in every line."""
    assert lines(directory) == lines(reference)
    assert set(checkpoints.steps(directory)) >= set(checkpoints.steps(reference))
    for step in checkpoints.steps(reference):
        assert_same_checkpoint(step, directory, reference)


def assert_same_checkpoint(step: int, directory: Path, reference: Path) -> None:
    """Bit by bit the same state and position."""
    ours, theirs = (content(each / f"checkpoint_{step}") for each in (directory, reference))
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def sigterm_while_compiling() -> None:
    """While the first step is traced and compiled."""
    _before(trainer.Trainer, "_update", 1, _terminate)


def sigterm_while_evaluating() -> None:
    """During the first evaluation, which would go on for an hour."""

    def linger():
        _terminate()
        time.sleep(3600)

    _before(evaluation.TeacherForcedEvaluator, "evaluate", 1, linger)


def sigterm_twice_while_a_checkpoint_is_written() -> None:
    """While the files of the first are being listed; the steps after it go on meanwhile."""

    def slowly():
        _terminate()
        _terminate()
        time.sleep(0.5)

    _before(checkpoint_items.StateHandler, "list_checkpoint", 1, slowly)


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _before(owner: type, name: str, nth_call: int, act: Callable[[], None]) -> None:
    """Does something before the n-th call of a method."""
    method, calls = getattr(owner, name), itertools.count(1)

    def called(*args, **kwargs):
        if next(calls) == nth_call:
            act()
        return method(*args, **kwargs)

    setattr(owner, name, called)


def nonsense_in_step_15() -> None:
    """Its loss is not a number."""
    update = trainer.Trainer._update

    def poisoned(self, state, batch):
        weights = batch["decoder_loss_weights"]
        bad = jnp.where(state.step == 14, jnp.nan, weights)
        return update(self, state, {**batch, "decoder_loss_weights": bad})

    trainer.Trainer._update = poisoned


def a_bug_in_process_1() -> None:
    """While process 0 waits for it."""

    def call(function):
        settings = gin_utils.FLAGS
        index = settings.process_index
        processes.connect(settings.coordinator_address, 2, index, heartbeat_timeout=5)
        assert processes.of_first(10 + index) == 10
        if index == 1:
            raise RuntimeError("a bug")
        multihost_utils.sync_global_devices("which process 1 never reaches")

    processes._FAREWELL_SECONDS = 1
    gin_utils._configured_call = call
