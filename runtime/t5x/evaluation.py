"""Two evaluations of a model: with teacher forcing, and by what it generates, through seqio."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import seqio
import tensorflow as tf
from etils import epath
from jax.sharding import NamedSharding, PartitionSpec

from t5x import data, length_buckets, progress
from t5x.errors import T5XError
from t5x.partitioning import PjitPartitioner
from t5x.speed import Speed
from t5x.trainer import Trainer
from t5x.utils import DatasetConfig

Metrics = dict[str, dict[str, float]]


class TeacherForcedEvaluator:
    """Loss and accuracy per task of a mixture, every token weighing the same.

    Each task is read once, at most `eval_steps` batches of it; for a mixture of several tasks the
    mixture's own name stands for all their tokens together.

    Args:
        config: the evaluation dataset.
        trainer: takes the evaluation steps.
        partitioner: places batches.
        eval_steps: the greatest number of batches per task.
        converter_cls: the model's feature converter.

    Raises:
        T5XError: see `data.find_provider`; or the mesh doesn't divide the batch.
    """

    def __init__(
        self,
        config: DatasetConfig,
        trainer: Trainer,
        partitioner: PjitPartitioner,
        eval_steps: int,
        converter_cls: data.ConverterClass = None,
    ) -> None:
        partitioner.check_batch_size(config.batch_size)
        self._config = config
        self._trainer = trainer
        self._sharding = partitioner.batch_sharding
        self._eval_steps = eval_steps
        self._batches_of = data.EvaluationBatches(config, converter_cls)
        self._name = data.find_provider(config).name
        self._tasks = data.tasks_with_split(config)
        self._cache: dict[str, list[data.HostBatch]] = {}

    def evaluate(self, params: Any) -> Metrics:
        """Metrics by task name: `{"rte": {"loss": 1.5, "accuracy": 0.25, …}}`."""
        sums = {task.name: self._sum(task, params) for task in self._tasks}
        if len(self._tasks) > 1:
            sums[self._name] = jax.tree.map(lambda *parts: sum(parts), *sums.values())
        return {name: progress.averages(total) for name, total in sums.items()}

    def _sum(self, task: seqio.Task, params: Any) -> dict[str, float]:
        steps = [
            self._trainer.eval_step(
                params,
                data.to_devices(
                    data.local_rows(batch, self._sharding), self._sharding, self._config.batch_size
                ),
            )
            for batch in self._batches(task)
        ]
        if not steps:
            raise _no_example(task.name, self._config.split, "train_eval_dataset_cfg")
        values = jax.device_get(steps)
        return {name: float(np.sum([step[name] for step in values])) for name in values[0]}

    def _batches(self, task: seqio.Task) -> Any:
        if task.name in self._cache:
            return self._cache[task.name]
        batches = self._batches_of.of(task, self._eval_steps)
        if not self._config.use_memory_cache:
            return batches
        return self._cache.setdefault(task.name, list(batches))


class InferenceEvaluator:
    """Metrics that seqio's tasks define, on what the model predicts and how it scores targets.

    Args:
        config: the evaluation dataset, not packed.
        evaluator_cls: `seqio.Evaluator`, with its loggers and limits bound by gin.
        model: predicts and scores.
        partitioner: places parameters and batches.
        log_dir: loggers write below `log_dir/inference_eval`.

    Raises:
        T5XError: see `data.find_provider`; no task has metrics; or the mesh doesn't divide the
            batch.
    """

    def __init__(
        self,
        config: DatasetConfig,
        evaluator_cls: Callable[..., seqio.Evaluator],
        model: Any,
        partitioner: PjitPartitioner,
        log_dir: epath.PathLike,
    ) -> None:
        partitioner.check_batch_size(config.batch_size)
        data.check_not_packed(config, "infer_eval_dataset_cfg")
        provider = data.find_provider(config)
        self._evaluator = evaluator_cls(
            mixture_or_task_name=data.registered_name(provider),
            feature_converter=data.feature_converter(config, model.feature_converter_cls),
            eval_split=config.split,
            use_cached=config.use_cached,
            seed=config.seed,
            sequence_length=config.task_feature_lengths,
            use_memory_cache=config.use_memory_cache,
            log_dir=str(epath.Path(log_dir) / "inference_eval"),
        )
        if not self._evaluator.eval_tasks:
            raise T5XError(
                f"no task of '{provider.name}' has both metrics and a split '{config.split}'",
                where="infer_eval_dataset_cfg",
                remedy="Evaluate a task with metric_fns, or set it to None.",
            )
        self._check_not_empty(config)
        run = BatchRunner(partitioner, config.batch_size)
        self._functions = {
            "predict_fn": run.over(model.predict_batch, takes_rng=True),
            "predict_with_aux_fn": run.over(model.predict_batch_with_aux, takes_rng=True),
            "score_fn": run.over(model.score_batch),
        }
        self._speeds = {name: Speed() for name in self._functions}

    def evaluate(self, params: Any, step: int, request: Mapping[str, Any] | None = None) -> Metrics:
        """Metrics by task name, in process 0; an empty dict in the others. Loggers have run.

        Args:
            params: the model's.
            step: the step that they are of.
            request: JSON values that tell the parameters and the configuration from all others, for
                evaluators that can make use of that.
        """
        functions = {
            name: _ModelFunction(function, params, self._speeds[name], request)
            for name, function in self._functions.items()
        }
        future, _ = self._evaluator.evaluate(
            compute_metrics=jax.process_index() == 0, step=step, **functions
        )
        return future.result() or {}

    def close(self) -> None:
        """Waits for the evaluator's threads."""
        self._evaluator.close()

    def _check_not_empty(self, config: DatasetConfig) -> None:
        for name, dataset in self._evaluator.cached_task_datasets.items():
            if next(iter(dataset), None) is None:
                raise _no_example(name, config.split, "infer_eval_dataset_cfg")


