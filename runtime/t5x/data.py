"""Where seqio's datasets become batches on the mesh: what training, evaluation and inference share.

Every process reads only the rows that its devices need.
"""

import collections
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
import seqio
import tensorflow as tf
from jax.sharding import NamedSharding

from t5x.errors import T5XError
from t5x.utils import DatasetConfig, import_module

Provider: TypeAlias = seqio.Task | seqio.Mixture
HostBatch = dict[str, np.ndarray]
_Rows = tuple[int, int]  # from, to
# See `models.EncoderDecoderModel`; None is `seqio.EncDecFeatureConverter`.
ConverterClass: TypeAlias = Callable[..., seqio.FeatureConverter] | None

_PACKING_SUFFIXES = ("_segment_ids", "_positions")
_NAMES_SUGGESTED = 3
_THREADS = 2


def hide_accelerators_from_tensorflow() -> None:
    """Keeps TensorFlow, which only feeds data, from claiming the accelerators' memory."""
    tf.config.set_visible_devices([], "GPU")


def find_provider(config: DatasetConfig) -> Provider:
    """The Task or Mixture of a configuration, after importing its module.

    Raises:
        T5XError: no such name (near ones are suggested), or none of its tasks has the split.
    """
    if config.module:
        import_module(config.module)
    provider = config.mixture_or_task_name
    if isinstance(provider, str):
        provider = _registered(provider)
    splits = {split for task in seqio.get_subtasks(provider) for split in task.splits}
    base_split = config.split.split("[")[0]
    if splits and base_split not in splits:
        raise T5XError(
            f"'{provider.name}' has no split '{config.split}'",
            where="DatasetConfig.split",
            remedy=f"It has: {', '.join(sorted(splits))}.",
        )
    return provider


def tasks_with_split(config: DatasetConfig) -> list[seqio.Task]:
    """The tasks of a mixture (or the task itself) that have the configured split."""
    tasks = seqio.get_subtasks(find_provider(config))
    base_split = config.split.split("[")[0]
    return [task for task in tasks if not task.splits or base_split in task.splits]


def registered_name(provider: Provider) -> str:
    """The name under which seqio finds this very object; it is registered if it wasn't yet."""
    registry = seqio.MixtureRegistry if isinstance(provider, seqio.Mixture) else seqio.TaskRegistry
    if provider.name not in registry.names():
        registry.add_provider(provider.name, provider)
    if registry.get(provider.name) is not provider:
        raise T5XError(
            f"another task or mixture is registered as '{provider.name}'",
            where="DatasetConfig.mixture_or_task_name",
            remedy="Give the object another name, or configure the registered one by its name.",
        )
    return provider.name


def check_vocabularies(config: DatasetConfig, model: Any) -> None:
    """Raises T5XError if a task was tokenized with another vocabulary than the model's."""
    pairs = {"inputs": model.input_vocabulary, "targets": model.output_vocabulary}
    for task in seqio.get_subtasks(find_provider(config)):
        for name, expected in pairs.items():
            feature = task.output_features.get(name)
            if feature is not None and feature.vocabulary != expected:
                raise T5XError(
                    f"the {name} of task '{task.name}' use the vocabulary {feature.vocabulary}, "
                    f"the model {expected}",
                    where="DatasetConfig.mixture_or_task_name",
                    remedy="Configure both with the same vocabulary.",
                )


def check_not_packed(config: DatasetConfig, where: str) -> None:
    """Raises T5XError if a dataset for inference is packed; `where` names its argument."""
    if config.pack:
        raise T5XError(
            "inference needs one example per row",
            where=where,
            remedy="Set its DatasetConfig.pack = False.",
        )


def lengths(config: DatasetConfig) -> Mapping[str, int]:
    """Tokens per feature.

    Raises:
        T5XError: none are configured.
    """
    if config.task_feature_lengths is None:
        raise T5XError(
            "it is None",
            where="DatasetConfig.task_feature_lengths",
            remedy="Give a length for every feature, such as {'inputs': 512, 'targets': 128}; only "
            "inference evaluation can do without.",
        )
    return config.task_feature_lengths


