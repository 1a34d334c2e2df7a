"""What each example adds to a task's score, found out by asking the task's own metrics.

A metric that is a mean over examples gives, of an example alone, that example's score. Whether it
is such a mean shows in the numbers: then the scores of the examples alone have the metric's value
as their mean. Where they have not, examples that are scored together (the feature `group`: the
options of a question, say) are tried as one; and what is no mean over those either, such as BLEU or
F1, is a score of the whole corpus.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio

from flan_tasks.evaluation.intervals import Bootstrap, Interval

# How far the mean of the examples' scores may be from a metric that is their mean.
_ROUNDING = 1e-6

# The indices [n] of those examples of a task that are scored together.
Unit = np.ndarray


@dataclasses.dataclass(frozen=True)
class Scores:
    """How one number of a task comes about.

    Attributes:
      units: what is scored by itself: examples, or groups of them.
      of_units: their scores, whose mean the number is; None: it is a score of the whole.
      of_whole: gives the number for the examples at indices [n].
    """

    units: Sequence[Unit]
    of_units: np.ndarray | None
    of_whole: Callable[[np.ndarray], float]

    def interval(self, of_mean: Bootstrap, of_corpus: Bootstrap | None) -> Interval | None:
        """The number's confidence interval; None where none is asked for, or it has none."""
        if self.of_units is not None:
            return of_mean.of_mean(self.of_units)
        if of_corpus is None:
            return None

        def of_drawn(drawn: np.ndarray) -> float:
            return self.of_whole(np.concatenate([self.units[i] for i in drawn]))

        interval = of_corpus.of_corpus(of_drawn, len(self.units))
        return interval if all(map(math.isfinite, interval)) else None


def of_task(
    task: seqio.Task,
    values: Mapping[str, float],
    targets: Sequence[Any],
    inferences: Mapping[str, Any],
    groups: Sequence[int],
) -> dict[str, Scores]:
    """How each of a task's numbers comes about.

    Args:
      task: the task, whose metrics are functions.
      values: the numbers for all examples, by name.
      targets: of every example what the metrics are given [n].
      inferences: what the model made of them, under "prediction", "score" or "aux_value".
      groups: of every example a number that it has in common with those that are scored together
        with it; 0 for none.

    Returns:
      By name, those of `values` that the metrics give again.
    """
    examples = list(np.arange(len(targets))[:, None])
    grouped = _grouped(groups)
    found: dict[str, Scores] = {}
    for metric in _metrics(task, targets, inferences):
        made = metric(np.arange(len(targets)))
        names = [name for name in made if name in values]
        for units in (examples, *([grouped] if len(grouped) < len(examples) else [])):
            left = {name: values[name] for name in names if name not in found}
            for name, of_units in _if_means(metric, units, left).items():
                found[name] = Scores(units, of_units, _named(metric, name))
        for name in names:
            found.setdefault(name, Scores(grouped, None, _named(metric, name)))
    return found


_Metric = Callable[[np.ndarray], Mapping[str, float]]


def _metrics(task: seqio.Task, targets: Sequence, inferences: Mapping[str, Any]) -> list[_Metric]:
    """The task's metrics as functions of the indices of examples."""

    def over(function: Callable[..., Mapping], *columns: Any) -> _Metric:
        def of(indices: np.ndarray) -> Mapping[str, float]:
            parts = [_take(column, indices.tolist()) for column in (targets, *columns)]
            return {name: _number(value) for name, value in function(*parts).items()}

        return of

    made = []
    predictions, scores = inferences.get("prediction"), inferences.get("score")
    auxiliary = inferences.get("aux_value")
    if predictions is not None:
        made += [over(function, predictions) for function in task.predict_metric_fns]
    if predictions is not None and auxiliary is not None:
        functions = task.predict_with_aux_metric_fns
        made += [over(function, predictions, auxiliary) for function in functions]
    if scores is not None:
        made += [over(function, scores) for function in task.score_metric_fns]
    return made


def _take(column: Any, indices: Sequence[int]) -> Any:
    if isinstance(column, Mapping):
        return {name: _take(values, indices) for name, values in column.items()}
    return [column[i] for i in indices]


def _if_means(
    metric: _Metric, units: Sequence[Unit], values: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Of those numbers that are means over the units, the units' scores."""
    if not values:
        return {}
    try:
        each = [metric(unit) for unit in units]
        scores = {name: np.array([one[name] for one in each], np.float64) for name in values}
    except Exception:  # whatever a metric does that cannot be computed of so few examples
        return {}
    return {
        name: of_units
        for name, of_units in scores.items()
        if abs(float(np.mean(of_units)) - values[name]) <= _ROUNDING * max(1, abs(values[name]))
    }


def _grouped(groups: Sequence[int]) -> list[Unit]:
    """The examples of each group, in the order of their first ones; others by themselves."""
    members: dict[Any, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group or ("alone", index), []).append(index)
    return [np.array(each) for each in members.values()]


def _named(metric: _Metric, name: str) -> Callable[[np.ndarray], float]:
    return lambda indices: metric(indices)[name]


def _number(value: Any) -> float:
    try:
        return float(getattr(value, "value", value))
    except (TypeError, ValueError):
        return math.nan
