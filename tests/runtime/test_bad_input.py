"""Each mistake gives one clear message and exit code 1, and leaves MODEL_DIR as it was."""

import os
import subprocess
import sys

import pytest
from launching import HERE, RUNTIME, Launcher, toy_flags, train_bindings

CASES = {
    "unknown parameter": (
        {"utils.SaveCheckpointConfig.perod": 3},
        ["perod", "Did you mean 'period'?", "--gin.utils.SaveCheckpointConfig.perod=3"],
    ),
    "unknown class": (
        {"utils.SaveCheckpontConfig.period": 3},
        ["SaveCheckpontConfig", "Did you mean 'utils.SaveCheckpointConfig'?"],
    ),
    "unknown name": ({"TRAIN_STPES": 3}, ["TRAIN_STPES", "Did you mean 'TRAIN_STEPS'?"]),
    "argument of T5X's that we lack": ({"train_script.train.gc_period": 5}, ["gc_period"]),
    "unknown mixture": (
        {"MIXTURE_OR_TASK_NAME": "toy_copi"},
        ["toy_copi", "Did you mean toy_copy"],
    ),
    "missing checkpoint": (
        {"INITIAL_CHECKPOINT_PATH": "/nowhere/checkpoint_7"},
        ["/nowhere/checkpoint_7", "does not exist", "[]"],
    ),
    "empty dataset": ({"MIXTURE_OR_TASK_NAME": "toy_empty"}, ["toy_empty", "no example"]),
    "batch that does not divide": ({"BATCH_SIZE": 12}, ["12", "8 data shards", "8 or 16"]),
    "no evaluation examples": (
        {
            "train/utils.DatasetConfig.mixture_or_task_name": "toy_copy",
            "MIXTURE_OR_TASK_NAME": "toy_empty",
        },
        ["toy_empty", "no example in split 'validation'"],
    ),
    "nonsense value": ({"utils.SaveCheckpointConfig.dtype": "int8"}, ["int8", "bfloat16"]),
}


@pytest.fixture
def launch(monkeypatch, capsys):
    return Launcher(monkeypatch, capsys)


def assert_one_clear_message(outcome, *parts):
    assert outcome.code == 1, outcome
    for part in parts:
        assert part in outcome.err
    message, *_table = outcome.err[outcome.err.index("Error: ") :].split("\n\n")
    assert "Traceback" not in outcome.err
    assert "In call to configurable" not in outcome.err
    assert message.count("\n") <= 2


@pytest.mark.parametrize("case", CASES)
def test_mistake_is_explained_and_nothing_is_written(launch, tmp_path, case):
    changes, parts = CASES[case]
    outcome = launch("t5x.train", **train_bindings(tmp_path / "model", **changes))
    assert_one_clear_message(outcome, *parts)
    assert not (tmp_path / "model").exists()


def listing(directory):
    return {path: path.stat().st_mtime_ns for path in sorted(directory.rglob("*"))}


def test_another_models_model_dir_is_left_as_it_was(launch, tmp_path):
    quick = {"EVAL_PERIOD": 0, "TRAIN_STEPS": 1, "train_script.train.train_eval_dataset_cfg": None}
    quick["train_script.train.infer_eval_dataset_cfg"] = None
    assert launch("t5x.train", **train_bindings(tmp_path, **quick)).code == 0
    before = listing(tmp_path)
    wider = quick | {"network.T5Config.mlp_dim": 64, "TRAIN_STEPS": 2}
    outcome = launch("t5x.train", **train_bindings(tmp_path, **wider))
    assert_one_clear_message(
        outcome,
        "another model's",
        "target/decoder/layers_0/mlp/wi_0/kernel is [16, 32] there and [16, 64] in the model",
        str(tmp_path / "checkpoint_1"),
    )
    assert listing(tmp_path) == before
    fewer = launch("t5x.train", **train_bindings(tmp_path, **quick | {"TRAIN_STEPS": 0}))
    assert_one_clear_message(fewer, "total_steps", "checkpoint")
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("script", "bindings", "parts"),
    [
        ("t5x.eval", {"EVAL_OUTPUT_DIR": "out"}, ["/nowhere"]),
        ("t5x.infer", {"INFER_OUTPUT_DIR": "out"}, ["/nowhere"]),
        ("t5x.infer", {"INFER_OUTPUT_DIR": "out", "infer_script.infer.mode": "guess"}, ["guess"]),
        (
            "t5x.infer",
            {"INFER_OUTPUT_DIR": "out", "infer_script.infer.shard_id": 3},
            ["shard 3 of 1"],
        ),
    ],
)
def test_evaluation_and_inference_explain_too(
    launch, tmp_path, monkeypatch, script, bindings, parts
):
    monkeypatch.chdir(tmp_path)
    common = {
        "MIXTURE_OR_TASK_NAME": "toy_copy",
        "TASK_FEATURE_LENGTHS": {"inputs": 16, "targets": 16},
        "CHECKPOINT_PATH": "/nowhere/checkpoint_1",
        "utils.DatasetConfig.split": "validation",
    }
    assert_one_clear_message(launch(script, **common | bindings), *parts)
    assert not list(tmp_path.iterdir())


def test_a_bug_keeps_its_traceback(launch, tmp_path, monkeypatch):
    from t5x import train

    def broken(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(train, "TrainingData", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        launch("t5x.train", **train_bindings(tmp_path))


def test_a_bug_in_the_data_pipeline_ends_the_process(tmp_path):
    bindings = train_bindings(tmp_path / "model", MIXTURE_OR_TASK_NAME="toy_failing")
    outcome = subprocess.run(
        [sys.executable, "-m", "t5x.train", *toy_flags("t5x.train", **bindings)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{RUNTIME}:{HERE}"},
        timeout=120,
    )
    assert outcome.returncode == 1
    assert "a bug in the pipeline" in outcome.stderr
    assert not list(tmp_path.iterdir())


def test_missing_gin_file_from_a_real_command_line(tmp_path):
    outcome = subprocess.run(
        [sys.executable, "-m", "t5x.train", "--gin_file=t5x/configs/runs/finetun.gin"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": RUNTIME},
        timeout=120,
    )
    assert outcome.returncode == 1
    assert "t5x/configs/runs/finetun.gin" in outcome.stderr
    assert "Did you mean 'finetune.gin'?" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not list(tmp_path.iterdir())
