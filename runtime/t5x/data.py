"""Where seqio's datasets become batches on the mesh; of the engine's libraries, the one with TF.

Every process reads only the rows that its devices need. The position in the training data can be
saved and restored exactly, at any step, without replaying what was read before.
"""

import collections
import difflib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
import seqio
import tensorflow as tf
from etils import epath
from jax.sharding import NamedSharding

from t5x.errors import T5XError
from t5x.utils import DatasetConfig, import_module

Provider: TypeAlias = seqio.Task | seqio.Mixture
HostBatch = dict[str, np.ndarray]

_BATCHES_AHEAD = 2
_NAMES_SUGGESTED = 3


def hide_accelerators_from_tensorflow() -> None:
    """Keeps TensorFlow, which only feeds data, from claiming the accelerators' memory."""
    tf.config.set_visible_devices([], "GPU")


def find_provider(config: DatasetConfig) -> Provider:
    """The Task or Mixture of a configuration, after importing its module.

    Raises:
        T5XError: no such name (near ones are suggested), or none of its tasks has the split.
    """
    if config.module:
        import_module(config.module)
    provider = config.mixture_or_task_name
    if isinstance(provider, str):
        provider = _registered(provider)
    splits = {split for task in seqio.get_subtasks(provider) for split in task.splits}
    base_split = config.split.split("[")[0]
    if splits and base_split not in splits:
        raise T5XError(
            f"'{provider.name}' has no split '{config.split}'",
            where="DatasetConfig.split",
            remedy=f"It has: {', '.join(sorted(splits))}.",
        )
    return provider


def tasks_with_split(config: DatasetConfig) -> list[seqio.Task]:
    """The tasks of a mixture (or the task itself) that have the configured split."""
    tasks = seqio.get_subtasks(find_provider(config))
    base_split = config.split.split("[")[0]
    return [task for task in tasks if not task.splits or base_split in task.splits]


def registered_name(provider: Provider) -> str:
    """The name under which seqio finds this very object; it is registered if it wasn't yet."""
    registry = seqio.MixtureRegistry if isinstance(provider, seqio.Mixture) else seqio.TaskRegistry
    if provider.name not in registry.names():
        registry.add_provider(provider.name, provider)
    if registry.get(provider.name) is not provider:
        raise T5XError(
            f"another task or mixture is registered as '{provider.name}'",
            where="DatasetConfig.mixture_or_task_name",
            remedy="Give the object another name, or configure the registered one by its name.",
        )
    return provider.name


def check_vocabularies(config: DatasetConfig, model: Any) -> None:
    """Raises T5XError if a task was tokenized with another vocabulary than the model's."""
    pairs = {"inputs": model.input_vocabulary, "targets": model.output_vocabulary}
    for task in seqio.get_subtasks(find_provider(config)):
        for name, expected in pairs.items():
            feature = task.output_features.get(name)
            if feature is not None and feature.vocabulary != expected:
                raise T5XError(
                    f"the {name} of task '{task.name}' use the vocabulary {feature.vocabulary}, "
                    f"the model {expected}",
                    where="DatasetConfig.mixture_or_task_name",
                    remedy="Configure both with the same vocabulary.",
                )


def check_not_packed(config: DatasetConfig, where: str) -> None:
    """Raises T5XError if a dataset for inference is packed; `where` names its argument."""
    if config.pack:
        raise T5XError(
            "inference needs one example per row",
            where=where,
            remedy="Set its DatasetConfig.pack = False.",
        )


def feature_converter(config: DatasetConfig) -> seqio.FeatureConverter:
    """The converter to an encoder-decoder's features, packing if configured."""
    return seqio.EncDecFeatureConverter(
        pack=config.pack, use_custom_packing_ops=config.use_custom_packing_ops
    )


class TrainingData:
    """An endless stream of global training batches, read ahead by a thread.

    Args:
        config: the dataset; it is repeated forever.
        sharding: how batches lie on the mesh: `[batch, ...]`, rows over devices.

    Attributes:
        shapes: the shape `[batch, length]` of each feature of a global batch.

    Raises:
        T5XError: see `find_provider`; or the batch size doesn't divide over processes.
    """

    def __init__(self, config: DatasetConfig, sharding: NamedSharding) -> None:
        self._config = config
        self._sharding = sharding
        dataset = _training_dataset(config, sharding)
        self.shapes = {
            name: (config.batch_size, *spec.shape[1:])
            for name, spec in dataset.element_spec.items()
        }
        self._stream = _Stream(dataset)

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
        return to_devices(batch, self._sharding, self._config.batch_size)

    def save(self, path: epath.Path) -> None:
        """Writes down the position after the last batch that `next` returned."""
        self._stream.save(epath.Path(path))

    def restore(self, path: epath.Path) -> None:
        """Goes to the position that `save(path)` wrote down; only before the first batch."""
        self._stream.restore(epath.Path(path))

    def close(self) -> None:
        """Stops reading ahead."""
        self._stream.close()


