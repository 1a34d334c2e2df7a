"""Kills a training by kill -9 at random moments, and tells what that did to it. Run by hand.

    PYTHONPATH=runtime python tests/runtime/kill_at_random.py --kills=20 --seed=0

A run of 300 steps saves every 10. A fifth of its launches are killed while they start, the others
some steps later. The table says of each kill what it left on disk, the step that the next launch
went on from, and whether the checkpoint of that step is bit by bit an uninterrupted run's. In the
end all checkpoints and metrics must be.
"""

import argparse
import json
import re
import tempfile
import time
from pathlib import Path

import conftest  # noqa: F401  Sets the environment up before JAX is imported.
import crashing
import numpy as np
from forking import Fork, Forks

from t5x import checkpoints

CHANGES = {
    "TRAIN_STEPS": 300,
    "EVAL_PERIOD": 100,
    "train_script.train.stats_period": 1,
}
COLUMNS = ("kill", "moment", "last step told of", "checkpoints", "torsos", "goes on from", "equal")


def main() -> None:
    """Runs, kills, compares, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        forks = Forks(Path(folder) / "compiled")
        whole = Path(folder) / "whole"
        begun = time.monotonic()
        training = crashing.start(forks, whole, **CHANGES)
        _wait_for_step(training, whole, 1)
        start_up = time.monotonic() - begun
        _end(training)
        rows = _killed(forks, whole, Path(folder), draw, arguments.kills, start_up)
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for number, row in enumerate(rows, start=1):
        print("| " + " | ".join(map(str, (number, *row))) + " |")


def _killed(
    forks: Forks,
    whole: Path,
    folder: Path,
    draw: np.random.Generator,
    kills: int,
    start_up: float,
) -> list[list]:
    """A row of the table for each kill. A run that is complete makes way for another."""
    rows: list[list] = []
    directories = (folder / f"killed-{i}" for i in range(kills))
    while len(rows) < kills:
        directory = next(directories)
        first = len(rows)
        while len(rows) < kills:
            training = crashing.start(forks, directory, **CHANGES)
            moment = _kill(training, directory, draw, start_up)
            _note_start(training, rows[first:])
            if moment is None:
                break
            rows.append([moment, *_left(directory), None, _is_equal(directory, whole)])
            print(*rows[-1], flush=True)
        training = crashing.start(forks, directory, **CHANGES)
        _end(training)
        _note_start(training, rows[first:])
        crashing.assert_same_run(directory, whole)
    return rows


def _kill(
    training: Fork, directory: Path, draw: np.random.Generator, start_up: float
) -> str | None:
    """Kills at a random moment and says when that was; None if the run was complete before."""
    pause = draw.random()
    if draw.random() < 0.2:
        time.sleep(pause * start_up)
        when = f"{pause * start_up:.2f} s after the launch"
    else:
        step = max(checkpoints.steps(directory), default=0) + int(draw.integers(1, 36))
        if not _wait_for_step(training, directory, step):
            return None
        time.sleep(pause / 2)
        when = f"{pause / 2:.2f} s after step {step}"
    training.process.kill()
    return when if training.ended()[0] < 0 else None


def _wait_for_step(training: Fork, directory: Path, step: int) -> bool:
    """Waits until this launch has told of the step; False if it ended before."""
    while not (told := _steps_told(training)) or told[-1] < step:
        if not training.process.is_alive():
            return False
        time.sleep(0.01)
    return True


def _steps_told(training: Fork) -> list[int]:
    return [
        int(step) for step in re.findall(r"^step +([\d,]+)/", training.output.read_text(), re.M)
    ]


def _note_start(training: Fork, rows: list[list]) -> None:
    """Where a launch went on from, if it came so far, is what the kills before it led to."""
    if told := _steps_told(training):
        for row in rows:
            row[-2] = told[0] - 1 if row[-2] is None else row[-2]


def _left(directory: Path) -> tuple[int, str, int]:
    """The last step in metrics.jsonl, the newest checkpoints, and how many are written in part."""
    file = directory / "metrics.jsonl"
    whole_lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    steps = [json.loads(line)["step"] for line in whole_lines if line.endswith("\n")]
    newest = ", ".join(map(str, checkpoints.steps(directory)[-2:])) or "none"
    return max(steps, default=0), newest, len(list(directory.glob("checkpoint_*tmp*")))


def _is_equal(directory: Path, whole: Path) -> str:
    saved = checkpoints.steps(directory)
    if not saved:
        return "-"
    crashing.assert_same_checkpoint(saved[-1], directory, whole)
    return "yes"


def _end(training: Fork) -> None:
    code, output = training.ended(900)
    assert code == 0, output


if __name__ == "__main__":
    main()
