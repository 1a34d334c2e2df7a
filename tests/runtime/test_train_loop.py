"""Whole runs through the launcher: train, resume, evaluate, infer."""

import json
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from launching import Launcher, train_bindings

from t5x import checkpoints, predictions

LENGTHS = {"inputs": 16, "targets": 16}
STEPS = 8
EVALUATED = ("training_eval/toy_both", "inference_eval/toy_copy")


@pytest.fixture
def launch(monkeypatch, capsys):
    return Launcher(monkeypatch, capsys)


@pytest.fixture(scope="module")
def module_monkeypatch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def finished(tmp_path_factory, module_monkeypatch):
    """The directory of a run that nothing interrupted."""

    class Silent:
        def readouterr(self):
            return "", ""

    directory = tmp_path_factory.mktemp("finished")
    outcome = Launcher(module_monkeypatch, Silent())("t5x.train", **train_bindings(directory))
    assert outcome.code == 0
    return directory


def metrics(directory, name):
    """{step: metrics} of one name in metrics.jsonl."""
    lines = map(json.loads, (Path(directory) / "metrics.jsonl").read_text().splitlines())
    return {line.pop("step"): line for line in lines if line.pop("name") == name}


def state_at(directory, step):
    """All that a checkpoint holds, as NumPy arrays."""
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
        state = reader.restore(
            checkpoints.path_of(directory, step).absolute(),
            args=ocp.args.Composite(state=ocp.args.PyTreeRestore()),
        )["state"]
    return jax.tree.map(np.asarray, state)


def assert_same_run(directory, reference, evaluated=EVALUATED):
    """Bit by bit the same last state, and step by step the same metrics, but for the clock."""
    ours, theirs = state_at(directory, STEPS), state_at(reference, STEPS)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    for name in ("train", *evaluated):
        lines = [metrics(each, name) for each in (directory, reference)]
        for line in (*lines[0].values(), *lines[1].values()):
            line.pop("tokens_per_second", None)
            line.pop("seconds_per_step", None)
            line.pop("seconds_waiting_for_data", None)
        assert lines[0] == lines[1]


def test_a_run_learns_and_leaves_what_it_should(finished):
    training = metrics(finished, "train")
    assert list(training) == list(range(1, STEPS + 1))
    assert training[STEPS]["loss"] < 0.8 * training[1]["loss"]
    for name in ("toy_copy", "toy_copy_2", "toy_both"):
        evaluated = metrics(finished, f"training_eval/{name}")
        assert list(evaluated) == [0, 4, 8]
        assert evaluated[8]["loss"] < 0.8 * evaluated[0]["loss"]
    assert list(metrics(finished, "inference_eval/toy_copy")[8]) == ["accuracy", "mean_score"]
    assert checkpoints.steps(finished) == [3, 6, 8]
    assert "MIXTURE_OR_TASK_NAME = 'toy_both'" in (finished / "config.gin").read_text()
    assert list((finished / "train").glob("events*"))
    assert list((finished / "inference_eval").rglob("*.jsonl"))


def test_resumed_equals_uninterrupted(finished, launch, tmp_path):
    for steps in (5, STEPS):
        outcome = launch("t5x.train", **train_bindings(tmp_path, TRAIN_STEPS=steps))
        assert outcome.code == 0
    # The evaluation that ended the first run has no counterpart in the uninterrupted one.
    path = tmp_path / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(x for x in lines if json.loads(x)["step"] != 5 or '"train"' in x))
    assert_same_run(tmp_path, finished)


def test_kept_programs_compute_the_same(finished, launch, tmp_path):
    kept = finished / "compilation_cache"
    assert {path.name.split("-")[0] for path in kept.iterdir()} >= {"jit__update", "jit__evaluate"}
    model_dir = tmp_path / "model"
    flag = f"--jax_compilation_cache_dir={kept}"
    hits = []

    def listen(event, **_):
        hits.extend([event] if event.endswith("/cache_hits") else [])

    jax.monitoring.register_event_listener(listen)
    try:
        assert launch("t5x.train", flag, **train_bindings(model_dir)).code == 0
    finally:
        jax.monitoring.unregister_event_listener(listen)
    assert len(hits) >= 2
    assert not (model_dir / "compilation_cache").exists()
    assert_same_run(model_dir, finished)


