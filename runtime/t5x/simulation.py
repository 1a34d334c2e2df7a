"""Devices that aren't there: to compile for, never to run on."""

import contextlib
import importlib.util
import os
from collections.abc import Sequence

import jax
from jax.experimental import topologies

from t5x.accelerators import Slice
from t5x.errors import T5XError

# What tells v4's two cores of a chip to be one device, as they are on Cloud TPU.
_ONE_DEVICE_PER_CHIP = {"v4": {"chip_config_name": "megacore"}}


def start(wanted: Slice) -> None:
    """Makes `jax.devices()` so many simulated CPU devices; no others are touched.

    Raises:
        T5XError: JAX has started already, with other devices.
    """
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", wanted.devices)
    if jax.device_count() != wanted.devices:
        raise T5XError(
            f"JAX has {jax.device_count()} devices already, and {wanted.devices} are asked for",
            where="--mesh",
            remedy="Take xla_force_host_platform_device_count out of XLA_FLAGS.",
        )


def tpu_devices(wanted: Slice) -> Sequence[jax.Device] | None:
    """The devices of a TPU slice, for its own compiler; None if it is no TPU, or has none here.

    The compiler is the package `libtpu`, which compiles on any x86 machine with Linux.
    """
    accelerator = wanted.accelerator
    if accelerator is None or not accelerator.dimensions or not importlib.util.find_spec("libtpu"):
        return None
    # There is no TPU to ask for its neighbours; and if there is, it may be training.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    options = _ONE_DEVICE_PER_CHIP.get(accelerator.name, {})
    topology = accelerator.topology(wanted.devices)
    return topologies.get_topology_desc(topology, "tpu", **options).devices
