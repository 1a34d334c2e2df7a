"""The training batches, and the position in them: saved and restored exactly, at any step.

Where a task or mixture can start anywhere, a position is one number. It offers
`starting_at(position)`, a copy of itself whose `get_dataset` starts there and whose elements carry
`resume_at` (int64 scalar), the position to start at to go on after the element. Everything else,
and what seqio packs out of single examples, has a position that only tf.data can write down.
"""

import collections
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import numpy as np
import seqio
import tensorflow as tf
from etils import epath
from jax.sharding import NamedSharding

from t5x import data
from t5x.data import HostBatch
from t5x.errors import T5XError
from t5x.utils import DatasetConfig

_RESUME_AT = "resume_at"
_BATCHES_AHEAD = 2
_OR_START_ANEW = "or start in a new MODEL_DIR with this checkpoint as RestoreCheckpointConfig.path."


class TrainingData:
    """An endless stream of global training batches, read ahead.

    Args:
        config: the dataset; it is repeated forever.
        sharding: how batches lie on the mesh: `[batch, ...]`, rows over devices.
        converter_cls: the model's feature converter.

    Attributes:
        shapes: the shape `[batch, length]` of each feature of a global batch.

    Raises:
        T5XError: see `data.find_provider` and `data.converted`.
    """

    def __init__(
        self,
        config: DatasetConfig,
        sharding: NamedSharding,
        converter_cls: data.ConverterClass = None,
    ) -> None:
        self._config = config
        self._sharding = sharding
        index, count = data.process_shard(sharding, config.batch_size)
        self._stream = open_stream(config, seqio.ShardInfo(index, count), converter_cls)
        self.shapes = {
            name: (config.batch_size, *spec.shape[1:])
            for name, spec in self._stream.element_spec.items()
        }

    def check_not_empty(self) -> None:
        """Waits for the first batch.

        Raises:
            T5XError: there is none.
        """
        if self._stream.is_empty():
            raise _empty(self._config)

    def __next__(self) -> dict[str, jax.Array]:
        """The next global batch, on the devices."""
        batch = next(self._stream, None)
        if batch is None:
            raise _empty(self._config)
        return data.to_devices(batch, self._sharding, self._config.batch_size)

    def save(self, path: epath.Path) -> None:
        """Writes down the position after the last batch that `next` returned."""
        self._stream.save(epath.Path(path))

    def restore(self, path: epath.Path) -> None:
        """Goes to the position that `save(path)` wrote down; only before the first batch.

        Raises:
            T5XError: it is the position in other data.
        """
        self._stream.restore(epath.Path(path))

    def close(self) -> None:
        """Stops reading ahead."""
        self._stream.close()


class Stream(Protocol):
    """The part `[batch / shards, ...]` of the training batches that this process reads."""

    element_spec: dict[str, tf.TensorSpec]

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


def open_stream(
    config: DatasetConfig, shard: seqio.ShardInfo, converter_cls: data.ConverterClass
) -> Stream:
    """The batches of one shard, as a stream of the kind that the provider allows for."""
    provider: Any = data.find_provider(config)

    def batches_from(position: int) -> tf.data.Dataset:
        return _batches(provider.starting_at(position), config, shard, converter_cls)

    if hasattr(provider, "starting_at"):
        batches = batches_from(0)
        if _RESUME_AT in batches.element_spec:
            return _PositionedStream(batches, batches_from, config.seed or 0, shard)
    return _IteratedStream(_batches(provider, config, shard, converter_cls))


class _PositionedStream:
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
        self.element_spec = {k: v for k, v in batches.element_spec.items() if k != _RESUME_AT}
        self._batches: Any = batches
        self._batches_from = batches_from
        self._seed = seed
        self._shard = [shard.index, shard.num_shards]
        self._position = 0
        self._first: HostBatch | None = None
        self._iterator: Any = None

    def __next__(self) -> HostBatch:
        batch, self._first = self._first or self._read(), None
        if batch is None:
            raise StopIteration
        self._position = int(batch.pop(_RESUME_AT)[-1, 0])
        return batch

    def is_empty(self) -> bool:
        self._first = self._first or self._read()
        return self._first is None

    def save(self, path: epath.Path) -> None:
        saved = {"position": self._position, "seed": self._seed, "shard": self._shard}
        _position_file(path).write_text(json.dumps(saved))

    def restore(self, path: epath.Path) -> None:
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
        self._position = saved["position"]
        self._batches = self._batches_from(self._position)

    def close(self) -> None:
        self._iterator = self._batches = None

    def _read(self) -> HostBatch | None:
        if self._iterator is None:
            self._iterator = self._batches.as_numpy_iterator()
        try:
            return next(self._iterator, None)
        except Exception as error:
            # Its traceback would keep the pipeline alive, which `close` ends.
            raise error.with_traceback(None)  # noqa: B904


class _IteratedStream:
    """A stream read ahead by a thread; saves tf.data's iterator, and the batches not handed out."""

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
        self._start()
        self._ready.acquire()
        self._ready.release()
        if isinstance(self._ahead[0], Exception):
            raise self._ahead[0]
        return self._ahead[0] is None

    def save(self, path: epath.Path) -> None:
        with self._reading:
            tf.train.Checkpoint(iterator=self._iterator).write(f"{path}.iterator")
            batches = [item for item in self._ahead if isinstance(item, dict)]
        _write_batches(_ahead_file(path), batches)

    def restore(self, path: epath.Path) -> None:
        assert self._thread is None, "a stream that is being read has no place to go back to"
        if not _ahead_file(path).exists():
            raise _other_kind(path, "is a number, and the data configured can't start at one")
        tf.train.Checkpoint(iterator=self._iterator).read(f"{path}.iterator").assert_consumed()
        for batch in _read_batches(_ahead_file(path)):
            self._ahead.append(batch)
            self._room.acquire()
            self._ready.release()

    def close(self) -> None:
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


def _batches(
    provider: Any, config: DatasetConfig, shard: seqio.ShardInfo, converter_cls: data.ConverterClass
) -> tf.data.Dataset:
    """The shard's batches; with `resume_at`, int64 [batch, 1], where each row has one still."""
    rows = provider.get_dataset(
        sequence_length=data.lengths(config),
        split=config.split,
        use_cached=config.use_cached,
        shuffle=config.shuffle,
        seed=config.seed,
        shard_info=shard,
        num_epochs=None,
        trim_output_features=config.trim_output_features,
    )
    kept = []
    if _RESUME_AT in rows.element_spec and (data.come_packed(rows) or not config.pack):
        kept = [_RESUME_AT]
        # As a list of one: where rows are packed, seqio takes no scalars.
        rows = rows.map(lambda row: {**row, _RESUME_AT: row[_RESUME_AT][tf.newaxis]})
    features = data.converted(rows, config, converter_cls, kept)
    options = tf.data.Options()
    options.deterministic = True
    # Maps over Python functions count as stateful; their position is their input's.
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    batches = features.batch(config.batch_size // shard.num_shards, drop_remainder=True)
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)


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


def _empty(config: DatasetConfig) -> T5XError:
    name = getattr(config.mixture_or_task_name, "name", config.mixture_or_task_name)
    return T5XError(
        f"'{name}' has no example in split '{config.split}'",
        where="DatasetConfig.mixture_or_task_name",
        remedy="Check that its source holds rows, and that no preprocessor filters all of them "
        "(examples longer than task_feature_lengths, say).",
    )
