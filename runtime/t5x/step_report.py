"""Compiles the train step for devices that aren't there, and tells what it needs of them."""

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from t5x import flops, hlo, simulation
from t5x.accelerators import ACCELERATORS, USABLE, Accelerator, Slice
from t5x.errors import T5XError
from t5x.partitioning import PjitPartitioner
from t5x.trainer import Trainer
from t5x.utils import DatasetConfig

# Nothing of it is run: machine code need not be fast, only be there.
_CPU_OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

_SIMULATED = """\
Compiled for simulated CPU devices. Parameters, optimizer state and FLOPs are exact; temporaries are
not what a TPU or GPU would need: the CPU computes bfloat16 in float32, fuses less and keeps more.
Collectives are those of this partitioning, with bfloat16 sent as float32."""
_BY_TPU = (
    "Compiled by the TPU's own compiler: memory and collectives are those of the real program."
)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one device; `temporary` are activations and all else that lives within a step."""

    parameters: int
    optimizer: int
    batch: int
    temporary: int
    code: int

    @property
    def total(self) -> int:
        """What a device must hold while it takes a step."""
        return self.parameters + self.optimizer + self.batch + self.temporary + self.code


@dataclasses.dataclass(frozen=True)
class Step:
    """A compiled train step: what one device needs and does in it."""

    memory: Memory
    flops: float
    xla_flops: float
    traffic: Mapping[str, hlo.Traffic]
    program_bytes: int
    trace_seconds: float
    compile_seconds: float


def report(bindings: Mapping[str, Any], wanted: Slice) -> str:
    """Compiles the step that a configuration describes, and describes it in turn.

    Args:
        bindings: The arguments that `train` would get; their partitioner has `wanted` devices.
        wanted: What to compile for.

    Raises:
        T5XError: The script doesn't train, or a batch or parameter doesn't fit the mesh.
    """
    if "trainer_cls" not in bindings:
        raise T5XError(
            "only training has a step to compile",
            where="--mesh",
            remedy="Give it to t5x.train, or leave it out.",
        )
    partitioner, by_tpu = bindings["partitioner"], False
    if tpus := simulation.tpu_devices(wanted):
        partitioner, by_tpu = _moved_to(partitioner, tpus), True
    trainer = _trainer(bindings, partitioner)
    batch = abstract_batch(bindings["train_dataset_cfg"], bindings["model"], partitioner)
    try:
        step = compile_step(trainer, batch, None if by_tpu else _CPU_OPTIONS)
    except jax.errors.JaxRuntimeError as error:
        if not by_tpu or "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return f"{_state_in_words(trainer)}\nDoes not fit: {_shortened(str(error))}\n{_BY_TPU}"
    verdict = [_verdict(step.memory, wanted.accelerator)] if wanted.accelerator else _verdicts(step)
    return "\n".join([_in_words(step, partitioner), *verdict, _BY_TPU if by_tpu else _SIMULATED])


def abstract_batch(
    config: DatasetConfig, model: Any, partitioner: PjitPartitioner
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of the global batch that a dataset's configuration leads to; nothing is read."""
    from t5x import data  # TensorFlow, which only those need who ask for this.

    converter = data.feature_converter(config, model.feature_converter_cls)
    lengths = converter.get_model_feature_lengths(data.lengths(config))
    return {
        name: jax.ShapeDtypeStruct(
            (config.batch_size, length), jnp.int32, sharding=partitioner.batch_sharding
        )
        for name, length in lengths.items()
    }


