"""What runs have cost: arithmetic, time and energy of training, and speed of answering."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

import cost_model
import cost_report
import report_published
from cost_devices import Devices
from report_groups import Group
from report_results import Result
from report_runs import Run

_SHARES = ("50", "90", "99")


@dataclasses.dataclass(frozen=True)
class Training:
    """Of one run. What is None was not recorded, or needs devices that were not named.

    Attributes:
      steps: that were taken, those of an initial checkpoint not counted.
      tokens: in these steps, padding included.
      flops: of matrix products, as tools/cost.py counts them.
      published_flops: of Flan-T5's whole finetuning at the same size.
      seconds: of the steps alone, without evaluations, checkpoints and compilation.
      tokens_per_second: the median over the reports.
      device_hours: of all devices.
      joules: of all devices, from the power that is published of them.
      share_of_peak: of the devices' arithmetic.
    """

    steps: int | None = None
    tokens: float | None = None
    flops: float | None = None
    published_flops: float | None = None
    seconds: float | None = None
    tokens_per_second: float | None = None
    device_hours: float | None = None
    joules: float | None = None
    share_of_peak: float | None = None


@dataclasses.dataclass(frozen=True)
class Answering:
    """Of a suite's tasks in one column. What is None was not recorded.

    Attributes:
      sequences_per_second: of all tasks together.
      tokens_per_second: likewise, of generated tokens.
      output_tokens: of a mean answer.
      latency: percentile -> the smallest and the largest of the tasks, in seconds.
      times_direct: output_tokens against the same suite without a chain of thought.
    """

    sequences_per_second: float | None
    tokens_per_second: float | None
    output_tokens: float | None
    latency: Mapping[str, tuple[float, float]]
    times_direct: float | None = None


def training(run: Run, devices: Devices | None) -> Training:
    """The cost of what a run's metrics and configuration tell."""
    steps = _steps(run)
    if steps is None:
        return Training()
    size = report_published.size_of(run)
    found = Training(
        steps=steps,
        published_flops=cost_report.PUBLISHED_FLOPS.get(f"flan_{size}"),
        seconds=_seconds(run, steps),
        tokens_per_second=_median([entry.get("tokens_per_second") for entry in run.training]),
    )
    configuration = run.configuration
    if configuration and configuration.run:
        step = configuration.run.step
        flops = steps * cost_model.train_step_flops(configuration.model, step)
        found = dataclasses.replace(found, tokens=steps * step.tokens, flops=flops)
    if devices and found.seconds:
        peak = devices.flops * devices.count * found.seconds
        found = dataclasses.replace(
            found,
            device_hours=found.seconds * devices.count / 3600,
            joules=devices.joules(found.seconds),
            share_of_peak=None if found.flops is None else found.flops / peak,
        )
    return found


def answering(group: Group, suites: Mapping[str, Sequence[Result]]) -> dict[str, Answering]:
    """The speed of each suite that has one recorded (its results that count)."""
    found = {
        suite: each
        for suite, results in suites.items()
        if (each := _answering(results)) is not None
    }
    return {suite: _against_direct(suite, each, found) for suite, each in found.items()}


def _steps(run: Run) -> int | None:
    if not run.training:
        return None
    first, last = run.training[0]["step"], run.training[-1]["step"]
    if len(run.training) > 1:  # Reports come at even distances.
        return int(last - max(0, 2 * first - run.training[1]["step"]))
    planned = run.configuration.run if run.configuration else None
    end = run.values.get("TRAIN_STEPS", "")
    return int(last - (int(end) - planned.steps)) if planned and end.isdecimal() else None


def _seconds(run: Run, steps: int) -> float | None:
    total, before = 0.0, run.training[-1]["step"] - steps
    for entry in run.training:
        if entry.get("seconds_per_step") is None:
            return None
        total += entry["seconds_per_step"] * (entry["step"] - before)
        before = entry["step"]
    return total


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _answering(results: Sequence[Result]) -> Answering | None:
    timed = [each for each in results if each.speed.get("seconds") and each.num_examples]
    if not timed:
        return None
    seconds = sum(each.speed["seconds"] for each in timed)
    count = sum(each.num_examples or 0 for each in timed)
    counted = all("output_tokens" in each.speed for each in timed)
    tokens = sum(each.speed["output_tokens"] for each in timed) if counted else None
    latency = {}
    for share in _SHARES:
        values = [each.latency[share] for each in timed if share in each.latency]
        if values:
            latency[share] = (min(values), max(values))
    return Answering(
        count / seconds,
        None if tokens is None else tokens / seconds,
        None if tokens is None else tokens / count,
        latency,
    )


def _against_direct(suite: str, each: Answering, all_: Mapping[str, Answering]) -> Answering:
    benchmark, _, setting = suite.partition("_cot")
    if setting or benchmark == suite or not each.output_tokens:
        return each
    for other, direct in all_.items():
        is_direct = other.startswith(f"{benchmark}_") and not {"cot", "rank"} & {*other.split("_")}
        if is_direct and direct.output_tokens:
            return dataclasses.replace(each, times_direct=each.output_tokens / direct.output_tokens)
    return each
