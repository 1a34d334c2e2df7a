#!/usr/bin/env python
"""Measures decoding side by side: ours, Google's T5X, Hugging Face's T5 on PyTorch.

    python tools/bench_decode.py --t5x-python ../t5x-env/bin/python --json bench.json
    python tools/bench_decode.py --only ours --dtypes float32 --size tiny --rounds 1

Each engine runs in a process of its own that waits between its turns, and the turns alternate: one
batch at a time, --rounds times, after one that compiles and one that doesn't count. Reported are
sequences per second of the median round, and how many times as many ours does: the median over
rounds of the ratio of neighbouring turns, by the clock on the wall, and of seconds of computing on
all cores. On a machine that others use too, only the ratios mean anything; if they use much of it,
only those of computing (in which an idle thread of PyTorch that spins counts, too).

All decode T5 1.1 with random weights, on inputs without padding. No engine may stop early: none is
told of a token that ends a sequence, so all generate --tokens tokens for every row. One beam is
greedy decoding. In bfloat16 weights and activations are bfloat16, as each engine does it.
--t5x-python names an interpreter that has Google's T5X (which has the same import name as ours);
--t5x-path adds folders where it lies unpacked. What can't be found is left out, with a message.
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

_PEERS = pathlib.Path(__file__).with_name("bench_decode_peers.py")
_RUNTIME = _PEERS.parents[1] / "runtime"
_OURS, _T5X, _HUGGING_FACE = _ENGINES = ("ours", "T5X", "Hugging Face")
_DTYPES = ("float32", "bfloat16")
_RATIOS = {"ours_is_faster_by": "seconds", "ours_computes_less_by": "cpu_seconds"}


class Engine:
    """An engine's process, which decodes when it is told to."""

    def __init__(self, name: str, dtype: str, options: argparse.Namespace) -> None:
        self.name, self.dtype = name, dtype
        self.compiling: dict[int, float] = {}
        self.turns: dict[int, list[Mapping[str, float]]] = {beams: [] for beams in options.beams}
        self._process = subprocess.Popen(
            [options.t5x_python if name == _T5X else sys.executable, str(_PEERS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if options.verbose else subprocess.DEVNULL,
            env=_environment(name, options),
            text=True,
        )
        self.start = self.ask(
            engine=name,
            dtype=dtype,
            size=options.size,
            shape=(options.batch, options.inputs, options.tokens),
            cpu=options.cpu,
        )

    def ask(self, **request: Any) -> Mapping[str, Any]:
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    results: list[dict[str, Any]] = []
    for dtype in options.dtypes:
        engines = _start(dtype, options)
        try:
            for beams in options.beams:
                _take_turns(engines, beams, options.rounds)
        finally:
            for engine in engines:
                engine.close()
        for beams in options.beams:
            results += _summaries(engines, beams, options.batch)
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
    add("--beams", nargs="+", type=int, default=[1, 4], help="beams; 1 is greedy (1 4)")
    add("--size", choices=("tiny", "small", "base", "large"), default="small", help="of T5 1.1")
    add("--batch", type=int, default=8, help="rows of a batch (8)")
    add("--inputs", type=int, default=512, help="input tokens of a row (512)")
    add("--tokens", type=int, default=64, help="tokens to generate for a row (64)")
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
    """The engines that can be had."""
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


def _take_turns(engines: list[Engine], beams: int, rounds: int) -> None:
    """Compiles; then one round that doesn't count, and `rounds` that do."""
    for number in range(rounds + 2):
        for engine in list(engines):
            answer = engine.ask(beams=beams)
            if "missing" in answer:
                print(f"{engine.name} is left out: {answer['missing']}", file=sys.stderr)
                engines.remove(engine)
            elif number == 0:
                engine.compiling[beams] = answer["seconds"]
            elif number > 1:
                engine.turns[beams].append(answer)
        print(f"{beams} beams: {number} of {rounds + 1}", file=sys.stderr)


def _summaries(engines: Sequence[Engine], beams: int, batch: int) -> list[dict[str, Any]]:
    ours = next((engine.turns[beams] for engine in engines if engine.name == _OURS), None)
    summaries: list[dict[str, Any]] = []
    for engine in engines:
        turns = engine.turns[beams]
        summary = {
            "engine": engine.name,
            "dtype": engine.dtype,
            "beams": beams,
            "sequences_per_second": batch / statistics.median(turn["seconds"] for turn in turns),
            "first_seconds": engine.compiling[beams],
            "turns": turns,
        }
        if ours and engine.name != _OURS:
            for name, clock in _RATIOS.items():
                pairs = zip(turns, ours, strict=True)
                summary[name] = statistics.median(a[clock] / b[clock] for a, b in pairs)
        summaries.append(summary)
    return summaries


def _machine() -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0))
    return {"platform": platform.platform(), "cores": cores, "load": os.getloadavg()[0]}


def _print(report: Mapping[str, Any]) -> None:
    options, machine = report["options"], report["machine"]
    print(
        f"T5 1.1 {options['size']}, batch {options['batch']}, inputs {options['inputs']}, "
        f"{options['tokens']} tokens out; {machine['cores']} cores, load {machine['load']:.1f}"
    )
    print(
        f"{'':<34}{'sequences/s':>13}{'first batch s':>15}{'ours, times':>13}{'by computing':>14}"
    )
    for each in report["results"]:
        what = "greedy" if each["beams"] == 1 else f"{each['beams']} beams"
        ratios = [format(each[name], ".2f") if name in each else "" for name in _RATIOS]
        print(
            f"{each['dtype'] + ', ' + what + ', ' + each['engine']:<34}"
            f"{each['sequences_per_second']:>13.2f}{each['first_seconds']:>15.1f}"
            f"{ratios[0]:>13}{ratios[1]:>14}".rstrip()
        )


if __name__ == "__main__":
    sys.exit(main())
