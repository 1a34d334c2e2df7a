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
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import bench_engines

_WORKER = pathlib.Path(__file__).with_name("bench_train_worker.py")


class Engine(bench_engines.Engine):
    """An engine's process, ready to train."""

    def __init__(self, name: str, dtype: str, options: argparse.Namespace) -> None:
        self.rounds: list[Mapping[str, float]] = []
        shape = (options.batch, options.inputs, options.targets)
        super().__init__(name, dtype, options, _WORKER, {"shape": shape})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    results = []
    for dtype in options.dtypes:
        engines = bench_engines.start(Engine, dtype, options)
        try:
            _take_turns(engines, options)
        finally:
            for engine in engines:
                engine.close()
        results += [_summary(engine, options) for engine in engines]
    _add_ratios(results)
    _print(bench_engines.report(options, results))
    return 0 if results else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    bench_engines.add_arguments(parser)
    add = parser.add_argument
    add("--size", choices=bench_engines.MODELS, default="small", help="T5 1.1's size (small)")
    add("--targets", type=int, default=128, help="target tokens of a row (128)")
    add("--steps", type=int, default=2, help="steps of a turn (2)")
    return parser


def _take_turns(engines: Sequence[Engine], options: argparse.Namespace) -> None:
    for number in range(options.rounds + 1):
        for engine in engines:
            turn = engine.ask(options.steps)
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
    ours = {each["dtype"]: each for each in results if each["engine"] == bench_engines.OURS}
    for each in results:
        if each["engine"] != bench_engines.OURS and each["dtype"] in ours:
            # Neighbouring turns are compared, for they met the same load.
            turns = zip(each["rounds"], ours[each["dtype"]]["rounds"], strict=True)
            both = list(turns)
            for clock in ("seconds", "cpu_seconds"):
                each[f"times_ours_in_{clock}"] = statistics.median(
                    theirs[clock] / mine[clock] for theirs, mine in both
                )


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
