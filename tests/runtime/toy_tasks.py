"""Tiny seqio tasks for the tests: words to copy, in memory, in bytes."""

import copy
import functools
import itertools
import os
import signal
import time

import numpy as np
import seqio
import tensorflow as tf

VOCABULARY = seqio.ByteVocabulary()
FEATURES = {name: seqio.Feature(VOCABULARY) for name in ("inputs", "targets")}
LENGTHS = {"inputs": 16, "targets": 16}
NUM_TRAIN, NUM_VALIDATION = 50, 10


def _words(count: int, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    return ["".join(generator.choice(list("abcd"), generator.integers(1, 6))) for _ in range(count)]


def _copying(split: str, shuffle_files: bool = False, seed: int | None = None) -> tf.data.Dataset:
    del shuffle_files, seed
    words = {"train": _words(NUM_TRAIN, 0), "validation": _words(NUM_VALIDATION, 1)}[split]
    return tf.data.Dataset.from_tensor_slices({"inputs": words, "targets": words})


def _nothing(split: str, shuffle_files: bool = False, seed: int | None = None) -> tf.data.Dataset:
    return _copying(split).take(0)


def _failing(split: str, shuffle_files: bool = False, seed: int | None = None) -> tf.data.Dataset:
    def fail(word: bytes) -> bytes:
        raise RuntimeError("a bug in the pipeline")

    def map_example(example: dict) -> dict:
        word = tf.ensure_shape(tf.numpy_function(fail, [example["inputs"]], tf.string), [])
        return {"inputs": word, "targets": word}

    return _copying(split).map(map_example)


def accuracy(targets: list[str], predictions: list[str]) -> dict[str, float]:
    """Share of exact matches."""
    return {"accuracy": float(np.mean([t == p for t, p in zip(targets, predictions, strict=True)]))}


def mean_score(targets: list[str], scores: list[float]) -> dict[str, float]:
    return {"mean_score": float(np.mean(scores))}


def _row_at(position: int, seed: int, lengths: dict) -> dict | None:
    """The word at a position, if there is one: a third are missing."""
    del lengths
    draw = np.random.default_rng([seed, position])
    tokens = np.array([*draw.integers(100, 104, draw.integers(1, 6)), 1], np.int32)
    return {"inputs": tokens, "targets": tokens} if draw.random() > 1 / 3 else None


def _packed_row_at(position: int, seed: int, lengths: dict) -> dict | None:
    """Row r of window w at position 4 w + r: the window's words in pairs, while there are any."""
    window, row = divmod(position, 4)
    words = [_row_at(4 * window + i, seed, lengths) for i in range(4)]
    return _packed([word["inputs"] for word in words if word][2 * row : 2 * row + 2], lengths)


def _full_row_at(position: int, seed: int, lengths: dict) -> dict | None:
    """Two words or three, at every position.

    The process that comes to the position that TOY_KILL_AT_ROW names kills itself, as soon as there
    is the file that TOY_KILL_AFTER names.
    """
    if os.environ.get("TOY_KILL_AT_ROW") == str(position):
        while not os.path.exists(os.environ["TOY_KILL_AFTER"]):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGKILL)
    draw = np.random.default_rng([seed, position])
    words = [draw.integers(100, 104, draw.integers(1, 6)) for _ in range(draw.integers(2, 4))]
    return _packed(words, lengths)


def _packed(words: list[np.ndarray], lengths: dict) -> dict | None:
    if not words:
        return None
    columns = {
        "": np.concatenate(words),
        "_segment_ids": np.repeat(1 + np.arange(len(words)), [len(word) for word in words]),
        "_positions": np.concatenate([np.arange(len(word)) for word in words]),
    }
    return {
        f"{feature}{suffix}": np.pad(column, (0, lengths[feature] - len(column)))
        for feature in FEATURES
        for suffix, column in columns.items()
    }


