"""Streams of prompts as `tf.data.Dataset`s: the edge between our pipeline and TensorFlow's.

Whole batches are rendered in one call of Python and then taken apart; TensorFlow never handles a
prompt by itself. Only the features asked for are taken along, for each costs time per example.
"""

import copy
import itertools
from collections.abc import Callable, Collection, Sequence
from typing import Protocol, Self

import numpy as np
import seqio
import tensorflow as tf

from flan_tasks.prompts import Example

# Positions rendered at once: enough to hide the cost of a call, few enough to start at once.
_BATCH = 512
# Batches rendered while others are trained on.
_BATCHES_AHEAD = 2


class Stream(Protocol):
    """Examples by position: those of training, or of an evaluation."""

    num_positions: int | None

    def examples(self, positions: np.ndarray) -> Sequence[Example | None]:
        """The examples at int64 positions [n]; None for one that is left out."""
        ...


# Feature -> how it is read off an example.
_INTEGER_LISTS: dict[str, Callable[[Example], Sequence[int]]] = {
    "inputs": lambda example: example.inputs,
    "targets": lambda example: example.targets,
    "exemplars": lambda example: example.exemplars,
}
_TEXT_LISTS: dict[str, Callable[[Example], Sequence[str]]] = {
    "references": lambda example: example.references,
}
_TEXTS: dict[str, Callable[[Example], str]] = {
    "inputs_pretokenized": lambda example: example.inputs_pretokenized,
    "targets_pretokenized": lambda example: example.targets_pretokenized,
    "collection": lambda example: example.task.dataset.collection,
    "dataset": lambda example: example.task.dataset.name,
    "variant": lambda example: example.task.variant.name,
    "split": lambda example: example.split,
    "template": lambda example: example.template,
    "style": lambda example: example.style,
}
_INTEGERS: dict[str, Callable[[Example], int]] = {
    "row": lambda example: example.row,
    "index": lambda example: example.index,
    "group": lambda example: example.group,
}
FEATURES = (*_INTEGER_LISTS, *_TEXT_LISTS, *_TEXTS, *_INTEGERS)
# Where in the stream to go on after an example; given where a start is.
RESUME_AT = "resume_at"


def prompt_dataset(
    stream: Stream,
    features: Collection[str],
    *,
    shard_info: seqio.ShardInfo | None = None,
    start: int | None = None,
) -> tf.data.Dataset:
    """The examples of a stream, one by one.

    Args:
      stream: the stream.
      features: which of FEATURES.
      shard_info: which shard; the shards' union, taken in turn, is the unsharded dataset.
      start: the position that the first shard starts at; None: the beginning. Not None: every
        example has the feature `resume_at`, the start to go on at after it.
    """
    shard = shard_info or seqio.ShardInfo(index=0, num_shards=1)
    columns = _Columns([name for name in FEATURES if name in features], start is not None)

    def render(positions: np.ndarray) -> list[np.ndarray]:
        examples = stream.examples(positions)
        made = [example for example in examples if example]
        found = [position for position, example in zip(positions, examples, strict=True) if example]
        return columns.of(made, np.array(found, np.int64) - shard.index + shard.num_shards)

    first = (start or 0) + shard.index
    end = np.iinfo(np.int64).max if stream.num_positions is None else stream.num_positions
    positions = tf.data.Dataset.range(first, end, shard.num_shards).batch(_BATCH)
    return (
        positions.map(lambda at: columns.named(tf.numpy_function(render, [at], columns.types)))
        .prefetch(_BATCHES_AHEAD)
        .unbatch()
        # Running in the thread that asks, the cutting costs a third less than the handing over.
        .map(columns.without_padding, synchronous=True)
        .with_options(options_of_python_feed())
    )


class Resumable:
    """A provider of examples whose stream can be entered at any position.

    Attributes:
      start: the position; None: the beginning, and examples do not say where to go on.
    """

    start: int | None = None

    def starting_at(self, position: int) -> Self:
        """The same provider, entered at a position of its stream.

        Every example then has the feature `resume_at`: the position to start at, with the same
        arguments, to go on after it.
        """
        later = copy.copy(self)
        later.start = position
        return later


def options_of_python_feed() -> tf.data.Options:
    """Options for a dataset that whole batches made by a Python function are taken apart in."""
    options = tf.data.Options()
    # The function keeps nothing between calls that shapes its output, so an iterator over the
    # dataset may be checkpointed without it.
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    # Handing every single example from thread to thread would cost more than the work on it.
    options.experimental_optimization.map_parallelization = False
    options.experimental_optimization.inject_prefetch = False
    return options


class _Columns:
    """Examples as arrays, one or two for each feature: lists are padded and bring their lengths."""

    def __init__(self, features: Sequence[str], resumable: bool):
        self._features = features
        self._resumable = resumable
        self.types = [each for name in features for each in _types(name)]
        if resumable:
            self.types.append(tf.int64)

    def of(self, examples: Sequence[Example], resume_at: np.ndarray) -> list[np.ndarray]:
        """The columns of a batch."""
        columns = [column for name in self._features for column in _columns(name, examples)]
        return [*columns, resume_at] if self._resumable else columns

    def named(self, columns: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """The columns of a batch, under the names that `without_padding` expects."""
        column = iter(columns)
        batch = {}
        for name in self._features:
            if name in _INTEGER_LISTS or name in _TEXT_LISTS:
                batch[name] = tf.ensure_shape(next(column), [None, None])
                batch[f"{name}/length"] = tf.ensure_shape(next(column), [None, 1])
            else:
                batch[name] = tf.ensure_shape(next(column), [None])
        if self._resumable:
            batch[RESUME_AT] = tf.ensure_shape(next(column), [None])
        return batch

    def without_padding(self, example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One example, its lists cut to their lengths."""
        for name in self._features:
            if name in _INTEGER_LISTS or name in _TEXT_LISTS:
                length = example.pop(f"{name}/length")
                # What `[:length]` would do takes three more operations.
                example[name] = tf.slice(example[name], tf.zeros_like(length), length)
        return example


def _types(name: str) -> list[tf.DType]:
    if name in _INTEGER_LISTS:
        return [tf.int32, tf.int64]
    if name in _TEXT_LISTS:
        return [tf.string, tf.int64]
    return [tf.string if name in _TEXTS else tf.int64]


def _columns(name: str, examples: Sequence[Example]) -> list[np.ndarray]:
    if name in _INTEGERS:
        return [np.array([_INTEGERS[name](example) for example in examples], np.int64)]
    if name in _TEXTS:
        return [np.array([_TEXTS[name](example).encode() for example in examples], object)]
    if name in _INTEGER_LISTS:
        return _padded([_INTEGER_LISTS[name](example) for example in examples], np.int32, 0)
    texts = [[text.encode() for text in _TEXT_LISTS[name](example)] for example in examples]
    return _padded(texts, object, b"")


def _padded(lists: Sequence[Sequence], dtype: type, padding) -> list[np.ndarray]:
    """The lists as [number of lists, longest], and their lengths, int64 [number of lists, 1]."""
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    # TensorFlow 2.21 crashes on an array without elements from a NumPy function.
    width = lengths.max(initial=1)
    padded = np.full((len(lists), width), padding, dtype)
    flat = itertools.chain.from_iterable(lists)
    padded[np.arange(width) < lengths[:, None]] = np.fromiter(flat, dtype, int(lengths.sum()))
    return [padded, lengths[:, None]]
