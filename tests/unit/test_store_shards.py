"""Preparing by shards: what is finished stays, what is not is made again, and the bytes agree."""

import fcntl
import json
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from example_dataset import dataset

from flan_tasks import clean, preparing, sources, store
from flan_tasks.errors import SourceError, StoreError
from flan_tasks.spec import Answer, Source

CARD = dataset(
    source=Source(files={"train": "train.jsonl"}),
    num_examples={"train": 50},
    fields={"question": "q", "label": "a"},
)
FINISHED = {f"{number:05d}.{kind}" for number in range(5) for kind in ("arrow", "json")}


def rows(start=0, stop=50):
    return [{"q": f"question {number} é", "a": number % 2} for number in range(start, stop)]


def write_rows(folder, rows):
    text = "".join(json.dumps(each) + "\n" for each in rows)
    pathlib.Path(folder, "train.jsonl").write_text(text, "utf-8")


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "ROWS_PER_SHARD", 10)
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data", rows())
    return settings_of(tmp_path / "data", tmp_path / "store")


def settings_of(data, folder):
    return sources.settings(data_dir=str(data), store_dir=str(folder), use=("files",))


def files(settings):
    """Path -> bytes of all files in the store but those that readers leave."""
    root = pathlib.Path(settings.store_dir)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != "verified.json"
    }


def questions(split):
    return [split.row(number)["question"] for number in range(split.num_rows)]


def fail_at(monkeypatch, number):
    """Cleaning breaks down at a row, as a process that is stopped does."""

    def stop(value, tidy=clean.tidy):
        if value == f"question {number} é":
            raise KeyboardInterrupt
        return tidy(value)

    monkeypatch.setattr(clean, "tidy", stop)
    return pytest.raises(KeyboardInterrupt)


def interrupted(settings, number):
    """Prepares up to that row; the files that are left, by their inner path."""
    with pytest.MonkeyPatch.context() as patch, fail_at(patch, number):
        store.open_split(CARD, "train", settings)
    return {path.name: path for path in pathlib.Path(settings.store_dir).rglob("0*")}


def test_finished_shards_are_neither_made_nor_cleaned_again(settings, tmp_path, monkeypatch):
    left = interrupted(settings, 37)
    assert left.keys() == {name for name in FINISHED if int(name[:5]) < 3}
    with pytest.raises(StoreError, match="not prepared"):
        store.open_split(CARD, "train", settings, prepare_missing=False)
    before = {name: path.stat().st_mtime_ns for name, path in left.items()}
    cleaned = []
    monkeypatch.setattr(
        clean, "tidy", lambda value, do=clean.tidy: cleaned.append(value) or do(value)
    )
    split = store.open_split(CARD, "train", settings)
    assert len(cleaned) == 2 * 20, "two fields of the rows from 30 on"
    assert questions(split) == [each["q"] for each in rows()]
    folder = pathlib.Path(settings.store_dir, "weather", "train")
    (folder,) = folder.iterdir()
    assert before == {name: (folder / name).stat().st_mtime_ns for name in before}
    undisturbed = settings_of(settings.data_dir, tmp_path / "undisturbed")
    store.open_split(CARD, "train", undisturbed)
    assert files(settings) == files(undisturbed)
    assert {path.name for path in folder.iterdir()} >= FINISHED | {"metadata.json"}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *(("00001.arrow", damage) for damage in ("flip", "cut", "empty", "remove")),
        *(("00001.json", damage) for damage in ("cut", "empty", "remove")),
    ],
)
def test_a_finished_shard_that_is_damaged_is_made_again(settings, tmp_path, name, damage):
    path = interrupted(settings, 37)[name]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    if damage != "remove":
        path.write_bytes({"flip": data, "cut": data[:-5], "empty": b""}[damage])
    store.open_split(CARD, "train", settings)
    undisturbed = settings_of(settings.data_dir, tmp_path / "undisturbed")
    store.open_split(CARD, "train", undisturbed)
    assert files(settings) == files(undisturbed)


def test_data_that_changed_between_runs_are_prepared_from_the_start(settings):
    left = interrupted(settings, 37)
    write_rows(settings.data_dir, rows(100, 150))
    assert questions(store.open_split(CARD, "train", settings)) == [
        each["q"] for each in rows(100, 150)
    ]
    assert not any(path.exists() for path in left.values()), "shards of other data are swept away"


def test_any_process_makes_the_same_shards_in_any_order(settings, tmp_path):
    store.open_split(CARD, "train", settings)
    others = settings_of(settings.data_dir, tmp_path / "others")
    job = store.find(CARD, "train", others, fetch=True)
    assert job.num_shards == 5
    for first, stop in [(3, None), (1, 3), (0, 1)]:
        preparing.make_shards(job, first, stop)
    made = {path.name: path.stat().st_mtime_ns for path in pathlib.Path(job.work_folder).iterdir()}
    store.open_split(CARD, "train", others)
    assert files(others) == files(settings)
    for name, time_of_change in made.items():
        assert pathlib.Path(job.folder, name).stat().st_mtime_ns == time_of_change


def test_a_shard_past_the_end_of_the_rows_leaves_nothing(settings):
    job = store.find(CARD, "train", settings, fetch=True)
    assert preparing.make_shards(job, 7, None) == []
    assert not files(settings)


