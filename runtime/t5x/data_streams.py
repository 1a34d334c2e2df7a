"""Streams of one process's training batches, each of which can be left and entered again exactly.

Where the data can start at any position, a position is a number; else it is tf.data's iterator.
"""

import collections
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import seqio
import tensorflow as tf
from etils import epath

from t5x.data import HostBatch
from t5x.errors import T5XError

RESUME_AT = "resume_at"
_BATCHES_AHEAD = 2
_OR_START_ANEW = "or start in a new MODEL_DIR with this checkpoint as RestoreCheckpointConfig.path."


class Stream(Protocol):
    """The part `[batch / shards, ...]` of the training batches that this process reads."""

    element_spec: dict[str, tf.TensorSpec]

    @property
    def position(self) -> int | None:
        """The number that says where the next batch starts, if there is one."""

    def __next__(self) -> HostBatch:
        """The next batch."""

    def is_empty(self) -> bool:
        """Whether there is no first batch; waits for it, and doesn't take it."""

    def save(self, path: epath.Path) -> None:
        """Writes files whose names start with `path`."""

    def restore(self, path: epath.Path) -> None:
        """Goes to where `save(path)` was called; only before the first batch."""

    def close(self) -> None:
        """Lets go of the pipeline."""


class PositionedStream:
    """A stream that starts at any position; what was read ahead of a saved one is read again.

    Args:
        batches: from the beginning, with `resume_at` int64 [batch, 1] among their features.
        batches_from: makes the batches from a position on.
        seed: of the batches; it is saved along, for a position means nothing in other data.
        shard: likewise.
    """

    def __init__(
        self,
        batches: tf.data.Dataset,
        batches_from: Callable[[int], tf.data.Dataset],
        seed: int,
        shard: seqio.ShardInfo,
    ) -> None:
        self.element_spec = {k: v for k, v in batches.element_spec.items() if k != RESUME_AT}
        self._batches: Any = batches
        self._batches_from = batches_from
        self._seed = seed
        self._shard = [shard.index, shard.num_shards]
        self.position = 0
        self._first: HostBatch | None = None
        self._iterator: Any = None

    def __next__(self) -> HostBatch:
        batch, self._first = self._first or self._read(), None
        if batch is None:
            raise StopIteration
        self.position = int(batch.pop(RESUME_AT)[-1, 0])
        return batch

    def is_empty(self) -> bool:
        """See `Stream`."""
        self._first = self._first or self._read()
        return self._first is None

    def save(self, path: epath.Path) -> None:
        """See `Stream`."""
        saved = {"position": self.position, "seed": self._seed, "shard": self._shard}
        _position_file(path).write_text(json.dumps(saved))

    def restore(self, path: epath.Path) -> None:
        """See `Stream`."""
        assert self._iterator is None, "a stream that is being read has no place to go back to"
        file = _position_file(path)
        if not file.exists():
            raise _other_kind(path, "is tf.data's own, of data that could not start at a position")
        saved = json.loads(file.read_text())
        if saved["seed"] != self._seed:
            raise T5XError(
                f"the data position belongs to seed {saved['seed']}; seed {self._seed} is "
                "configured",
                where=f"DatasetConfig.seed; {file}",
                remedy=f"Train with DatasetConfig.seed = {saved['seed']}, {_OR_START_ANEW}",
            )
        if saved["shard"] != self._shard:
            raise T5XError(
                f"the data position belongs to shard {_in_words(saved['shard'])}; this process "
                f"now reads shard {_in_words(self._shard)}",
                where=str(file),
                remedy=f"Resume on the mesh that the run had, {_OR_START_ANEW}",
            )
        self.position = saved["position"]
        self._batches = self._batches_from(self.position)

    def close(self) -> None:
        """See `Stream`."""
        self._iterator = self._batches = None

    def _read(self) -> HostBatch | None:
        if self._iterator is None:
            self._iterator = self._batches.as_numpy_iterator()
        try:
            return next(self._iterator, None)
        except Exception as error:
            # Its traceback would keep the pipeline alive, which `close` ends.
            raise error.with_traceback(None)  # noqa: B904


