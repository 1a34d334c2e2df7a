"""The only place that registers seqio tasks: one for each dataset and variant.

A task is a mixture of one: tasks and mixtures draw from the same stream and share one pipeline,
`prompt_dataset`, which renders and tokenizes whole batches and then takes them apart.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import seqio
import tensorflow as tf

from flan_tasks import metrics, postprocess, stream
from flan_tasks.spec import Dataset
from flan_tasks.variants import DropCounter, Example, Lengths, VariantPipeline
from flan_tasks.vocabulary import VOCABULARY

OUTPUT_FEATURES = {
    "inputs": seqio.Feature(vocabulary=VOCABULARY, add_eos=True),
    "targets": seqio.Feature(vocabulary=VOCABULARY, add_eos=True),
}
# Determinism is a feature: a run that names no seed has this one.
DEFAULT_SEED = 0
# Rows rendered at once: enough to hide the cost of a call, few enough to start at once.
_BATCH = 256
_ENDLESS = np.iinfo(np.int64).max
# Only a cache read back from disk is shuffled through a buffer.
_CACHED_SHUFFLE_BUFFER = 1000

_INTEGER_LISTS = ("inputs", "targets", "exemplars")
_TEXT_LISTS = ("references",)
_TEXTS = (
    *("inputs_pretokenized", "targets_pretokenized"),
    *("collection", "dataset", "variant", "split", "template", "option_style"),
)
_INTEGERS = ("row", "index")
FEATURES = (*_INTEGER_LISTS, *_TEXT_LISTS, *_TEXTS, *_INTEGERS)


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
            return super().get_dataset(
                sequence_length=sequence_length,
                split=split,
                use_cached=True,
                shuffle=shuffle,
                shuffle_buffer_size=shuffle_buffer_size,
                seed=seed,
                shard_info=shard_info,
                num_epochs=num_epochs,
                trim_output_features=trim_output_features,
                try_in_mem_cache=try_in_mem_cache,
            )
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


def prompt_dataset(
    pipelines: Sequence[VariantPipeline],
    rates: Sequence[float] | None,
    *,
    sequence_length,
    split: str,
    shuffle: bool,
    seed: int | None,
    shard_info: seqio.ShardInfo | None,
    num_epochs: int | None,
) -> tf.data.Dataset:
    """The examples of some tasks as one dataset with the features `FEATURES`.

    Args:
      pipelines: the tasks.
      rates: relative rate of each; None: every row of every task once an epoch.
      sequence_length: {"inputs": n, "targets": n} in tokens, or None for no limit.
      split: which split of each task.
      shuffle: whether rows come in a drawn order.
      seed: what everything is drawn from; None is `DEFAULT_SEED`.
      shard_info: which shard; the shards' union, taken in turn, is the unsharded dataset.
      num_epochs: how often all rows come; None: without end. Only None goes with rates.
    """
    VOCABULARY.load_model()  # a missing one is an error here, not in a thread of tf.data
    seed = DEFAULT_SEED if seed is None else int(seed)
    shard = shard_info or seqio.ShardInfo(index=0, num_shards=1)
    one_host = shard.num_shards == 1
    num_rows = [p.open(split, prepare_missing=one_host).num_rows for p in pipelines]
    if rates is None or num_epochs is not None:
        every_row = stream.EveryRow(num_rows, seed=seed, shuffle=shuffle)
        locate = every_row.locate
        end = _ENDLESS if num_epochs is None else num_epochs * len(every_row)
    else:
        locate = stream.ByRate(num_rows, rates, seed=seed, shuffle=shuffle).locate
        end = _ENDLESS
    lengths = _lengths(sequence_length)
    counter = DropCounter([pipeline.name for pipeline in pipelines], lengths)

    def render(positions: np.ndarray) -> list[np.ndarray]:
        found = locate(positions)
        rendered: list = [None] * len(positions)
        for task in np.unique(found.task):
            at = np.flatnonzero(found.task == task)
            rows = found.row[at]
            indices = found.epoch[at] * num_rows[task] + rows
            pipeline = pipelines[task]
            examples = pipeline.examples(split, rows, indices, seed=seed, lengths=lengths)
            counter.add(int(task), examples)
            for place, example in zip(at, examples, strict=True):
                if isinstance(example, Example):
                    rendered[place] = _features(pipeline, split, example)
        return _to_columns([features for features in rendered if features])

    positions = tf.data.Dataset.range(shard.index, end, shard.num_shards)
    return (
        positions.batch(_BATCH)
        .map(lambda batch: _from_columns(tf.numpy_function(render, [batch], _column_types())))
        .unbatch()
        .map(_cut_padding)
        .with_options(_stateless())
        .prefetch(tf.data.AUTOTUNE)
    )


def _lengths(sequence_length) -> Lengths:
    limits = sequence_length or {}
    return Lengths(limits.get("inputs"), limits.get("targets"))


def _stateless() -> tf.data.Options:
    # The Python function keeps nothing between calls that shapes its output, so an iterator over
    # the dataset may be checkpointed without it.
    options = tf.data.Options()
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    return options


def _features(pipeline: VariantPipeline, split: str, example: Example) -> dict:
    features = dataclasses.asdict(example)
    features["collection"] = pipeline.dataset.collection
    features["dataset"] = pipeline.dataset.name
    features["variant"] = pipeline.variant.name
    features["split"] = split
    return features


def _to_columns(examples: Sequence[dict]) -> list[np.ndarray]:
    """The features as arrays in the order of `_column_types`; lists are padded."""
    columns = []
    for name in (*_INTEGER_LISTS, *_TEXT_LISTS):
        lists = [example[name] for example in examples]
        lengths = np.array([len(values) for values in lists], np.int64)
        is_text = name in _TEXT_LISTS
        padded = np.full(
            # TensorFlow 2.21 crashes on an array without elements from a NumPy function.
            (len(lists), lengths.max(initial=1)),
            b"" if is_text else 0,
            dtype=object if is_text else np.int32,
        )
        for row, values in zip(padded, lists, strict=True):
            row[: len(values)] = [v.encode() for v in values] if is_text else values
        columns += [padded, lengths]
    columns += [np.array([e[name].encode() for e in examples], object) for name in _TEXTS]
    columns += [np.array([e[name] for e in examples], np.int64) for name in _INTEGERS]
    return columns


def _column_types() -> list[tf.DType]:
    lists = [tf.int32, tf.int64] * len(_INTEGER_LISTS) + [tf.string, tf.int64] * len(_TEXT_LISTS)
    return lists + [tf.string] * len(_TEXTS) + [tf.int64] * len(_INTEGERS)


def _from_columns(columns: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
    column = iter(columns)
    batch = {}
    for name in (*_INTEGER_LISTS, *_TEXT_LISTS):
        batch[name] = tf.ensure_shape(next(column), [None, None])
        batch[f"{name}/length"] = tf.ensure_shape(next(column), [None])
    for name in (*_TEXTS, *_INTEGERS):
        batch[name] = tf.ensure_shape(next(column), [None])
    return batch


def _cut_padding(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    for name in (*_INTEGER_LISTS, *_TEXT_LISTS):
        length = example.pop(f"{name}/length")
        example[name] = example[name][:length]
    return example


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