@pytest.mark.parametrize("count", [1, 10, 11, 40])
def test_as_many_shards_as_the_rows_take(settings, count):
    write_rows(settings.data_dir, rows(0, count))
    card = dataset(**{**vars(CARD), "num_examples": {}})
    assert questions(store.open_split(card, "train", settings)) == [
        each["q"] for each in rows(0, count)
    ]
    assert sum(path.endswith(".arrow") for path in files(settings)) == -(-count // 10)


def test_shards_of_which_no_row_is_left_are_no_files(settings):
    data = rows()
    for number in [*range(10), *range(20, 40), 44]:
        data[number]["a"] = -1
    write_rows(settings.data_dir, data)
    split = store.open_split(CARD, "train", settings)
    assert (split.num_rows, split.drops) == (19, {"no label": 31})
    assert questions(split) == [each["q"] for each in data if each["a"] != -1]
    names = {pathlib.Path(path).name for path in files(settings) if path.endswith(".arrow")}
    assert names == {"00001.arrow", "00004.arrow"}


def test_fields_of_another_type_in_another_shard_are_named_with_their_row(settings):
    data = rows()
    for number in (30, 33):
        data[number]["a"] = -1
    for number in range(30, 40):
        data[number]["q"] = ["a", "list"]
    write_rows(settings.data_dir, data)
    with pytest.raises(SourceError, match=r"row 32 of train.*'question': 'list'.*in row 1"):
        store.open_split(CARD, "train", settings)
    with pytest.raises(StoreError, match="not prepared"):
        store.open_split(CARD, "train", settings, prepare_missing=False)


def test_the_metadata_tell_what_the_rows_are(settings):
    store.open_split(CARD, "train", settings)
    (path,) = pathlib.Path(settings.store_dir).rglob("metadata.json")
    metadata = json.loads(path.read_text())
    assert metadata["types"] == {"question": "str", "label": "int"}
    assert (metadata["num_read"], metadata["num_expected"]) == (50, 50)
    assert path.parent.name == f"files-{metadata['recipe']}"
    assert [shard["num_rows"] for shard in metadata["shards"]] == [10] * 5
    assert all(len(shard["sha256"]) == 64 for shard in metadata["shards"])


def test_a_damaged_shard_does_not_spoil_the_others(settings):
    store.open_split(CARD, "train", settings)
    (path,) = pathlib.Path(settings.store_dir).rglob("00002.arrow")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    split = store.open_split(CARD, "train", settings)
    assert split.row(19)["question"] == rows()[19]["q"]
    with pytest.raises(StoreError, match=r"00002.arrow: its checksum"):
        split.row(20)


def test_another_process_may_put_the_split_in_place_first(settings, monkeypatch):
    """The other one finishes while this one is at a shard in the middle."""

    def overtake(value, tidy=clean.tidy):
        if value == "question 25 é":
            monkeypatch.setattr(clean, "tidy", tidy)
            store.open_split(CARD, "train", settings)
        return tidy(value)

    monkeypatch.setattr(clean, "tidy", overtake)
    assert questions(store.open_split(CARD, "train", settings)) == [each["q"] for each in rows()]
    folder = pathlib.Path(settings.store_dir, "weather", "train")
    assert [path.name[0] for path in folder.iterdir()] == ["f"], "nothing is left beside it"


PROGRAM = """
import sys, time
sys.path[:0] = {path}
from test_store_shards import CARD, questions, settings_of
from flan_tasks import clean, preparing, store
preparing.ROWS_PER_SHARD = 10
def slow(value, tidy=clean.tidy):
    if value == {stop!r}:
        print("half-way", flush=True)
        time.sleep(60)
    time.sleep(0.001)
    return tidy(value)
clean.tidy = slow
print(len(questions(store.open_split(CARD, "train", settings_of({data!r}, {store!r})))))
"""


def start(settings, stop=""):
    code = PROGRAM.format(
        path=sys.path, stop=stop, data=settings.data_dir, store=settings.store_dir
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_what_a_killed_process_was_writing_is_swept_away(settings):
    process = start(settings, "question 37 é")
    assert process.stdout.readline() == "half-way\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    folder = pathlib.Path(settings.store_dir, "weather", "train")
    (work_folder,) = folder.iterdir()
    stray, of_the_living = folder / ".tmp.0123", folder / ".tmp.4567"
    stray.write_text("half a shard")
    with of_the_living.open("xb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        split = store.open_split(CARD, "train", settings)
    assert questions(split) == [each["q"] for each in rows()]
    assert not work_folder.exists() and not stray.exists() and of_the_living.exists()


def test_processes_that_prepare_the_same_split_at_once_do_not_disturb_each_other(
    settings, tmp_path
):
    processes = [start(settings) for _ in range(3)]
    assert [process.communicate()[0] for process in processes] == ["50\n"] * 3
    undisturbed = settings_of(settings.data_dir, tmp_path / "undisturbed")
    store.open_split(CARD, "train", undisturbed)
    assert files(settings) == files(undisturbed)


def test_opening_is_cheap_for_many_splits(settings):
    store.open_split(CARD, "train", settings)
    start = time.perf_counter()
    splits = [store.open_split(CARD, "train", settings, prepare_missing=False) for _ in range(400)]
    assert time.perf_counter() - start < 1
    for split in splits:
        split.row(0)
    start = time.perf_counter()
    for number in np.random.default_rng(0).integers(0, 10, 400).tolist():
        splits[number].row(number)
    assert time.perf_counter() - start < 0.05


def test_lists_of_texts_come_back(settings):
    card = dataset(
        source=CARD.source,
        num_examples={"train": 12},
        fields={"question": "q", "choices": "c", "label": "a"},
        answer=Answer(label="label", options_from="choices"),
    )
    data = [{"q": "", "c": ["yes", "", "é"][: 2 + n % 2], "a": n % 2} for n in range(12)]
    write_rows(settings.data_dir, data)
    split = store.open_split(card, "train", settings)
    assert [split.row(n) for n in range(12)] == [
        {"question": each["q"], "choices": each["c"], "label": each["a"]} for each in data
    ]
