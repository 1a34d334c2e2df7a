"""The streams of prompts that tools/bench_data.py draws from: ours, by hand, and the floors."""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import bench_data_peers
import numpy as np
import seqio
import tensorflow as tf
from bench_data_corpus import Corpus

from flan_tasks import converters, fewshot, mixtures, packed, packing, tasks, vocabulary
from flan_tasks.prompts import Example, Lengths, PromptStream
from flan_tasks.spec import Dataset, Variant
from flan_tasks.variants import VariantPipeline

# Long enough for every prompt with four exemplars.
LENGTHS = {"inputs": 2048, "targets": 512}
# Positions rendered, or texts tokenized, in one call of a floor.
_FLOOR_BATCH = 512
# Examples and rows that are drawn at once from a dataset of TensorFlow's.
_EXAMPLE_BATCH, _ROW_BATCH = 256, 16
# Windows of examples whose packing is compared.
_NUM_WINDOWS = 4
_MIXTURE = "bench"


class Prompts(NamedTuple):
    """What is asked of a row: in which settings, and with how many exemplars, where few-shot."""

    settings: tuple[str, ...]
    num_exemplars: tuple[int, int] = fewshot.NUM_EXEMPLARS


PROMPTS: Mapping[str, Prompts] = {
    "zero-shot": Prompts(("zs_opt",)),
    "4-shot": Prompts(("fs_opt",), (4, 4)),
    "few-shot": Prompts(("fs_opt",)),
    "mixed": Prompts(("zs_opt", "fs_opt")),
}


class Batch(NamedTuple):
    """What a stream gave at once: how many examples, and how many tokens they hold."""

    num_examples: int
    num_tokens: int


class Stopwatch:
    """Seconds since it was made: by the clock on the wall, and of computing on all threads."""

    def __init__(self):
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def wall(self) -> float:
        """Seconds by the clock on the wall."""
        return time.perf_counter() - self._wall

    @property
    def cpu(self) -> float:
        """Seconds of computing."""
        return time.process_time() - self._cpu


def timed(batches: Iterator[Batch], seconds: float) -> dict[str, Any]:
    """The rate of a stream, drawn from for so many seconds of computing after as many to warm up.

    Nothing may have been done for the stream before its first batch is asked for.
    """
    start = Stopwatch()
    next(batches)
    found: dict[str, Any] = {"first_wall_seconds": start.wall, "first_cpu_seconds": start.cpu}
    cold = _drawn(batches, seconds)
    found["cold_examples_per_cpu_second"] = cold["num_examples"] / cold["cpu_seconds"]
    warm = _drawn(batches, seconds)
    found |= warm
    for counted in ("examples", "tokens"):
        for clock in ("wall", "cpu"):
            rate = warm[f"num_{counted}"] / warm[f"{clock}_seconds"]
            found[f"{counted}_per_{clock}_second"] = rate
    return found


def _drawn(batches: Iterator[Batch], seconds: float) -> dict[str, float]:
    num_examples = num_tokens = 0
    watch = Stopwatch()
    while watch.cpu < seconds or not num_examples:
        batch = next(batches)
        num_examples += batch.num_examples
        num_tokens += batch.num_tokens
    return {
        "num_examples": num_examples,
        "num_tokens": num_tokens,
        "wall_seconds": watch.wall,
        "cpu_seconds": watch.cpu,
    }


def tokenizer_alone(corpus: Corpus, *, prompts: str) -> Iterator[Batch]:
    """Ready texts, tokenized a batch at a time."""
    stream = _stream([corpus.dataset], prompts)
    ready = []
    for start in range(0, 8 * _FLOOR_BATCH, _FLOOR_BATCH):
        examples = _examples(stream, start, _FLOOR_BATCH)
        inputs = [example.inputs_pretokenized for example in examples]
        ready.append((inputs, [example.targets_pretokenized for example in examples]))

    def batches() -> Iterator[Batch]:
        encode = vocabulary.tokenizer().encode_batch
        for inputs, targets in itertools.cycle(ready):
            encoded = itertools.chain(encode(inputs), encode(targets))
            yield Batch(len(inputs), sum(map(len, encoded)))

    return batches()


def prompts_alone(corpus: Corpus, *, prompts: str) -> Iterator[Batch]:
    """Rows read, rendered and tokenized, and not handed to TensorFlow."""
    stream = _stream([corpus.dataset], prompts)
    for start in itertools.count(0, _FLOOR_BATCH):
        examples = _examples(stream, start, _FLOOR_BATCH)
        tokens = sum(len(example.inputs) + len(example.targets) for example in examples)
        yield Batch(len(examples), tokens)


def ours(corpus: Corpus, *, prompts: str, num_tasks: int | None = None) -> Iterator[Batch]:
    """Our mixture through seqio; of all problems, or of so many tasks of the small datasets."""
    _register_ours(_datasets(corpus, prompts, num_tasks), prompts)
    return _example_batches()


def by_hand(
    corpus: Corpus, *, prompts: str, num_tasks: int | None = None, count_tokens: bool = False
) -> Iterator[Batch]:
    """The same with tasks written by hand; see `bench_data_peers`."""
    datasets = _datasets(corpus, prompts, num_tasks)
    _register_by_hand(datasets, prompts, count_tokens=count_tokens)
    return _example_batches()


