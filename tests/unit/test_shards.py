"""Shards: a pattern stands for all its files, in the order of their numbers, or for none."""

import gzip
import json
import random

import pytest
from example_dataset import dataset

from flan_tasks import shards, sources
from flan_tasks.errors import SourceError
from flan_tasks.origin import Unavailable
from flan_tasks.spec import Source


def write(folder, names):
    """One row a file, which holds the file's place in `names`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        data = json.dumps({"n": number}).encode()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def read(folder, pattern):
    card = dataset(source=Source(files={"train": pattern}))
    settings = sources.settings(data_dir=str(folder), store_dir="/nowhere", use="files")
    return [row["n"] for row in sources.raw_rows(card, "train", settings)]


def shard_names(total, before="train.jsonl", after=""):
    return [f"{before}-{number:05d}-of-{total:05d}{after}" for number in range(total)]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("wiki/train.jsonl-*", shard_names(12)),
        ("wiki/train.jsonl-*", shard_names(12, after=".gz")),
        ("wiki/train-*.jsonl", shard_names(12, "train", ".jsonl")),
        ("wiki/train-*.jsonl", shard_names(12, "train", ".jsonl.gz")),
        ("wiki/train-*.jsonl", [f"train-{n:05d}-of-00003-{n * 77}e1.jsonl" for n in range(3)]),
        ("wiki/part*.jsonl", [f"part{n}.jsonl" for n in (1, 2, 10, 11, 100)]),
        ("wiki/train.jsonl-*", ["train.jsonl-9", "train.jsonl-10"]),
        ("wiki/train_*.jsonl", [f"train_{n}-of-3.jsonl" for n in (1, 2, 3)]),
        ("wiki/train.jsonl-*", [f"train.jsonl-{n}-of-3" for n in (1, 2, 3)]),
    ],
)
def test_shards_are_read_in_the_order_of_their_numbers(tmp_path, pattern, names):
    write(tmp_path / "wiki", names)
    write(tmp_path / "wiki", ["other.jsonl", ".train.jsonl-00000-of-00099.part", "train.tsv"])
    assert read(tmp_path, pattern) == list(range(len(names)))


def test_the_order_does_not_depend_on_that_of_the_listing():
    names = shard_names(120)
    shuffled = random.Random(0).sample(names, len(names))
    assert shards.pick(shuffled, "train.jsonl-*") == names


def test_a_shard_that_is_there_twice_is_read_once():
    names = shard_names(3)
    assert shards.pick([*names, f"{names[1]}.gz"], "train.jsonl-*") == names


def test_shards_that_are_missing_are_named(tmp_path):
    names = shard_names(100)
    write(tmp_path, [name for name in names if name not in (names[3], names[70])])
    with pytest.raises(SourceError) as error:
        read(tmp_path, "train.jsonl-*")
    assert f"2 of 100 shards are missing: {names[3]}, {names[70]}" in str(error.value)
    with pytest.raises(Unavailable, match=r"99 of 100 shards are missing.*00004-of-00100 …"):
        shards.pick(names[5:6], "train.jsonl-*")


@pytest.mark.parametrize(
    "names",
    [
        shard_names(2) + shard_names(3),
        ["train-0-of-1-abc.jsonl", "train-0-of-1-def.jsonl"],
    ],
)
def test_two_sets_of_shards_are_not_taken_for_one(names):
    with pytest.raises(Unavailable, match="more than one set of shards"):
        shards.pick(names, "train*")


def test_several_series_may_lie_in_one_folder():
    names = shard_names(2, "train.jsonl") + shard_names(3, "test.jsonl")
    assert shards.pick(names, "train.jsonl-*") == names[:2]
    assert len(shards.pick(names, "*.jsonl-*")) == 5


def test_no_file_that_matches(tmp_path):
    with pytest.raises(SourceError, match=r"no file matches .*wiki/train.jsonl-\*"):
        read(tmp_path, "wiki/train.jsonl-*")


def test_the_stamp_changes_with_any_of_the_shards(tmp_path):
    write(tmp_path, shard_names(3))
    card = dataset(source=Source(files={"train": "train.jsonl-*"}))
    settings = sources.settings(data_dir=str(tmp_path), use="files")
    find = lambda: sources.find_split(card, "train", "files", settings, fetch=False)  # noqa: E731
    before = find()
    assert find().stamps == before.stamps
    assert before.origin == f"files: {tmp_path}/train.jsonl-* (3 files)"
    (tmp_path / shard_names(3)[1]).write_text('{"n": 77}\n')
    assert find().stamps != before.stamps
