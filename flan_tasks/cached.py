"""Training caches as seqio tasks: rows that tools/cache.py wrote, read back in the same order.

A gin file puts one in the place of the mixture that it was made of:

    from flan_tasks import cached
    cached.register.directory = "/data/caches/flan2022"
    train/utils.DatasetConfig.mixture_or_task_name = @cached.register()

A packed cache needs `converters.FeatureConverter`, as any packed mixture does (see `packed`). Where
DatasetConfig.seed is None, Google's T5X draws a seed, which no cache fits: set it to the cache's.
"""

from collections.abc import Mapping, Sequence

import gin
import numpy as np
import seqio
import tensorflow as tf
from absl import logging

from flan_tasks import vocabulary
from flan_tasks.cache_files import CachedRows, TokenBlock
from flan_tasks.errors import MixtureError, VocabularyError
from flan_tasks.features import OUTPUT_FEATURES
from flan_tasks.feed import RESUME_AT, Resumable, options_of_python_feed
from flan_tasks.packing import ROW_FEATURES, SIDES

# Rows read at once. A packed row is many times as large as a single example.
_BLOCK = 512
_PACKED_BLOCK = 64


class CachedTask(Resumable, seqio.Task):
    """A seqio task whose examples are a cache's rows. A position is the number of a row."""

    def get_dataset(
        self,
        sequence_length=None,
        split="train",
        use_cached=False,
        shuffle=True,
        shuffle_buffer_size=None,
        seed=None,
        shard_info=None,
        num_epochs=1,
        trim_output_features=True,
        try_in_mem_cache=True,
    ) -> tf.data.Dataset:
        """The cache's rows; see `seqio.Task.get_dataset`.

        The order is always the cached one, which was drawn when the cache was made. With shards,
        row i is of shard i mod number of shards. With `num_epochs` None the rows come again when
        all have come, and a warning says so. Features are `inputs` and `targets`, of a packed cache
        their segment ids and positions too: int32 [length].

        Raises:
          MixtureError: other lengths, another split or another seed than were cached.
          VocabularyError: another vocabulary than the cache's is in use.
        """
        return self.source.get_dataset(
            split,
            shuffle,
            seed,
            shard_info,
            sequence_length=sequence_length,
            num_epochs=num_epochs,
            start=self.start,
        )


class CachedSource(seqio.DataSource):
    """The rows of a cache."""

    def __init__(self, directory: str):
        self.directory = directory
        self.rows = CachedRows(directory)
        split = self.rows.job["split"]
        super().__init__(
            splits=(split,),
            num_input_examples={split: self.rows.num_rows},
            caching_permitted=False,
        )

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """Rows are found by number: any sharding is exact."""
        return True

    def list_shards(self, split: str) -> Sequence[str]:
        """Any number of shards can be read."""
        return [split]

    def get_dataset(
        self,
        split="train",
        shuffle=True,
        seed=None,
        shard_info=None,
        *,
        sequence_length=None,
        use_cached=False,
        num_epochs=1,
        start: int | None = None,
    ) -> tf.data.Dataset:
        """The rows; see `CachedTask.get_dataset`, and `feed.prompt_dataset` on `start`."""
        self._check(split, seed, sequence_length or {})
        form = _Packed(self.rows.job["lengths"]) if self.rows.job["packed"] else _Single()
        shard = shard_info or seqio.ShardInfo(index=0, num_shards=1)
        num_rows = self.rows.num_rows
        repeats = _Repeats(self.directory, num_rows)

        def read(positions: np.ndarray) -> list[np.ndarray]:
            if num_epochs is None:
                repeats.warn(positions)
            block = self.rows.read(positions % num_rows)
            return [*form.columns(block), positions - shard.index + shard.num_shards]

        def named(columns: list[tf.Tensor]) -> dict[str, tf.Tensor]:
            *columns, resume_at = columns
            rows = form.named(columns)
            if start is not None:
                rows[RESUME_AT] = tf.ensure_shape(resume_at, [None])
            return rows

        first = (start or 0) + shard.index
        end = np.iinfo(np.int64).max if num_epochs is None else num_epochs * num_rows
        positions = tf.data.Dataset.range(first, end, shard.num_shards).batch(form.block)
        types = [*form.types, tf.int64]
        blocks = positions.map(lambda at: named(tf.numpy_function(read, [at], types)))
        return (
            form.taken_apart(blocks)
            .with_options(options_of_python_feed())
            .prefetch(tf.data.AUTOTUNE)
        )

    def _check(self, split: str, seed: int | None, lengths: Mapping[str, int]) -> None:
        job = self.rows.job
        if split != job["split"]:
            raise self._other(f"the split {split!r}", repr(job["split"]), "--split", split)
        if seed is not None and int(seed) != job["seed"]:
            raise self._other(f"seed {int(seed)}", str(job["seed"]), "--seed", str(int(seed)))
        for side, cached in job["lengths"].items():
            asked = lengths.get(side)
            if asked is not None and (asked != cached if job["packed"] else asked < cached):
                both = ",".join(str(lengths.get(each)) for each in job["lengths"])
                raise self._other(f"{side} of {asked} tokens", str(cached), "--lengths", both)
        found = vocabulary.tokenizer().fingerprint
        if found != job["vocabulary_fingerprint"]:
            raise VocabularyError(
                f"the vocabulary in use ({vocabulary.settings().path}, fingerprint {found}) is not "
                f"the one of the cache ({job['vocabulary']}, {job['vocabulary_fingerprint']})",
                where=f"cache {self.directory}",
                remedy="Set vocabulary.settings.path to that one, or make another cache.",
            )

    def _other(self, asked: str, cached: str, option: str, value: str) -> MixtureError:
        return MixtureError(
            f"{asked} is asked for, but what was cached is {cached}",
            where=f"cache {self.directory}",
            remedy=f"Ask for {cached}, or make another cache: tools/cache.py "
            f"{self.rows.job['name']} {option} {value} …",
        )


