"""The only place that registers seqio tasks: one for each dataset and variant."""

from collections.abc import Iterable, Sequence

import seqio
import tensorflow as tf

from flan_tasks import metrics, postprocess
from flan_tasks.prompts import prompt_dataset
from flan_tasks.spec import Dataset
from flan_tasks.variants import VariantPipeline
from flan_tasks.vocabulary import VOCABULARY

OUTPUT_FEATURES = {
    "inputs": seqio.Feature(vocabulary=VOCABULARY, add_eos=True),
    "targets": seqio.Feature(vocabulary=VOCABULARY, add_eos=True),
}
# Only a cache read back from disk is shuffled through a buffer.
_CACHED_SHUFFLE_BUFFER = 1000


class PromptTask(seqio.Task):
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
        return self.source.get_dataset(
            split,
            shuffle,
            seed,
            shard_info,
            sequence_length=sequence_length,
            num_epochs=num_epochs,
        )


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
        """Any number of shards can be read; small splits are best read as one."""
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
    ) -> tf.data.Dataset:
        """The examples of a split; see `seqio.DataSource.get_dataset`."""
        return prompt_dataset(
            [self.pipeline],
            None,
            sequence_length=sequence_length,
            split=split,
            shuffle=shuffle,
            seed=seed,
            shard_info=shard_info,
            num_epochs=num_epochs,
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
                preprocessors=[seqio.CacheDatasetPlaceholder()],
                output_features=OUTPUT_FEATURES,
                postprocess_fn=postprocess.references_or_text,
                metric_fns=metrics.functions(dataset, variant),
                shuffle_buffer_size=_CACHED_SHUFFLE_BUFFER,
            )
