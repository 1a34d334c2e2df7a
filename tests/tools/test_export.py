"""tools/export.py: what training sees, as text; the same bytes however it was written."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import gin
import numpy as np
import pyarrow.parquet as pq
import pytest

import flan_tasks
from flan_tasks import catalog, sharded_output

TOOLS = pathlib.Path(__file__).parents[2] / "tools"
ROWS = 12  # of a train split of the embedded samples


@pytest.fixture(scope="module")
def gin_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("settings")
    path = folder / "samples.gin"
    path.write_text(
        "from __gin__ import dynamic_registration\n"
        "from flan_tasks import mixtures\n"
        "from flan_tasks import sources\n"
        "from flan_tasks import vocabulary\n"
        "sources.settings.use = ('samples',)\n"
        f"sources.settings.store_dir = '{folder}/store'\n"
        "vocabulary.settings.path = 'small'\n"
        "MIXTURE_OR_TASK_NAME = @mixtures.register()\n"
        "mixtures.register.name = 'of_two'\n"
        "mixtures.register.include = ['bool_q', 'cot_gsm8k']\n"
    )
    return path


@pytest.fixture
def export(gin_file, monkeypatch):
    """Runs the program in this process, on the embedded samples; returns its exit code."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import export as program

    def run(*arguments):
        gin.clear_config()
        # A worker takes seconds to start; what workers write is compared in a test of its own.
        return program.main(["--workers", "1", *map(str, arguments), "--gin_file", str(gin_file)])

    yield run
    gin.clear_config()


def lines(folder):
    paths = sorted(pathlib.Path(folder).glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()]


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}


def test_a_task_is_written_whole_with_its_provenance(export, tmp_path):
    assert export("bool_q_fs_opt", "--format", "jsonl", "--out", tmp_path / "out") == 0
    records = lines(tmp_path / "out")
    assert sorted(record["row"] for record in records) == list(range(ROWS))
    assert [record["position"] for record in records] == list(range(ROWS))
    card = catalog.get("bool_q")
    for record in records:
        assert (record["task"], record["variant"]) == ("bool_q_fs_opt", "fs_opt")
        assert (record["dataset"], record["collection"]) == ("bool_q", card.collection)
        assert (record["license"], record["homepage"]) == (card.license, card.homepage)
        assert record["languages"] == list(card.languages)
        assert record["template"].startswith("bool_q/") and record["style"]
        assert record["row"] not in record["exemplars"] and len(record["exemplars"]) >= 1
        assert record["targets"] in record["references"]
        assert 1 < record["inputs_tokens"] <= 2048 and 1 < record["targets_tokens"] <= 512
    metadata = sharded_output.verify(str(tmp_path / "out"))
    assert metadata["totals"]["examples"] == ROWS and metadata["totals"]["left_out"] == 0
    assert metadata["job"]["datasets"]["bool_q"]["rows"] == ROWS


def test_it_is_what_training_sees(export, tmp_path):
    arguments = ("--num", 200, "--seed", 3, "--lengths", "512,64", "--format", "jsonl")
    assert export(*arguments, "--out", tmp_path / "out") == 0
    records = lines(tmp_path / "out")
    import seqio

    flan_tasks.register()
    seen = seqio.get_mixture_or_task("of_two").get_dataset(
        {"inputs": 512, "targets": 64},
        split="train",
        seed=3,
        copy_pretokenized=True,
        passthrough_features=("row", "index", "references"),
    )
    for record, example in zip(records, seen.as_numpy_iterator(), strict=False):
        assert record["inputs"] == example["inputs_pretokenized"].decode()
        assert record["targets"] == example["targets_pretokenized"].decode()
        assert record["references"] == [text.decode() for text in example["references"]]
        assert (record["row"], record["index"]) == (example["row"], example["index"])
        assert record["inputs_tokens"] == len(example["inputs"])


def test_what_is_too_long_is_left_out_and_counted(export, tmp_path):
    arguments = ("--num", 200, "--format", "jsonl", "--out", tmp_path / "out")
    assert export(*arguments, "--lengths", "200,30", "--shards", 3) == 0
    records = lines(tmp_path / "out")
    metadata = sharded_output.verify(str(tmp_path / "out"))
    assert 0 < len(records) == metadata["totals"]["examples"] < 200
    assert len(records) + metadata["totals"]["left_out"] == 200
    assert max(record["inputs_tokens"] for record in records) <= 200
    assert max(record["targets_tokens"] for record in records) <= 30
    positions = [record["position"] for record in records]
    assert positions == sorted(set(positions)) and max(positions) < 200