def packed_rows(
    corpus: Corpus, *, prompts: str, lengths: Mapping[str, int], tasks_by: str, packing_by: str
) -> Iterator[Batch]:
    """Rows for the model, as its feature converter makes them.

    Args:
      corpus: the problems.
      prompts: which of PROMPTS.
      lengths: of rows.
      tasks_by: "ours" or "hand".
      packing_by: "ours" or "seqio".
    """
    register = _register_ours if tasks_by == "ours" else _register_by_hand
    register([corpus.dataset], prompts)
    name = packed.register(_MIXTURE) if packing_by == "ours" else _MIXTURE
    return _row_batches(name, lengths)


def densities(corpus: Corpus, prompts: str, lengths: Mapping[str, int]) -> dict[str, Any]:
    """What is not padding when the same examples are packed by us, and by seqio.

    Of the examples, half have rationales for targets, and half short answers.
    """
    stream = _stream([corpus.dataset, corpus.short_answers], prompts, lengths)
    by_us, examples = [], []
    for window in range(_NUM_WINDOWS):
        found = _examples(stream, window * packed.WINDOW, packed.WINDOW)
        inputs, targets = [each.inputs for each in found], [each.targets for each in found]
        by_us.append(packing.pack(inputs, targets, lengths, key=window).columns)
        examples += [
            dict(zip(packing.SIDES, sides, strict=True))
            for sides in zip(inputs, targets, strict=True)
        ]
    by_seqio = list(_packed_by_seqio(examples, lengths).batch(_ROW_BATCH).as_numpy_iterator())
    return {"seqio": _density(by_seqio), "ours": _density(by_us)}


def _density(batches: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
    segments = {
        name: np.concatenate([batch[name] for batch in batches])
        for name in (f"{side}_segment_ids" for side in packing.SIDES)
    }
    num_rows = len(segments["inputs_segment_ids"])
    return {**packing.density(segments), "num_rows": num_rows}


def _packed_by_seqio(
    examples: Sequence[Mapping[str, list[int]]], lengths: Mapping[str, int]
) -> tf.data.Dataset:
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(examples),
        output_signature={side: tf.TensorSpec([None], tf.int32) for side in packing.SIDES},
    )
    return seqio.utils.trim_and_pack_dataset(dataset, lengths)


def _datasets(corpus: Corpus, prompts: str, num_tasks: int | None) -> list[Dataset]:
    if num_tasks is None:
        return [corpus.dataset]
    return corpus.small_datasets(num_tasks // len(PROMPTS[prompts].settings))


def _register_ours(datasets: Sequence[Dataset], prompts: str) -> None:
    settings, fewshot.NUM_EXEMPLARS = PROMPTS[prompts]
    tasks.register(datasets)
    rates = [(f"{dataset.name}_{setting}", 1.0) for dataset in datasets for setting in settings]
    seqio.MixtureRegistry.add(_MIXTURE, rates, mixture_cls=mixtures.PromptMixture)


def _register_by_hand(
    datasets: Sequence[Dataset], prompts: str, *, count_tokens: bool = False
) -> None:
    settings, num_exemplars = PROMPTS[prompts]
    model = seqio.SentencePieceVocabulary(vocabulary.settings().path)
    names = [
        bench_data_peers.register(
            f"by_hand_{dataset.name}_{setting}",
            dataset.source.files["train"],
            dataset.templates,
            model,
            num_exemplars if setting.startswith("fs") else None,
            count_tokens=count_tokens,
        )
        for dataset in datasets
        for setting in settings
    ]
    seqio.MixtureRegistry.add(_MIXTURE, [(name, 1.0) for name in names])


def _example_batches() -> Iterator[Batch]:
    for batch in _dataset(_MIXTURE, LENGTHS).padded_batch(_EXAMPLE_BATCH):
        sides = [batch[side].numpy() for side in packing.SIDES]
        yield Batch(len(sides[0]), sum(int(np.count_nonzero(side)) for side in sides))


def _row_batches(name: str, lengths: Mapping[str, int]) -> Iterator[Batch]:
    rows = converters.FeatureConverter(pack=True)(_dataset(name, lengths), lengths)
    for batch in rows.batch(_ROW_BATCH):
        segments = [batch[f"{coder}_segment_ids"].numpy() for coder in ("encoder", "decoder")]
        num_tokens = sum(int(np.count_nonzero(ids)) for ids in segments)
        yield Batch(int(segments[0].max(axis=1).sum()), num_tokens)


def _dataset(name: str, lengths: Mapping[str, int]) -> tf.data.Dataset:
    mixture = seqio.MixtureRegistry.get(name)
    return mixture.get_dataset(lengths, split="train", seed=0, num_epochs=None)


def _stream(
    datasets: Sequence[Dataset], prompts: str, lengths: Mapping[str, int] = LENGTHS
) -> PromptStream:
    settings, fewshot.NUM_EXEMPLARS = PROMPTS[prompts]
    pipelines = [
        VariantPipeline(dataset, Variant.of_setting(setting))
        for dataset in datasets
        for setting in settings
    ]
    return PromptStream(
        pipelines,
        rates=[1.0] * len(pipelines),
        split="train",
        shuffle=True,
        seed=0,
        lengths=Lengths.of(lengths),
        num_epochs=None,
        prepare_missing=False,
    )


def _examples(stream: PromptStream, start: int, count: int) -> list[Example]:
    examples = stream.examples(np.arange(start, start + count))
    return [example for example in examples if example]
