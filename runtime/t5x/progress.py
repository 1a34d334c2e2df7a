"""What a run tells: a progress line on the console, TensorBoard, and `metrics.jsonl`."""

import contextlib
import datetime
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from clu import metric_writers
from etils import epath

from t5x import processes

_LIVE_SECONDS = 1.0
_WAITING_TOO_LONG = 0.01  # share of a step


def averages(sums: Mapping[str, Any]) -> dict[str, float]:
    """Per-token metrics out of a model's sums over tokens (NaN where no token counts)."""
    weight = float(sums["weight"])
    per_token = {"loss": "loss", "cross_entropy": "cross_entropy", "z_loss": "z_loss"}
    per_token["accuracy"] = "correct"
    return {
        name: float(sums[key]) / weight if weight else float("nan")
        for name, key in per_token.items()
    }


class TrainMeter:
    """Gathers the sums of training steps, without waiting for the device before `result`.

    Args:
        unreported: the sums of steps that an interrupted run took since its last report.
    """

    def __init__(self, unreported: Sequence[Mapping[str, float]] = ()) -> None:
        self._sums: list[Mapping[str, Any]] = [
            {name: np.float32(value) for name, value in step.items()} for step in unreported
        ]
        self._untimed = len(self._sums)
        self._since = time.monotonic()
        self._waited = 0.0

    @contextlib.contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Within it, the time that passes is spent on getting a batch."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    def add(self, sums: Mapping[str, jax.Array]) -> None:
        """Takes the sums of one step, which may still be computing."""
        self._sums.append(sums)

    def unreported(self) -> list[dict[str, float]]:
        """The sums of the steps since `result` was last called; waits for the device."""
        return [
            {name: float(value) for name, value in step.items()}
            for step in jax.device_get(self._sums)
        ]

    def result(self) -> dict[str, float]:
        """Metrics of the steps since the last call: per token, and per second of wall time.

        `seconds_waiting_for_data` are those of a step in which the host got its batch. The device
        may have been busy with earlier steps meanwhile, so it is idle for no longer than these.

        `skipped_steps`, which don't count otherwise, are among them where the steps tell of any.
        """
        steps = jax.device_get(self._sums)
        now = time.monotonic()
        seconds = now - self._since
        timed, waited = steps[self._untimed :], self._waited
        self._sums, self._untimed, self._since, self._waited = [], 0, now, 0.0
        totals = {
            name: float(np.sum([step.get(name, 0.0) for step in steps])) for name in steps[-1]
        }
        skipped = {"skipped_steps": totals["skipped"]} if "skipped" in totals else {}
        taken = len(steps) - int(totals.get("skipped", 0))
        return (
            averages(totals)
            | {
                "learning_rate": float(steps[-1]["learning_rate"]),
                "gradient_norm": totals["gradient_norm"] / taken if taken else float("nan"),
                "tokens_per_second": float(np.sum([step["tokens"] for step in timed])) / seconds,
                "seconds_per_step": seconds / len(timed),
                "seconds_waiting_for_data": waited / len(timed),
            }
            | skipped
        )

    def restart_clock(self) -> None:
        """Leaves what happened since the last step (an evaluation, say) out of the speed."""
        if len(self._sums) == self._untimed:
            self._since, self._waited = time.monotonic(), 0.0


