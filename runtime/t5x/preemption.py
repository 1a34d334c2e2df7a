"""SIGTERM, by which a machine is taken away: the run saves its state and ends in good order.

In a run of several processes JAX's coordination passes the signal on, and finds a step that all can
end after.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils


class Preempted(BaseException):
    """What can be left unfinished is left; not an `Exception`, so that nothing swallows it."""


class Preemption:
    """Notes SIGTERM from when it is entered on; further signals change nothing.

    Without a main thread to be interrupted, or with JAX's own handling in force, Python's is left
    as it is.
    """

    def __init__(self) -> None:
        self._noted = False
        self._may_interrupt = False
        self._shared = jax.distributed.is_initialized()
        self._previous: Any = None

    def __enter__(self) -> "Preemption":
        if not self._shared and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        # After a signal the process is about to end, and must not die of another.
        if self._previous is not None and not self._noted:
            signal.signal(signal.SIGTERM, self._previous)

    def check(self, step: int) -> None:
        """Raises `Preempted` if the run is to end now; to be called once after every step."""
        if self._noted or (self._shared and multihost_utils.reached_preemption_sync_point(step)):
            raise Preempted

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """Within it the signal raises `Preempted`; for what may be left unfinished."""
        self._may_interrupt = True
        try:
            if self._noted:
                raise Preempted
            yield
        finally:
            self._may_interrupt = False
        if self._noted:  # Raised within a callback, it may not have come through.
            raise Preempted

    def _note(self, number: int, frame: object) -> None:
        first, self._noted = not self._noted, True
        if first and self._may_interrupt:
            raise Preempted
