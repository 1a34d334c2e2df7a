"""Writing a cache, killed at any moment: in the end the files are those of an undisturbed run."""

import os
import pathlib
import pickle
import random
import subprocess
import sys
import time

import gin
import pytest

import flan_tasks
from flan_tasks import caching, mixtures, reuse, stream_spec
from flan_tasks.caching import Plan
from flan_tasks.prompts import Lengths

ROOT = pathlib.Path(__file__).parents[2]
WINDOW = 64
# What tools/cache.py does once it has looked up the mixture, which takes seconds.
PROGRAM = f"""
import os, pickle, sys
os.environ["FLAN_TASKS_REGISTER"] = "0"
sys.path.insert(0, {str(ROOT)!r})
from flan_tasks import caching, reuse
if __name__ == "__main__":
    plan, folder, workers = pickle.load(open(sys.argv[1], "rb")), sys.argv[2], int(sys.argv[3])
    plan.spec.open(prepare_missing=False)
    caching.write(plan, folder, caches=reuse.caches_in(sys.argv[4]), workers=workers)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The program, a plan for it, an older cache to copy from, and an undisturbed run's."""
    path = tmp_path_factory.mktemp("killed")
    (path / "program.py").write_text(PROGRAM)
    with gin.unlock_config():
        gin.bind_parameter("flan_tasks.sources.settings.use", ("samples",))
        gin.bind_parameter("flan_tasks.sources.settings.store_dir", str(path / "store"))
        gin.bind_parameter("flan_tasks.vocabulary.settings.path", "small")
    flan_tasks.register()
    name = mixtures.register("killed", include=["bool_q", "squad_v1", "cot_gsm8k"])
    spec = stream_spec.of_provider(
        name, split="train", seed=1, lengths=Lengths(256, 64), num_epochs=None
    )
    spec.open(prepare_missing=True)
    caching.write(Plan(spec, 300, WINDOW, None), str(path / "older" / "cache"))
    plan = Plan(spec, 2500, WINDOW, 17)
    caching.write(plan, str(path / "undisturbed"))
    (path / "plan").write_bytes(pickle.dumps(plan))
    yield path
    gin.clear_config()


def start(folder, out, workers=1):
    arguments = (folder / "plan", folder / out, workers, folder / "older")
    return subprocess.Popen(
        [sys.executable, str(folder / "program.py"), *map(str, arguments)],
        env={key: value for key, value in os.environ.items() if not key.startswith("FLAN_")},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def times(folder):
    """Shard -> when it was written, of those that have a record."""
    names = [path.stem for path in folder.glob("records/*.json")]
    return {name: (folder / name).stat().st_mtime_ns for name in names}


def test_killed_at_twenty_moments_it_writes_the_same_bytes(folder):
    draw = random.Random(0)
    unfinished = folder / "killed.unfinished"
    kills = 0
    for _ in range(20):
        before = times(unfinished)
        process = start(folder, "killed")
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if unfinished.exists() and len(list(unfinished.glob("records/*"))) > len(before):
                break
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.05))
        process.kill()
        process.communicate()
        kills += process.returncode < 0
        assert before.items() <= times(unfinished).items(), "finished shards are left as they are"
    assert kills == 20 and not (folder / "killed").exists(), "it was killed at work, not after it"
    finish(start(folder, "killed"))
    assert bytes_of(folder / "killed") == bytes_of(folder / "undisturbed")
    assert not unfinished.exists() and not list(folder.glob(".*"))


def test_several_workers_killed_once_write_the_same_bytes(folder):
    process = start(folder, "by_workers", workers=2)
    while not list(folder.glob("by_workers.unfinished/records/*")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
    process.kill()
    process.communicate()
    finish(start(folder, "by_workers", workers=2))
    assert bytes_of(folder / "by_workers") == bytes_of(folder / "undisturbed")


def test_the_older_cache_was_of_use(folder):
    caches = reuse.caches_in(str(folder / "older"))
    plan = pickle.loads((folder / "plan").read_bytes())
    plan.spec.open(prepare_missing=False)
    assert [cache.other_settings(caching.describe(plan)) for cache in caches] == [[]]
