"""seqio's evaluator, task by task: an evaluation that was interrupted goes on where it stopped.

What a runtime hands over to be called on a task's dataset may have, besides, two attributes:

    request    a JSON object: all that its outputs depend on but the dataset, such as which
               checkpoint; without it, every task is evaluated anew
    measured   a function without arguments that gives a JSON object: how fast the latest call was,
               with "sequences_per_second", "tokens_per_second", "latency_seconds" by percentile;
               without it, no speed is recorded
"""

import concurrent.futures
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import seqio
from jax.experimental import multihost_utils

from flan_tasks.evaluation.results import Circumstances, ResultsLogger


class Evaluator(seqio.Evaluator):
    """`seqio.Evaluator` with the same arguments; loggers are called after each task.

    A task whose results `results.ResultsLogger`, one of the loggers, has written in whole is not
    evaluated again, if they answer the same request: the checkpoint, the configuration and the
    task's very examples. That logger should be the last: where it has run, all have.
    """

    _only: seqio.Task | None = None

    @property
    def eval_tasks(self) -> Sequence[seqio.Task]:
        """The tasks with metrics and the split; while one is evaluated, that one."""
        return super().eval_tasks if self._only is None else [self._only]

    def evaluate(
        self, *, compute_metrics: bool, step: int | None = None, **functions: Any
    ) -> tuple[concurrent.futures.Future, dict[str, Any]]:
        """Evaluates all tasks and waits for their metrics; see `seqio.Evaluator.evaluate`."""
        metrics, outputs = {}, {}
        for task in self.eval_tasks:
            request = self._request(task, functions)
            metrics[task.name] = self._recorded(task, step, request)
            if metrics[task.name] is not None:
                continue
            self._only = task
            try:
                future, made = super().evaluate(
                    compute_metrics=compute_metrics, step=step, **self._observed(functions, request)
                )
                metrics[task.name] = (future.result() or {}).get(task.name)
            finally:
                self._only = None
            outputs.update(made)
        all_metrics: concurrent.futures.Future = concurrent.futures.Future()
        all_metrics.set_result(metrics if compute_metrics else None)
        return all_metrics, outputs

    @property
    def _results(self) -> list[ResultsLogger]:
        return [logger for logger in self.loggers if isinstance(logger, ResultsLogger)]

    def _request(self, task: seqio.Task, functions: Mapping[str, Any]) -> str:
        """Identifies what the results of a task depend on; "" where that is not known."""
        requests = [getattr(function, "request", None) for function in functions.values()]
        if None in requests or not self._results:
            return ""
        checksum = 0
        for example in self.cached_task_datasets[task.name].as_numpy_iterator():
            for feature in task.output_features:
                checksum = zlib.crc32(np.asarray(example[feature]).tobytes(), checksum)
        asked = json.dumps([requests, checksum], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()

    def _recorded(self, task: seqio.Task, step: int | None, request: str) -> dict | None:
        """The metrics of a task that is complete; all processes ask, and the first one knows."""
        found = None
        if request and jax.process_index() == 0:
            records = [logger.recorded(task.name, step, request) for logger in self._results]
            found = None if None in records else records[0]
        if jax.process_count() > 1:
            is_there = multihost_utils.broadcast_one_to_all(np.int32(found is not None))
            return (found or {}) if is_there else None
        return found

    def _observed(self, functions: Mapping[str, Any], request: str) -> dict[str, Any]:
        """The functions, telling the results' loggers what they gave and how fast it was."""
        for logger in self._results:
            logger.circumstances = Circumstances(request)

        def observed(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                made = function(*arguments, **named)
                speed = function.measured() if hasattr(function, "measured") else None
                for logger in self._results:
                    if logger.circumstances.output_tokens is None:
                        logger.circumstances = Circumstances(request, _num_tokens(made), speed)
                return made

            return call

        return {
            name: observed(function) if callable(function) else function
            for name, function in functions.items()
        }


def _num_tokens(made: Any) -> list[int] | None:
    """How many tokens each output has, in the dataset's order; None for what is no text."""
    pairs = made[0] if isinstance(made, tuple) else made
    outputs = [output for _, output in sorted(pairs, key=lambda pair: pair[0])]
    if not outputs or not isinstance(outputs[0], Sequence | np.ndarray):
        return None
    return [int(np.count_nonzero(output)) for output in outputs]
