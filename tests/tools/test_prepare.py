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


def stored(folder):
    return sorted({path.parts[len(folder.parts)] for path in folder.rglob("*.arrow")})


def test_samples_are_prepared_when_asked_for(tmp_path):
    result = run("bool_q", "niv2", "--use", "samples", "--store_dir", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "bool_q" in stored(tmp_path)
    assert any(name.startswith("niv2_") for name in stored(tmp_path)), "a family is its datasets"
    assert "samples: " in result.stdout and " rows " in result.stdout


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
    arguments += ("--store_dir", tmp_path / "store", "--gin_file", gin_file)
    result = run(*arguments)
    assert result.returncode == 1 and stored(tmp_path / "store") == []
    assert "3 rows, but the card says" in result.stderr
    result = run(*arguments, "--allow_partial")
    assert result.returncode == 1 and stored(tmp_path / "store") == ["cot_gsm8k"]
    assert "dataset bool_q: split 'train' is not to be had" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_dry_run_says_what_is_there_and_prepares_nothing(tmp_path):
    result = run("bool_q", "--use", "files", "samples", "--store_dir", tmp_path, "--dry_run")
    assert result.returncode == 0
    assert "no data directory is set" in result.stdout and "bool_q.jsonl" in result.stdout
    assert stored(tmp_path) == []


def test_an_unknown_dataset_is_refused_in_one_message(tmp_path):
    result = run("boolq", "--store_dir", tmp_path)
    assert result.returncode == 1
    assert "there is no dataset 'boolq'" in result.stderr and "bool_q" in result.stderr
    assert "Traceback" not in result.stderr
