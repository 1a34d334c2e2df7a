"""What training does with the metrics of an evaluation: it may stop.

Names and arguments are T5X's: `train.actions = {"INFER_EVAL": [@trainer.EarlyStoppingAction()]}`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from t5x import processes
from t5x.errors import T5XError

# An action's mode -> what the evaluation is called in metrics.jsonl.
_KINDS = {"TRAIN_EVAL": "training_eval", "INFER_EVAL": "inference_eval"}


class Action(Protocol):
    """Looks at the metrics of each evaluation."""

    def run(self, train_state: Any, metrics_by_task: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether training shall stop."""


class EarlyStoppingAction:
    """Stops training when a metric of an evaluation no longer improves.

    Other than T5X's, which compares each evaluation with the one before, it compares with the best
    so far: a metric that goes up and down without getting better stops training too; and it
    remembers, for a run that is resumed, what the evaluations before have given.

    Args:
        metric: (task, metric), such as ("rte_zs_opt", "accuracy").
        mode: "max" where more is better, "min" where less is.
        patience: training stops after so many evaluations of which none is better than the first.
        atol: what is better by no more than `atol + rtol * |best|` is not better.
        rtol: see `atol`.

    Raises:
        T5XError: an argument makes no sense.
    """

    def __init__(
        self,
        metric: tuple[str, str],
        mode: str,
        patience: int = 3,
        atol: float = 0.0,
        rtol: float = 0.0,
    ) -> None:
        if mode not in ("min", "max") or patience < 2 or min(atol, rtol) < 0:
            raise T5XError(
                f"mode '{mode}', patience {patience}, atol {atol}, rtol {rtol} make no sense",
                where="EarlyStoppingAction",
                remedy="Give mode 'min' or 'max', patience 2 or more, and tolerances 0 or more.",
            )
        self._task, self._metric = metric
        self._sign = 1 if mode == "max" else -1
        self._patience = patience
        self._atol = atol
        self._rtol = rtol
        self._best = -math.inf
        self._since_best = 0

    def run(self, train_state: Any, metrics_by_task: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether training shall stop, now that there is one evaluation more.

        Raises:
            T5XError: it has no such metric.
        """
        del train_state
        value = self._sign * self._value(metrics_by_task)
        known = abs(self._best) if math.isfinite(self._best) else 0.0
        if value > self._best + self._atol + self._rtol * known:
            self._best, self._since_best = value, 1
        else:
            self._since_best += 1
        return self._since_best >= self._patience

    def _value(self, metrics_by_task: Mapping[str, Mapping[str, Any]]) -> float:
        metrics = metrics_by_task.get(self._task, {})
        if self._metric not in metrics:
            known = [f"{task}: {', '.join(names)}" for task, names in metrics_by_task.items()]
            raise T5XError(
                f"no evaluation gives '{self._metric}' of '{self._task}'",
                where="EarlyStoppingAction.metric",
                remedy=f"Take one of: {'; '.join(known)}.",
            )
        value = metrics[self._metric]
        return math.nan if value is None else float(getattr(value, "value", value))


class Actions:
    """The actions of a training run, by what evaluation they look at.

    Args:
        configured: "TRAIN_EVAL" or "INFER_EVAL" -> actions; None: none.
        concurrent_metrics: must be False: actions look at metrics before training goes on.

    Raises:
        T5XError: there is no such mode, or metrics shall not be waited for.
    """

    def __init__(
        self, configured: Mapping[str, Sequence[Action]] | None, concurrent_metrics: bool = False
    ) -> None:
        if concurrent_metrics:
            raise T5XError(
                "metrics are never computed while training goes on",
                where="train.concurrent_metrics",
                remedy="Leave it out, or set it to False.",
            )
        self._configured = configured or {}
        unknown = sorted(self._configured.keys() - _KINDS.keys())
        if unknown:
            raise T5XError(
                f"no action can be taken after '{unknown[0]}'",
                where="train.actions",
                remedy=f"Use one of: {', '.join(_KINDS)}.",
            )

    def recall(self, evaluations: Iterable[Mapping[str, Mapping[str, Any]]]) -> bool:
        """Takes in the evaluations of a run that is resumed; whether it has been told to stop."""
        stops = [self._take(None, evaluated) for evaluated in evaluations]
        return self._agreed(bool(stops) and stops[-1])

    def run(self, state: Any, evaluated: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether an action asks to stop; what asks in process 0 counts.

        Args:
            state: the training state.
            evaluated: metrics by the evaluation's name, `{"inference_eval/rte": {"accuracy": 1}}`.
        """
        return self._agreed(self._take(state, evaluated))

    def _take(self, state: Any, evaluated: Mapping[str, Mapping[str, Any]]) -> bool:
        stop = False
        for mode, actions in self._configured.items():
            prefix = f"{_KINDS[mode]}/"
            of_mode = {
                name.removeprefix(prefix): metrics
                for name, metrics in evaluated.items()
                if name.startswith(prefix)
            }
            for action in actions if of_mode else ():
                stop |= action.run(state, of_mode)
        return stop

    def _agreed(self, stop: bool) -> bool:
        return bool(processes.of_first(stop)) if self._configured else False
