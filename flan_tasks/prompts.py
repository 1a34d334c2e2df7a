"""Prompts as a `tf.data.Dataset`: the one pipeline of all tasks and mixtures.

Whole batches of rows are located, rendered and tokenized in one call of plain Python and NumPy, and
then taken apart: TensorFlow never handles a prompt by itself. A task is a mixture of one.
"""

from collections.abc import Callable, Sequence

import numpy as np
import seqio
import tensorflow as tf

from flan_tasks import stream
from flan_tasks.variants import DropCounter, Example, Lengths, OpenSplit, VariantPipeline
from flan_tasks.vocabulary import VOCABULARY

# Determinism is a feature: a run that names no seed has this one.
DEFAULT_SEED = 0
# Rows rendered at once: enough to hide the cost of a call, few enough to start at once.
_BATCH = 256
_ENDLESS = np.iinfo(np.int64).max

_INTEGER_LISTS = ("inputs", "targets", "exemplars")
_TEXT_LISTS = ("references",)
_TEXTS = (
    *("inputs_pretokenized", "targets_pretokenized"),
    *("collection", "dataset", "variant", "split", "template", "option_style"),
)
_INTEGERS = ("row", "index")
FEATURES = (*_INTEGER_LISTS, *_TEXT_LISTS, *_TEXTS, *_INTEGERS)


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
    opened = [pipeline.open(split, prepare_missing=one_host) for pipeline in pipelines]
    num_rows = [rows_of.queries.num_rows for rows_of in opened]
    if rates is None or num_epochs is not None:
        every_row = stream.EveryRow(num_rows, seed=seed, shuffle=shuffle)
        locate = every_row.locate
        end = _ENDLESS if num_epochs is None else num_epochs * len(every_row)
    else:
        locate = stream.ByRate(num_rows, rates, seed=seed, shuffle=shuffle).locate
        end = _ENDLESS
    limits = sequence_length or {}
    lengths = Lengths(limits.get("inputs"), limits.get("targets"))
    render = _Renderer(pipelines, opened, locate, seed, lengths)
    positions = tf.data.Dataset.range(shard.index, end, shard.num_shards).batch(_BATCH)
    return (
        positions.map(lambda at: _from_columns(tf.numpy_function(render, [at], _column_types())))
        .unbatch()
        .map(_cut_padding)
        .with_options(_stateless())
        .prefetch(tf.data.AUTOTUNE)
    )


class _Renderer:
    """From positions of the stream to columns of features; drops what has to be left out."""

    def __init__(
        self,
        pipelines: Sequence[VariantPipeline],
        opened: Sequence[OpenSplit],
        locate: Callable[[np.ndarray], stream.Locations],
        seed: int,
        lengths: Lengths,
    ):
        self._pipelines = pipelines
        self._opened = opened
        self._locate = locate
        self._seed = seed
        self._lengths = lengths
        self._counter = DropCounter([pipeline.name for pipeline in pipelines], lengths)

    def __call__(self, positions: np.ndarray) -> list[np.ndarray]:
        found = self._locate(positions)
        rendered: list[dict | None] = [None] * len(positions)
        for task in np.unique(found.task).tolist():
            at = np.flatnonzero(found.task == task)
            rows = found.row[at]
            pipeline, rows_of = self._pipelines[task], self._opened[task]
            indices = found.epoch[at] * rows_of.queries.num_rows + rows
            examples = pipeline.examples(
                rows_of, rows, indices, seed=self._seed, lengths=self._lengths
            )
            self._counter.add(task, examples)
            for place, example in zip(at, examples, strict=True):
                if isinstance(example, Example):
                    rendered[place] = _features(pipeline, rows_of.split, example)
        return _to_columns([features for features in rendered if features])


def _stateless() -> tf.data.Options:
    # The Python function keeps nothing between calls that shapes its output, so an iterator over
    # the dataset may be checkpointed without it.
    options = tf.data.Options()
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    return options


def _features(pipeline: VariantPipeline, split: str, example: Example) -> dict:
    return {
        **vars(example),
        "collection": pipeline.dataset.collection,
        "dataset": pipeline.dataset.name,
        "variant": pipeline.variant.name,
        "split": split,
    }


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
