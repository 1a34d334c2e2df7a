"""Chooses examples to read: those with the worst and the best scores, always the same ones."""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import report_results
from report_results import Result
from report_scores import Scores

Line = dict[str, Any]
_Ranked = tuple[float, str, str, int, str]  # score, hash, task, index, metric


@dataclasses.dataclass(frozen=True)
class Shown:
    """An example of a suite.

    Attributes:
      verdict: "worst" or "best", of the first column that has examples.
      task: its name.
      metric: that it was chosen by.
      lines: what each column's first run made of it; None where it is not recorded.
    """

    verdict: str
    task: str
    metric: str
    lines: tuple[Line | None, ...]

    @property
    def asked(self) -> Line:
        """One of the lines: prompt and references are the same in all."""
        return next(line for line in self.lines if line is not None)


def chosen(scores: Scores, suite: str, count: int) -> list[Shown]:
    """Up to `count` of the worst and as many of the best; ties are broken by a hash of the name."""
    runs = [group.first for group in scores.groups]
    of_runs = [scores.tasks(run, suite) for run in runs]
    ranked = next(
        (found for tasks in of_runs if (found := _ranked(list(tasks.values())))),
        [],
    )
    if not ranked:
        return []
    lowest = [each for each in ranked if each[0] == ranked[0][0] or each[0] < ranked[-1][0]]
    picks = [("worst", each) for each in lowest[:count]]
    taken = {each for _, each in picks}
    above = [each for each in ranked if each[0] > ranked[0][0] and each not in taken]
    best = sorted(above, key=lambda each: (-each[0], each[1]))[:count]
    picks += [("best", each) for each in best]
    of_columns = _lines(of_runs, [(task, index) for _, (_, _, task, index, _) in picks])
    return [
        Shown(verdict, task, metric, tuple(lines.get((task, index)) for lines in of_columns))
        for verdict, (_, _, task, index, metric) in picks
    ]


def _ranked(results: Sequence[Result]) -> list[_Ranked]:
    """All examples, by the first metric that each has."""
    return sorted(each for result in results for each in _of_result(result))


def _of_result(result: Result) -> Iterator[_Ranked]:
    for example in report_results.examples(result):
        metric = next((name for name in result.metrics if name in example["scores"]), None)
        score = example["scores"].get(metric)
        if metric is not None and score is not None and example.get("output") is not None:
            index = example["index"]
            # Not a CRC: those of similar names lie side by side.
            order = hashlib.blake2b(f"{result.task}/{index}".encode(), digest_size=8).hexdigest()
            yield float(score), order, result.task, index, metric


def _lines(of_runs: Sequence, wanted: Sequence[tuple[str, int]]) -> list[dict[tuple, Line]]:
    found: list[dict[tuple, Line]] = [{} for _ in of_runs]
    for tasks, lines in zip(of_runs, found, strict=True):
        for task in dict.fromkeys(task for task, _ in wanted):
            if task in tasks:
                indices = {index for name, index in wanted if name == task}
                for example in report_results.examples(tasks[task]):
                    if example["index"] in indices:
                        lines[task, example["index"]] = example
    return found