class Evaluators:
    """The evaluations of a training run, those that it has.

    Args:
        trainer: takes the steps of evaluation with teacher forcing.
        model: what is trained.
        partitioner: the mesh.
    """

    def __init__(self, trainer: Trainer, model: Any, partitioner: PjitPartitioner) -> None:
        self._trainer = trainer
        self._model = model
        self._partitioner = partitioner
        self._teacher_forced: TeacherForcedEvaluator | None = None
        self._inference: InferenceEvaluator | None = None

    def add_teacher_forced(self, config: DatasetConfig | None, eval_steps: int) -> None:
        """Adds an evaluation with teacher forcing, if one is configured."""
        if config is not None:
            converter_cls = self._model.feature_converter_cls
            self._teacher_forced = TeacherForcedEvaluator(
                config, self._trainer, self._partitioner, eval_steps, converter_cls
            )

    def add_inference(
        self,
        config: DatasetConfig | None,
        evaluator_cls: Callable[..., seqio.Evaluator],
        log_dir: epath.PathLike,
    ) -> None:
        """Adds an evaluation by inference, if one is configured."""
        if config is not None:
            self._inference = InferenceEvaluator(
                config, evaluator_cls, self._model, self._partitioner, log_dir
            )

    def __enter__(self) -> "Evaluators":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._inference:
            self._inference.close()

    def run(self, params: Any, step: int) -> Metrics:
        """Metrics by the kind of evaluation and the task: `{"training_eval/rte": {…}}`."""
        results = {}
        if self._teacher_forced:
            results["training_eval"] = self._teacher_forced.evaluate(params)
        if self._inference:
            results["inference_eval"] = self._inference.evaluate(params, step)
        return {
            f"{kind}/{task}": metrics
            for kind, metrics_by_task in results.items()
            for task, metrics in metrics_by_task.items()
        }