def test_neither_workers_nor_shards_change_what_is_written(export, tmp_path):
    def written(name, *arguments):
        options = ("--num", 60, "--format", "jsonl", "--out", tmp_path / name)
        assert export("of_two", *options, *arguments) == 0
        return bytes_of(tmp_path / name)

    by_one = written("one", "--shards", 4)
    assert by_one == written("two", "--shards", 4, "--workers", 2)
    [whole] = [v for k, v in written("whole").items() if k.endswith(".jsonl")]
    assert whole == b"".join(by_one[name] for name in sorted(by_one) if name.endswith(".jsonl"))
    other = written("other", "--shards", 4, "--seed", 1)
    assert other["train-00000-of-00004.jsonl"] != by_one["train-00000-of-00004.jsonl"]


def test_the_gin_file_names_the_mixture_and_every_format_holds_the_same(export, tmp_path):
    datasets = pytest.importorskip("datasets")
    loaded = {}
    for format in ("jsonl", "parquet", "hf"):
        folder = tmp_path / format
        assert export("--format", format, "--num", 50, "--shards", 2, "--out", folder) == 0
        loaded[format] = datasets.load_dataset(
            str(folder), cache_dir=str(tmp_path / "cache"), split="train"
        ).to_list()
    assert loaded["hf"] == loaded["parquet"] == loaded["jsonl"] == lines(tmp_path / "jsonl")
    assert {record["dataset"] for record in loaded["hf"]} == {"bool_q", "cot_gsm8k"}
    assert pq.read_schema(tmp_path / "hf" / "train-00000-of-00002.parquet").names == list(
        loaded["hf"][0]
    )


def test_the_dataset_card_counts_the_examples_and_names_the_licences(export, tmp_path):
    arguments = ("--format", "hf", "--num", 40, "--split", "validation")
    assert export("of_two", *arguments, "--out", tmp_path / "out") == 0
    text = (tmp_path / "out" / "README.md").read_text()
    table = pq.read_table(tmp_path / "out" / "validation-00000-of-00001.parquet")
    names, counts = np.unique(table["dataset"].to_pylist(), return_counts=True)
    assert names.tolist() == ["bool_q"], "cot_gsm8k has no validation split"
    for name, count in zip(names, counts, strict=True):
        [line] = [line for line in text.splitlines() if line.startswith(f"| [{name}]")]
        assert f"| {count} |" in line and catalog.get(name).license in line
    assert text.startswith("---\n") and "  - split: validation\n" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("of_two",), r"of_two: a mixture has no end\n.*--num"),
        (("of_tow", "--num", 3), r"no task or mixture 'of_tow'\n  Did you mean of_two"),
        (("bool_q_zs_opt", "--split", "dev"), r"no task has a split 'dev'\n.*validation"),
        (("bool_q_zs_opt", "--shards", 99), r"12 positions do not fill 99 files"),
    ],
)
def test_what_cannot_be_written_is_refused(export, tmp_path, capsys, arguments, message):
    assert export(*arguments, "--format", "jsonl", "--out", tmp_path / "out") == 1
    assert re.search(message, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_another_export_in_the_folder_is_refused(export, tmp_path, capsys):
    arguments = ("bool_q_zs_opt", "--format", "jsonl", "--out", tmp_path / "out")
    assert export(*arguments) == 0
    before = bytes_of(tmp_path / "out")
    assert export(*arguments) == 0, "the same again is done already"
    assert export(*arguments, "--seed", 1) == 1
    assert "seed 0, not 1" in capsys.readouterr().err
    assert bytes_of(tmp_path / "out") == before


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(export, tmp_path, capsys):
    arguments = ("of_two", "--format", "hf", "--out", tmp_path / "out", "--num", 120_000)
    assert export(*arguments, "--dry_run") == 0
    printed = capsys.readouterr().out
    assert "3 files, train-00000-of-00003.parquet to train-00002-of-00003.parquet" in printed
    assert "samples" in printed and catalog.get("bool_q").license in printed
    assert list(tmp_path.iterdir()) == []


def test_killed_and_started_again_it_writes_the_same_bytes(export, gin_file, tmp_path):
    arguments = ("of_two", "--format", "jsonl", "--num", "3000", "--shards", "100")
    assert export(*arguments, "--out", tmp_path / "whole") == 0
    command = [sys.executable, str(TOOLS / "export.py"), *arguments, "--workers", "1"]
    command += ["--gin_file", str(gin_file), "--out", str(tmp_path / "killed")]
    environment = {**os.environ, "PYTHONPATH": str(TOOLS.parent)}
    unfinished = tmp_path / "killed.unfinished"
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        while len(list(unfinished.glob("records/*.json"))) < 10:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "killed").exists()
    finished = {path.name: path.stat().st_mtime_ns for path in unfinished.glob("*.jsonl")}
    assert 10 <= len(finished) < 100
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")
    times = {name: (tmp_path / "killed" / name).stat().st_mtime_ns for name in finished}
    redone = [name for name in finished if times[name] != finished[name]]
    assert len(redone) <= 1, "only a shard whose record was not written yet"