def test_initial_checkpoint_counts_its_steps_and_yields_to_the_runs_own(finished, launch, tmp_path):
    changes = {
        "INITIAL_CHECKPOINT_PATH": str(finished / "checkpoint_6"),
        "TRAIN_STEPS_RELATIVE": 1,
        "EVAL_PERIOD": 100,
        "infer_eval/utils.DatasetConfig.split": "train",
    }
    for _ in range(2):
        outcome = launch("t5x.train", **train_bindings(tmp_path, **changes))
        assert outcome.code == 0
    assert checkpoints.steps(tmp_path) == [7]
    assert list(metrics(tmp_path, "train")) == [7]
    first_loss = metrics(tmp_path, "training_eval/toy_both")[6]["loss"]
    assert first_loss < metrics(finished, "training_eval/toy_both")[4]["loss"]


def test_eval_script_agrees_with_the_evaluation_while_training(finished, launch, tmp_path):
    outcome = launch(
        "t5x.eval",
        MIXTURE_OR_TASK_NAME="toy_both",
        CHECKPOINT_PATH=str(finished),
        EVAL_OUTPUT_DIR=str(tmp_path),
        utils__RestoreCheckpointConfig__mode="all",
        utils__DatasetConfig__split="validation",
        utils__DatasetConfig__batch_size=8,
    )
    assert outcome.code == 0
    found = metrics(tmp_path, "inference_eval/toy_copy")
    assert list(found) == [3, 6, 8]
    assert found[8] == pytest.approx(metrics(finished, "inference_eval/toy_copy")[8], rel=1e-5)


def infer(launch, output_dir, finished, **changes):
    bindings = {
        "MIXTURE_OR_TASK_NAME": "toy_both",
        "TASK_FEATURE_LENGTHS": LENGTHS,
        "CHECKPOINT_PATH": str(finished / "checkpoint_8"),
        "INFER_OUTPUT_DIR": str(output_dir),
        "utils.RestoreCheckpointConfig.dtype": "float32",
        "utils.DatasetConfig.split": "validation",
        "utils.DatasetConfig.batch_size": 8,
        "infer_script.infer.checkpoint_period": 1,
    }
    return launch("t5x.infer", **bindings | changes)


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_scores_are_those_of_the_evaluation_and_shards_make_up_the_whole(
    finished, launch, tmp_path
):
    scoring = {"infer_script.infer.mode": "score"}
    assert infer(launch, tmp_path, finished, **scoring).code == 0
    whole = rows(tmp_path / "toy_copy-score.jsonl-00000-of-00001")
    expected = metrics(finished, "inference_eval/toy_copy")[8]["mean_score"]
    assert np.mean([row["score"] for row in whole]) == pytest.approx(expected, rel=1e-4)
    pieces = []
    for shard in (0, 1):
        sharding = {"infer_script.infer.shard_id": shard, "infer_script.infer.num_shards": 2}
        assert infer(launch, tmp_path, finished, **scoring, **sharding).code == 0
        pieces += rows(tmp_path / f"toy_copy-score.jsonl-0000{shard}-of-00002")

    def by_input(found):
        return sorted(
            (row["inputs"]["inputs_pretokenized"], round(row["score"], 3)) for row in found
        )

    assert by_input(pieces) == by_input(whole)


def test_interrupted_inference_goes_on_where_it_stopped(finished, launch, tmp_path, monkeypatch):
    assert infer(launch, tmp_path / "whole", finished).code == 0
    name = "toy_copy-predict.jsonl-00000-of-00001"
    whole = rows(tmp_path / "whole" / name)
    assert len(whole) == 10
    assert set(whole[0]) == {"inputs", "prediction"}
    assert isinstance(whole[0]["prediction"], str)

    written = []
    write_chunk = predictions.PredictionFile.write_chunk

    def interrupted(self, number, lines):
        written.append(number)
        if len(written) == 2:
            raise KeyboardInterrupt
        write_chunk(self, number, lines)

    monkeypatch.setattr(predictions.PredictionFile, "write_chunk", interrupted)
    assert infer(launch, tmp_path / "cut", finished).code == 130
    assert not (tmp_path / "cut" / name).exists()
    # The configuration names the output directory, and the request holds the configuration.
    assert infer(launch, tmp_path / "cut", finished).code == 0
    assert written == [0, 1, 1, 0, 1]  # task 1: chunk 0, cut, chunk 1 again; task 2: both
    assert rows(tmp_path / "cut" / name) == whole
    assert "complete already" in infer(launch, tmp_path / "cut", finished).out
    assert len(written) == 5
    assert not list((tmp_path / "cut").rglob("*.parts"))
