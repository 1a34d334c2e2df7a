"""Mixtures of packed rows: whole windows of the stream are rendered and packed at once.

No example is handed to TensorFlow by itself, so this is the fast way to feed training. A gin file
puts it between a mixture (or task) and the trainer:

    from flan_tasks import converters
    from flan_tasks import packed
    packed.register.mixture = %MIXTURE_OR_TASK_NAME
    train/utils.DatasetConfig.mixture_or_task_name = @packed.register()
    models.EncoderDecoderModel.feature_converter_cls = @converters.FeatureConverter
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import gin
import numpy as np
import seqio
import tensorflow as tf

from flan_tasks import draws, mixtures, packing
from flan_tasks.errors import MixtureError
from flan_tasks.feed import RESUME_AT, Resumable, options_of_python_feed
from flan_tasks.mixtures import PromptMixture
from flan_tasks.prompts import DEFAULT_SEED, Example, PromptStream
from flan_tasks.tasks import PromptTask

# Examples packed together. More give no denser rows worth the wait for the first of them.
WINDOW = 1024


class PackedMixture(Resumable, seqio.Mixture):
    """The rows of a mixture or task, packed.

    Tasks and rates are those of the mixture that is packed. A position is row r of window w of the
    stream, as w * WINDOW + r.
    """

    def __init__(self, provider: PromptMixture | PromptTask):
        tasks = provider.tasks if isinstance(provider, seqio.Mixture) else [provider]
        rates = [(task.name, provider.get_rate(task) if len(tasks) > 1 else 1.0) for task in tasks]
        super().__init__(name=f"{provider.name}_packed", tasks=rates)
        self._provider = provider

    def get_dataset(
        self,
        sequence_length=None,
        split="train",
        use_cached=False,
        shuffle=True,
        seed=None,
        shard_info=None,
        num_epochs=None,
        copy_pretokenized=False,
        compute_stats_empirically=False,
        log_mixing_proportions=True,
        passthrough_features=None,
        trim_output_features=True,
        try_in_mem_cache=True,
    ) -> tf.data.Dataset:
        """The packed rows; see `seqio.Mixture.get_dataset` and `packing.PackedRows`.

        Every feature is int32 [length]. With shards, each takes every so manieth window.

        Raises:
          MixtureError: no lengths are given, or features that rows do not have are asked for.
          FlanError: see `PromptMixture.get_dataset`.
        """
        if sequence_length is None or not set(packing.SIDES) <= set(sequence_length):
            raise self._cannot("pack into rows of no length", "Give inputs' and targets' lengths.")
        if use_cached or copy_pretokenized or passthrough_features:
            raise self._cannot(
                "give caches, texts or other features: a row holds tokens of many examples",
                f"Ask the mixture {self._provider.name} for them.",
            )
        shard = shard_info or seqio.ShardInfo(index=0, num_shards=1)
        stream = self._provider.stream(
            sequence_length,
            split=split,
            shuffle=shuffle,
            seed=seed,
            num_epochs=num_epochs,
            prepare_missing=shard.num_shards == 1,
        )
        key = key_of(self.name, DEFAULT_SEED if seed is None else int(seed))
        return _rows(stream, sequence_length, key, shard, self.start)

    def provenance(
        self,
        position: int,
        count: int,
        *,
        sequence_length: Mapping[str, int],
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **_: Any,
    ) -> list[list[dict[str, Any]]]:
        """Which examples some rows are made of, of each row in the order in which they stand there.

        Args:
          position: where in the endless stream of `get_dataset` the first of the rows stands.
          count: how many rows.
          sequence_length: as for `get_dataset`, and so are the others, of which more are ignored.
          split: see there.
          shuffle: see there.
          seed: see there.
          shard_info: see there.
        """
        stream = self._provider.stream(sequence_length, split=split, shuffle=shuffle, seed=seed)
        key = key_of(self.name, DEFAULT_SEED if seed is None else int(seed))
        index, shards = (shard_info.index, shard_info.num_shards) if shard_info else (0, 1)
        window, done = divmod(position, WINDOW)
        rows: list[list[dict[str, Any]]] = []
        for each in itertools.count(window + index, shards):
            examples = _examples(stream, each)
            packed = _packed(examples, each, sequence_length, key)
            rows += [[_origin(examples[i]) for i in row] for row in packed.examples[done:]]
            done = 0
            if len(rows) >= count:
                break
        return rows[:count]

    def manifest(self) -> dict[str, Any]:
        """What is packed, as JSON; see `flan_tasks.manifests`."""
        return self._provider.manifest()

    def _cannot(self, what: str, remedy: str) -> MixtureError:
        return MixtureError(f"cannot {what}", where=f"mixture {self.name}", remedy=remedy)


def _rows(
    stream: PromptStream,
    lengths: Mapping[str, int],
    key: int,
    shard: seqio.ShardInfo,
    start: int | None,
) -> tf.data.Dataset:
    first_window, rows_done = divmod(start or 0, WINDOW)
    first_window += shard.index

    def render(window: np.ndarray) -> list[np.ndarray]:
        packed = window_of(stream, int(window), lengths, key)
        at = (window - shard.index) * WINDOW + 1 + np.arange(len(packed))
        at[-1:] = (window - shard.index + shard.num_shards) * WINDOW
        skipped = slice(rows_done if window == first_window else 0, None)
        columns = [packed.columns[name][skipped] for name in packing.ROW_FEATURES]
        return [*columns, at[skipped]]

    def named(columns: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        rows = {
            name: tf.ensure_shape(column, [None, lengths[name.split("_")[0]]])
            for name, column in zip(packing.ROW_FEATURES, columns, strict=False)
        }
        return rows if start is None else {**rows, RESUME_AT: tf.ensure_shape(columns[-1], [None])}

    types = [tf.int32] * len(packing.ROW_FEATURES) + [tf.int64]
    end = np.iinfo(np.int64).max
    if stream.num_positions is not None:
        end = -(-stream.num_positions // WINDOW)
    return (
        tf.data.Dataset.range(first_window, end, shard.num_shards)
        .map(lambda window: named(tf.numpy_function(render, [window], types)))
        .unbatch()
        .with_options(options_of_python_feed())
        .prefetch(tf.data.AUTOTUNE)
    )


def key_of(name: str, seed: int) -> int:
    """What the packing of a packed mixture of that name is drawn from."""
    return int(draws.hash64(seed, draws.name_key(name)))


def window_of(
    stream: PromptStream, window: int, lengths: Mapping[str, int], key: int
) -> packing.PackedRows:
    """The packed rows of a window: of WINDOW positions, or of as many as the stream still has."""
    return _packed(_examples(stream, window), window, lengths, key)


def _examples(stream: PromptStream, window: int) -> list[Example]:
    end = (window + 1) * WINDOW
    if stream.num_positions is not None:
        end = min(end, stream.num_positions)
    return [e for e in stream.examples(np.arange(window * WINDOW, end)) if e]


def _packed(
    examples: Sequence[Example], window: int, lengths: Mapping[str, int], key: int
) -> packing.PackedRows:
    return packing.pack(
        [example.inputs for example in examples],
        [example.targets for example in examples],
        lengths,
        int(draws.hash64(key, window)),
    )


def _origin(example: Example) -> dict[str, Any]:
    """Where an example comes from, as JSON; with these an example can be rendered again."""
    return {
        "dataset": example.task.dataset.name,
        "variant": example.task.variant.name,
        "split": example.split,
        "row": example.row,
        "index": example.index,
        "template": example.template,
        "style": example.style,
        "exemplars": list(example.exemplars),
    }


@gin.configurable
def register(mixture: str) -> str:
    """Registers a registered mixture or task, packed, and returns the name: {mixture}_packed.

    Raises:
      MixtureError: there is none of that name, or it is not one of prompts.
    """
    packed = PackedMixture(mixtures.find(mixture))
    if packed.name not in seqio.MixtureRegistry.names():
        seqio.MixtureRegistry.add_provider(packed.name, packed)
    return packed.name
