"""The only place that registers seqio tasks: one for each dataset and variant."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import seqio
import tensorflow as tf

from flan_tasks import manifests, metrics, postprocess, rates
from flan_tasks.features import OUTPUT_FEATURES
from flan_tasks.feed import FEATURES, Resumable, prompt_dataset
from flan_tasks.prompts import DEFAULT_SEED, Lengths, PromptStream
from flan_tasks.recipes import Resolved
from flan_tasks.spec import Dataset
from flan_tasks.variants import VariantPipeline

# A cache is made for no model in particular: few-shot prompts keep the exemplars that fit the
# paper's lengths (arXiv 2301.13688, appendix).
_CACHED_LENGTHS = {"inputs": 2048, "targets": 512}
# Rows that one worker of a cache-building job renders.
_ROWS_PER_CACHE_SHARD = 50_000
# Only a cache read back from disk is shuffled through a buffer.
_CACHED_SHUFFLE_BUFFER = 1000


class PromptTask(Resumable, seqio.Task):
    """A seqio task whose examples are a dataset's rows in one variant."""

    @property
    def pipeline(self) -> VariantPipeline:
        """What renders and tokenizes this task."""
        return self.source.pipeline

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
        """The task's examples; see `seqio.Task.get_dataset`.

        Differences: the order and every draw depend on `seed` alone (None is 0), shuffling is over
        the whole split without a buffer, prompts are drawn anew in each epoch, and an example
        longer than `sequence_length` is dropped and counted, not trimmed.

        Raises:
          FlanError: the rows cannot be had, or none fits.
        """
        if use_cached:
            order = (shuffle, shuffle_buffer_size, seed, shard_info, num_epochs)
            return super().get_dataset(
                sequence_length, split, True, *order, trim_output_features, try_in_mem_cache
            )
        stream = self.stream(
            sequence_length,
            split=split,
            shuffle=shuffle,
            seed=seed,
            num_epochs=num_epochs,
            prepare_missing=shard_info is None or shard_info.num_shards == 1,
        )
        return prompt_dataset(stream, FEATURES, shard_info=shard_info, start=self.start)

    def stream(self, sequence_length: Mapping[str, int] | None, **arguments: Any) -> PromptStream:
        """The task's examples by position, without TensorFlow; see `PromptSource.stream`."""
        return self.source.stream(sequence_length, **arguments)

    def manifest(self) -> dict[str, Any]:
        """What the task is, as JSON; see `flan_tasks.manifests`."""
        leaf = rates.leaf(self.pipeline.dataset, self.pipeline.variant)
        return manifests.describe(self.name, Resolved((leaf,), {}))


class PromptSource(seqio.DataSource):
    """Tokenized examples of one task, once each: what cache-building jobs read."""

    def __init__(self, pipeline: VariantPipeline):
        self.pipeline = pipeline
        super().__init__(splits=tuple(pipeline.dataset.splits))

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """Rows are found by position: any sharding is exact."""
        return True

    def list_shards(self, split: str) -> Sequence[str]:
        """As many shards as workers of a cache-building job may share a split."""
        num_rows = self.pipeline.dataset.num_examples.get(split, 0)
        return [f"{split}/{i}" for i in range(max(1, -(-num_rows // _ROWS_PER_CACHE_SHARD)))]

    def get_dataset(
        self,
        split="train",
        shuffle=True,
        seed=None,
        shard_info=None,
        *,
        sequence_length=_CACHED_LENGTHS,
        use_cached=False,
        num_epochs=1,
    ) -> tf.data.Dataset:
        """The examples of a split; see `seqio.DataSource.get_dataset`."""
        stream = self.stream(
            sequence_length,
            split=split,
            shuffle=shuffle,
            seed=seed,
            num_epochs=num_epochs,
            prepare_missing=shard_info is None or shard_info.num_shards == 1,
        )
        return prompt_dataset(stream, FEATURES, shard_info=shard_info)

    def stream(
        self,
        sequence_length: Mapping[str, int] | None,
        *,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        num_epochs: int | None = None,
        prepare_missing: bool = True,
    ) -> PromptStream:
        """The examples by position, without TensorFlow."""
        return PromptStream(
            [self.pipeline],
            None,
            split=split,
            shuffle=shuffle,
            seed=DEFAULT_SEED if seed is None else int(seed),
            lengths=Lengths.of(sequence_length),
            num_epochs=num_epochs,
            prepare_missing=prepare_missing,
        )


def register(datasets: Iterable[Dataset]) -> None:
    """Registers every variant of the datasets as a seqio task named {dataset}_{variant}.

    Reads no rows and no vocabulary; a few dozen microseconds a task.
    """
    for dataset in datasets:
        for variant in dataset.variants:
            pipeline = VariantPipeline(dataset, variant)
            seqio.TaskRegistry.add(
                pipeline.name,
                task_cls=PromptTask,
                source=PromptSource(pipeline),
                preprocessors=[seqio.CacheDatasetPlaceholder(), _only_fitting],
                output_features=OUTPUT_FEATURES,
                postprocess_fn=postprocess.references_or_text,
                metric_fns=metrics.functions(dataset, variant),
                shuffle_buffer_size=_CACHED_SHUFFLE_BUFFER,
            )


def _only_fitting(
    dataset: tf.data.Dataset, sequence_length: Mapping[str, int] | None = None
) -> tf.data.Dataset:
    """Leaves out examples of a cache that are too long for the model: seqio would cut them."""
    lengths = {name: n for name, n in (sequence_length or {}).items() if n is not None}

    def fits(example):
        return tf.reduce_all([tf.size(example[name]) <= n for name, n in lengths.items()])

    return dataset.filter(fits)
