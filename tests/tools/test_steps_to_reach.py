"""When runs reached a score."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import steps_to_reach

METRIC = "inference_eval/rte/accuracy"


def write(folder, start, values):
    folder.mkdir(parents=True)
    lines = [
        {"step": start + 200 * i, "name": "inference_eval/rte", "accuracy": value}
        for i, value in enumerate(values)
    ]
    lines.insert(1, {"step": start, "name": "train", "loss": 1.0})
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


@pytest.fixture
def runs(tmp_path):
    write(tmp_path / "base" / "start_t5" / "seed_0", 1_100_000, [50, 60, 70, 80, 75])
    write(tmp_path / "base" / "start_t5" / "seed_1", 1_100_000, [50, 50, 55, 60, 70])
    write(tmp_path / "base" / "start_flan" / "seed_0", 1_184_000, [72, 81, None])
    return sorted(map(str, (tmp_path / "base").glob("*/*")))


def test_steps_count_from_the_checkpoint_that_a_run_started_from(runs, capsys):
    assert steps_to_reach.main([*runs, "--metric", METRIC, "--score", "70", "80", "90"]) == 0
    header, flan, t5 = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["run", "seeds"]
    assert flan.split() == ["base/start_flan", "1", "72.0", "81.0", "0", "200", "not", "reached"]
    assert "600 (400-800)" in t5 and "600, 1 of 2 not" in t5 and t5.endswith("not reached")


def test_an_unknown_metric_is_one_message_that_names_those_there_are(runs, capsys):
    assert steps_to_reach.main([*runs, "--metric", "rte/f1", "--score", "1"]) == 1
    assert f"It has: {METRIC}" in capsys.readouterr().err
