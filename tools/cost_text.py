"""The report of tools/cost.py for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_STEPS = ((1e24, "Y"), (1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"))


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report, in tables."""
    yield from _head(report)
    yield from _per_token(report["flops_per_token"])
    yield from _answers(report)
    if "training" in report:
        yield from _training(report["training"], report["devices"])


def flops(count: float) -> str:
    """Such as "3.71 EFLOPs"."""
    for size, letter in _STEPS:
        if count >= size:
            return f"{count / size:.3g} {letter}FLOPs"
    return f"{count:,.0f} FLOPs"


def size(count: float) -> str:
    """Such as "1.43 GiB"."""
    for power, name in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 2**power:
            return f"{count / 2**power:.3g} {name}"
    return f"{count:.0f} B"


def duration(seconds: float) -> str:
    """Such as "4.2 ms", "3.1 h"."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
        if seconds >= 2 * unit or (unit <= 1 and seconds >= unit):
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e6:.3g} µs"


def energy(joules: float | None) -> str:
    """Such as "3.2 J", "51 kWh"."""
    if joules is None:
        return "unknown"
    if joules >= 3.6e6:
        return f"{joules / 3.6e6:,.3g} kWh" if joules < 3.6e9 else f"{joules / 3.6e9:,.3g} MWh"
    if joules >= 1e3:
        return f"{joules / 1e3:.3g} kJ"
    return f"{joules:.3g} J" if joules >= 1 else f"{joules * 1e3:.3g} mJ"


def _head(report: Mapping[str, Any]) -> Iterator[str]:
    parts = report["parameters"]
    others = ", ".join(f"{name} {parts[name]:,}" for name in parts if name != "together")
    yield f"{report['configuration']}: {parts['together']:,} parameters ({others})"
    if devices := report["devices"]:
        mesh = report["mesh"]
        watts = "unknown power" if devices["watts"] is None else f"{devices['watts']:.0f} W"
        yield (
            f"{devices['name']}: {devices['count']} devices (data {mesh['data']} x model "
            f"{mesh['model']}), each {flops(devices['flops'])}/s, {size(devices['memory'])}, "
            f"{devices['bandwidth'] / 1e9:,.0f} GB/s, {watts}; {devices['utilization']:.0%} of the "
            "peak reached"
        )


def _per_token(per_token: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield from _table(
        (
            f"FLOPs per token, {per_token['inputs']:,} + {per_token['targets']:,} tokens",
            "input",
            "target",
        ),
        [
            (name, flops(per_token[name]["input"]), flops(per_token[name]["target"]))
            for name in ("forward", "training")
        ],
    )


def _answers(report: Mapping[str, Any]) -> Iterator[str]:
    answers, devices = report["answers"], report["devices"]
    head = ["answers: tokens out", "encoder", "cross k/v", "decoder", "together", "ratio", "cache"]
    rows = []
    for row in answers["rows"]:
        parts = [flops(row[name]) for name in ("encoder", "memory", "decoder", "flops")]
        cells = [f"{row['outputs']:,}", *parts, f"{row['times_the_first']:.3g}"]
        cells.append(size(row["cache_bytes"]))
        if devices:
            cells += [duration(row["seconds"]), energy(row["joules_per_answer"])]
            ratio = row.get("energy_times_the_first")
            cells.append("" if ratio is None else f"{ratio:.3g}")
        rows.append(cells)
    if devices:
        head += ["time", "energy", "ratio"]
    yield ""
    yield (
        f"One answer to {answers['inputs']:,} tokens, greedily; the encoder once, the decoder with "
        f"a cache; batches of {answers['batch']:,}:"
    )
    yield from _table(head, rows)
    memory = answers["bytes_per_device"]
    yield (
        f"Memory of a device: parameters {size(memory['parameters'])} + cache "
        f"{size(memory['cache'])} = {size(memory['together'])}"
    )


def _training(training: Mapping[str, Any], devices: Mapping[str, Any] | None) -> Iterator[str]:
    yield ""
    yield (
        f"Training: {training['steps']:,} steps of {training['batch']:,} x "
        f"({training['inputs']:,} + {training['targets']:,}) tokens, {training['tokens']:.3g} in "
        f"all; {training['microbatches']} slices a batch, remat_policy {training['remat']}"
    )
    rows = [
        ("a step", flops(training["flops_per_step"])),
        ("all steps", f"{flops(training['flops'])} = {training['flops']:.2e}"),
        ("6 x half the parameters x tokens", f"{training['rule_of_thumb_flops']:.2e}"),
    ]
    if published := training["published_flops"]:
        rows.append(
            ("the paper's figure", f"{published:.1e}: ours is {training['flops'] / published:.2f}x")
        )
    if devices:
        joules = training["kilowatt_hours"]
        rows += [
            ("time", duration(training["seconds"])),
            ("device hours", f"{training['device_hours']:,.3g}"),
            ("energy of the devices", energy(None if joules is None else joules * 3.6e6)),
        ]
    memory = training["bytes_per_device"]
    names = {
        "parameters": "parameters",
        "gradients": "gradients",
        "optimizer": "optimizer",
        "kept_for_the_backward_pass": "kept for the backward pass, at least",
        "together": "together, at least",
    }
    rows += [(f"a device: {words}", size(memory[name])) for name, words in names.items()]
    if devices:
        rows.append(("a device has", size(devices["memory"])))
    width = max(len(name) for name, _ in rows)
    yield from (f"  {name:<{width}}  {value}" for name, value in rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for cells in (head, *rows):
        first, *others = (f"{cell:>{w}}" for cell, w in zip(cells, widths, strict=True))
        yield "  ".join([f"{cells[0]:<{len(first)}}", *others]).rstrip()
