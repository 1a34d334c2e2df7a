"""Runs the engine's scripts in processes of their own, forked where all imports are done already.

They share what they compile. None of them outlives the process that started it.
"""

import atexit
import dataclasses
import importlib
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from launching import FUNCTIONS

from t5x import gin_utils

_XLA_FLAGS = [  # Nothing runs for long: what is quick to compile is best.
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
]


def cached(directory: Path) -> dict[str, Any]:
    """JAX's settings to take what was compiled before from a directory, however small."""
    return {
        "jax_compilation_cache_dir": str(directory),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }


def xla_flags(devices: int = 1) -> str:
    """For so many simulated devices."""
    return " ".join([*_XLA_FLAGS, f"--xla_force_host_platform_device_count={devices}"])


@dataclasses.dataclass
class Fork:
    """A process that runs a script; what it prints goes to a file."""

    process: Any
    output: Path

    def ended(self, timeout: float = 300) -> tuple[int, str]:
        """Waits for the exit code; gives it and what was printed."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"hangs after:\n{self.output.read_text()}")
        return self.process.exitcode, self.output.read_text()

    def wait_for(
        self, directory: Path, pattern: str, but_not: Sequence[Path] = (), timeout: float = 120
    ) -> None:
        """Waits until a file of the pattern is in a directory that was not there."""
        end = time.monotonic() + timeout
        while not set(directory.glob(pattern)) - set(but_not):
            assert self.process.is_alive(), self.output.read_text()
            assert time.monotonic() < end, f"no {pattern} after:\n{self.output.read_text()}"
            time.sleep(0.005)


class Forks:
    """Starts scripts.

    Args:
        cache: a directory for what they compile.
    """

    def __init__(self, cache: Path) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["forking", "toy_tasks", *FUNCTIONS])
        self._cache = cache

    def start(
        self,
        script: str,
        flags: Sequence[str],
        output: Path,
        *,
        hook: Callable[[], None] | None = None,
        devices: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> Fork:
        """Starts one, on simulated devices; `hook` is called in it first."""
        output.parent.mkdir(parents=True, exist_ok=True)
        output.touch()
        variables = {"XLA_FLAGS": xla_flags(devices)} | dict(environment or {})
        arguments = (script, list(flags), str(output), hook, variables, cached(self._cache))
        process = self._context.Process(target=_run, args=arguments, daemon=True)
        process.start()
        return Fork(process, output)

    def start_together(
        self, count: int, script: str, flags: Sequence[str], outputs: Path, **settings: Any
    ) -> list[Fork]:
        """Starts as many that make one run, in order; `outputs` is a directory."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        together = [
            *("--multiprocess_gpu", f"--process_count={count}"),
            *(f"--coordinator_address=127.0.0.1:{port}", "--initialization_timeout=120"),
        ]
        return [
            self.start(
                script,
                [*flags, *together, f"--process_index={index}"],
                outputs / f"{script}-{index}.txt",
                **settings,
            )
            for index in range(count)
        ]


def _run(
    script: str,
    flags: list[str],
    output: str,
    hook: Callable[[], None] | None,
    variables: dict[str, str],
    settings: dict[str, Any],
) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(variables)
    for name, value in settings.items():
        jax.config.update(name, value)
    module = importlib.import_module(script)
    sys.modules["__main__"] = module
    if hook:
        hook()
    sys.argv = [script, *flags]
    try:
        gin_utils.run(getattr(module, FUNCTIONS[script]))
    finally:
        atexit._run_exitfuncs()  # A fork has no others to run them.
