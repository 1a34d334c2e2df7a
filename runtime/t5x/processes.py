"""A run of several processes: how they find each other, agree, and end together.

Every process runs the same program. Only process 0 writes metrics, configurations and predictions;
so what depends on files that it writes is decided there, and the others are told.
"""

import os
import sys
import threading
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from t5x.errors import T5XError

# A process that ends in error waits so long for the others to end too, as they do if all meet the
# same error.
_FAREWELL_SECONDS = 10


def connect(
    coordinator_address: str | None,
    process_count: int | None,
    process_index: int | None,
    *,
    initialization_timeout: int = 300,
    heartbeat_timeout: int = 100,
) -> None:
    """Joins the other processes; must come before anything that asks for devices.

    What is None is found out by JAX where it knows the launcher: SLURM, Open MPI, Kubernetes, Cloud
    TPU.

    Args:
        coordinator_address: host:port that process 0 listens at.
        process_count: how many processes there are.
        process_index: which of them this is, from 0.
        initialization_timeout: seconds to wait for the others.
        heartbeat_timeout: seconds of silence after which a process is taken for dead; all the
            others end then.

    Raises:
        T5XError: these settings make no group of processes.
    """
    if coordinator_address is not None and not coordinator_address.rpartition(":")[2].isdigit():
        raise _no_group(f"'{coordinator_address}' has no port")
    try:
        jax.distributed.initialize(
            coordinator_address,
            process_count,
            process_index,
            initialization_timeout=initialization_timeout,
            heartbeat_timeout_seconds=heartbeat_timeout,
        )
    except ValueError as error:
        raise _no_group(str(error)) from error


def of_first(value: int) -> int:
    """The value that process 0 gives; waits until all processes ask for it."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int64(value)))


def end_in_error(code: int) -> NoReturn:
    """Ends this process with an exit code, even while others wait for it to go on computing.

    They learn of its end by its silence (see `connect`), or at once if it is process 0. An ordinary
    exit would wait for them, as they for it.
    """
    if jax.distributed.is_initialized():
        farewell = threading.Thread(target=jax.distributed.shutdown, daemon=True)
        farewell.start()
        farewell.join(_FAREWELL_SECONDS)
        if farewell.is_alive():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    sys.exit(code)


def _no_group(what: str) -> T5XError:
    return T5XError(
        f"the processes cannot find each other: {what}",
        where="--multiprocess_gpu",
        remedy="Give --coordinator_address=host:port, --process_count and --process_index (from 0 "
        "to one less than the count), or none of them under SLURM, Open MPI, Kubernetes or on a "
        "Cloud TPU slice.",
    )