def feature_converter(
    config: DatasetConfig, converter_cls: ConverterClass, **options: Any
) -> seqio.FeatureConverter:
    """The model's converter, packing if configured; `options` are further arguments for it."""
    return (converter_cls or seqio.EncDecFeatureConverter)(
        pack=config.pack, use_custom_packing_ops=config.use_custom_packing_ops, **options
    )


def come_packed(rows: tf.data.Dataset) -> bool:
    """Whether each row holds several examples already, told apart by segment ids."""
    return any(name.endswith("_segment_ids") for name in rows.element_spec)


def converted(
    rows: tf.data.Dataset,
    config: DatasetConfig,
    converter_cls: ConverterClass,
    kept: Sequence[str] = (),
) -> tf.data.Dataset:
    """A task's rows as the model's features, packed if configured.

    Args:
        rows: `inputs` and `targets` int32 [length], and perhaps the segment ids and positions of
            rows that come packed.
        config: says whether to pack, and how long features get.
        converter_cls: the model's.
        kept: names of further features, int64 [1], that pass through as they are. seqio lets none
            through where it packs.

    Raises:
        T5XError: rows come packed, and the converter would take each for a single example.
    """
    if come_packed(rows) and _takes_single_examples(config, converter_cls):
        raise _examples_would_merge(config)
    spec = seqio.FeatureConverter.FeatureSpec(dtype=tf.int64)
    options = {"passthrough_features": dict.fromkeys(kept, spec)} if kept else {}
    converter = feature_converter(config, converter_cls, **options)
    features = converter(rows, {**lengths(config), **dict.fromkeys(kept, 1)})
    if come_packed(rows) and "encoder_segment_ids" not in features.element_spec:
        raise _examples_would_merge(config)
    return features


class EvaluationBatches:
    """Batches of one pass over a task, `[batch_size, length]` all; the last one is filled up.

    Rows that fill up repeat the first row with `decoder_loss_weights` 0, so they count for nothing.

    Args:
        config: the evaluation dataset.
        converter_cls: the model's.
    """

    def __init__(self, config: DatasetConfig, converter_cls: ConverterClass = None) -> None:
        self._config = config
        self._converter_cls = converter_cls
        self._conversions: dict[tuple, _Conversion] = {}

    def of(self, task: seqio.Task, max_batches: int | None = None) -> Iterator[HostBatch]:
        """Those of a task, the first `max_batches` of them."""
        rows = self._rows(task)
        kind = tuple(sorted(rows.element_spec.items()))
        if kind not in self._conversions:
            self._conversions[kind] = _Conversion(rows, self._config, self._converter_cls)
        for batch in self._conversions[kind].batches(rows, max_batches):
            count = len(batch["decoder_target_tokens"])
            batch = filled_up(batch, self._config.batch_size)
            batch["decoder_loss_weights"][count:] = 0
            yield batch

    def _rows(self, task: seqio.Task) -> tf.data.Dataset:
        config = self._config
        dataset = task.get_dataset(
            sequence_length=lengths(config),
            split=config.split,
            shuffle=config.shuffle,
            num_epochs=1,
            use_cached=config.use_cached,
            seed=config.seed,
            trim_output_features=config.trim_output_features,
        )
        # Packing would warn of every further feature that the task gives for its metrics.
        names = {name + end for name in task.output_features for end in ("", *_PACKING_SUFFIXES)}
        return dataset.map(lambda example: {n: x for n, x in example.items() if n in names})


class _Conversion:
    """From rows of one kind to batches: traced once, which takes longer than to run it often."""

    def __init__(
        self, rows: tf.data.Dataset, config: DatasetConfig, converter_cls: ConverterClass
    ) -> None:
        self._rows = rows
        current = tf.data.Dataset.from_generator(
            lambda: self._rows.as_numpy_iterator(), output_signature=rows.element_spec
        )
        self._batches = converted(current, config, converter_cls).batch(config.batch_size)

    def batches(self, rows: tf.data.Dataset, max_batches: int | None) -> Iterator[HostBatch]:
        """Those of other rows of that kind; one pass at a time."""
        options = tf.data.Options()
        # The thread that waits for a row is one of TensorFlow's own, of which there may be few.
        options.threading.private_threadpool_size = _THREADS
        self._rows = rows.with_options(options)
        return self._batches.take(-1 if max_batches is None else max_batches).as_numpy_iterator()


