"""What `--dry_run` prints: the configuration, the size of the model and the mesh.

With `--mesh`, also what a train step needs of each device of a mesh that need not exist.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax

from t5x import accelerators, simulation, step_report
from t5x.trainer import abstract_inference_state
from t5x.utils import DatasetConfig


def simulate(mesh: str) -> accelerators.Slice:
    """What `--mesh` names, after making JAX see so many devices.

    Raises:
        T5XError: It names nothing known, or JAX has started already.
    """
    wanted = accelerators.parse(mesh)
    simulation.start(wanted)
    return wanted


def report(
    config: str, bindings: Mapping[str, Any], wanted: accelerators.Slice | None = None
) -> str:
    """Describes a run that isn't started, after checking that its batches fit the mesh.

    Args:
        config: the resolved configuration.
        bindings: the arguments that the script's function would get.
        wanted: what to compile the train step for, if at all.

    Raises:
        T5XError: the mesh can't be built, or a batch size or parameter doesn't fit it.
    """
    partitioner, model = bindings["partitioner"], bindings["model"]
    for value in bindings.values():
        if isinstance(value, DatasetConfig):
            partitioner.check_batch_size(value.batch_size)
    params = jax.tree.leaves(abstract_inference_state(model, partitioner).params)
    count = sum(math.prod(leaf.shape) for leaf in params)
    mesh = " x ".join(f"{name} {size}" for name, size in partitioner.mesh.shape.items())
    devices = partitioner.mesh.devices
    kind = "simulated" if wanted else devices.flat[0].device_kind
    lines = [
        config,
        f"Parameters: {count:,}",
        f"Mesh: {mesh} on {devices.size} {kind} device(s)",
        *([step_report.report(bindings, wanted)] if wanted else []),
        "Dry run: nothing was read, written or trained.",
    ]
    return "\n".join(lines)
