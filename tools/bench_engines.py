"""Engines that are measured side by side: each in a process of its own that waits for its turn."""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

OURS, T5X, HUGGING_FACE = NAMES = ("ours", "T5X", "Hugging Face")
_RUNTIME = pathlib.Path(__file__).parents[1] / "runtime"
_DTYPES = ("float32", "bfloat16")


def _sizes(emb: int, heads: int, layers: int, head_dim: int, mlp: int) -> dict[str, int]:
    return {
        "emb_dim": emb,
        "num_heads": heads,
        "num_encoder_layers": layers,
        "num_decoder_layers": layers,
        "head_dim": head_dim,
        "mlp_dim": mlp,
    }


# T5 1.1 by size, as arguments of `network.T5Config`.
MODELS = {
    "tiny": _sizes(32, 2, 1, 16, 64),
    "small": _sizes(512, 6, 8, 64, 1024),
    "base": _sizes(768, 12, 12, 64, 2048),
    "large": _sizes(1024, 16, 24, 64, 2816),
    "xl": _sizes(2048, 32, 24, 64, 5120),
}


class Engine:
    """An engine's process, which does what it is told to.

    Args:
        name: one of NAMES.
        dtype: of its activations.
        options: what `add_arguments` has added, and `size`.
        worker: the program that it runs.
        asked: what the worker has to know besides.

    Attributes:
        start: its answer when it was ready; {"missing": why} if it cannot be had.
    """

    def __init__(
        self,
        name: str,
        dtype: str,
        options: argparse.Namespace,
        worker: pathlib.Path,
        asked: Mapping[str, Any],
    ) -> None:
        self.name, self.dtype = name, dtype
        self._process = subprocess.Popen(
            [options.t5x_python if name == T5X else sys.executable, str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if options.verbose else subprocess.DEVNULL,
            env=_environment(name, options),
            text=True,
        )
        model = {"engine": name, "dtype": dtype, "model": MODELS[options.size]}
        self.start = self.ask({**model, **asked, "cpu": options.cpu})

    def ask(self, request: Any) -> Mapping[str, Any]:
        """Sends a request; returns the answer, {"missing": why} where none can come."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            return {"missing": f"its process ended with {self._process.wait()}; see --verbose"}
        return json.loads(answer)

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


_Made = TypeVar("_Made", bound=Engine)


def start(
    make: Callable[[str, str, argparse.Namespace], _Made], dtype: str, options: argparse.Namespace
) -> list[_Made]:
    """The engines that can be had; says which can't."""
    engines = []
    for name in options.only:
        print(f"{dtype}: starting {name} …", file=sys.stderr)
        engine = make(name, dtype, options)
        if "missing" in engine.start:
            print(f"{name} is left out: {engine.start['missing']}", file=sys.stderr)
            engine.close()
        else:
            engines.append(engine)
    return engines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what to measure, and where the engines are."""
    add = parser.add_argument
    add("--only", nargs="+", choices=NAMES, default=NAMES, metavar="ENGINE")
    add("--dtypes", nargs="+", choices=_DTYPES, default=_DTYPES, metavar="DTYPE")
    add("--batch", type=int, default=8, help="rows of a batch (8)")
    add("--inputs", type=int, default=512, help="input tokens of a row (512)")
    add("--rounds", type=int, default=5, help="turns of each engine that count (5)")
    add("--cpu", action="store_true", help="leave accelerators alone")
    add("--t5x-python", default=sys.executable, metavar="PATH", help="interpreter for T5X")
    add("--t5x-path", nargs="+", default=[], metavar="FOLDER", help="where Google's T5X lies")
    add("--verbose", action="store_true", help="show what the engines print")
    add("--json", metavar="FILE", help="write all results")


def report(options: argparse.Namespace, results: list[dict[str, Any]]) -> dict[str, Any]:
    """The results with what they were measured on, which are written where the options say."""
    cores = len(os.sched_getaffinity(0))
    machine = {"platform": platform.platform(), "cores": cores, "load": os.getloadavg()[0]}
    made = {"machine": machine, "options": vars(options), "results": results}
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    return made


def _environment(name: str, options: argparse.Namespace) -> dict[str, str]:
    """The environment of an engine's process: which `t5x` it finds, which devices."""
    folders = {OURS: [str(_RUNTIME)], T5X: options.t5x_path}.get(name, [])
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    others = [folder for folder in inherited if folder and pathlib.Path(folder) != _RUNTIME]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*folders, *others]),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    if options.cpu:
        environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return environment
