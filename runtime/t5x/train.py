r"""Trains a model, evaluates it, and saves checkpoints.

python -m t5x.train --gin_file=t5x/examples/t5/t5_1_1/small.gin \
    --gin_file=t5x/configs/runs/finetune.gin --gin.MODEL_DIR="'/tmp/model'" …

A run that was interrupted goes on from the newest whole checkpoint in MODEL_DIR, and arrives at the
same parameters as a run that wasn't. SIGTERM makes it save, and end. `train` has T5X's arguments:

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
concurrent_metrics: whether training goes on before an evaluation's metrics are known; never, here.
actions: "TRAIN_EVAL" or "INFER_EVAL" -> what is done after such an evaluation, see `t5x.actions`.
run_eval_before_training: whether to evaluate before the first step of a new run too, so that there
    is something to compare with.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import seqio

from t5x import (
    checkpoints,
    compilation_cache,
    data,
    disk,
    following,
    gin_utils,
    manifest,
    progress,
)
from t5x.actions import Action, Actions
from t5x.errors import T5XError
from t5x.evaluation import Evaluators
from t5x.partitioning import PjitPartitioner
from t5x.preemption import Preempted, Preemption
from t5x.trainer import Trainer, TrainState
from t5x.training_data import TrainingData
from t5x.utils import (
    CheckpointConfig,
    DatasetConfig,
    RestoreCheckpointConfig,
    SaveCheckpointConfig,
)
from t5x.watch import Watch

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
    concurrent_metrics: bool = False,
    actions: Mapping[str, Sequence[Action]] | None = None,
    run_eval_before_training: bool = True,
) -> tuple[int, TrainState]:
    """Trains; the module's docstring explains the arguments.

    Nothing is written before the datasets, the mesh and the checkpoint have proven to fit.

    Returns:
        The number of steps taken and the state after them.

    Raises:
        T5XError: something configured doesn't fit, a loss is not finite, or the disk is full.
    """
    stopping = Actions(actions, concurrent_metrics)
    key = jax.random.key(random_seed or 0, impl="rbg" if use_hardware_rng else None)
    with disk.fullness_explained(model_dir), contextlib.ExitStack() as stack:
        preemption = stack.enter_context(Preemption())
        batches = stack.enter_context(_opened(train_dataset_cfg, model, partitioner))
        trainer = trainer_cls(
            model=model, partitioner=partitioner, rng=key, input_shapes=batches.shapes
        )
        evaluators = stack.enter_context(Evaluators(trainer, model, partitioner))
        evaluators.add_teacher_forced(train_eval_dataset_cfg, eval_steps)
        evaluators.add_inference(infer_eval_dataset_cfg, inference_evaluator_cls, model_dir)
        start = _find_start(trainer, batches, checkpoint_cfg, model_dir)
        last_step = _last_step(start.step, total_steps, relative_steps, checkpoint_cfg.restore)
        manifest.keep(train_dataset_cfg, model_dir, is_new=start.is_new)
        start.set_damaged_aside()
        following.unmark_end(model_dir)
        stack.enter_context(compilation_cache.kept_in(model_dir))
        log = stack.enter_context(progress.MetricsLog(model_dir, start.resumes_at))
        summarize_config_fn(model_dir, log.text_writer(), start.step)
        watch = Watch(model_dir, batches, model, trainer.max_skipped_steps)
        saver = stack.enter_context(_Saver(checkpoint_cfg.save, model_dir, batches, watch))
        periods = _Periods(last_step, eval_period, stats_period)
        loop = _Loop(trainer, batches, evaluators, log, watch, saver, preemption, periods, stopping)
        step, state = loop.run(start, run_eval_before_training)
    if not loop.is_interrupted:
        following.mark_end(model_dir, step)
    return step, state


@contextlib.contextmanager
def _opened(
    config: DatasetConfig, model: Any, partitioner: PjitPartitioner
) -> Iterator[TrainingData]:
    """The training data, which fit the mesh and the model; closed in the end."""
    partitioner.check_batch_size(config.batch_size)
    batches = TrainingData(config, partitioner.batch_sharding, model.feature_converter_cls)
    with contextlib.closing(batches):
        data.check_vocabularies(config, model)
        yield batches


@dataclasses.dataclass
class _Start:
    """Where a run begins.

    Attributes:
        state: what it begins with.
        step: how many steps that has taken.
        is_new: whether it begins, or else goes on from a checkpoint in its own directory.
        unreported: sums of steps that the run was interrupted before telling of.
        skipped: what is wrong with the newer checkpoints, which are damaged.
    """

    state: TrainState
    step: int
    is_new: bool
    unreported: Sequence[Mapping[str, float]] = ()
    skipped: Sequence[checkpoints.DamagedCheckpointError] = ()

    @property
    def resumes_at(self) -> int | None:
        """The step of the run's own checkpoint that it goes on from."""
        return None if self.is_new else self.step

    def set_damaged_aside(self) -> None:
        """Says which newer checkpoints are damaged, and gets them out of the way."""
        for error in self.skipped:
            aside = checkpoints.set_aside(error.where)
            if jax.process_index() == 0:
                print(f"Skipped, and renamed to {aside.name}: {error}", flush=True)


