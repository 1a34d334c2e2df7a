#!/usr/bin/env python
"""Measures the data pipeline side by side: ours, seqio tasks written by hand, and what bounds both.

    python tools/bench_data.py --data gsm8k_train.tsv.gz --json bench.json
    python tools/bench_data.py --only zero-shot packed --seconds 2 --repeats 1

Each measurement runs in a process of its own, on --cores cores; they take turns, --repeats times,
and medians are reported. A stream is drawn from for so many --seconds of computing after as many to
warm up. Rates are per second by the clock on the wall and per second of computing; on one core the
two agree unless other programs want it too, so ratios compare the latter.

  tokenizer alone   SentencePiece on ready texts, 512 at a time
  prompts alone     rows read, rendered and tokenized, before TensorFlow sees them
  ours              a mixture, through seqio's interface
  by hand           seqio tasks as one would write them: a graph for one example at a time

--data takes GSM8K's training rows as published for chain-of-thought: question, answer and rationale
in columns separated by tabs. Without it rows are made up, with GSM8K's lengths. Mixtures of N tasks
are of N/2 datasets of 200 such rows, each zero-shot and few-shot.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MEASURE = pathlib.Path(__file__).with_name("bench_data_measure.py")
_GROUPS = ("zero-shot", "4-shot", "few-shot", "packed", "mixtures", "registration", "density")
_PLAIN_SIZES, _SLOW_SIZE = (10, 100), 300
_TOKENIZER, _PROMPTS, _OURS, _BY_HAND = "tokenizer alone", "prompts alone", "ours", "by hand"
_LENGTHS = ({"inputs": 512, "targets": 512}, {"inputs": 2048, "targets": 512})

_Found = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Something to measure.

    Attributes:
      group: which of _GROUPS.
      setting: what is drawn; measurements of one setting are compared.
      what: what it is drawn from.
      request: what `bench_data_measure` is asked for.
      prompts: the setting whose floors are this one's too; "": none.
    """

    group: str
    setting: str
    what: str
    request: Mapping[str, Any]
    prompts: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    plan = [each for each in _plan(options) if each.group in (options.only or _GROUPS)]
    with tempfile.TemporaryDirectory(prefix="bench_data_") as folder:
        try:
            prepared, runs = _measure(plan, folder, options)
        except subprocess.CalledProcessError as error:
            print(f"a measurement failed:\n{error.stderr[-4000:]}", file=sys.stderr)
            return 1
    results = [
        {**dataclasses.asdict(each), "median": _median(found), "runs": found}
        for each, found in zip(plan, runs, strict=True)
    ]
    _add_ratios(results)
    report = {
        "machine": _machine(),
        "options": vars(options),
        "data": options.data or "synthetic",
        "prepared": prepared,
        "results": results,
    }
    _print_report(report)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", default="", metavar="FILE", help="GSM8K's TSV, gzipped or not; none: made up")
    add("--rows", type=int, default=7473, help="rows to make up (7473, as GSM8K)")
    add("--vocabulary", default="small", metavar="PATH", help="SentencePiece model (small)")
    add("--cores", type=int, nargs="+", default=[0], metavar="CORE", help="cores to run on (0)")
    add("--seconds", type=float, default=3, help="of computing, for each measurement (3)")
    add("--repeats", type=int, default=3, help="turns of all measurements (3)")
    add("--only", nargs="+", choices=_GROUPS, metavar="GROUP", help=", ".join(_GROUPS))
    add(
        "--tasks",
        type=_even,
        nargs="+",
        default=[10, 100, 1000, 3000],
        metavar="N",
        help="sizes of the mixtures, even numbers (10 100 1000 3000)",
    )
    add("--slow", action="store_true", help=f"{_SLOW_SIZE} tasks by hand, too: minutes, gigabytes")
    add("--json", metavar="FILE", help="write all results")
    return parser


def _even(text: str) -> int:
    if int(text) < 2 or int(text) % 2:
        raise argparse.ArgumentTypeError(f"{text} is not an even number above 0")
    return int(text)


