r"""Evaluates checkpoints by inference, with the metrics that seqio's tasks define.

python -m t5x.eval --gin_file=t5x/examples/t5/t5_1_1/small.gin \
    --gin_file=t5x/configs/runs/eval.gin --gin.CHECKPOINT_PATH="'/tmp/model/checkpoint_1000'" …
"""

import contextlib
from collections.abc import Callable
from typing import Any

import seqio

from t5x import checkpoints, data, gin_utils, progress
from t5x.evaluation import InferenceEvaluator
from t5x.partitioning import PjitPartitioner
from t5x.trainer import abstract_inference_state
from t5x.utils import DatasetConfig, RestoreCheckpointConfig


def evaluate(
    *,
    model: Any,
    dataset_cfg: DatasetConfig,
    restore_checkpoint_cfg: RestoreCheckpointConfig,
    partitioner: PjitPartitioner,
    output_dir: str,
    inference_evaluator_cls: Callable[..., seqio.Evaluator] = seqio.Evaluator,
    summarize_config_fn: gin_utils.ConfigSummary = gin_utils.summarize_gin_config,
) -> dict[int, dict[str, dict[str, float]]]:
    """Evaluates one checkpoint, or with mode "all" each of a directory in turn.

    Args:
        model: such as `models.EncoderDecoderModel`.
        dataset_cfg: what to evaluate on.
        restore_checkpoint_cfg: which checkpoint or checkpoints; only parameters are read.
        partitioner: the mesh.
        output_dir: for `metrics.jsonl`, TensorBoard and what the evaluator's loggers write.
        inference_evaluator_cls: `seqio.Evaluator`, with its loggers bound by gin.
        summarize_config_fn: keeps the configuration for the record.

    Returns:
        Metrics by step and task: `{1000: {"rte": {"accuracy": 61.2}}}`; in process 0 only.

    Raises:
        T5XError: a setting, the dataset or a checkpoint doesn't fit.
    """
    paths = restore_checkpoint_cfg.checkpoint_paths(required=True)
    target = abstract_inference_state(model, partitioner)
    with contextlib.ExitStack() as stack:
        data.check_vocabularies(dataset_cfg, model)
        evaluator = InferenceEvaluator(
            dataset_cfg, inference_evaluator_cls, model, partitioner, output_dir
        )
        stack.callback(evaluator.close)
        results = {}
        log = None
        for path in paths:
            state = checkpoints.restore(
                path, target, optimizer=False, dtype=restore_checkpoint_cfg.dtype
            )
            if log is None:  # Only a checkpoint that fits lets anything be written.
                log = progress.MetricsLog(output_dir)
                stack.callback(log.close)
                summarize_config_fn(output_dir, None, 0)
            step = int(state.step)
            results[step] = evaluator.evaluate(state.params, step)
            log.write(step, {f"inference_eval/{task}": x for task, x in results[step].items()})
            for task, metrics in results[step].items():
                print(f"step {step:,}  {task}: {progress.in_words(metrics)}", flush=True)
    return results


if __name__ == "__main__":
    gin_utils.run(evaluate)