def compile_step(
    trainer: Trainer, batch: Mapping[str, Any], options: Mapping[str, Any] | None = None
) -> Step:
    """Compiles a trainer's step, without any parameters.

    Args:
        trainer: Whose step.
        batch: Shapes and shardings of a batch.
        options: For the compiler.
    """
    start = time.monotonic()
    traced = trainer.trace_step(batch)
    lowered = traced.lower()
    traced_at = time.monotonic()
    compiled = lowered.compile(compiler_options=dict(options or {}))
    compiled_at = time.monotonic()
    state, text = trainer.abstract_state, compiled.as_text()
    needs: Any = compiled.memory_analysis()
    memory = Memory(
        parameters=_bytes_on_a_device(state.params),
        optimizer=_bytes_on_a_device(state.optimizer),
        batch=_bytes_on_a_device(batch),
        temporary=needs.temp_size_in_bytes
        + max(0, needs.output_size_in_bytes - needs.alias_size_in_bytes),
        code=needs.generated_code_size_in_bytes,
    )
    devices = len(jax.tree.leaves(batch)[0].sharding.device_set)
    return Step(
        memory=memory,
        flops=flops.matmul_flops(traced.jaxpr) / devices,
        xla_flops=(compiled.cost_analysis() or {}).get("flops", math.nan),
        traffic=hlo.traffic(text),
        program_bytes=len(text),
        trace_seconds=traced_at - start,
        compile_seconds=compiled_at - traced_at,
    )


def _moved_to(partitioner: PjitPartitioner, devices: Any) -> PjitPartitioner:
    return PjitPartitioner(
        partitioner.mesh.shape["model"],
        logical_axis_rules=partitioner.logical_axis_rules,
        devices=devices,
    )


def _trainer(bindings: Mapping[str, Any], partitioner: PjitPartitioner) -> Trainer:
    batch = abstract_batch(bindings["train_dataset_cfg"], bindings["model"], partitioner)
    return bindings["trainer_cls"](
        model=bindings["model"],
        partitioner=partitioner,
        rng=jax.random.key(0, impl="rbg" if bindings.get("use_hardware_rng") else None),
        input_shapes={name: leaf.shape for name, leaf in batch.items()},
    )


def _bytes_on_a_device(tree: Any) -> int:
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def _in_words(step: Step, partitioner: PjitPartitioner) -> str:
    mesh = " x ".join(f"{name} {size}" for name, size in partitioner.mesh.shape.items())
    memory = step.memory
    rows = [
        ("parameters", _gib(memory.parameters)),
        ("optimizer state", _gib(memory.optimizer)),
        ("batch", _gib(memory.batch)),
        ("activations and temporaries", _gib(memory.temporary)),
        ("program", _gib(memory.code)),
        ("together", _gib(memory.total)),
        ("matrix products", f"{step.flops:.3g} FLOPs"),
        ("XLA counts (loops once)", f"{step.xla_flops:.3g} FLOPs"),
        *(
            (name, f"{_gib(traffic.bytes)} in {traffic.count:,}")
            for name, traffic in step.traffic.items()
        ),
    ]
    return "\n".join(
        [
            f"One train step, per device of {partitioner.mesh.size} ({mesh}); traced in "
            f"{step.trace_seconds:.0f} s, compiled in {step.compile_seconds:.0f} s, "
            f"{step.program_bytes / 1e6:.1f} MB of program text:",
            *(f"  {name:<28}{value}" for name, value in rows),
        ]
    )


def _state_in_words(trainer: Trainer) -> str:
    state = trainer.abstract_state
    return (
        f"Per device: parameters {_gib(_bytes_on_a_device(state.params))}, optimizer state "
        f"{_gib(_bytes_on_a_device(state.optimizer))}."
    )


def _verdicts(step: Step) -> list[str]:
    return [_verdict(step.memory, accelerator) for accelerator in ACCELERATORS.values()]


def _verdict(memory: Memory, accelerator: Accelerator) -> str:
    share = memory.total / accelerator.memory
    fits = "fits" if share <= USABLE else "does not fit"
    return f"{accelerator.name}: {fits}, {share:.0%} of {_gib(accelerator.memory)}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _shortened(message: str) -> str:
    """The sentences of XLA's message that give the sum, without its list of allocations."""
    return message.split("\n\n")[0][:800]