def _find_start(
    trainer: Trainer, batches: TrainingData, config: CheckpointConfig, model_dir: str
) -> _Start:
    """The newest checkpoint in MODEL_DIR, or else the initial checkpoint, or else a fresh state."""
    skipped: list[checkpoints.DamagedCheckpointError] = []
    for step in reversed(checkpoints.steps(model_dir)):
        path = checkpoints.path_of(model_dir, step)
        try:
            state = checkpoints.restore(path, trainer.abstract_state)
        except checkpoints.DamagedCheckpointError as error:
            skipped.append(error)
            continue
        if not checkpoints.restore_position(path, batches):
            print(f"{path} holds no data position: the training data starts from the beginning.")
        return _Start(state, step, False, checkpoints.unreported(path), skipped)
    if skipped:
        raise T5XError(
            "; ".join(f"{error.where}: {error.what}" for error in skipped),
            where=f"the checkpoints in {model_dir}, none of which is whole",
            remedy="Put whole ones there, or take these away to start the run anew.",
        )
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
        scratch=trainer.initial_part if config.fallback_to_scratch else None,
        transformations=config.transformations(),
    )
    if state.optimizer is not None:
        return state
    if jax.process_index() == 0:
        print(f"The optimizer starts afresh: its state is not taken from {config.one_path()}.")
    return trainer.with_fresh_optimizer(state)


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


class _Saver:
    """Saves checkpoints when they are due, of finite states only; nothing if not configured."""

    def __init__(
        self,
        config: SaveCheckpointConfig | None,
        model_dir: str,
        batches: TrainingData,
        watch: Watch,
    ) -> None:
        self._config = config
        self._batches = batches
        self._watch = watch
        self._writer = None
        if config is not None:
            self._writer = checkpoints.CheckpointWriter(
                model_dir, keep=config.keep, dtype=config.dtype
            )

    def __enter__(self) -> "_Saver":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def save(
        self, state: TrainState, step: int, meter: progress.TrainMeter, *, now: bool = False
    ) -> None:
        """To be called after every step; `now` saves even if no checkpoint is due."""
        if self._config is None or self._writer is None:
            return
        self._writer.check()
        if now or self._config.due(step):
            self._watch.check(step, state)
            data = self._batches if self._config.save_dataset else None
            self._writer.save(step, state, data, meter.unreported())


@dataclasses.dataclass
class _Periods:
    last_step: int
    evaluation: int
    configured_stats: int | None

    def evaluates_at(self, step: int) -> bool:
        return step == self.last_step or (bool(self.evaluation) and step % self.evaluation == 0)

    def reports_at(self, step: int) -> bool:
        stats = self.configured_stats or min(
            self.evaluation or _DEFAULT_STATS_PERIOD, _DEFAULT_STATS_PERIOD
        )
        return step == self.last_step or step % stats == 0


@dataclasses.dataclass
class _Loop:
    trainer: Trainer
    batches: TrainingData
    evaluators: Evaluators
    log: progress.MetricsLog
    watch: Watch
    saver: _Saver
    preemption: Preemption
    periods: _Periods
    actions: Actions
    is_interrupted: bool = False

    def run(self, start: _Start, evaluate_before_training: bool) -> tuple[int, TrainState]:
        """From the start to the last step, or the one to end after; gives it and the last state."""
        self._console = progress.Console(self.periods.last_step)
        state, step = start.state, start.step
        meter = progress.TrainMeter(start.unreported)
        self._stops = self.actions.recall(self.log.evaluations())
        try:
            self.preemption.check(step)
            if self._is_missing_evaluation(start, evaluate_before_training):
                self._evaluate(state, step)
            meter.restart_clock()
            while step < self.periods.last_step and not self._stops:
                state, step = self._step(state, step + 1, meter)
                self.preemption.check(step)
                if self.periods.evaluates_at(step):
                    self._evaluate(state, step)
                    meter.restart_clock()
            if self._stops:
                self.saver.save(state, step, meter, now=True)
                self._console.print(f"The run ends at step {step:,}: an action stopped it.")
        except Preempted:
            self.is_interrupted = True
            self._end_early(state, step, start.step, meter)
        return step, state

    def _step(
        self, state: TrainState, step: int, meter: progress.TrainMeter
    ) -> tuple[TrainState, int]:
        with meter.waiting_for_data():
            batch = next(self.batches)
        state, sums = self.trainer.train_step(state, batch)
        meter.add(sums)
        self.watch.add(step, sums, self.batches.taken)
        self._console.tick(step)
        if self.periods.reports_at(step):
            self.watch.settle()
            self._report(step, meter.result())
        self.saver.save(state, step, meter, now=step == self.periods.last_step)
        return state, step

    def _end_early(
        self, state: TrainState, step: int, first: int, meter: progress.TrainMeter
    ) -> None:
        if step > first:  # Else the state is what the next run finds without.
            self.saver.save(state, step, meter, now=True)
        self._console.print(
            f"SIGTERM: the run ends at step {step:,}. The same command goes on from there."
        )

    def _is_missing_evaluation(self, start: _Start, evaluate_before_training: bool) -> bool:
        """A run that was killed while it evaluated has a checkpoint, and no metrics to it."""
        if start.is_new:
            return evaluate_before_training
        return self.periods.evaluates_at(start.step) and not self.log.evaluated(start.step)

    def _report(self, step: int, metrics: dict[str, float]) -> None:
        self.log.write(step, {"train": metrics})
        self._console.report(step, metrics)

    def _evaluate(self, state: TrainState, step: int) -> None:
        with self.preemption.interrupting():
            found = self.evaluators.run(state.params, step)
        self.log.write(step, found)
        lines = [
            f"  {name.replace('/', ' ', 1)}: {progress.in_words(found[name])}" for name in found
        ]
        if lines:
            self._console.print("\n".join([f"Evaluation at step {step:,}", *lines]))
        self._stops = self.actions.run(state, found)


if __name__ == "__main__":
    gin_utils.run(train)