def evaluation_batches(
    config: DatasetConfig, task: seqio.Task, max_batches: int | None
) -> Iterator[HostBatch]:
    """Batches of one pass over a task, `[batch_size, length]` all; the last one is filled up.

    Rows that fill up repeat the first row with `decoder_loss_weights` 0, so they count for nothing.
    """
    lengths = _lengths(config)
    dataset = task.get_dataset(
        sequence_length=lengths,
        split=config.split,
        shuffle=config.shuffle,
        num_epochs=1,
        use_cached=config.use_cached,
        seed=config.seed,
        trim_output_features=config.trim_output_features,
    )
    # Packing would warn of every further feature that the task gives for its metrics.
    names = [name for name in task.output_features if name in dataset.element_spec]
    known = dataset.map(lambda example: {name: example[name] for name in names})
    batched = feature_converter(config)(known, lengths).batch(config.batch_size)
    for batch in batched.take(-1 if max_batches is None else max_batches).as_numpy_iterator():
        rows = len(batch["decoder_target_tokens"])
        batch = filled_up(batch, config.batch_size)
        batch["decoder_loss_weights"][rows:] = 0
        yield batch


def filled_up(batch: Mapping[str, np.ndarray], rows: int) -> HostBatch:
    """The batch `[n, ...]` with its first row repeated at the end, up to `[rows, ...]`."""

    def fill(feature: np.ndarray) -> np.ndarray:
        filler = np.repeat(feature[:1], rows - len(feature), axis=0)
        return np.concatenate([feature, filler])

    return {name: fill(feature) for name, feature in batch.items()}


def to_devices(
    batch: Mapping[str, np.ndarray], sharding: NamedSharding, batch_size: int
) -> dict[str, jax.Array]:
    """Global arrays `[batch_size, ...]` out of the rows that this process has read."""
    return {
        name: jax.make_array_from_process_local_data(
            sharding, feature, (batch_size, *feature.shape[1:])
        )
        for name, feature in batch.items()
    }


def process_shard(sharding: NamedSharding, batch_size: int) -> tuple[int, int]:
    """(index, count): which contiguous part of a global batch the devices of this process hold."""
    all_rows: Mapping[Any, Any] = sharding.devices_indices_map((batch_size,))
    starts = {
        (rows.indices(batch_size)[0], device.process_index) for device, (rows,) in all_rows.items()
    }
    mine = {start for start, process in starts if process == jax.process_index()}
    pieces = len({start for start, _ in starts})
    return min(mine) * pieces // batch_size // len(mine), pieces // len(mine)


def local_rows(batch: HostBatch, sharding: NamedSharding) -> HostBatch:
    """The part of a global batch, read whole by every process, that this process passes on."""
    rows = len(next(iter(batch.values())))
    index, count = process_shard(sharding, rows)
    part = slice(index * rows // count, (index + 1) * rows // count)
    return {name: feature[part] for name, feature in batch.items()}


def _training_dataset(config: DatasetConfig, sharding: NamedSharding) -> tf.data.Dataset:
    index, count = process_shard(sharding, config.batch_size)
    dataset = seqio.get_dataset(
        find_provider(config),
        task_feature_lengths=_lengths(config),
        dataset_split=config.split,
        shuffle=config.shuffle,
        num_epochs=None,
        feature_converter=feature_converter(config),
        shard_info=seqio.ShardInfo(index=index, num_shards=count),
        use_cached=config.use_cached,
        seed=config.seed,
        batch_size=config.batch_size // count,
        trim_output_features=config.trim_output_features,
    )
    options = tf.data.Options()
    options.deterministic = True
    # Maps over Python functions count as stateful; their position is their input's.
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)


def _registered(name: str) -> Provider:
    mixtures, tasks = seqio.MixtureRegistry.names(), seqio.TaskRegistry.names()
    if name in mixtures or name in tasks:
        return seqio.get_mixture_or_task(name)
    near = difflib.get_close_matches(name, [*mixtures, *tasks], _NAMES_SUGGESTED)
    raise T5XError(
        f"no task or mixture is registered as '{name}'",
        where="DatasetConfig.mixture_or_task_name",
        remedy=f"Did you mean {' or '.join(near)}?"
        if near
        else "Import the module that registers it, in a gin file or by DatasetConfig.module.",
    )


def _lengths(config: DatasetConfig) -> Mapping[str, int]:
    if config.task_feature_lengths is None:
        raise T5XError(
            "it is None",
            where="DatasetConfig.task_feature_lengths",
            remedy="Give a length for every feature, such as {'inputs': 512, 'targets': 128}; only "
            "inference evaluation can do without.",
        )
    return config.task_feature_lengths


def _empty(config: DatasetConfig) -> T5XError:
    name = getattr(config.mixture_or_task_name, "name", config.mixture_or_task_name)
    return T5XError(
        f"'{name}' has no example in split '{config.split}'",
        where="DatasetConfig.mixture_or_task_name",
        remedy="Check that its source holds rows, and that no preprocessor filters all of them "
        "(examples longer than task_feature_lengths, say).",
    )


class _Stream:
    """Reads a dataset ahead in a thread, and can save what was and what wasn't handed out yet."""

    def __init__(self, dataset: tf.data.Dataset) -> None:
        self._iterator = iter(dataset)
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
        _write_batches(epath.Path(f"{path}.ahead.npz"), batches)

    def restore(self, path: epath.Path) -> None:
        assert self._thread is None, "a stream that is being read has no place to go back to"
        tf.train.Checkpoint(iterator=self._iterator).read(f"{path}.iterator").assert_consumed()
        for batch in _read_batches(epath.Path(f"{path}.ahead.npz")):
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
