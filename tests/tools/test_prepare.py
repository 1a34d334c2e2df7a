"""tools/prepare.py, as it is run from a shell."""

import json
import os
import pathlib
import subprocess
import sys

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
    result = run("bool_q", "niv2", "--use", "samples", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "bool_q" in prepared(tmp_path)
    assert any(name.startswith("niv2_") for name in prepared(tmp_path)), "a family is its datasets"
    table = result.stdout.splitlines()
    assert table[0].split()[:4] == ["dataset", "split", "rows", "seconds"]
    (line,) = (line for line in table if line.startswith("bool_q ") and " train " in line)
    assert "none / samples: " in line
    assert table[-1].startswith(f"{len(table) - 2} of {len(table) - 2} splits, ")


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
