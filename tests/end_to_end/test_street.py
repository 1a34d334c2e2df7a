"""From published files to answers, through the three programs, in processes of their own."""

import gzip
import json
import os
import subprocess
import sys

import pytest

TINY = [
    "--gin.network.T5Config.emb_dim=16",
    "--gin.network.T5Config.head_dim=8",
    "--gin.network.T5Config.num_heads=2",
    "--gin.network.T5Config.mlp_dim=16",
    "--gin.network.T5Config.num_encoder_layers=1",
    "--gin.network.T5Config.num_decoder_layers=1",
    "--gin.TASK_FEATURE_LENGTHS={'inputs': 128, 'targets': 48}",
]


def write_published_files(folder):
    """A few rows of our own, in the formats in which BoolQ and the rationales are published."""
    (folder / "bool_q").mkdir(parents=True)
    (folder / "cot_gsm8k").mkdir()
    for name in ("train", "dev"):
        with (folder / "bool_q" / f"{name}.jsonl").open("w") as file:
            for i in range(230):
                row = {
                    "question": f"is {i} an even number",
                    "title": "Numbers",
                    "answer": i % 2 == 0,
                    "passage": f"{i} leaves {i % 2} when divided by two.",
                }
                file.write(json.dumps(row) + "\n")
    with gzip.open(folder / "cot_gsm8k" / "gsm8k_train.tsv.gz", "wt") as file:
        for i in range(50):
            file.write(f"What is {i} and {i}?\t{2 * i}\t{i} + {i} = {2 * i}\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs an engine program in another directory, with those files as the only data."""
    base = tmp_path_factory.mktemp("street")
    write_published_files(base / "data")
    settings = [
        f"--gin.sources.settings.data_dir='{base / 'data'}'",
        f"--gin.sources.settings.store_dir='{base / 'store'}'",
        "--gin.sources.settings.use=('files',)",
    ]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "FLAN_TASKS_REGISTER": "1"}

    def run_program(program, *flags, partial=True):
        command = [sys.executable, "-m", f"t5x.{program}", *settings, *TINY, *flags]
        if partial:
            command.append("--gin.sources.settings.allow_partial=True")
        return subprocess.run(
            command, cwd=base, env=environment, capture_output=True, text=True, timeout=400
        )

    run_program.base = base
    return run_program


def train_flags(model_dir, steps):
    return [
        "--gin_file=flan_tiny.gin",
        "--gin.MIXTURE_OR_TASK_NAME='bool_q_fs_opt'",
        f"--gin.MODEL_DIR='{model_dir}'",
        f"--gin.TRAIN_STEPS={steps}",
    ]


@pytest.fixture(scope="module")
def trained(run):
    result = run("train", *train_flags(run.base / "model", 3))
    assert result.returncode == 0, result.stderr[-3000:]
    return run.base / "model"


def test_training_writes_metrics_checkpoint_and_configuration(trained):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").open()]
    steps = {line["name"]: line["step"] for line in lines}
    assert steps == {"train": 3, "training_eval/bool_q_fs_opt": 3}
    assert (trained / "checkpoint_3").is_dir()
    assert "bool_q_fs_opt" in (trained / "config.gin").read_text()
    assert list((trained / "train").glob("events*"))


def test_evaluation_and_inference_of_the_checkpoint(run, trained):
    of_checkpoint = [
        f"--gin.CHECKPOINT_PATH='{trained / 'checkpoint_3'}'",
        "--gin.MIXTURE_OR_TASK_NAME='bool_q_zs_opt'",
        "--gin.utils.DatasetConfig.split='validation'",
    ]
    out = run.base / "eval"
    result = run(
        "eval", "--gin_file=flan_tiny_eval.gin", f"--gin.EVAL_OUTPUT_DIR='{out}'", *of_checkpoint
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "bool_q_zs_opt: accuracy" in result.stdout
    summary = json.loads((out / "evaluation" / "3" / "bool_q_zs_opt.json").read_text())
    low, high = summary["intervals"]["accuracy"]
    assert 0 <= low <= summary["metrics"]["accuracy"] <= high <= 100
    assert summary["num_examples"] == 200 and summary["speed"]["sequences_per_second"] > 0
    out = run.base / "infer"
    result = run(
        "infer", "--gin_file=flan_tiny_infer.gin", f"--gin.INFER_OUTPUT_DIR='{out}'", *of_checkpoint
    )
    assert result.returncode == 0, result.stderr[-3000:]
    lines = (out / "bool_q_zs_opt-predict.jsonl-00000-of-00001").read_text().splitlines()
    answers = [json.loads(line) for line in lines]
    assert len(answers) == 200
    assert all({"inputs", "prediction"} <= set(answer) for answer in answers)


@pytest.mark.parametrize(
    ("flags", "partial", "parts"),
    [
        ([], False, ["bool_q", "9,227", "30 rows", "allow_partial"]),
        (["--gin.sources.settings.use=('tfds_',)"], True, ["tfds_", "Did you mean 'tfds'"]),
        (["--gin.vocabulary.settings.path='/nowhere/v.model'"], True, ["/nowhere/v.model"]),
        (["--gin.MIXTURE_OR_TASK_NAME='bool_q_zs_opts'"], True, ["bool_q_zs_opts", "Did you mean"]),
    ],
    ids=["truncated data", "unknown source", "no vocabulary", "unknown task"],
)
def test_a_mistake_is_one_message_and_leaves_nothing_behind(run, flags, partial, parts):
    model_dir = run.base / "never"
    result = run("train", *train_flags(model_dir, 3), *flags, partial=partial)
    assert result.returncode == 1
    message = result.stderr[result.stderr.index("Error: ") :]
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in message, message
    assert not model_dir.exists()
