#!/usr/bin/env python
"""Measures training steps side by side: ours, Google's T5X, Hugging Face's T5 on PyTorch.

    python tools/bench_train.py --t5x-python ../t5x-env/bin/python --json bench.json
    python tools/bench_train.py --only ours --dtypes float32 --size tiny --steps 2

Each engine runs in a process of its own that waits between its turns, and the turns alternate:
--rounds rounds of --steps steps each, after one step to compile and one round that doesn't count.
Reported are tokens (inputs and targets) per second, of the median round, by the clock on the wall
and per second of computing on all cores; and how many times as long as ours the others take, by
both clocks. On a machine that others use too, only the ratios mean anything, the latter more. On an
accelerator the time of computing is the host's.

All train T5 1.1 from random parameters on one batch of random tokens, with Adafactor and dropout.
The batch is packed, three examples to a row without padding; Hugging Face's T5 can't pack and gets
the same rows unmasked, and no z-loss. bfloat16 is what each engine calls so: activations for both
T5Xs, autocast for PyTorch. --t5x-python names an interpreter that has Google's T5X (which has the
same import name as ours); --t5x-path adds folders where it lies unpacked. What can't be found is
left out, with a message.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_WORKER = pathlib.Path(__file__).with_name("bench_train_worker.py")
_RUNTIME = _WORKER.parents[1] / "runtime"
_OURS, _T5X, _HUGGING_FACE = _ENGINES = ("ours", "T5X", "Hugging Face")
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


_MODELS = {
    "tiny": _sizes(32, 2, 1, 16, 64),
    "small": _sizes(512, 6, 8, 64, 1024),
    "base": _sizes(768, 12, 12, 64, 2048),
    "large": _sizes(1024, 16, 24, 64, 2816),
    "xl": _sizes(2048, 32, 24, 64, 5120),
}


class Engine:
    """An engine's process, ready to train."""

    def __init__(self, name: str, dtype: str, options: argparse.Namespace) -> None:
        self.name, self.dtype = name, dtype
        self.rounds: list[Mapping[str, float]] = []
        self._process = subprocess.Popen(
            [options.t5x_python if name == _T5X else sys.executable, str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if options.verbose else subprocess.DEVNULL,
            env=_environment(name, options),
            text=True,
        )
        shape = (options.batch, options.inputs, options.targets)
        asked = {"engine": name, "dtype": dtype, "model": _MODELS[options.size], "shape": shape}
        self.start = self._ask(json.dumps({**asked, "cpu": options.cpu}))

    def train(self, steps: int) -> Mapping[str, float]:
        """Takes some steps; returns their seconds."""
        return self._ask(str(steps))

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _ask(self, line: str) -> Mapping[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            return {"missing": f"its process ended with {self._process.wait()}; see --verbose"}
        return json.loads(answer)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    results = []
    for dtype in options.dtypes:
        engines = _start(dtype, options)
        try:
            _take_turns(engines, options)
        finally:
            for engine in engines:
                engine.close()
        results += [_summary(engine, options) for engine in engines]
    _add_ratios(results)
    report = {"machine": _machine(), "options": vars(options), "results": results}
    _print(report)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    return 0 if results else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=_ENGINES, default=_ENGINES, metavar="ENGINE")
    add("--dtypes", nargs="+", choices=_DTYPES, default=_DTYPES, metavar="DTYPE")
    add("--size", choices=_MODELS, default="small", help="T5 1.1's size (small)")
    add("--batch", type=int, default=8, help="rows of a batch (8)")
    add("--inputs", type=int, default=512, help="input tokens of a row (512)")
    add("--targets", type=int, default=128, help="target tokens of a row (128)")
    add("--steps", type=int, default=2, help="steps of a turn (2)")
    add("--rounds", type=int, default=5, help="turns of each engine that count (5)")
    add("--cpu", action="store_true", help="leave accelerators alone")
    add("--t5x-python", default=sys.executable, metavar="PATH", help="interpreter for T5X")
    add("--t5x-path", nargs="+", default=[], metavar="FOLDER", help="where Google's T5X lies")
    add("--verbose", action="store_true", help="show what the engines print")
    add("--json", metavar="FILE", help="write all results")
    return parser


def _environment(name: str, options: argparse.Namespace) -> dict[str, str]:
    """The environment of an engine's process: which `t5x` it finds, which devices."""
    folders = {_OURS: [str(_RUNTIME)], _T5X: options.t5x_path}.get(name, [])
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


def _start(dtype: str, options: argparse.Namespace) -> list[Engine]:
    """The engines that can be had, each after its first step."""
    engines = []
    for name in options.only:
        print(f"{dtype}: starting {name} …", file=sys.stderr)
        engine = Engine(name, dtype, options)
        if "missing" in engine.start:
            print(f"{name} is left out: {engine.start['missing']}", file=sys.stderr)
            engine.close()
        else:
            engines.append(engine)
    return engines


def _take_turns(engines: Sequence[Engine], options: argparse.Namespace) -> None:
    for number in range(options.rounds + 1):
        for engine in engines:
            turn = engine.train(options.steps)
            if number:
                engine.rounds.append(turn)
        print(f"round {number} of {options.rounds}", file=sys.stderr)


def _summary(engine: Engine, options: argparse.Namespace) -> dict[str, Any]:
    tokens = options.steps * options.batch * (options.inputs + options.targets)
    return {
        "engine": engine.name,
        "dtype": engine.dtype,
        "tokens_per_second": tokens / statistics.median(x["seconds"] for x in engine.rounds),
        "tokens_per_cpu_second": tokens
        / statistics.median(x["cpu_seconds"] for x in engine.rounds),
        "start": engine.start,
        "rounds": engine.rounds,
    }


def _add_ratios(results: Sequence[dict[str, Any]]) -> None:
    """Adds to each other engine how many times as many tokens per second ours does."""
    ours = {each["dtype"]: each for each in results if each["engine"] == _OURS}
    for each in results:
        if each["engine"] != _OURS and each["dtype"] in ours:
            # Neighbouring turns are compared, for they met the same load.
            turns = zip(each["rounds"], ours[each["dtype"]]["rounds"], strict=True)
            both = list(turns)
            for clock in ("seconds", "cpu_seconds"):
                each[f"times_ours_in_{clock}"] = statistics.median(
                    theirs[clock] / mine[clock] for theirs, mine in both
                )


def _machine() -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0))
    return {"platform": platform.platform(), "cores": cores, "load": os.getloadavg()[0]}


def _print(report: Mapping[str, Any]) -> None:
    options, machine = report["options"], report["machine"]
    print(
        f"T5 1.1 {options['size']}, batch {options['batch']}, inputs {options['inputs']}, "
        f"targets {options['targets']}; {machine['cores']} cores, load {machine['load']:.1f}"
    )
    heads = ("tokens/s", "same, cpu", "first step s", "x ours", "x ours, cpu")
    print(f"{'':<24}" + "".join(f"{head:>14}" for head in heads))
    for each in report["results"]:
        numbers = [f"{each[f'tokens_per_{clock}']:,.0f}" for clock in ("second", "cpu_second")]
        numbers.append(f"{each['start']['first_step_seconds']:.1f}")
        for clock in ("seconds", "cpu_seconds"):
            ratio = each.get(f"times_ours_in_{clock}")
            numbers.append("" if ratio is None else f"{ratio:.2f}")
        line = "".join(f"{number:>14}" for number in numbers)
        print(f"{each['dtype'] + ', ' + each['engine']:<24}{line}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
