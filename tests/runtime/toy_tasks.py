"""Tiny seqio tasks for the tests: words to copy, in memory, in bytes."""

import functools
import os
import signal

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


_evaluations = 0


def accuracy(targets: list[str], predictions: list[str]) -> dict[str, float]:
    """Share of exact matches. Kills its own process at the evaluation that TOY_KILL_AT numbers."""
    global _evaluations
    _evaluations += 1
    if os.environ.get("TOY_KILL_AT") == str(_evaluations):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"accuracy": float(np.mean([t == p for t, p in zip(targets, predictions, strict=True)]))}


def mean_score(targets: list[str], scores: list[float]) -> dict[str, float]:
    return {"mean_score": float(np.mean(scores))}


@functools.cache
def register() -> None:
    """Registers the tasks below and the mixture `toy_both` of the first two."""
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
    seqio.MixtureRegistry.add("toy_both", [("toy_copy", 1), ("toy_copy_2", 2)])


register()
