"""The side-by-side measurement of training steps, on a model of one layer."""

import json
import os
import pathlib
import subprocess
import sys

BENCH = pathlib.Path(__file__).parents[2] / "tools" / "bench_train.py"


def test_measures_what_is_there_and_names_what_is_not(tmp_path):
    report = tmp_path / "report.json"
    command = (
        f"--only ours T5X --dtypes float32 --size tiny --batch 2 --inputs 9 --targets 6 --cpu \
        --steps 1 --rounds 2 --json {report}"
    )
    done = subprocess.run(
        [sys.executable, str(BENCH), *command.split()],
        env=os.environ | {"XLA_FLAGS": ""},  # The engine's tests simulate devices.
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "T5X is left out: " in done.stderr
    assert "float32, ours" in done.stdout
    [result] = json.loads(report.read_text())["results"]
    assert result["engine"] == "ours" and len(result["rounds"]) == 2
    assert result["tokens_per_second"] > 0
    # It trains: the loss of its one batch falls.
    assert result["rounds"][-1]["loss"] < result["start"]["loss"]