class PositionedMixture(seqio.Mixture):
    """Words, or rows of them, as a function of seed and position; it starts at any position."""

    row_at = staticmethod(_row_at)
    suffixes = ("",)
    start = None

    def shape(self, length: int) -> list[int | None]:
        return [None]

    def starting_at(self, position: int) -> "PositionedMixture":
        later = copy.copy(self)
        later.start = position
        return later

    def get_dataset(
        self,
        sequence_length=None,
        split="train",
        use_cached=False,
        shuffle=True,
        seed=None,
        shard_info=None,
        num_epochs=None,
        trim_output_features=True,
    ):
        shard = shard_info or seqio.ShardInfo(0, 1)
        names = [f"{feature}{suffix}" for feature in FEATURES for suffix in self.suffixes]

        def render(position):
            row = self.row_at(int(position), seed, sequence_length)
            columns = [row[name] for name in names] if row else [[0]] * len(names)
            return [position if row else -1, *(np.array(column, np.int32) for column in columns)]

        def as_row(position, *columns):
            row = {
                name: tf.ensure_shape(x, self.shape(sequence_length[name.split("_")[0]]))
                for name, x in zip(names, columns, strict=True)
            }
            if self.start is not None:
                row["resume_at"] = position - shard.index + shard.num_shards
            return row

        types = [tf.int64] + [tf.int32] * len(names)
        first = (self.start or 0) + shard.index
        positions = tf.data.Dataset.range(first, 1 << 40, shard.num_shards)
        rendered = positions.map(lambda at: tuple(tf.numpy_function(render, [at], types)))
        found = rendered.map(lambda at, *x: (tf.ensure_shape(at, []), *x))
        return found.filter(lambda at, *_: at >= 0).map(as_row)


class PackedMixture(PositionedMixture):
    """Rows of two words each, packed already."""

    row_at = staticmethod(_packed_row_at)
    suffixes = ("", "_segment_ids", "_positions")

    def shape(self, length: int) -> list[int | None]:
        return [length]

    def provenance(self, position, count, *, sequence_length, seed, shard_info, **_):
        """Of each row where it stands, once for each of its words."""
        rows = []
        for at in itertools.count(position + shard_info.index, shard_info.num_shards):
            row = self.row_at(at, seed, sequence_length)
            rows += [[{"at": at}] * int(row["inputs_segment_ids"].max())] if row else []
            if len(rows) == count:
                return rows


class FullMixture(PackedMixture):
    """Packed rows of which none is missing: however many processes read, batches are the same."""

    row_at = staticmethod(_full_row_at)


class PackedRowsConverter(seqio.EncDecFeatureConverter):
    """Takes rows as they come where they come packed, and is seqio's converter elsewhere."""

    def __init__(self, pack=True, use_custom_packing_ops=False, passthrough_features=None):
        super().__init__(pack=pack, use_custom_packing_ops=use_custom_packing_ops)
        self._passthrough_features = passthrough_features or {}

    def _pack_or_pad(self, ds, packed_lengths):
        if "inputs_segment_ids" in ds.element_spec:
            return ds
        return super()._pack_or_pad(ds, packed_lengths)


@functools.cache
def register() -> None:
    """Registers the tasks below, and mixtures of the first two: usual, positioned and packed."""
    functions = {
        "toy_copy": _copying,
        "toy_copy_2": _copying,
        "toy_empty": _nothing,
        "toy_failing": _failing,
    }
    for name, function in functions.items():
        seqio.TaskRegistry.add(
            name,
            source=seqio.FunctionDataSource(function, splits=("train", "validation")),
            preprocessors=[
                functools.partial(seqio.preprocessors.rekey, key_map={k: k for k in FEATURES}),
                seqio.preprocessors.tokenize,
                seqio.preprocessors.append_eos,
            ],
            output_features=FEATURES,
            metric_fns=[accuracy, mean_score],
        )
    mixtures = {
        "toy_both": seqio.Mixture,
        "toy_positioned": PositionedMixture,
        "toy_packed": PackedMixture,
        "toy_full": FullMixture,
    }
    for name, mixture_cls in mixtures.items():
        tasks = [("toy_copy", 1), ("toy_copy_2", 2)]
        seqio.MixtureRegistry.add(name, tasks, mixture_cls=mixture_cls)


register()
