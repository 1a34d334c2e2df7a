"""Averages over the tasks of suites, as the papers take them. Pure arithmetic on percentages."""

import math
from collections.abc import Mapping, Sequence

from flan_tasks.errors import FlanError


class ScoreError(FlanError):
    """Scores that cannot be averaged: some are missing, or none is there."""


def macro_average(scores: Mapping[str, float], groups: Mapping[str, str] | None = None) -> float:
    """The mean over tasks, every task weighing the same however many examples it has.

    MMLU is averaged over its subjects like that; of BIG-Bench Hard, 27 files count as 23 tasks:
    three sizes of one puzzle are averaged first.

    Args:
      scores: task -> score.
      groups: task -> name of the task that it is a part of; a task without one stands for itself.

    Raises:
      ScoreError: there is no score, or one is no number.

    >>> macro_average({"a": 10.0, "b": 20.0, "c": 60.0}, {"a": "ab", "b": "ab"})
    37.5
    """
    _check(scores)
    parts: dict[str, list[float]] = {}
    for task, score in scores.items():
        parts.setdefault((groups or {}).get(task, task), []).append(score)
    return _mean([_mean(each) for each in parts.values()])


def normalized(score: float, chance: float, best: float = 100.0) -> float:
    """The score on a scale on which guessing is 0 and the best possible is 100; may be negative.

    As BIG-bench normalizes (arXiv 2206.04615, section 2.3).

    >>> normalized(62.5, 25.0)
    50.0
    """
    if not chance < best:
        raise ScoreError(
            f"chance is {chance}, and the best {best}",
            where="normalized average",
            remedy="Give a chance below the best score.",
        )
    return 100 * (score - chance) / (best - chance)


def normalized_average(scores: Mapping[str, float], chances: Mapping[str, float]) -> float:
    """The mean of the suites' normalized scores, such as arXiv 2210.11416 reports over six.

    Args:
      scores: suite -> score.
      chances: suite -> what guessing scores; 0 where a suite is not named, for there is no guessing
        a free answer.

    Raises:
      ScoreError: there is no score, one is no number, or a chance is of no suite.
    """
    _check(scores)
    unknown = chances.keys() - scores.keys()
    if unknown:
        raise ScoreError(
            f"no score of {', '.join(sorted(unknown))}",
            where="normalized average",
            remedy="Evaluate it too, or leave out its chance.",
        )
    return _mean([normalized(score, chances.get(name, 0.0)) for name, score in scores.items()])


def chance(num_options: Sequence[int]) -> float:
    """What guessing scores on rows with so many options, 0 being none to choose from.

    >>> chance([4, 4, 2])
    33.333...
    """
    return 100 * _mean([1 / count if count else 0.0 for count in num_options])


def _check(scores: Mapping[str, float]) -> None:
    wrong = [name for name, score in scores.items() if not math.isfinite(score)]
    if wrong or not scores:
        raise ScoreError(
            f"no number for {', '.join(wrong)}" if wrong else "there is no score",
            where="average over tasks",
            remedy="Evaluate these tasks first.",
        )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
