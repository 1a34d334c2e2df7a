"""Sharded output: whole or not there, whoever is killed, however many processes write."""

import dataclasses
import functools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from flan_tasks import sharded_output
from flan_tasks.errors import SourceError, StoreError
from flan_tasks.sharded_output import Job

NAMES = [f"{i:03d}.txt" for i in range(6)]
NO_ROWS = functools.partial(SourceError, "no rows", where="dataset d", remedy="Look.")


def write_numbers(calls, index, path):
    """Writes a shard; `calls` is a folder that gets a file for each call."""
    pathlib.Path(calls, f"{index}.{time.monotonic_ns()}").touch()
    text = "".join(f"{index} {line}\n" for line in range(100 + index))
    pathlib.Path(path).write_text(text)
    return {"lines": 100 + index, "label": f"shard {index}"}


def fail_at(broken, error, calls, index, path):
    if index == broken:
        pathlib.Path(path).write_text("half a sha")
        raise error()
    return write_numbers(calls, index, path)


def die_at(broken, calls, index, path):
    if index == broken:
        os._exit(9)
    return write_numbers(calls, index, path)


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}


def calls_made(calls):
    return sorted(int(path.name.split(".")[0]) for path in calls.iterdir())


@pytest.fixture
def calls(tmp_path):
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


@pytest.fixture
def job(tmp_path):
    return Job(str(tmp_path / "out"), {"seed": 1, "rates": {"a": 0.5}}, NAMES)


def test_the_metadata_say_what_is_there(job, calls):
    def readme(records):
        return {"README.md": ", ".join(record["label"] for record in records)}

    metadata = sharded_output.run(job, functools.partial(write_numbers, calls), companions=readme)
    assert metadata == sharded_output.verify(job.folder)
    assert metadata["complete"] and metadata["job"] == job.description
    assert metadata["totals"] == {
        "lines": sum(100 + i for i in range(6)),
        "bytes": sum(pathlib.Path(job.folder, name).stat().st_size for name in NAMES),
    }
    assert [record["name"] for record in metadata["shards"]] == NAMES
    assert set(bytes_of(job.folder)) == {*NAMES, "metadata.json", "README.md"}
    assert pathlib.Path(job.folder, "README.md").read_text().startswith("shard 0, shard 1, ")
    assert not job.unfinished.exists()


def test_any_number_of_workers_writes_the_same_bytes(job, calls, tmp_path):
    write = functools.partial(write_numbers, calls)
    sharded_output.run(job, write)
    others = dataclasses.replace(job, folder=str(tmp_path / "by_workers"))
    sharded_output.run(others, write, workers=3)
    assert bytes_of(job.folder) == bytes_of(others.folder)
    assert calls_made(calls) == sorted([*range(6), *range(6)])


def test_what_is_done_is_not_done_again(job, calls):
    write = functools.partial(write_numbers, calls)
    first = sharded_output.run(job, write)
    assert sharded_output.run(job, write) == first
    assert calls_made(calls) == list(range(6))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_raised_as_it_was_and_finished_shards_stay(job, calls, workers):
    with pytest.raises(SourceError, match=r"dataset d: no rows\n  Look\.") as caught:
        sharded_output.run(job, functools.partial(fail_at, 3, NO_ROWS, calls), workers=workers)
    assert (caught.value.what, caught.value.remedy) == ("no rows", "Look.")
    assert not pathlib.Path(job.folder).exists()
    finished = calls_made(calls)
    assert finished and 3 not in finished
    assert "half a sha" not in map(bytes.decode, bytes_of_files(job.unfinished).values())
    sharded_output.run(job, functools.partial(write_numbers, calls))
    assert calls_made(calls) == list(range(6)), "finished shards are not written again"


def bytes_of_files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_fault_in_a_worker_shows_its_traceback(job, calls):
    broken = functools.partial(fail_at, 2, functools.partial(KeyError, "column"), calls)
    with pytest.raises(RuntimeError, match=r"002\.txt[\s\S]*in fail_at[\s\S]*KeyError: 'column'"):
        sharded_output.run(job, broken, workers=2)


def test_a_worker_that_dies_is_an_error_that_says_so(job, calls):
    with pytest.raises(StoreError, match=r"out\.unfinished: a worker process died"):
        sharded_output.run(job, functools.partial(die_at, 1, calls), workers=2)
    sharded_output.run(job, functools.partial(write_numbers, calls))
    sharded_output.verify(job.folder)


def test_another_job_is_refused_and_told_the_difference(job, calls):
    write = functools.partial(write_numbers, calls)
    other = dataclasses.replace(job, description={"seed": 2, "rates": {"a": 0.5}})
    with pytest.raises(SourceError):
        sharded_output.run(job, functools.partial(fail_at, 3, NO_ROWS, calls))
    before = bytes_of_files(job.unfinished)
    with pytest.raises(StoreError, match=r"another job's output is here: seed 1, not 2\n"):
        sharded_output.run(other, write)
    assert bytes_of_files(job.unfinished) == before
    sharded_output.run(job, write)
    with pytest.raises(StoreError, match="seed 1, not 2"):
        sharded_output.run(other, write)