class MetricsLog:
    """Writes metrics to TensorBoard and `metrics.jsonl` in a directory, from process 0 only.

    Args:
        directory: where to; made if missing.
        resume_step: lines of later steps are dropped: a run that was killed wrote them, and the run
            that resumes from its last checkpoint writes them again. So is half a line at the end.
    """

    def __init__(self, directory: epath.PathLike, resume_step: int | None = None) -> None:
        self._directory = epath.Path(directory)
        self._active = jax.process_index() == 0
        self._writers: dict[str, metric_writers.MetricWriter] = {}
        self._path = self._directory / "metrics.jsonl"
        self._evaluated: set[int] = set()
        self._evaluations: dict[int, dict[str, dict[str, Any]]] = {}
        if self._active:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._drop_lines_after(resume_step)

    def write(self, step: int, metrics_by_name: Mapping[str, Mapping[str, float]]) -> None:
        """Adds lines `{"step": …, "name": …, metric: value, …}`; names are TensorBoard runs."""
        if any(name != "train" for name in metrics_by_name):
            self._evaluated.add(step)
        if not self._active:
            return
        plain = {
            name: {key: _plain(value) for key, value in metrics.items()}
            for name, metrics in metrics_by_name.items()
        }
        lines = [{"step": step, "name": name} | values for name, values in as_json(plain).items()]
        with self._path.open("a") as file:
            file.write("".join(f"{json.dumps(line)}\n" for line in lines))
        for name, values in plain.items():
            writer = self._writer(name)
            writer.write_scalars(step, {k: v for k, v in values.items() if isinstance(v, float)})
            writer.flush()

    def evaluated(self, step: int) -> bool:
        """Whether an evaluation at this step is on record; all processes must ask."""
        return bool(processes.of_first(step in self._evaluated))

    def evaluations(self) -> list[dict[str, dict[str, Any]]]:
        """Metrics by name of the evaluations before the run was resumed; only process 0 knows."""
        return [self._evaluations[step] for step in sorted(self._evaluations)]

    def text_writer(self) -> metric_writers.MetricWriter | None:
        """The TensorBoard writer of training, for texts; None in processes that don't write."""
        return self._writer("train") if self._active else None

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Flushes and closes all writers."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, name: str) -> metric_writers.MetricWriter:
        if name not in self._writers:
            self._writers[name] = metric_writers.SummaryWriter(str(self._directory / name))
        return self._writers[name]

    def _drop_lines_after(self, step: int | None) -> None:
        if not self._path.exists():
            return
        *lines, half = self._path.read_text().split("\n")
        entries = [json.loads(line) for line in lines if step is not None]
        kept = [entry for entry in entries if entry["step"] <= step]
        if half:  # All lines of an evaluation are written at once: its others may lack too.
            kept = [entry for entry in kept if entry["step"] < step or entry["name"] == "train"]
        for entry in kept:
            if entry["name"] != "train":
                self._evaluated.add(entry["step"])
                of_step = self._evaluations.setdefault(entry["step"], {})
                of_step[entry["name"]] = {
                    key: x for key, x in entry.items() if key not in ("step", "name")
                }
        temporary = self._path.with_name("metrics.jsonl.tmp")
        temporary.write_text("".join(f"{json.dumps(entry)}\n" for entry in kept))
        temporary.replace(self._path)


class Console:
    """Prints progress from process 0: a line per report, and on a terminal a live line between.

    Args:
        last_step: the step to stop at.
    """

    def __init__(self, last_step: int) -> None:
        self._last = last_step
        self._active = jax.process_index() == 0
        self._live = self._active and sys.stdout.isatty()
        self._shown = time.monotonic()
        self._seconds_per_step: float | None = None

    def tick(self, step: int) -> None:
        """Refreshes the live line, at most once a second."""
        if self._live and time.monotonic() - self._shown > _LIVE_SECONDS:
            self._shown = time.monotonic()
            print(f"\r{self._position(step)}  ETA {self._eta(step)} ", end="", flush=True)

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Prints the metrics of `TrainMeter.result` in one line."""
        self._seconds_per_step = metrics["seconds_per_step"]
        waiting = metrics["seconds_waiting_for_data"] / metrics["seconds_per_step"]
        remark = f"  waiting for data {waiting:.0%}" if waiting > _WAITING_TOO_LONG else ""
        self.print(
            f"{self._position(step)}  loss {metrics['loss']:.4f}  "
            f"accuracy {metrics['accuracy']:.4f}  {metrics['tokens_per_second']:,.0f} tokens/s  "
            f"{metrics['seconds_per_step']:.3g} s/step  ETA {self._eta(step)}{remark}"
        )

    def print(self, text: str) -> None:
        """Prints a line, over the live line if there is one."""
        if self._active:
            print(f"\r\033[K{text}" if self._live else text, flush=True)

    def _position(self, step: int) -> str:
        total = f"{self._last:,}"
        return f"step {step:>{len(total)},}/{total}"

    def _eta(self, step: int) -> str:
        """Time left at the latest speed; without the evaluations to come."""
        if self._seconds_per_step is None:
            return "unknown"
        return str(datetime.timedelta(seconds=round(self._seconds_per_step * (self._last - step))))


def as_json(metrics_by_name: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Metrics as JSON values."""
    return {
        name: {key: _for_json(_plain(value)) for key, value in metrics.items()}
        for name, metrics in metrics_by_name.items()
    }


def in_words(metrics: Mapping[str, Any]) -> str:
    """The numbers among the metrics, as `loss 1.5  accuracy 0.25`."""
    numbers = {name: _plain(value) for name, value in metrics.items()}
    return "  ".join(f"{k} {v:.4g}" for k, v in numbers.items() if isinstance(v, float))


def _plain(value: Any) -> float | str:
    value = getattr(value, "value", value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def _for_json(value: float | str) -> float | str | None:
    """JSON knows neither infinity nor NaN: null stands for them."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