class IteratedStream:
    """A stream read ahead by a thread; saves tf.data's iterator, and the batches not handed out."""

    position = None

    def __init__(self, batches: tf.data.Dataset) -> None:
        self.element_spec = dict(batches.element_spec)
        self._iterator = iter(batches)
        self._ahead: collections.deque[HostBatch | Exception | None] = collections.deque()
        self._reading = threading.Lock()
        self._room = threading.Semaphore(_BATCHES_AHEAD)
        self._ready = threading.Semaphore(0)
        self._closed = False
        self._thread: threading.Thread | None = None

    def __next__(self) -> HostBatch:
        self._start()
        self._ready.acquire()
        item = self._ahead.popleft()
        if item is None or isinstance(item, Exception):
            self._ahead.append(item)
            self._ready.release()
            raise StopIteration if item is None else item
        self._room.release()
        return item

    def is_empty(self) -> bool:
        """See `Stream`."""
        self._start()
        self._ready.acquire()
        self._ready.release()
        if isinstance(self._ahead[0], Exception):
            raise self._ahead[0]
        return self._ahead[0] is None

    def save(self, path: epath.Path) -> None:
        """See `Stream`."""
        with self._reading:
            tf.train.Checkpoint(iterator=self._iterator).write(f"{path}.iterator")
            batches = [item for item in self._ahead if isinstance(item, dict)]
        _write_batches(_ahead_file(path), batches)

    def restore(self, path: epath.Path) -> None:
        """See `Stream`."""
        assert self._thread is None, "a stream that is being read has no place to go back to"
        if not _ahead_file(path).exists():
            raise _other_kind(path, "is a number, and the data configured can't start at one")
        tf.train.Checkpoint(iterator=self._iterator).read(f"{path}.iterator").assert_consumed()
        for batch in _read_batches(_ahead_file(path)):
            self._ahead.append(batch)
            self._room.acquire()
            self._ready.release()

    def close(self) -> None:
        """See `Stream`."""
        self._closed = True
        self._room.release()
        if self._thread is not None:
            self._thread.join()
        self._iterator = None

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, name="t5x-data", daemon=True)
            self._thread.start()

    def _read(self) -> None:
        item: HostBatch | Exception | None = {}
        while isinstance(item, dict):
            self._room.acquire()
            if self._closed:
                return
            with self._reading:
                item = self._read_one()
                self._ahead.append(item)
            self._ready.release()

    def _read_one(self) -> HostBatch | Exception | None:
        try:
            element = next(self._iterator)
        except StopIteration:
            return None
        except Exception as error:  # handed to the consumer, who waits for it
            # Its traceback would keep the pipeline alive, which `close` ends.
            return error.with_traceback(None)
        return {name: tensor.numpy() for name, tensor in element.items()}


def _position_file(path: epath.Path) -> epath.Path:
    return epath.Path(f"{path}.json")


def _ahead_file(path: epath.Path) -> epath.Path:
    return epath.Path(f"{path}.ahead.npz")


def _write_batches(path: epath.Path, batches: Sequence[HostBatch]) -> None:
    named: dict[str, Any] = {
        f"{i}/{name}": x for i, batch in enumerate(batches) for name, x in batch.items()
    }
    with path.open("wb") as file:
        np.savez(file, count=np.int64(len(batches)), **named)


def _read_batches(path: epath.Path) -> list[HostBatch]:
    with path.open("rb") as file, np.load(file) as saved:
        batches: list[HostBatch] = [{} for _ in range(int(saved["count"]))]
        for key in saved.files:
            if key != "count":
                index, name = key.split("/", 1)
                batches[int(index)][name] = saved[key]
    return batches


def _in_words(shard: Sequence[int]) -> str:
    return f"{shard[0]} of {shard[1]}"


def _other_kind(path: epath.Path, difference: str) -> T5XError:
    return T5XError(
        f"the position in the training data {difference}",
        where=str(path.parent),
        remedy="Resume with the task or mixture, the packing and the feature converter that the "
        f"run had, {_OR_START_ANEW}",
    )