def _plan(options: argparse.Namespace) -> Iterator[Measurement]:
    """All measurements, those to be compared one after the other."""

    def rate(group: str, setting: str, what: str, stream: str, **arguments: Any) -> Measurement:
        request = {
            "measure": "rate",
            "stream": stream,
            "seconds": options.seconds,
            "arguments": arguments,
        }
        has_floors = arguments.get("num_tasks") is None
        return Measurement(group, setting, what, request, has_floors * arguments["prompts"])

    for prompts in ("zero-shot", "4-shot", "few-shot"):
        here = (prompts, prompts)
        yield rate(*here, _TOKENIZER, "tokenizer_alone", prompts=prompts)
        yield rate(*here, _PROMPTS, "prompts_alone", prompts=prompts)
        yield rate(*here, _OURS, "ours", prompts=prompts)
        yield rate(*here, _BY_HAND, "by_hand", prompts=prompts)
        if prompts != "zero-shot":
            what = "by hand, fitting the length"
            yield rate(*here, what, "by_hand", prompts=prompts, count_tokens=True)
    for lengths in _LENGTHS:
        here = ("packed", f"zero-shot, packed {_size(lengths)}")
        for what, tasks_by, packing_by in (
            (_OURS, "ours", "ours"),
            ("ours, packed by seqio", "ours", "seqio"),
            (f"{_BY_HAND}, packed by seqio", "hand", "seqio"),
        ):
            kinds: dict[str, Any] = {"tasks_by": tasks_by, "packing_by": packing_by}
            kinds |= {"prompts": "zero-shot", "lengths": lengths}
            yield rate(*here, what, "packed_rows", **kinds)
    by_hand = (*_PLAIN_SIZES, _SLOW_SIZE) if options.slow else _PLAIN_SIZES
    for size in sorted({2, *options.tasks}):
        here = ("mixtures", f"{size:,} tasks")
        yield rate(*here, _OURS, "ours", prompts="mixed", num_tasks=size)
        if size in by_hand:
            yield rate(*here, _BY_HAND, "by_hand", prompts="mixed", num_tasks=size)
    most = max(options.tasks)
    request = {"measure": "registration", "num_tasks": most}
    yield Measurement("registration", f"{most:,} tasks", _OURS, request)
    request = {"measure": "density", "lengths": _LENGTHS, "prompts": ["few-shot", "mixed"]}
    yield Measurement("density", "all prompts", "packed by seqio and by us", request)


def _size(lengths: Mapping[str, int]) -> str:
    return "/".join(map(str, lengths.values()))


