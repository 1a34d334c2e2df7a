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
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import bench_engines

_PEERS = pathlib.Path(__file__).with_name("bench_decode_peers.py")
_RATIOS = {"ours_is_faster_by": "seconds", "ours_computes_less_by": "cpu_seconds"}


class Engine(bench_engines.Engine):
    """An engine's process, which decodes when it is told to."""

    def __init__(self, name: str, dtype: str, options: argparse.Namespace) -> None:
        self.compiling: dict[int, float] = {}
        self.turns: dict[int, list[Mapping[str, float]]] = {beams: [] for beams in options.beams}
        shape = (options.batch, options.inputs, options.tokens)
        super().__init__(name, dtype, options, _PEERS, {"shape": shape})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    results: list[dict[str, Any]] = []
    for dtype in options.dtypes:
        engines = bench_engines.start(Engine, dtype, options)
        try:
            for beams in options.beams:
                _take_turns(engines, beams, options.rounds)
        finally:
            for engine in engines:
                engine.close()
        for beams in options.beams:
            results += _summaries(engines, beams, options.batch)
    _print(bench_engines.report(options, results))
    return 0 if results else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    bench_engines.add_arguments(parser)
    add = parser.add_argument
    add("--beams", nargs="+", type=int, default=[1, 4], help="beams; 1 is greedy (1 4)")
    add("--size", choices=("tiny", "small", "base", "large"), default="small", help="of T5 1.1")
    add("--tokens", type=int, default=64, help="tokens to generate for a row (64)")
    return parser


def _take_turns(engines: list[Engine], beams: int, rounds: int) -> None:
    """Compiles; then one round that doesn't count, and `rounds` that do."""
    for number in range(rounds + 2):
        for engine in list(engines):
            answer = engine.ask({"beams": beams})
            if "missing" in answer:
                print(f"{engine.name} is left out: {answer['missing']}", file=sys.stderr)
                engines.remove(engine)
            elif number == 0:
                engine.compiling[beams] = answer["seconds"]
            elif number > 1:
                engine.turns[beams].append(answer)
        print(f"{beams} beams: {number} of {rounds + 1}", file=sys.stderr)


def _summaries(engines: Sequence[Engine], beams: int, batch: int) -> list[dict[str, Any]]:
    ours = next(
        (engine.turns[beams] for engine in engines if engine.name == bench_engines.OURS), None
    )
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
        if ours and engine.name != bench_engines.OURS:
            for name, clock in _RATIOS.items():
                pairs = zip(turns, ours, strict=True)
                summary[name] = statistics.median(a[clock] / b[clock] for a, b in pairs)
        summaries.append(summary)
    return summaries


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
