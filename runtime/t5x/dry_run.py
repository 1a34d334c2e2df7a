"""What `--dry_run` prints: the configuration, the size of the model and the mesh."""

import math
from collections.abc import Mapping
from typing import Any

import jax

from t5x.trainer import abstract_inference_state
from t5x.utils import DatasetConfig


def report(config: str, bindings: Mapping[str, Any]) -> str:
    """Describes a run that isn't started, after checking that its batches fit the mesh.

    Args:
        config: the resolved configuration.
        bindings: the arguments that the script's function would get.

    Raises:
        T5XError: the mesh can't be built, or a batch size doesn't fit it.
    """
    partitioner, model = bindings["partitioner"], bindings["model"]
    for value in bindings.values():
        if isinstance(value, DatasetConfig):
            partitioner.check_batch_size(value.batch_size)
    params = jax.tree.leaves(abstract_inference_state(model, partitioner).params)
    count = sum(math.prod(leaf.shape) for leaf in params)
    mesh = " x ".join(f"{name} {size}" for name, size in partitioner.mesh.shape.items())
    devices = partitioner.mesh.devices
    return (
        f"{config}\nParameters: {count:,}\n"
        f"Mesh: {mesh} on {devices.size} {devices.flat[0].device_kind} device(s)\n"
        "Dry run: nothing was read, written or trained."
    )