class _ModelFunction:
    """What seqio's evaluator calls on a dataset, and may ask for more than the outputs."""

    def __init__(
        self,
        function: Callable[..., Any],
        params: Any,
        speed: Speed,
        request: Mapping[str, Any] | None,
    ) -> None:
        self._function = function
        self._params = params
        self._speed = speed
        self.request = request

    def __call__(self, dataset: Any) -> Any:
        self._speed.restart()
        return _for_seqio(self._function(self._params, dataset, speed=self._speed))

    def measured(self) -> dict[str, Any] | None:
        """How fast the latest call was; see `Speed.result`."""
        return self._speed.result()


# What a function of a batch gave, row by row of the dataset: `[rows, ...]` leaves.
Outputs = Any


class BatchRunner:
    """Runs functions of the model over datasets of any length, in batches of few shapes.

    Rows of about the same input length share a batch; see `length_buckets`.

    Args:
        partitioner: places parameters and batches.
        batch_size: rows of a global batch.
    """

    def __init__(self, partitioner: PjitPartitioner, batch_size: int) -> None:
        partitioner.check_batch_size(batch_size)
        self._partitioner = partitioner
        self._batch_size = batch_size
        self._sharding = partitioner.batch_sharding
        self._replicated = NamedSharding(partitioner.mesh, PartitionSpec())

    def over(
        self, function: Callable[..., Any], *, takes_rng: bool = False
    ) -> Callable[[Any, Any], tuple[np.ndarray, Outputs]]:
        """A function of parameters and a dataset of (index, example) pairs.

        Args:
            function: takes parameters, a batch and, if `takes_rng`, a key.
            takes_rng: see above.

        Returns:
            A function that gives the indices `[rows]` and the outputs `[rows, ...]`, in the
            dataset's order. Its dataset is a `tf.data.Dataset`, or an iterable of batches of pairs.
            Its `rng`, folded with the number of the batch, makes the batch's key; its `speed` times
            the batches.
        """

        def with_rng(params: Any, batch: Any, rng: jax.Array) -> Any:
            return function(params, batch, rng) if takes_rng else function(params, batch)

        jitted = jax.jit(with_rng, out_shardings=self._replicated)

        def run(
            params: Any, dataset: Any, rng: jax.Array | None = None, speed: Speed | None = None
        ) -> tuple[np.ndarray, Outputs]:
            speed = speed or Speed()
            rng = jax.random.key(0) if rng is None else rng
            if isinstance(dataset, tf.data.Dataset):
                dataset = dataset.batch(self._batch_size).as_numpy_iterator()
            places, indices, outputs = [], [], []
            batches = length_buckets.by_length(dataset, self._batch_size)
            for number, (place, index, batch) in enumerate(batches):
                rows = len(index)
                with self._partitioner.scope(), speed.batch(batch, rows) as timed:
                    output = jitted(params, self._place(batch), jax.random.fold_in(rng, number))
                    timed.append(jax.tree.map(lambda x, n=rows: np.asarray(x)[:n], output))
                places.append(place)
                indices.append(index)
                outputs += timed
            if not indices:
                return np.zeros(0, np.int64), []
            order = np.argsort(np.concatenate(places))
            in_order = jax.tree.map(lambda *x: np.concatenate(x)[order], *outputs)
            return np.concatenate(indices)[order], in_order

        return run

    def _place(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        whole = data.filled_up(batch, self._batch_size)
        rows = data.local_rows(whole, self._sharding)
        return data.to_devices(rows, self._sharding, self._batch_size)


def _for_seqio(result: tuple[np.ndarray, Outputs]) -> Any:
    """`[(index, output), …]`, and the auxiliary outputs beside it where there are any."""
    indices, outputs = result
    if isinstance(outputs, tuple):
        outputs, auxiliary = outputs
        pairs = list(zip(indices.tolist(), outputs.tolist(), strict=True))
        return pairs, jax.tree.map(lambda x: x.tolist(), auxiliary)
    return list(zip(indices.tolist(), outputs.tolist(), strict=True))


def _no_example(task_name: str, split: str, where: str) -> T5XError:
    return T5XError(
        f"task '{task_name}' has no example in split '{split}'",
        where=where,
        remedy="Evaluate on a split that has examples, or set it to None.",
    )
