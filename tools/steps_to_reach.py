#!/usr/bin/env python
r"""After how many steps did runs reach a score? Compares starts from different checkpoints.

    python tools/steps_to_reach.py OUT/runs/*/*/seed_* --score 75 80 \
        --metric inference_eval/rte_zs_opt/accuracy

A run is a MODEL_DIR; folders seed_0, seed_1 … of one folder are one line of the table. Steps count
from the run's first evaluation, which is that of the checkpoint it started from. A run that has not
reached a score may have been stopped before it could.
"""

import argparse
import pathlib
import re
import statistics
import sys
from collections.abc import Sequence

import run_metrics

# Step and value of one metric, in the order of the steps.
Curve = list[tuple[int, float]]


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=pathlib.Path, metavar="RUN", help="MODEL_DIRs")
    parser.add_argument("--metric", required=True, help="such as inference_eval/TASK/accuracy")
    parser.add_argument("--score", nargs="+", type=float, required=True, help="to be reached")
    options = parser.parse_args(arguments)
    try:
        groups: dict[str, list[Curve]] = {}
        for run in options.runs:
            groups.setdefault(_group(run), []).append(curve(run, options.metric))
    except (run_metrics.RunError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(_table(groups, options.score)))
    return 0


def curve(run: pathlib.Path, metric: str) -> Curve:
    """The values of a metric of a run.

    Raises:
      RunError: metrics.jsonl is damaged or does not have the metric.
    """
    path = run / "metrics.jsonl"
    values: dict[int, float] = {}
    names = set()
    for entry in run_metrics.read(path, growing=True):
        for key, value in run_metrics.numbers(entry).items():
            names.add(f"{entry.get('name')}/{key}")
            if f"{entry.get('name')}/{key}" == metric:
                values[int(entry["step"])] = value
    if not values:
        known = ", ".join(sorted(name for name in names if not name.startswith("train/")))
        raise run_metrics.RunError(
            f"has no {metric}", where=path, remedy=f"It has: {known or 'no evaluation'}."
        )
    return sorted(values.items())


def steps_to_reach(values: Curve, score: float) -> int | None:
    """Steps from the first evaluation to the first with the score; None: it was not reached."""
    return next((step - values[0][0] for step, value in values if value >= score), None)


def _group(run: pathlib.Path) -> str:
    path = run.resolve()
    return "/".join(path.parts[-3:-1]) if re.fullmatch(r"seed_\d+", path.name) else path.name


def _table(groups: dict[str, list[Curve]], scores: Sequence[float]) -> list[str]:
    rows = [["run", "seeds", "first", "best", *(f"steps to {score:g}" for score in scores)]]
    for name, curves in groups.items():
        first = statistics.fmean(values[0][1] for values in curves)
        best = statistics.fmean(max(value for _, value in values) for values in curves)
        reached = [[steps_to_reach(values, score) for values in curves] for score in scores]
        cells = [name, str(len(curves)), f"{first:.1f}", f"{best:.1f}"]
        rows.append(cells + [_in_words(each) for each in reached])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _in_words(steps: Sequence[int | None]) -> str:
    """The mean and the range over the seeds that reached it: "400 (200-600)"."""
    found = [each for each in steps if each is not None]
    if not found:
        return "not reached"
    mean = f"{statistics.fmean(found):,.0f}"
    spread = f" ({min(found):,}-{max(found):,})" if len(found) > 1 else ""
    missing = f", {len(steps) - len(found)} of {len(steps)} not" if len(found) < len(steps) else ""
    return mean + spread + missing


if __name__ == "__main__":
    sys.exit(main())
