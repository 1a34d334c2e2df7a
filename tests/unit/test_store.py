"""The store: what is read is what was prepared, and nothing half-written is taken for whole."""

import json
import os
import pathlib
import time

import numpy as np
import pytest
from example_dataset import dataset

from flan_tasks import preparing, sources, store, store_files
from flan_tasks.errors import SourceError, StoreError
from flan_tasks.spec import Answer, Source

CARD = dataset(
    source=Source(files={"train": "train.jsonl"}),
    splits={"train": "train[:-2]", "validation": "train[-2:]"},
    num_examples={"train": 48, "validation": 2},
    fields={"question": "q", "label": "a", "choices": "c"},
    answer=Answer(label="label", options_from="choices"),
)


def row(number):
    return {"q": f"question {number} é", "a": number % 3, "c": [f"{number}-{i}" for i in range(3)]}


def fields(number):
    raw = row(number)
    return {"question": raw["q"], "label": raw["a"], "choices": raw["c"]}


def write_rows(folder, rows):
    text = "".join(json.dumps(each) + "\n" for each in rows)
    pathlib.Path(folder, "train.jsonl").write_text(text, "utf-8")


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data", map(row, range(50)))
    return sources.settings(
        data_dir=str(tmp_path / "data"), store_dir=str(tmp_path / "store"), use=("files",)
    )


def prepared_folder(settings, split="train"):
    (folder,) = pathlib.Path(settings.store_dir, CARD.name, split).glob("[!.]*")
    return folder


def test_rows_come_back_in_the_order_asked_for(settings):
    split = store.open_split(CARD, "train", settings)
    assert (split.num_rows, split.drops) == (48, {})
    assert split.origin == f"files: {settings.data_dir}/train.jsonl"
    wanted = [47, 0, 3, 3, 12]
    columns = split.read(np.array(wanted))
    assert columns.keys() == {"question", "label", "choices"}
    for name, values in columns.items():
        assert values == [fields(number)[name] for number in wanted]
    assert split.read(np.array([], np.int64)) == {"question": [], "label": [], "choices": []}


def test_rows_of_many_shards_are_one_sequence(settings, monkeypatch):
    monkeypatch.setattr(preparing, "ROWS_PER_SHARD", 10)
    split = store.open_split(CARD, "train", settings)
    assert len(list(prepared_folder(settings).glob("*.arrow"))) == 5
    wanted = np.random.default_rng(0).permutation(48)
    assert split.read(wanted)["question"] == [row(number)["q"] for number in wanted]
    assert [split.row(number) for number in range(48)] == [fields(number) for number in range(48)]


@pytest.mark.parametrize("rows", [[48], [-1], [0, 99]])
def test_rows_that_are_not_there_are_refused(settings, rows):
    with pytest.raises(IndexError, match="0:48"):
        store.open_split(CARD, "train", settings).read(np.array(rows))
    with pytest.raises(IndexError, match="0:48"):
        store.open_split(CARD, "train", settings).row(rows[-1])


def test_a_prepared_split_is_not_prepared_again(settings):
    store.prepare(CARD, settings)
    before = (prepared_folder(settings) / "metadata.json").stat().st_mtime_ns
    store.prepare(CARD, settings)
    store.open_split(CARD, "train", settings, prepare_missing=False)
    assert (prepared_folder(settings) / "metadata.json").stat().st_mtime_ns == before


def test_other_data_are_prepared_anew(settings):
    store.open_split(CARD, "train", settings)
    write_rows(settings.data_dir, map(row, range(100, 150)))
    with pytest.raises(StoreError, match=r"not prepared.*\n.*tools/prepare.py weather"):
        store.open_split(CARD, "train", settings, prepare_missing=False)
    split = store.open_split(CARD, "train", settings)
    assert split.read(np.array([0]))["question"] == [row(100)["q"]]
    assert prepared_folder(settings).is_dir(), "the outdated rows are gone"


def test_another_card_is_prepared_apart(settings):
    store.open_split(CARD, "train", settings)
    renamed = {"query": "q", "label": "a", "choices": "c"}
    other = store.open_split(dataset(**{**vars(CARD), "fields": renamed}), "train", settings)
    assert "query" in other.read(np.array([0]))
    assert "question" in store.open_split(CARD, "train", settings).read(np.array([0]))


def test_prepared_rows_serve_where_the_raw_data_are_not(settings):
    store.open_split(CARD, "train", settings)
    os.remove(os.path.join(settings.data_dir, "train.jsonl"))
    assert store.open_split(CARD, "train", settings, prepare_missing=False).num_rows == 48
    with pytest.raises(SourceError, match="split 'validation' is not to be had"):
        store.open_split(CARD, "validation", settings)


def test_a_store_of_samples_does_not_serve_for_data(settings, tmp_path, monkeypatch):
    samples = tmp_path / "samples"
    samples.mkdir()
    monkeypatch.setattr(sources, "_SAMPLES", samples)
    (samples / "weather.jsonl").write_text("".join(json.dumps(row(n)) + "\n" for n in range(9)))
    os.remove(os.path.join(settings.data_dir, "train.jsonl"))
    with_samples = sources.settings(
        data_dir=settings.data_dir, store_dir=settings.store_dir, use=("files", "samples")
    )
    assert store.open_split(CARD, "train", with_samples).num_rows == 5
    with pytest.raises(SourceError):
        store.open_split(CARD, "train", settings)
    write_rows(settings.data_dir, map(row, range(50)))
    assert store.open_split(CARD, "train", with_samples).num_rows == 48, "files come first"


