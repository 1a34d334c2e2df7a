"""tools/prepare.py, as it is run from a shell."""

import json
import os
import pathlib
import subprocess
import sys
import types

import pytest

from flan_tasks import catalog

PROGRAM = pathlib.Path(__file__).parents[2] / "tools" / "prepare.py"


def run(*arguments):
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("FLAN_")},
        "PYTHONPATH": str(PROGRAM.parents[1]),
    }
    return subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
    )


def prepared(folder):
    return sorted({path.parent.parent.parent.name for path in folder.rglob("[!.]*/metadata.json")})


def test_samples_are_prepared_when_asked_for(tmp_path):
    result = run("bool_q", "niv2_task1146_country_capital", "--use", "samples", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert prepared(tmp_path) == ["bool_q", "niv2_task1146_country_capital"]
    table = result.stdout.splitlines()
    assert table[0].split()[:4] == ["dataset", "split", "rows", "seconds"]
    (line,) = (line for line in table if line.startswith("bool_q ") and " train " in line)
    assert "none / samples: " in line
    assert table[-1].startswith(f"{len(table) - 2} of {len(table) - 2} splits, ")


def test_a_familys_datasets_are_summed_up(tmp_path):
    arguments = ("wmt16_translate", "--use", "samples", "--out", tmp_path, "--workers", "2")
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    family = [card for card in catalog.load().values() if card.family == "wmt16_translate"]
    assert prepared(tmp_path) == sorted(card.name for card in family)
    table = [line.split() for line in result.stdout.splitlines()]
    assert [cells[:2] for cells in table[1:-1]] == [
        ["wmt16_translate", split] for split in family[0].splits
    ], "one line for each split"
    assert result.stdout.count(f" / samples: {len(family)} datasets") == len(family[0].splits)
    num_rows = [int(cells[2].replace(",", "")) for cells in table[1:-1]]
    assert f"{sum(num_rows):,} rows" in result.stdout.splitlines()[-1]


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    import prepare_table

    return prepare_table


def outcome(table, number, error=""):
    rows = types.SimpleNamespace(num_rows=1000, drops={"too old": number}, origin="files: a.json")
    card = types.SimpleNamespace(name=f"weather_{number}", family="weather")
    return table.Outcome(card, "train", 0.5, None if error else rows, error)


def test_what_failed_of_a_family_is_listed_and_the_rest_summed_up(table):
    outcomes = [outcome(table, n, f"fault {n}" if n % 2 else "") for n in range(20)]
    _, line, end = table.table(outcomes, 3.0)
    assert line.split()[:4] == ["weather", "train", "10,000", "10.0"]
    assert "too old 90 / files: 10 of 20 datasets failed, see below" in line
    assert end == "10 of 20 splits, 10,000 rows, 3.0 s"
    complaints = list(table.complaints(outcomes))
    assert complaints[:3] == ["fault 1", "fault 3", "fault 5"] and len(complaints) == 4
    assert "7 more datasets failed" in complaints[3]
    assert all(f"weather_{n}" in complaints[3] for n in range(7, 20, 2))


def test_nothing_left_of_a_family(table):
    outcomes = [outcome(table, n, "fault") for n in range(4)]
    assert " failed " in list(table.table(outcomes, 3.0))[1]
    assert list(table.table(outcomes[:1], 3.0))[1].startswith("weather_0 train")


def test_one_dead_source_does_not_stop_the_others(tmp_path):
    rows = [{"question": "q", "answer": "<<1+1=2>>2\n#### 2"}] * 3
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    gin_file = tmp_path / "here.gin"
    gin_file.write_text(
        "from __gin__ import dynamic_registration\n"
        "from flan_tasks import sources\n"
        "sources.settings.files = {'cot_gsm8k': "
        "{'train': 'rows.jsonl', 'test': 'rows.jsonl'}}\n"
    )
    arguments = ("bool_q", "cot_gsm8k", "--use", "files", "--data_dir", tmp_path)
    arguments += ("--out", tmp_path / "store", "--gin_file", gin_file)
    result = run(*arguments)
    assert result.returncode == 1 and prepared(tmp_path / "store") == []
    assert "3 rows, but the card says" in result.stderr
    assert result.stdout.count(" failed ") == 5 and "0 of 5 splits" in result.stdout
    result = run(*arguments, "--allow_partial")
    assert result.returncode == 1 and prepared(tmp_path / "store") == ["cot_gsm8k"]
    assert result.stdout.count(" failed ") == 3 and "2 of 5 splits, 6 rows" in result.stdout
    assert "dataset bool_q: split 'train' is not to be had" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_dry_run_says_what_is_there_and_prepares_nothing(tmp_path):
    result = run("bool_q", "--use", "files", "samples", "--out", tmp_path, "--dry_run")
    assert result.returncode == 0
    assert "no data directory is set" in result.stdout and "bool_q.jsonl" in result.stdout
    assert prepared(tmp_path) == []
    result = run("wmt16_translate", "--use", "files", "samples", "--out", tmp_path, "--dry_run")
    lines = [line.split()[:5] for line in result.stdout.splitlines()]
    assert lines == [
        ["wmt16_translate", "files", "0", "of", "6"],
        ["wmt16_translate", "samples", "6", "of", "6"],
    ]


def test_an_unknown_dataset_is_refused_in_one_message(tmp_path):
    result = run("boolq", "--out", tmp_path)
    assert result.returncode == 1
    assert "there is no dataset 'boolq'" in result.stderr and "bool_q" in result.stderr
    assert "Traceback" not in result.stderr


def test_options_that_go_with_nothing_are_refused(tmp_path):
    for more, complaint in [
        (("--beam_option", "project=x"), "goes with --runner"),
        (("--workers", "0"), "1 or more"),
        (("--workers", "2", "--runner", "FnApiRunner"), "not allowed with"),
    ]:
        result = run("bool_q", "--out", tmp_path, *more)
        assert result.returncode == 2 and complaint in result.stderr
    assert not list(tmp_path.iterdir())
