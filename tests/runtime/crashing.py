"""Training in processes of its own, to be killed: forked where all imports are done already."""

import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from launching import toy_flags, train_bindings

from t5x import checkpoint_items, evaluation, gin_utils, train, trainer

ONE_DEVICE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


class Trainings:
    """Starts trainings of the toy model, which share what they compile.

    Args:
        directory: for the compiled programs.
    """

    def __init__(self, directory: Path) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["crashing", "toy_tasks"])
        self._cache = str(directory)

    def start(self, model_dir: Path, hook: str = "", **changes) -> "Training":
        """Starts one; `hook` names a function of this module that is called in it first."""
        output = model_dir.with_name(f"{model_dir.name}.txt")
        output.touch()
        flags = toy_flags("t5x.train", **train_bindings(model_dir, **changes))
        arguments = (flags, self._cache, str(output), hook)
        process = self._context.Process(target=_train, args=arguments)
        process.start()
        return Training(process, model_dir, output)


class Training:
    """A process that trains."""

    def __init__(self, process, model_dir: Path, output: Path) -> None:
        self._output = output
        self._model_dir = model_dir
        self.process = process

    def ended(self, timeout: float = 300) -> tuple[int, str]:
        """Waits for the exit code; gives it and what was printed."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"hangs after:\n{self._output.read_text()}")
        return self.process.exitcode, self._output.read_text()

    def wait_for(self, pattern: str, but_not: Sequence[Path] = (), timeout: float = 120) -> None:
        """Waits until a file of the pattern is in the model's directory that was not there."""
        end = time.monotonic() + timeout
        while not set(self._model_dir.glob(pattern)) - set(but_not):
            assert self.process.is_alive(), self._output.read_text()
            assert time.monotonic() < end, f"no {pattern} after:\n{self._output.read_text()}"
            time.sleep(0.005)


def _train(flags: list[str], cache: str, output: str, hook: str) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ["XLA_FLAGS"] = ONE_DEVICE
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    sys.modules["__main__"] = train
    if hook:
        globals()[hook]()
    sys.exit(gin_utils.main(train.train, ["t5x.train", *flags]))


def sigterm_while_compiling() -> None:
    """While the first step is traced and compiled."""
    _before(trainer.Trainer, "_update", 1, _terminate)


def sigterm_while_evaluating() -> None:
    """During the first evaluation, which would go on for an hour."""

    def linger():
        _terminate()
        time.sleep(3600)

    _before(evaluation.InferenceEvaluator, "evaluate", 1, linger)


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
