"""The training batches, and the position in them: saved and restored exactly, at any step.

Where a task or mixture can start anywhere, a position is one number. It offers
`starting_at(position)`, a copy of itself whose `get_dataset` starts there and whose elements carry
`resume_at` (int64 scalar), the position to start at to go on after the element. Everything else,
and what seqio packs out of single examples, has a position that only tf.data can write down.

Such a task or mixture may also offer `provenance(position, count, …)`, with the further arguments
of `get_dataset`: of which examples the `count` elements from the position on are made, as a list
of JSON values for each element.
"""

import dataclasses
from typing import Any

import jax
import seqio
import tensorflow as tf
from etils import epath
from jax.sharding import NamedSharding

from t5x import data
from t5x.data import HostBatch
from t5x.data_streams import RESUME_AT, IteratedStream, PositionedStream, Stream
from t5x.errors import T5XError
from t5x.utils import DatasetConfig


@dataclasses.dataclass
class Taken:
    """What this process read of one global batch.

    Attributes:
        rows: features `[batch / shards, ...]`.
        position: where in the stream the rows start; None if that is no number.
    """

    rows: HostBatch
    position: int | None


class TrainingData:
    """An endless stream of global training batches, read ahead.

    Args:
        config: the dataset; it is repeated forever.
        sharding: how batches lie on the mesh: `[batch, ...]`, rows over devices.
        converter_cls: the model's feature converter.

    Attributes:
        shapes: the shape `[batch, length]` of each feature of a global batch.
        taken: what the last `next` has read.

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
        self._shard = seqio.ShardInfo(*data.process_shard(sharding, config.batch_size))
        self._stream = open_stream(config, self._shard, converter_cls)
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
        position = self._stream.position
        batch = next(self._stream, None)
        if batch is None:
            raise _empty(self._config)
        self.taken = Taken(batch, position)
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

    def provenance(self, taken: Taken) -> dict[str, Any]:
        """Where the rows of a batch come from, as JSON.

        Returns:
            The name of the data, their split and seed, this process's shard of them and, where the
            provider knows, the position and for each row the examples that it is made of.
        """
        provider: Any = data.find_provider(self._config)
        found: dict[str, Any] = {
            "data": provider.name,
            "split": self._config.split,
            "seed": self._config.seed,
            "shard": [self._shard.index, self._shard.num_shards],
        }
        if taken.position is not None:
            found["position"] = taken.position
            if hasattr(provider, "provenance"):
                count = len(next(iter(taken.rows.values())))
                found["rows"] = provider.provenance(
                    taken.position, count, **_arguments(self._config, self._shard)
                )
        return found

    def close(self) -> None:
        """Stops reading ahead."""
        self._stream.close()


def open_stream(
    config: DatasetConfig, shard: seqio.ShardInfo, converter_cls: data.ConverterClass
) -> Stream:
    """The batches of one shard, as a stream of the kind that the provider allows for."""
    provider: Any = data.find_provider(config)

    def batches_from(position: int) -> tf.data.Dataset:
        return _batches(provider.starting_at(position), config, shard, converter_cls)

    if hasattr(provider, "starting_at"):
        batches = batches_from(0)
        if RESUME_AT in batches.element_spec:
            return PositionedStream(batches, batches_from, config.seed or 0, shard)
    return IteratedStream(_batches(provider, config, shard, converter_cls))


def _batches(
    provider: Any, config: DatasetConfig, shard: seqio.ShardInfo, converter_cls: data.ConverterClass
) -> tf.data.Dataset:
    """The shard's batches; with `resume_at`, int64 [batch, 1], where each row has one still."""
    rows = provider.get_dataset(**_arguments(config, shard))
    kept = []
    if RESUME_AT in rows.element_spec and (data.come_packed(rows) or not config.pack):
        kept = [RESUME_AT]
        # As a list of one: where rows are packed, seqio takes no scalars.
        rows = rows.map(lambda row: {**row, RESUME_AT: row[RESUME_AT][tf.newaxis]})
    features = data.converted(rows, config, converter_cls, kept)
    options = tf.data.Options()
    options.deterministic = True
    # Maps over Python functions count as stateful; their position is their input's.
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    batches = features.batch(config.batch_size // shard.num_shards, drop_remainder=True)
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)


def _arguments(config: DatasetConfig, shard: seqio.ShardInfo) -> dict[str, Any]:
    """What the provider is called with, to get the shard's rows."""
    return {
        "sequence_length": data.lengths(config),
        "split": config.split,
        "use_cached": config.use_cached,
        "shuffle": config.shuffle,
        "seed": config.seed,
        "shard_info": shard,
        "num_epochs": None,
        "trim_output_features": config.trim_output_features,
    }


def _empty(config: DatasetConfig) -> T5XError:
    name = getattr(config.mixture_or_task_name, "name", config.mixture_or_task_name)
    return T5XError(
        f"'{name}' has no example in split '{config.split}'",
        where="DatasetConfig.mixture_or_task_name",
        remedy="Check that its source holds rows, and that no preprocessor filters all of them "
        "(examples longer than task_feature_lengths, say).",
    )