def _measure(
    plan: Sequence[Measurement], folder: str, options: argparse.Namespace
) -> tuple[_Found, list[list[_Found]]]:
    """What preparing took; and what each measurement of the plan found, each time."""
    sizes = [each.request.get("arguments", each.request).get("num_tasks") for each in plan]
    corpus = {"folder": folder, "num_small": max(size or 0 for size in [0, *sizes]) // 2}
    request = {"measure": "prepare", "data": options.data, "num_rows": options.rows}
    prepared = _in_a_process({**request, **corpus}, options)
    runs: list[list[_Found]] = [[] for _ in plan]
    for repeat in range(options.repeats):
        for number, each in enumerate(plan):
            done = repeat * len(plan) + number + 1
            progress = f"{done}/{options.repeats * len(plan)}: {each.setting}, {each.what}"
            print(progress, file=sys.stderr)
            runs[number].append(_in_a_process({**each.request, **corpus}, options))
    return prepared, runs


def _in_a_process(request: Mapping[str, Any], options: argparse.Namespace) -> _Found:
    environment = {
        **os.environ,
        "FLAN_STORE_DIR": f"{request['folder']}/store",
        "FLAN_VOCABULARY": options.vocabulary,
        "FLAN_TASKS_REGISTER": "0" if request["measure"] == "prepare" else "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [sys.executable, str(_MEASURE)],
        input=json.dumps({**request, "cores": options.cores}),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def _median(runs: Sequence[_Found]) -> dict[str, Any]:
    """Of each figure the median over the runs, on every level."""
    found = {}
    for key, value in runs[0].items():
        values = [run[key] for run in runs]
        found[key] = _median(values) if isinstance(value, dict) else statistics.median(values)
    return found


def _add_ratios(results: Sequence[dict[str, Any]]) -> None:
    """Compares each rate with those of its setting, and of its prompts, as far as measured."""
    rates = {
        (each["setting"], each["what"]): each["median"]["examples_per_cpu_second"]
        for each in results
        if each["request"]["measure"] == "rate"
    }
    for each in results:
        setting, what = each["setting"], each["what"]
        if (setting, what) not in rates:
            continue
        compared = {
            "to_tokenizer": (each["prompts"], _TOKENIZER),
            "to_prompts": (each["prompts"], _PROMPTS),
            "to_by_hand": (setting, _BY_HAND),
        }
        if each["group"] == "packed":
            compared["to_by_hand"] = (setting, f"{_BY_HAND}, packed by seqio")
        if each["group"] == "mixtures":
            compared["to_2_tasks"] = ("2 tasks", what)
        each["ratios"] = {
            name: rates[setting, what] / rates[key]
            for name, key in compared.items()
            if key in rates
        }


def _machine() -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def _print_report(report: Mapping[str, Any]) -> None:
    prepared, options = report["prepared"], report["options"]
    rows = f"{prepared['num_problems']:,} rows"
    made_up = "synthetic, with the lengths of GSM8K's"
    print(f"data: {rows}, {report['data'] if options['data'] else made_up}")
    print(f"vocabulary: {options['vocabulary']}; cores: {options['cores']}", end="; ")
    print(f"load of the machine: {report['machine']['load']:.1f}")
    print(
        f"prepared: {prepared['num_datasets']:,} datasets in {prepared['wall_seconds']:.1f} s "
        f"({prepared['cpu_seconds']:.1f} s of computing)"
    )
    by_measure: dict[str, list[_Found]] = {"rate": [], "registration": [], "density": []}
    for result in report["results"]:
        by_measure[result["request"]["measure"]].append(result)
    if by_measure["rate"]:
        _print_rates(by_measure["rate"])
    for each in by_measure["registration"]:
        found = each["median"]
        print(
            f"\nimporting and registering {each['setting']}, beyond `import seqio`: "
            f"{found['wall_seconds']:.2f} s ({found['cpu_seconds']:.2f} s of computing), "
            f"{found['peak_bytes'] / 1e6:,.0f} MB"
        )
    for each in by_measure["density"]:
        found = each["median"]
        _print_densities({key: found[key] for key in found if key != "peak_bytes"})


def _print_rates(results: Sequence[_Found]) -> None:
    width = max(len(each["what"]) for each in results) + 2
    headings = ("examples/s", "same, cpu", "tokens/s", "cold, cpu", "first s", "peak MB")
    ratios = {
        "to_tokenizer": "of tokenizer",
        "to_prompts": "of prompts",
        "to_by_hand": "x by hand",
        "to_2_tasks": "of 2 tasks",
    }
    heads = "".join(f"{heading:>12}" for heading in headings)
    print(f"\n{'':<{width}}{heads}{''.join(f'{name:>14}' for name in ratios.values())}")
    setting = ""
    for each in results:
        if each["setting"] != setting:
            setting = each["setting"]
            print(setting)
        found = each["median"]
        numbers = [found[f"examples_per_{clock}_second"] for clock in ("wall", "cpu")]
        numbers += [found["tokens_per_wall_second"], found["cold_examples_per_cpu_second"]]
        line = "".join(f"{number:>12,.0f}" for number in numbers)
        line += f"{found['first_wall_seconds']:>12.2f}{found['peak_bytes'] / 1e6:>12,.0f}"
        for name in ratios:
            ratio = each["ratios"].get(name)
            line += f"{'' if ratio is None else format(ratio, '.2f'):>14}"
        print(f"  {each['what']:<{width - 2}}{line}".rstrip())


def _print_densities(densities: _Found) -> None:
    print("\npacked, half with rationales and half with short answers: what is not padding")
    print(f"  {'':<28}{'encoder':>10}{'decoder':>10}{'rows':>10}")
    for kind, by_packer in densities.items():
        for packer, found in by_packer.items():
            sides = "".join(f"{found[side]:>10.3f}" for side in ("inputs", "targets"))
            print(f"  {kind + ', ' + packer:<28}{sides}{found['num_rows']:>10,.0f}")


if __name__ == "__main__":
    sys.exit(main())
