"""Shards made by other processes and by Beam are those that this process would make."""

import json
import pathlib

import pytest
from example_dataset import dataset

from flan_tasks import prepare_runners, preparing, sources, store
from flan_tasks.errors import SourceError
from flan_tasks.spec import Answer, Source

CARDS = [
    dataset(
        name=name,
        source=Source(files={"train": "rows.jsonl", "dev": f"{name}.jsonl"}),
        splits={"train": "train[:-5]", "validation": "dev"},
        num_examples={"train": 95, "validation": 3},
        fields={"question": "q", "answer": "a"},
        answer=Answer(text="answer"),
    )
    for name in ("faulty", "sound")
]
WANTED = [(card, split) for card in CARDS for split in card.splits]


@pytest.fixture
def settings(tmp_path):
    rows = [json.dumps({"q": f"question {number}", "a": "x"}) for number in range(100)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    (tmp_path / "sound.jsonl").write_text("\n".join(rows[:3]))
    (tmp_path / "faulty.jsonl").write_text("\n".join([*rows[:2], '{"q": "no answer"}']))
    return settings_of(tmp_path, "by_others")


def settings_of(folder, out):
    return sources.settings(data_dir=str(folder), store_dir=str(folder / out), use=("files",))


def shards(store_dir):
    """Dataset, split and name of a shard -> its bytes, whether in place already or not."""
    return {
        (*path.relative_to(store_dir).parts[:2], path.name): path.read_bytes()
        for path in pathlib.Path(store_dir).rglob("0*")
    }


def check(settings, tmp_path):
    """The shards are all there before any split is opened; then all splits are, but the faulty."""
    made = shards(settings.store_dir)
    assert not list(pathlib.Path(settings.store_dir).rglob("metadata.json"))
    alone = settings_of(tmp_path, "alone")
    for each in (settings, alone):
        for card, split in WANTED:
            if (card.name, split) == ("faulty", "validation"):
                with pytest.raises(SourceError, match="row 3 of validation"):
                    store.open_split(card, split, each)
            else:
                assert store.open_split(card, split, each).num_rows == card.num_examples[split]
    assert made == shards(settings.store_dir) == shards(alone.store_dir)


def test_beam(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "ROWS_PER_SHARD", 10)
    prepare_runners.on_beam(WANTED, settings, ["--runner=FnApiRunner"])
    assert sum(name[2].endswith(".arrow") for name in shards(settings.store_dir)) == 10 + 10 + 1
    check(settings, tmp_path)


def test_processes(settings, tmp_path):
    prepare_runners.on_processes(WANTED, settings, 2)
    check(settings, tmp_path)


def test_the_work_is_cut_into_pieces_that_leave_nothing_out(settings, monkeypatch):
    monkeypatch.setattr(preparing, "ROWS_PER_SHARD", 10)
    pieces = prepare_runners._pieces(WANTED[:1], settings, 4)
    assert [(piece.first, piece.stop) for piece in pieces] == [(0, 2), (2, 5), (5, 7), (7, None)]
    pieces = prepare_runners._pieces(WANTED[2:], settings, 100)
    bounds = [(piece.split, piece.first, piece.stop) for piece in pieces]
    assert bounds[-1] == ("validation", 0, None) and len(bounds) == 11


def test_what_is_prepared_is_no_work(settings):
    store.prepare(CARDS[1], settings)
    assert prepare_runners._pieces(WANTED[2:], settings, 4) == []
