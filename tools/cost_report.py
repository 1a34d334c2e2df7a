"""Puts the cost of a configuration together, as a tree of numbers that JSON can hold."""

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import cost_model
from cost_config import Configuration, Run
from cost_devices import Devices, kilowatt_hours
from cost_model import FLOAT32, Answer, Model

from t5x.errors import T5XError

# FLOPs of Flan-T5's finetuning: arXiv 2210.11416, table 22.
PUBLISHED_FLOPS = {
    "flan_small": 2.9e18,
    "flan_base": 9.1e18,
    "flan_large": 2.4e19,
    "flan_xl": 5.6e19,
    "flan_xxl": 7.6e19,
}


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of a configuration.

    Attributes:
        inputs: Tokens of a prompt.
        outputs: Tokens of answers to compare, the first being what the others are measured by.
        batch: Prompts answered at once; None is one for each data shard.
        devices: On which; None leaves time and energy out.
        num_partitions: Devices on the model axis; None is the configuration's number.
        weight_bytes: Of a parameter while answering.
    """

    inputs: int
    outputs: Sequence[int]
    batch: int | None = None
    devices: Devices | None = None
    num_partitions: int | None = None
    weight_bytes: int = FLOAT32


@dataclasses.dataclass(frozen=True)
class _Mesh:
    data: int
    model: int


def report(configuration: Configuration, request: Request) -> dict[str, Any]:
    """Everything that the tool knows of a configuration.

    Raises:
        T5XError: The devices can't be divided as configured, or the batch over them.
    """
    model, run = configuration.model, configuration.run
    mesh = _mesh(run, request)
    batch = mesh.data if request.batch is None else request.batch
    if batch % mesh.data:
        raise T5XError(
            f"{batch} prompts can't be dealt out to {mesh.data} data shards evenly",
            where="--batch",
            remedy=f"Give a multiple of {mesh.data}.",
        )
    lengths = (run.step.inputs, run.step.targets) if run else (request.inputs, request.outputs[0])
    parts = cost_model.parameters(model)
    found: dict[str, Any] = {
        "configuration": configuration.name,
        "parameters": parts | {"together": sum(parts.values())},
        "mesh": dataclasses.asdict(mesh),
        "devices": dataclasses.asdict(request.devices) if request.devices else None,
        "flops_per_token": _per_token(model, *lengths),
        "answers": _answers(model, request, mesh, batch),
    }
    if run:
        found["training"] = _training(configuration.name, model, run, mesh, request.devices)
    return found


def _mesh(run: Run | None, request: Request) -> _Mesh:
    partitions = request.num_partitions or (run.num_partitions if run else 1)
    count = request.devices.count if request.devices else partitions
    if count % partitions:
        raise T5XError(
            f"{count} devices can't be divided into groups of {partitions}",
            where="PjitPartitioner.num_partitions",
            remedy="Give --num_partitions a divisor of their number.",
        )
    return _Mesh(count // partitions, partitions)


def _per_token(model: Model, inputs: int, targets: int) -> dict[str, Any]:
    encoder = cost_model.encoder_flops(model, inputs) + cost_model.memory_flops(model, inputs)
    decoder = cost_model.decoder_flops(model, inputs, targets)
    forward = {"input": encoder / inputs, "target": decoder / targets}
    return {
        "inputs": inputs,
        "targets": targets,
        "forward": forward,
        "training": {name: 3 * flops for name, flops in forward.items()},
    }


def _answers(model: Model, request: Request, mesh: _Mesh, batch: int) -> dict[str, Any]:
    answers = [cost_model.answer(model, request.inputs, outputs) for outputs in request.outputs]
    rows = []
    for answer in answers:
        row = dataclasses.asdict(answer) | {
            "flops": answer.total,
            "times_the_first": answer.total / answers[0].total,
            "cache_bytes": cost_model.cache_bytes(model, answer.inputs, answer.outputs),
        }
        if request.devices:
            row |= _on_devices(model, answer, request, request.devices, mesh, batch)
        rows.append(row)
    for row in rows:
        if row.get("joules_per_answer") is not None:
            row["energy_times_the_first"] = row["joules_per_answer"] / rows[0]["joules_per_answer"]
    weights = sum(cost_model.parameters(model).values()) * request.weight_bytes / mesh.model
    cache = max(row["cache_bytes"] for row in rows) * batch / mesh.data / mesh.model
    memory = {"parameters": weights, "cache": cache, "together": weights + cache}
    return {
        "inputs": request.inputs,
        "batch": batch,
        "weight_bytes": request.weight_bytes,
        "rows": rows,
        "bytes_per_device": memory,
    }


def _on_devices(
    model: Model, answer: Answer, request: Request, on: Devices, mesh: _Mesh, batch: int
) -> dict[str, Any]:
    """Time and energy; every data shard reads all parameters, in each step those of the decoder."""
    each_reads = mesh.data * request.weight_bytes
    encoding = on.seconds(
        batch * (answer.encoder + answer.memory),
        each_reads * cost_model.parameters(model)["encoder"],
    )
    step = on.seconds(
        batch * answer.decoder / answer.outputs,
        each_reads * cost_model.decoder_weights(model)
        + batch * cost_model.cache_bytes(model, answer.inputs, answer.outputs),
    )
    decoding = answer.outputs * step
    joules = on.joules(encoding + decoding)
    return {
        "encoding_seconds": encoding,
        "decoding_seconds": decoding,
        "seconds": encoding + decoding,
        "joules_per_answer": None if joules is None else joules / batch,
    }


def _training(
    name: str, model: Model, run: Run, mesh: _Mesh, devices: Devices | None
) -> dict[str, Any]:
    step_flops = cost_model.train_step_flops(model, run.step)
    tokens = run.steps * run.step.tokens
    found: dict[str, Any] = {
        "steps": run.steps,
        **dataclasses.asdict(run.step),
        "tokens": tokens,
        "flops_per_step": step_flops,
        "flops": run.steps * step_flops,
        "rule_of_thumb_flops": cost_model.rule_of_thumb_flops(model, tokens),
        "published_flops": PUBLISHED_FLOPS.get(pathlib.PurePath(name).stem),
        "bytes_per_device": _training_bytes(model, run, mesh),
    }
    if devices:
        seconds = devices.seconds(found["flops"])
        joules = devices.joules(seconds)
        found |= {
            "seconds": seconds,
            "device_hours": seconds * devices.count / 3600,
            "kilowatt_hours": None if joules is None else kilowatt_hours(joules),
        }
    return found


def _training_bytes(model: Model, run: Run, mesh: _Mesh) -> dict[str, float]:
    shares = mesh.model * (mesh.data if run.divides_parameters else 1)
    parameters = FLOAT32 * sum(cost_model.parameters(model).values()) / shares
    at_once = math.ceil(run.step.batch / run.step.microbatches / mesh.data)
    found = {
        "parameters": parameters,
        "gradients": parameters,
        "optimizer": cost_model.optimizer_bytes(model) / mesh.model,
        "kept_for_the_backward_pass": at_once * cost_model.kept_bytes(model, run.step) / mesh.model,
    }
    return found | {"together": sum(found.values())}