def filled_up(batch: Mapping[str, np.ndarray], rows: int) -> HostBatch:
    """The batch `[n, ...]` with its first row repeated at the end, up to `[rows, ...]`."""

    def fill(feature: np.ndarray) -> np.ndarray:
        filler = np.repeat(feature[:1], rows - len(feature), axis=0)
        return np.concatenate([feature, filler])

    return {name: fill(feature) for name, feature in batch.items()}


def to_devices(
    batch: Mapping[str, np.ndarray], sharding: NamedSharding, batch_size: int
) -> dict[str, jax.Array]:
    """Global arrays `[batch_size, ...]` out of the rows that this process has read."""
    return {
        name: jax.make_array_from_process_local_data(
            sharding, feature, (batch_size, *feature.shape[1:])
        )
        for name, feature in batch.items()
    }


def process_shard(sharding: NamedSharding, batch_size: int) -> tuple[int, int]:
    """(index, count): which part of a global batch's rows the devices of this process hold.

    A part's rows need not be neighbours: on a TPU slice they follow the torus. Processes that share
    an array's rows, as with a model axis that spans them, have the same index.

    Raises:
        T5XError: the mesh gives some processes other numbers of rows than others, or rows of which
            others hold a part only.
    """
    rows_of: dict[int, set[_Rows]] = collections.defaultdict(set)
    for process, rows in _placement(sharding, batch_size):
        rows_of[process].add(rows)
    parts = sorted({tuple(sorted(rows)) for rows in rows_of.values()})
    sizes = {len(part) for part in parts}
    distinct = {rows for part in parts for rows in part}
    if len(sizes) > 1 or len(distinct) != sum(map(len, parts)):
        raise T5XError(
            "its rows cannot be dealt out to the processes evenly: their devices hold "
            + ", ".join(f"{len(rows_of[p])} (process {p})" for p in sorted(rows_of))
            + f" of its {len(distinct)} parts, and some a part of what others hold",
            where=f"a batch of {batch_size} on the mesh {dict(sharding.mesh.shape)}",
            remedy="Give every process as many devices, and choose PjitPartitioner.num_partitions "
            "so that it divides the devices of a process, or the other way round.",
        )
    return parts.index(tuple(sorted(rows_of[jax.process_index()]))), len(parts)


def local_rows(batch: HostBatch, sharding: NamedSharding) -> HostBatch:
    """The part of a global batch, read whole by every process, that this process passes on."""
    total = len(next(iter(batch.values())))
    placement = _placement(sharding, total)
    mine = sorted({rows for process, rows in placement if process == jax.process_index()})
    return {
        name: np.concatenate([feature[start:stop] for start, stop in mine])
        for name, feature in batch.items()
    }


def _placement(sharding: NamedSharding, batch_size: int) -> Iterator[tuple[int, _Rows]]:
    """The process of each device, and the rows of a batch that it holds."""
    indices: Mapping[Any, Any] = sharding.devices_indices_map((batch_size,))
    for device, (rows,) in indices.items():
        yield device.process_index, rows.indices(batch_size)[:2]


def _registered(name: str) -> Provider:
    mixtures, tasks = seqio.MixtureRegistry.names(), seqio.TaskRegistry.names()
    if name in mixtures or name in tasks:
        return seqio.get_mixture_or_task(name)
    near = difflib.get_close_matches(name, [*mixtures, *tasks], _NAMES_SUGGESTED)
    raise T5XError(
        f"no task or mixture is registered as '{name}'",
        where="DatasetConfig.mixture_or_task_name",
        remedy=f"Did you mean {' or '.join(near)}?"
        if near
        else "Import the module that registers it, in a gin file or by DatasetConfig.module.",
    )


def _takes_single_examples(config: DatasetConfig, converter_cls: ConverterClass) -> bool:
    return type(feature_converter(config, converter_cls)) is seqio.EncDecFeatureConverter


def _examples_would_merge(config: DatasetConfig) -> T5XError:
    name = getattr(config.mixture_or_task_name, "name", config.mixture_or_task_name)
    return T5XError(
        f"the rows of '{name}' come packed, and would be taken for single examples",
        where="models.EncoderDecoderModel.feature_converter_cls",
        remedy="Bind a feature converter for packed rows, and set DatasetConfig.pack = True; to "
        "infer, name the mixture that was packed instead.",
    )