def test_a_split_of_another_size_is_refused_unless_partial_ones_are_allowed(settings, capsys):
    write_rows(settings.data_dir, map(row, range(30)))
    with pytest.raises(SourceError, match=r"28 rows, but the card says 48.*\n.*allow_partial"):
        store.open_split(CARD, "train", settings)
    with pytest.raises(StoreError, match="not prepared"):
        store.open_split(CARD, "train", settings, prepare_missing=False)
    partial = sources.settings(
        data_dir=settings.data_dir,
        store_dir=settings.store_dir,
        use=("files",),
        allow_partial=True,
    )
    assert store.open_split(CARD, "train", partial).num_rows == 28
    assert "weather train: 28 rows instead of 48" in capsys.readouterr().err
    metadata = json.loads((prepared_folder(settings) / "metadata.json").read_text())
    assert (metadata["num_read"], metadata["num_expected"]) == (28, 48)
    with pytest.raises(SourceError, match="28 rows, but the card says 48"):
        store.open_split(CARD, "train", settings)


def test_dropped_rows_are_counted(settings):
    rows = [row(number) for number in range(50)]
    for number in (3, 7):
        rows[number]["a"] = -1
    write_rows(settings.data_dir, rows)
    split = store.open_split(CARD, "train", settings)
    assert (split.num_rows, split.drops) == (46, {"no label": 2})
    assert split.read(np.array([3]))["question"] == [row(4)["q"]]


def test_a_split_of_which_nothing_is_left_is_an_error(settings):
    write_rows(settings.data_dir, ({**row(number), "a": -1} for number in range(50)))
    with pytest.raises(SourceError, match="no row is left of 48; dropped: no label 48") as error:
        store.open_split(CARD, "train", settings)
    assert "dataset weather" in str(error.value) and settings.data_dir in str(error.value)


def test_a_row_that_cannot_be_cleaned_is_named_and_leaves_nothing(settings):
    rows = [row(number) for number in range(50)]
    del rows[20]["q"]
    write_rows(settings.data_dir, rows)
    with pytest.raises(SourceError, match=r"row 21 of train.*KeyError: 'q'.*columns are a, c"):
        store.open_split(CARD, "train", settings)
    assert not [path for path in pathlib.Path(settings.store_dir).rglob("*") if path.is_file()]


def test_a_field_of_another_type_than_before_is_named(settings):
    rows = [row(number) for number in range(50)]
    rows[5]["q"] = ["a", "list"]
    write_rows(settings.data_dir, rows)
    with pytest.raises(SourceError, match=r"row 6 of train.*'question': 'list'"):
        store.open_split(CARD, "train", settings)


@pytest.mark.parametrize("change", ["flip", "cut", "remove"])
def test_a_damaged_shard_is_named(settings, change):
    store.open_split(CARD, "train", settings).read(np.array([0]))
    shard = prepared_folder(settings) / "00000.arrow"
    data = bytearray(shard.read_bytes())
    if change == "remove":
        shard.unlink()
    else:
        data[len(data) // 2] ^= 1
        shard.write_bytes(data if change == "flip" else data[:-10])
    with pytest.raises(StoreError, match=r"00000.arrow: .*\n.*Delete the folder"):
        store.open_split(CARD, "train", settings).read(np.array([0]))


def test_checksums_are_reckoned_once(settings, monkeypatch):
    store.open_split(CARD, "train", settings).read(np.array([0]))
    monkeypatch.setattr(store_files.disk, "sha256", lambda path: pytest.fail("reckoned again"))
    store.open_split(CARD, "train", settings).read(np.array([0]))


def test_damaged_metadata_are_named(settings):
    store.open_split(CARD, "train", settings)
    metadata = prepared_folder(settings) / "metadata.json"
    for text in ("{", "[]", "{}", '{"shards": []}'):
        metadata.write_text(text)
        with pytest.raises(StoreError, match=r"metadata.json: not the metadata"):
            store.open_split(CARD, "train", settings)


def test_a_split_that_the_card_lacks_is_refused(settings):
    with pytest.raises(StoreError, match=r"no split 'dev'.*\n.*train, validation"):
        store.open_split(CARD, "dev", settings)


def test_a_remote_store_is_refused(settings):
    remote = sources.settings(data_dir=settings.data_dir, store_dir="gs://bucket/store")
    with pytest.raises(StoreError, match="has to be on a file system"):
        store.open_split(CARD, "train", remote)


def test_a_batch_of_random_rows_is_cheap(settings, tmp_path):
    write_rows(settings.data_dir, map(row, range(5_000)))
    card = dataset(**{**vars(CARD), "num_examples": {"train": 4_998, "validation": 2}})
    split = store.open_split(card, "train", settings)
    rows = np.random.default_rng(0).integers(0, split.num_rows, 1_024)
    split.read(rows)
    start = time.perf_counter()
    split.read(rows)
    assert time.perf_counter() - start < 0.1
