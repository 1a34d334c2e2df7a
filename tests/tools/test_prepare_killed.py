"""tools/prepare.py killed at any moment, and made by several: the files are always the same."""

import json
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
NUM_ROWS = 60_000
ROWS_PER_SHARD = 1_500
# The program as it is, but with small shards; also in the processes that it starts.
PROGRAM = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tools")!r}]
import prepare
from flan_tasks import preparing
preparing.ROWS_PER_SHARD = {ROWS_PER_SHARD}
if __name__ == "__main__":
    sys.exit(prepare.main())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Raw rows, of which some are dropped, and the program."""
    path = tmp_path_factory.mktemp("killed")
    with open(path / "rows.jsonl", "w") as file:
        for number in range(NUM_ROWS):
            answer = f"{number} + 1 = {number + 1}\n#### {number + 1}" if number % 97 else ""
            file.write(json.dumps({"question": f"What follows {number}?", "answer": answer}) + "\n")
    (path / "few.jsonl").write_text(json.dumps({"question": "1 + 1", "answer": "2\n#### 2"}))
    (path / "here.gin").write_text(
        "from __gin__ import dynamic_registration\n"
        "from flan_tasks import sources\n"
        "sources.settings.files = {'cot_gsm8k': {'train': 'rows.jsonl', 'test': 'few.jsonl'}}\n"
    )
    (path / "program.py").write_text(PROGRAM)
    return path


def start(folder, out, *more, datasets=("cot_gsm8k",)):
    arguments = (*datasets, "--use", "files", "--data_dir", folder, "--allow_partial")
    arguments += ("--gin_file", folder / "here.gin", "--out", folder / out, *more)
    return subprocess.Popen(
        [sys.executable, str(folder / "program.py"), *map(str, arguments)],
        env={key: value for key, value in os.environ.items() if not key.startswith("FLAN_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def undisturbed(folder):
    """The files of a run that nothing disturbed."""
    out = finish(start(folder, "undisturbed"))
    assert " 59,381 " in out and " 619 / files: " in out
    found = files(folder / "undisturbed")
    assert sum(path.endswith(".arrow") for path in found) == NUM_ROWS // ROWS_PER_SHARD + 1
    return found


def shards(folder):
    """Name -> inode and time of change of the shards whose records are there."""
    found = {}
    for record in folder.rglob("train/*/*[0-9].json"):
        try:
            stat = record.with_suffix(".arrow").stat()
        except FileNotFoundError:  # the folder just took its final name
            continue
        found[record.stem] = (stat.st_ino, stat.st_mtime_ns)
    return found


def kill_after_some_work(process, out, draw):
    """Kills it at a moment that it has spent at the work; returns whether it had not ended."""
    work = out / "cot_gsm8k" / "train"
    before = work.exists() and {path.name for path in work.iterdir()}
    known = len(shards(out))
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if len(shards(out)) > known or (
            work.exists() and {path.name for path in work.iterdir()} != before
        ):
            break
        time.sleep(0.002)
    time.sleep(draw.uniform(0, 0.05))
    process.kill()
    process.communicate()
    return process.returncode < 0


def test_killed_at_twenty_moments_the_store_is_that_of_an_undisturbed_run(folder, undisturbed):
    draw = random.Random(0)
    out = folder / "killed"
    kills = 0
    for _ in range(20):
        finished = shards(out)
        kills += kill_after_some_work(start(folder, "killed"), out, draw)
        assert finished.items() <= shards(out).items(), "finished shards are left as they are"
    assert kills >= 10, "it was killed at work, not after it"
    before = shards(out)
    finish(start(folder, "killed"))
    assert files(out) == undisturbed
    assert before.items() <= shards(out).items()


def test_programs_at_the_same_work_do_not_disturb_each_other(folder, undisturbed):
    for process in [start(folder, "both"), start(folder, "both")]:
        assert "2 of 2 splits" in finish(process)
    assert files(folder / "both") == undisturbed


def test_several_workers_make_the_same_files(folder, undisturbed):
    assert "2 of 2 splits" in finish(start(folder, "workers", "--workers", 2))
    assert files(folder / "workers") == undisturbed


def test_workers_end_with_the_program_that_is_killed(folder, undisturbed):
    out = folder / "orphaned"
    process = start(folder, "orphaned", "--workers", 2)
    deadline = time.monotonic() + 60
    while not shards(out) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=20)  # returns when no worker holds the other end of the pipes
    finish(start(folder, "orphaned"))
    assert files(out) == undisturbed


def test_beam_makes_the_same_files(folder, undisturbed):
    assert "2 of 2 splits" in finish(start(folder, "beam", "--runner", "FnApiRunner"))
    assert files(folder / "beam") == undisturbed


def test_what_fails_on_beam_is_reported_and_stops_nothing_else(folder):
    process = start(folder, "faulty", "--runner", "FnApiRunner", datasets=("bool_q", "cot_gsm8k"))
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 1 and "2 of 5 splits" in out
    assert "dataset bool_q: split 'train' is not to be had" in errors
    assert "Traceback" not in errors


def test_without_beam_the_error_says_what_to_install(folder):
    away = folder / "away"
    away.mkdir()
    (away / "apache_beam.py").write_text("raise ImportError('no module named apache_beam')\n")
    program = folder / "away" / "program.py"
    program.write_text(f"import sys; sys.path[:0] = [{str(away)!r}]\n{PROGRAM}")
    run = subprocess.run(
        [sys.executable, str(program), "bool_q", "--out", str(away), "--runner", "FnApiRunner"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1 and "pip install 'flan-tasks[beam]'" in run.stderr
    assert "Traceback" not in run.stderr
