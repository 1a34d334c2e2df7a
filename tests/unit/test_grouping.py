"""A source that holds a whole family: read once, after which each dataset has its own rows."""

import json
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest
from example_dataset import dataset

from flan_tasks import grouping, prepare_runners, readers, sources, store
from flan_tasks.errors import SourceError
from flan_tasks.origin import Origin, Unavailable
from flan_tasks.spec import Answer, Source

NAMES = ["rain", "snow", "hail", "fog"]


def card(name, file="weather/all.jsonl"):
    return dataset(
        name=f"weather_{name}",
        family="weather",
        source=Source(files={"train": file}, where={"task": name}),
        num_examples={"train": 100},
        fields={"question": "q", "label": "a"},
        answer=Answer(label="label", options=("no", "yes")),
        constants={"task_name": name},
    )


def mixed_rows(count=400):
    draw = random.Random(0)
    rows = [{"task": NAMES[n % 4], "q": f"é{n}", "a": n % 2, "x": [n, None]} for n in range(count)]
    return draw.sample(rows, count)


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def settings(tmp_path):
    write(tmp_path / "data/weather/all.jsonl", mixed_rows())
    return sources.settings(
        data_dir=str(tmp_path / "data"), store_dir=str(tmp_path / "store"), use="files"
    )


@pytest.fixture
def reads(monkeypatch):
    """Names of the published files that were read, one for each time."""
    names = []

    def read(path, **layout):
        if ".raw" not in path:
            names.append(pathlib.Path(path).name)
        return original(path, **layout)

    original = readers.read
    monkeypatch.setattr(readers, "read", read)
    return names


def rows_of(name, settings):
    return list(sources.raw_rows(card(name), "train", settings))


def test_each_dataset_reads_its_own_rows_in_the_sources_order(settings, reads):
    for name in NAMES:
        assert rows_of(name, settings) == [row for row in mixed_rows() if row["task"] == name]
    assert reads == ["all.jsonl"], "in one pass"


def test_rows_that_do_not_fit_into_memory(settings, monkeypatch):
    monkeypatch.setattr(grouping, "_MOST_HELD", 100)
    for name in NAMES:
        assert rows_of(name, settings) == [row for row in mixed_rows() if row["task"] == name]


def test_a_dataset_without_rows_is_not_there(settings):
    with pytest.raises(SourceError, match=r"all.jsonl has no row with task = dew"):
        rows_of("dew", settings)
    assert not sources.availability(card("dew"), settings)[0].ok


def test_looking_does_not_group(settings, tmp_path, reads):
    (files,) = sources.availability(card("dew"), settings)
    assert files.ok and "all.jsonl (grouped by task on first use)" in files.why
    found = sources.find_split(card("rain"), "train", "files", settings, fetch=False)
    assert found.is_pending and reads == [] and not (tmp_path / "store").exists()
    later = sources.find_split(card("rain"), "train", "files", settings, fetch=True)
    assert not later.is_pending and later.stamps == found.stamps
    assert list(later.rows()) == list(found.rows())
    assert later.origin.endswith("all.jsonl with task = rain")


def test_what_changed_is_grouped_anew(settings, tmp_path, reads):
    path = tmp_path / "data/weather/all.jsonl"
    assert store.open_split(card("rain"), "train", settings).num_rows == 100
    write(path, mixed_rows()[::-1])
    os.utime(path, ns=(0, 7))
    wanted = [row["q"] for row in mixed_rows()[::-1] if row["task"] == "rain"]
    split = store.open_split(card("rain"), "train", settings)
    assert [split.row(n)["question"] for n in range(100)] == wanted
    assert reads == ["all.jsonl"] * 2
    assert len(list(tmp_path.glob("store/.raw/*/*/index.json"))) == 1, "the former are gone"


def test_a_source_without_the_column_holds_nothing_but_the_datasets_rows(settings, tmp_path):
    write(tmp_path / "data/mine.jsonl", [{"q": "a"}, {"q": "b"}])
    own = card("rain", file="mine.jsonl")
    assert len(list(sources.raw_rows(own, "train", settings))) == 2


def test_a_file_that_bears_the_datasets_name_is_read_as_it_is(settings, tmp_path):
    write(tmp_path / "data/weather/rain.jsonl", mixed_rows())
    own = card("rain", file="weather/rain.jsonl")
    rows = list(sources.raw_rows(own, "train", settings))
    assert rows == rows_of("rain", settings)
    assert len(list(tmp_path.glob("store/.raw/*"))) == 1, "that of all.jsonl"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"q": "no task"}, r"all.jsonl row 2: the row has no column 'task'"),
        ({"task": "rain", "q": b"bytes"}, "all.jsonl row 2: cannot be written as JSON"),
    ],
)
def test_a_row_that_cannot_be_grouped_is_named(tmp_path, row, says):
    origin = Origin("all.jsonl", "stamp", lambda: iter([{"task": "rain"}, row]))
    with pytest.raises(SourceError, match=says):
        grouping.locate(origin, {"task": "rain"}, "", str(tmp_path), fetch=True)
    assert not list(tmp_path.glob(".raw/*/*/")), "nothing half-made is left"


def test_values_are_told_apart_by_all_columns_and_by_their_type(tmp_path):
    rows = [{"a": a, "b": b, "n": n} for n, (a, b) in enumerate(["xy", "yx", "xy", ("x", 1)])]
    origin = Origin("all.jsonl", "stamp", lambda: iter(rows))
    find = lambda **where: grouping.locate(origin, where, "", str(tmp_path), fetch=True)  # noqa: E731
    assert [row["n"] for row in find(a="x", b="y").read()] == [0, 2]
    assert [row["n"] for row in find(a="y", b="x").read()] == [1]
    with pytest.raises(Unavailable):
        find(a="x", b="1")


def test_several_workers_group_it_once(settings, tmp_path):
    wanted = [(card(name), "train") for name in NAMES]
    prepare_runners.on_processes(wanted, settings, 2)
    for name in NAMES:
        split = store.open_split(card(name), "train", settings)
        assert split.row(0)["question"] == rows_of(name, settings)[0]["q"]
    assert len(list(tmp_path.glob("store/.raw/*/*/index.json"))) == 1


GROUP = """
import itertools, json, os, sys, time
from flan_tasks import grouping
from flan_tasks.origin import Origin
folder = sys.argv[1]
def read():
    open(f"{folder}/{os.getpid()}.reads", "w").close()
    for number in range(3000):
        time.sleep(0.0002)
        yield {"task": str(number % 3), "n": number}
grouping._MOST_HELD = 1000
origin = Origin("all", "stamp", read)
found = grouping.locate(origin, {"task": "1"}, "", f"{folder}/store", fetch=True)
assert [row["n"] for row in found.read()] == list(range(1, 3000, 3))
"""


def test_processes_wait_for_the_one_that_groups_and_take_over_when_it_is_killed(tmp_path):
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    arguments = [sys.executable, "-c", GROUP, str(tmp_path)]
    processes = [subprocess.Popen(arguments, env=environment) for _ in range(3)]
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("store/.raw/*/.making/*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.002)
    (at_work,) = (int(path.stem) for path in tmp_path.glob("*.reads"))
    for process in processes:
        if process.pid == at_work:
            process.kill()
    codes = [process.wait(timeout=60) for process in processes]
    assert sorted(codes) == [-9, 0, 0]
    assert len(list(tmp_path.glob("*.reads"))) == 2, "one took over, one used what that made"
