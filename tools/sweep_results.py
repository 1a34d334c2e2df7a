"""What the runs of a sweep came to: metrics of every finished run, summed up over the seeds."""

import dataclasses
import fnmatch
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import run_metrics
from sweep_plan import Plan, Run, SweepError
from sweep_run import State, state_of

# Of the metrics of training itself only these tell one ablation from another.
_OF_TRAINING = ("train/loss", "train/accuracy")
_SUGGESTED = 5
_SCORED_FIRST = ("inference_eval/", "training_eval/", "train/")


@dataclasses.dataclass(frozen=True)
class Summary:
    """One metric over the seeds: `values` by seed; the sample deviation is None for one seed."""

    values: Mapping[int, float]

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return statistics.fmean(self.values.values())

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the sample, with n - 1."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None


@dataclasses.dataclass(frozen=True)
class Row:
    """An ablation of a base: the state of each seed's run, and metrics of the finished ones."""

    base: str
    ablation: str
    states: Mapping[int, State]
    metrics: Mapping[str, Summary]

    @property
    def progress(self) -> str:
        """How many of the runs are finished: "3/3", or "1/3, 1 failed"."""
        states = list(self.states.values())
        others = [state for state in dict.fromkeys(states) if state not in ("finished", "waiting")]
        counts = [f"{states.count(state)} {state}" for state in others]
        return ", ".join([f"{states.count('finished')}/{len(states)}", *counts])


def collect(plan: Plan) -> list[Row]:
    """A row for each base and ablation, in the plan's order.

    Raises:
      RunError: a file of metrics is damaged.
    """
    runs: dict[tuple[str, str], list[Run]] = {}
    for run in plan.runs:
        runs.setdefault((run.base, run.ablation), []).append(run)
    return [_row(plan, base, ablation, group) for (base, ablation), group in runs.items()]


def choose(rows: Sequence[Row], patterns: Sequence[str]) -> list[str]:
    """The metrics that match one of the patterns, or without patterns those that tell most.

    Args:
      rows: of the table.
      patterns: such as "inference_eval/*/accuracy".

    Returns:
      Scores of answers first, then losses; and first what more rows have.

    Raises:
      SweepError: a pattern matches nothing.
    """
    counts: dict[str, int] = {}
    for row in rows:
        for name in row.metrics:
            counts[name] = counts.get(name, 0) + 1
    for pattern in patterns:
        if not fnmatch.filter(counts, pattern):
            known = ", ".join(sorted(counts)[:_SUGGESTED])
            raise SweepError(
                f"no metric of a finished run matches '{pattern}'",
                where="--metric",
                remedy=f"Choose among {known} …" if known else "There is none yet.",
            )
    if patterns:
        chosen = [name for name in counts if any(fnmatch.fnmatch(name, p) for p in patterns)]
    else:
        chosen = [n for n in counts if not n.startswith("train/") or n in _OF_TRAINING]
    ranks = {name: [name.startswith(p) for p in _SCORED_FIRST].index(True) for name in chosen}
    return sorted(chosen, key=lambda name: (ranks[name], -counts[name]))


def as_json(rows: Sequence[Row]) -> Mapping[str, Any]:
    """All that is known, for other programs."""
    return {"rows": [_entry(row) for row in rows]}


def _row(plan: Plan, base: str, ablation: str, runs: Sequence[Run]) -> Row:
    states = {run.seed: state_of(plan, run) for run in runs}
    values: dict[str, dict[int, float]] = {}
    for run in runs:
        if states[run.seed] == "finished":
            for name, value in _final_metrics(plan.folder(run)).items():
                values.setdefault(name, {})[run.seed] = value
    return Row(base, ablation, states, {name: Summary(of) for name, of in values.items()})


def _final_metrics(folder: pathlib.Path) -> dict[str, float]:
    """The latest value of each metric: {"inference_eval/rte/accuracy": 61.2, …}.

    Our engine writes all into metrics.jsonl; seqio's evaluator, which either engine calls, writes
    the scores of answers into a file per task.
    """
    metrics: dict[str, float] = {}
    for path in sorted((folder / "inference_eval").glob("*-metrics.jsonl")):
        task = path.name.removesuffix("-metrics.jsonl")
        metrics |= _latest({f"inference_eval/{task}": list(run_metrics.read(path))})
    entries: dict[str, list[dict[str, Any]]] = {}
    if (folder / "metrics.jsonl").exists():
        for entry in run_metrics.read(folder / "metrics.jsonl"):
            entries.setdefault(entry.pop("name", "train"), []).append(entry)
    return metrics | _latest(entries)


def _latest(entries: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """The numbers at each name's greatest step; of two entries at one step the later counts."""
    latest: dict[str, float] = {}
    for name, lines in entries.items():
        if lines:
            last = max(reversed(lines), key=lambda line: line["step"])
            numbers = run_metrics.numbers(last)
            latest |= {f"{name}/{key}": value for key, value in numbers.items()}
    return latest


def _entry(row: Row) -> Mapping[str, Any]:
    metrics = {
        name: {
            "mean": summary.mean,
            "deviation": summary.deviation,
            "values": {str(seed): value for seed, value in summary.values.items()},
        }
        for name, summary in row.metrics.items()
    }
    states = {str(seed): state for seed, state in row.states.items()}
    return {"base": row.base, "ablation": row.ablation, "seeds": states, "metrics": metrics}