def test_a_folder_of_other_files_is_left_alone(job, calls):
    pathlib.Path(job.folder).mkdir()
    sharded_output.run(job, functools.partial(write_numbers, calls))  # an empty one will do
    thesis = pathlib.Path(job.folder).with_name("thesis")
    thesis.mkdir()
    (thesis / "chapter1.tex").touch()
    with pytest.raises(StoreError, match="something else"):
        sharded_output.run(dataclasses.replace(job, folder=str(thesis)), write_numbers)
    assert [path.name for path in thesis.iterdir()] == ["chapter1.tex"]


def test_a_bucket_is_refused(job):
    with pytest.raises(StoreError, match="bucket"):
        sharded_output.run(dataclasses.replace(job, folder="gs://b/out"), write_numbers)


def test_a_damaged_or_missing_shard_is_found_and_named(job, calls):
    sharded_output.run(job, functools.partial(write_numbers, calls))
    shard = pathlib.Path(job.folder, "004.txt")
    content = bytearray(shard.read_bytes())
    content[7] ^= 1
    shard.write_bytes(content)
    with pytest.raises(StoreError, match=r"004\.txt: its checksum"):
        sharded_output.verify(job.folder)
    shard.unlink()
    with pytest.raises(StoreError, match=r"004\.txt: the file is gone"):
        sharded_output.verify(job.folder)


def test_an_unfinished_folder_is_not_read(job, calls):
    with pytest.raises(StoreError, match="no finished output"):
        sharded_output.read_metadata(job.folder)
    with pytest.raises(KeyError):
        sharded_output.run(job, functools.partial(fail_at, 5, KeyError, calls))
    with pytest.raises(StoreError, match="unfinished"):
        sharded_output.read_metadata(str(job.unfinished))


# A process of its own, slow enough to be killed in the middle of anything.
PROGRAM = """
import pathlib, sys, time
from flan_tasks import sharded_output
from flan_tasks.sharded_output import Job

def write(index, path):
    with open(path, "w") as file:
        for line in range(20):
            file.write(f"{index} {line}\\n")
            file.flush()
            time.sleep(0.002)
    return {"lines": 20}

if __name__ == "__main__":
    job = Job(sys.argv[1], {"seed": 1}, [f"{i:03d}.txt" for i in range(12)])
    sharded_output.run(job, write, workers=int(sys.argv[2]))
"""


def start(tmp_path, workers):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    root = str(pathlib.Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, str(program), str(tmp_path / "out"), str(workers)],
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def alive(session):
    """Processes of a session that still run."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(number) == session and state != "Z":
            found.append(path.parent.name)
    return found


@pytest.mark.parametrize(("workers", "kills"), [(1, 8), (2, 4)])
def test_killed_at_random_moments_it_ends_with_the_same_bytes(tmp_path, workers, kills):
    draw = random.Random(workers)
    out, unfinished = tmp_path / "out", tmp_path / "out.unfinished"
    for _ in range(kills):
        process = start(tmp_path, workers)
        deadline = time.monotonic() + 60
        before = len(list(unfinished.glob("*.txt")))
        while process.poll() is None and time.monotonic() < deadline:
            if len(list(unfinished.glob("*.txt"))) > before or out.exists():
                break
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.08))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for record in unfinished.glob("records/*.json"):
            shard = unfinished / json.loads(record.read_text())["name"]
            assert len(shard.read_text().splitlines()) == 20
        if not out.exists():
            assert (
                not json.loads((unfinished / "metadata.json").read_text())["complete"]
                or len(list(unfinished.glob("[0-9]*.txt"))) == 12
            )
    process = start(tmp_path, workers)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    metadata = sharded_output.verify(str(out))
    assert metadata["totals"]["lines"] == 12 * 20
    assert sorted(bytes_of(out)) == sorted([*(f"{i:03d}.txt" for i in range(12)), "metadata.json"])
    expected = {f"{i:03d}.txt": "".join(f"{i} {n}\n" for n in range(20)) for i in range(12)}
    assert {name: (out / name).read_text() for name in expected} == expected


def test_workers_end_with_the_process_that_started_them(tmp_path):
    process = start(tmp_path, 2)
    while not list((tmp_path / "out.unfinished").glob("*.txt")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert alive(process.pid) == []


def test_two_processes_do_not_write_to_one_folder(tmp_path):
    first = start(tmp_path, 1)
    while not (tmp_path / "out.unfinished" / "metadata.json").exists():
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.005)
    second = start(tmp_path, 1)
    _, errors = second.communicate(timeout=60)
    first.communicate(timeout=60)
    assert second.returncode == 1 and "another process is writing here" in errors
    assert first.returncode == 0
    sharded_output.verify(str(tmp_path / "out"))