class _Repeats:
    """Tells whoever trains for longer than what was cached."""

    def __init__(self, directory: str, num_rows: int):
        self._directory = directory
        self._num_rows = num_rows
        self._passes = 1

    def warn(self, positions: np.ndarray) -> None:
        """Warns when rows come again, for the first time in each pass, or in some short ones."""
        passes = int(positions[-1]) // self._num_rows + 1
        if passes > self._passes:
            logging.warning(
                "cache %s: training beyond %d rows sees the same %d rows again, in the same order. "
                "Cache more steps to see new prompts.",
                *(self._directory, self._passes * self._num_rows, self._num_rows),
            )
            self._passes = passes


class _Single:
    """Single examples, padded as long as they are in a block."""

    block = _BLOCK
    types = [tf.int32, tf.int64] * len(SIDES)

    def columns(self, block: TokenBlock) -> list[np.ndarray]:
        """Of each side, int32 [rows, longest] and int64 [rows]: token ids, and how many."""
        columns = []
        for side in SIDES:
            sizes = block.row_sizes(side)
            columns += [block.padded(side, int(sizes.max())), sizes]
        return columns

    def named(self, columns: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """The columns under the names that `taken_apart` expects."""
        rows = {}
        for side, tokens, sizes in zip(SIDES, columns[::2], columns[1::2], strict=True):
            rows[side] = tf.ensure_shape(tokens, [None, None])
            rows[f"{side}/length"] = tf.ensure_shape(sizes, [None])
        return rows

    def taken_apart(self, blocks: tf.data.Dataset) -> tf.data.Dataset:
        """The examples one by one, without padding."""
        return blocks.unbatch().map(self._without_padding)

    def _without_padding(self, example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        for side in SIDES:
            example[side] = example[side][: example.pop(f"{side}/length")]
        return example


class _Packed:
    """Packed rows, as `packed.PackedMixture` gives them."""

    block = _PACKED_BLOCK
    types = [tf.int32] * len(ROW_FEATURES)

    def __init__(self, lengths: Mapping[str, int]):
        self._lengths = lengths

    def columns(self, block: TokenBlock) -> list[np.ndarray]:
        """The features of `ROW_FEATURES`, each int32 [rows, length]."""
        return [column for side in SIDES for column in block.packed(side, self._lengths[side])]

    def named(self, columns: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """The columns under their features' names."""
        return {
            name: tf.ensure_shape(column, [None, self._lengths[name.split("_")[0]]])
            for name, column in zip(ROW_FEATURES, columns, strict=True)
        }

    def taken_apart(self, blocks: tf.data.Dataset) -> tf.data.Dataset:
        """The rows one by one."""
        return blocks.unbatch()


@gin.configurable
def register(directory: str, name: str | None = None) -> str:
    """Registers a cache as a seqio task, once, and returns the task's name.

    Args:
      directory: the folder that tools/cache.py wrote.
      name: the task's name; None: {what was cached}_cached, or {what was cached}_packed_cached.

    Raises:
      StoreError: there is no whole cache in the folder.
      MixtureError: another task or mixture of that name is registered already.
    """
    source = CachedSource(directory)
    job = source.rows.job
    name = name or f"{job['name']}{'_packed' if job['packed'] else ''}_cached"
    if name not in {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}:
        seqio.TaskRegistry.add(
            name,
            source=source,
            output_features=OUTPUT_FEATURES,
            preprocessors=[],
            task_cls=CachedTask,
        )
    registered = seqio.get_mixture_or_task(name)
    if not isinstance(registered, CachedTask) or registered.source.directory != directory:
        raise MixtureError(
            "another task or mixture of this name is registered already",
            where=f"cached task {name}, of {directory}",
            remedy="Give cached.register.name a name of its own.",
        )
    return name
