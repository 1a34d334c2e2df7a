r"""Trains a model, evaluates it, and saves checkpoints.

python -m t5x.train --gin_file=t5x/examples/t5/t5_1_1/small.gin \
    --gin_file=t5x/configs/runs/finetune.gin --gin.MODEL_DIR="'/tmp/model'" …

A run that was interrupted goes on from the newest checkpoint in MODEL_DIR, and arrives at the same
parameters as a run that wasn't. `train` has T5X's arguments:

model: such as `models.EncoderDecoderModel`.
train_dataset_cfg: what to train on.
train_eval_dataset_cfg: what to evaluate on with teacher forcing, or None.
infer_eval_dataset_cfg: what to evaluate on by inference, or None.
checkpoint_cfg: what to save, and where to start when `model_dir` has no checkpoint.
partitioner: the mesh.
trainer_cls: makes the trainer; gin binds its schedule and microbatches.
model_dir: for checkpoints, metrics and the configuration.
total_steps: the step to stop at; the steps of an initial checkpoint count.
eval_steps: the greatest number of batches per task with teacher forcing.
eval_period: steps between evaluations; 0 evaluates at the start and the end only.
relative_steps: steps to take after those of the initial checkpoint, in place of `total_steps`.
stats_period: steps between reports of training metrics; None means 100, or `eval_period` if less.
random_seed: for initialization and dropout. None means 0, so that any run can be repeated.
use_hardware_rng: draw with XLA's generator, which is faster, and whose numbers differ from one kind
    of device and mesh to another.
summarize_config_fn: keeps the configuration for the record.
inference_evaluator_cls: `seqio.Evaluator`, with its loggers bound by gin.
run_eval_before_training: whether to evaluate before the first step of a new run too, so that there
    is something to compare with.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import seqio

from t5x import checkpoints, data, gin_utils, manifest, progress
from t5x.errors import T5XError
from t5x.evaluation import InferenceEvaluator, TeacherForcedEvaluator
from t5x.partitioning import PjitPartitioner
from t5x.trainer import Trainer, TrainState
from t5x.training_data import TrainingData
from t5x.utils import CheckpointConfig, DatasetConfig, RestoreCheckpointConfig

_DEFAULT_STATS_PERIOD = 100


def train(
    *,
    model: Any,
    train_dataset_cfg: DatasetConfig,
    train_eval_dataset_cfg: DatasetConfig | None,
    infer_eval_dataset_cfg: DatasetConfig | None,
    checkpoint_cfg: CheckpointConfig,
    partitioner: PjitPartitioner,
    trainer_cls: Callable[..., Trainer],
    model_dir: str,
    total_steps: int,
    eval_steps: int,
    eval_period: int,
    relative_steps: int | None = None,
    stats_period: int | None = None,
    random_seed: int | None = None,
    use_hardware_rng: bool = False,
    summarize_config_fn: gin_utils.ConfigSummary = gin_utils.summarize_gin_config,
    inference_evaluator_cls: Callable[..., seqio.Evaluator] = seqio.Evaluator,
    run_eval_before_training: bool = True,
) -> tuple[int, TrainState]:
    """Trains; the module's docstring explains the arguments.

    Nothing is written before the datasets, the mesh and the checkpoint have proven to fit.

    Returns:
        The number of steps taken and the state after them.

    Raises:
        T5XError: a setting, a dataset or a checkpoint doesn't fit.
    """
    partitioner.check_batch_size(train_dataset_cfg.batch_size)
    key = jax.random.key(random_seed or 0, impl="rbg" if use_hardware_rng else None)
    with contextlib.ExitStack() as stack:
        converter_cls = model.feature_converter_cls
        batches = TrainingData(train_dataset_cfg, partitioner.batch_sharding, converter_cls)
        stack.callback(batches.close)
        data.check_vocabularies(train_dataset_cfg, model)
        trainer = trainer_cls(
            model=model, partitioner=partitioner, rng=key, input_shapes=batches.shapes
        )
        evaluators = _Evaluators()
        if train_eval_dataset_cfg:
            evaluators.teacher_forced = TeacherForcedEvaluator(
                train_eval_dataset_cfg, trainer, partitioner, eval_steps, converter_cls
            )
        if infer_eval_dataset_cfg:
            evaluators.inference = InferenceEvaluator(
                infer_eval_dataset_cfg, inference_evaluator_cls, model, partitioner, model_dir
            )
            stack.callback(evaluators.inference.close)
        start = _find_start(trainer, batches, checkpoint_cfg, model_dir)
        last_step = _last_step(start.step, total_steps, relative_steps, checkpoint_cfg.restore)
        manifest.keep(train_dataset_cfg, model_dir, is_new=start.is_new)
        log = progress.MetricsLog(model_dir, None if start.is_new else start.step)
        stack.callback(log.close)
        summarize_config_fn(model_dir, log.text_writer(), start.step)
        loop = _Loop(trainer, batches, evaluators, log, last_step, eval_period, stats_period)
        with _saving(checkpoint_cfg, model_dir) as save:
            return last_step, loop.run(start, save, run_eval_before_training)


@dataclasses.dataclass
class _Start:
    """Where a run begins; `is_new` unless it goes on from a checkpoint in its own directory."""

    state: TrainState
    step: int
    is_new: bool


def _find_start(
    trainer: Trainer, batches: TrainingData, config: CheckpointConfig, model_dir: str
) -> _Start:
    """The newest checkpoint in MODEL_DIR, or else the initial checkpoint, or else a fresh state."""
    own = checkpoints.steps(model_dir)
    if own:
        path = checkpoints.path_of(model_dir, own[-1])
        state = checkpoints.restore(path, trainer.abstract_state)
        if not checkpoints.restore_position(path, batches):
            print(f"{path} holds no data position: the training data starts from the beginning.")
        return _Start(state, own[-1], is_new=False)
    batches.check_not_empty()
    state = _initial_state(trainer, config.restore)
    return _Start(state, int(state.step), is_new=True)


def _initial_state(trainer: Trainer, config: RestoreCheckpointConfig | None) -> TrainState:
    if config is None or not config.path:
        return trainer.initial_state()
    state = checkpoints.restore(
        config.one_path(),
        trainer.abstract_state,
        optimizer=config.strict,
        dtype=config.dtype or "float32",
        scratch=trainer.initial_state if config.fallback_to_scratch else None,
    )
    return state if state.optimizer is not None else trainer.with_fresh_optimizer(state)


def _last_step(
    first_step: int,
    total_steps: int,
    relative_steps: int | None,
    restore: RestoreCheckpointConfig | None,
) -> int:
    if relative_steps is not None:
        initial = restore.one_path() if restore and restore.path else None
        initial_step = checkpoints.step_of(initial) if initial else 0
        total_steps = initial_step + relative_steps
    if total_steps < first_step:
        raise T5XError(
            f"{total_steps:,} steps in all are fewer than the {first_step:,} of the checkpoint "
            "to start from",
            where="train.total_steps",
            remedy="It counts the checkpoint's steps too: raise it, or use another MODEL_DIR.",
        )
    return total_steps


@contextlib.contextmanager
def _saving(config: CheckpointConfig, model_dir: str) -> Any:
    """Gives a function of (state, data, is_last) that saves when a checkpoint is due."""
    if config.save is None:
        yield lambda state, step, batches, is_last: None
        return
    settings = config.save
    writer = checkpoints.CheckpointWriter(model_dir, keep=settings.keep, dtype=settings.dtype)

    def save(state: TrainState, step: int, batches: TrainingData, is_last: bool) -> None:
        if is_last or settings.due(step):
            writer.save(step, state, batches if settings.save_dataset else None)

    try:
        yield save
    finally:
        writer.close()


@dataclasses.dataclass
class _Evaluators:
    teacher_forced: TeacherForcedEvaluator | None = None
    inference: InferenceEvaluator | None = None

    def run(self, state: TrainState, step: int, log: progress.MetricsLog) -> list[str]:
        """Evaluates, and returns a line per task to show."""
        results = {}
        if self.teacher_forced:
            results["training_eval"] = self.teacher_forced.evaluate(state.params)
        if self.inference:
            results["inference_eval"] = self.inference.evaluate(state.params, step)
        lines = []
        for kind, metrics_by_task in results.items():
            for task, metrics in metrics_by_task.items():
                log.write(step, f"{kind}/{task}", metrics)
                lines.append(f"  {kind} {task}: {progress.in_words(metrics)}")
        return lines


@dataclasses.dataclass
class _Loop:
    trainer: Trainer
    batches: TrainingData
    evaluators: _Evaluators
    log: progress.MetricsLog
    last_step: int
    eval_period: int
    stats_period: int | None

    def run(
        self, start: _Start, save: Callable[..., None], evaluate_before_training: bool
    ) -> TrainState:
        """From the start to the last step; gives the last state."""
        self._console = progress.Console(self.last_step)
        state = start.state
        if self._is_missing_evaluation(start, evaluate_before_training):
            self._evaluate(state, start.step)
        meter = progress.TrainMeter()
        for step in range(start.step + 1, self.last_step + 1):
            state, sums = self.trainer.train_step(state, next(self.batches))
            meter.add(sums)
            is_last = step == self.last_step
            self._console.tick(step)
            if is_last or step % self._stats_period == 0:
                self._report(step, meter.result())
            save(state, step, self.batches, is_last)
            if is_last or self._evaluates_at(step):
                self._evaluate(state, step)
                meter.restart_clock()
        return state

    @property
    def _stats_period(self) -> int:
        if self.stats_period:
            return self.stats_period
        return min(self.eval_period or _DEFAULT_STATS_PERIOD, _DEFAULT_STATS_PERIOD)

    def _evaluates_at(self, step: int) -> bool:
        return bool(self.eval_period) and step % self.eval_period == 0

    def _is_missing_evaluation(self, start: _Start, evaluate_before_training: bool) -> bool:
        """A run that was killed while it evaluated has a checkpoint, and no metrics to it."""
        if start.is_new:
            return evaluate_before_training
        due = self._evaluates_at(start.step) or start.step == self.last_step
        return due and not self.log.evaluated(start.step)

    def _report(self, step: int, metrics: dict[str, float]) -> None:
        self.log.write(step, "train", metrics)
        self._console.report(step, metrics)

    def _evaluate(self, state: TrainState, step: int) -> None:
        lines = self.evaluators.run(state, step, self.log)
        if lines:
            self._console.print("\n".join([f"Evaluation at step {step:,}", *lines]))


if __name__ == "__main__":
    gin_utils.run(train)
