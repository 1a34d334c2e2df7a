"""tools/doctor.py: what can be had now, from where, and what to do about the rest."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time
import types

import gin
import pytest

from flan_tasks import card_checks, catalog, sources, store
from flan_tasks.errors import CardError, SourceError
from flan_tasks.origin import Unavailable

TOOLS = pathlib.Path(__file__).parents[2] / "tools"
STEPS = "Ask for it at https://example.org/data and put a.jsonl into the data directory."


@pytest.fixture
def doctor(monkeypatch, tmp_path):
    """Runs the program in this process; returns its exit code and what it wrote as JSON."""
    monkeypatch.syspath_prepend(str(TOOLS))
    for name in [name for name in os.environ if name.startswith(("FLAN_", "TFDS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FLAN_STORE_DIR", str(tmp_path / "store"))
    import doctor as program

    def run(*arguments):
        gin.clear_config()
        path = tmp_path / "doctor.json"
        given = [*map(str, arguments), "--json", str(path), "--tfds_data_dir", str(tmp_path)]
        code = program.main(given)
        entries = json.loads(path.read_text("utf-8"))["datasets"] if path.exists() else []
        return code, {entry["dataset"]: entry for entry in entries}

    yield run
    gin.clear_config()


def published_files(folder, text):
    """Both files of bool_q's card."""
    (folder / "bool_q").mkdir()
    for name in ("train", "dev"):
        (folder / "bool_q" / f"{name}.jsonl").write_text(text)


def changed(monkeypatch, name, **source):
    """Lets the catalog's card of a dataset have another source; returns the dataset."""
    card = catalog.get(name)
    card = dataclasses.replace(card, source=dataclasses.replace(card.source, **source))
    monkeypatch.setattr(catalog, "load", lambda: {name: card})
    return card


def test_files_that_are_there_are_at_hand(doctor, tmp_path, capsys):
    published_files(tmp_path, "12345\n")
    code, found = doctor("bool_q", "--use", "files", "--data_dir", tmp_path)
    entry = found["bool_q"]
    assert code == 0 and entry["can_be_had"]
    assert (entry["state"], entry["source"], entry["bytes"]) == ("at hand", "files", 12)
    assert entry["num_examples"] == dict(catalog.get("bool_q").num_examples)
    assert entry["license"] == "CC BY-SA 3.0" and entry["prepared_rows"] == {}
    shown = capsys.readouterr().out
    assert "1 of 1 datasets can be had now: 1 at hand" in shown and "CC BY-SA 3.0" in shown


def test_prepared_rows_are_found_without_their_source(doctor, tmp_path):
    settings = sources.settings(use=("samples",), store_dir=str(tmp_path / "store"))
    store.prepare(catalog.get("bool_q"), settings)
    code, found = doctor("bool_q", "--use", "samples")
    assert code == 0 and found["bool_q"]["state"] == "prepared"
    assert found["bool_q"]["prepared_rows"] == {"train": 12, "validation": 4, "test": 4}
    assert found["bool_q"]["bytes"] > 0


def test_one_dataset_that_is_missing_makes_it_fail(doctor, tmp_path, capsys):
    published_files(tmp_path, "12345\n")
    arguments = ("--use", "files", "--data_dir", tmp_path)
    code, found = doctor("bool_q", "cot_gsm8k", *arguments)
    assert code == 1 and not found["cot_gsm8k"]["can_be_had"]
    shown = capsys.readouterr().out
    assert "1 of 2 datasets can be had now: 1 at hand, 1 by hand" in shown
    assert f"put it at {tmp_path}/cot_gsm8k/gsm8k_train.tsv" in " ".join(shown.split())


def test_what_can_be_downloaded_is_not_counted_on(doctor, capsys):
    code, found = doctor("bool_q", "--use", "tfds")
    assert code == 1 and found["bool_q"]["state"] == "download"
    assert "--online asks the hosts" in capsys.readouterr().out


def test_a_missing_package_is_named(doctor, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    _, found = doctor("bool_q", "--use", "tfds")
    assert found["bool_q"]["state"] == "install"
    assert "pip install tensorflow_datasets" in found["bool_q"]["findings"][1]["remedy"]


def test_another_number_of_rows_than_published_is_a_fault(doctor, tmp_path):
    row = {"title": "t", "passage": "p", "question": "q", "answer": True}
    published_files(tmp_path, f"{json.dumps(row)}\n" * 3)
    settings = sources.settings(
        use=("files",),
        data_dir=str(tmp_path),
        store_dir=str(tmp_path / "store"),
        allow_partial=True,
    )
    store.prepare(catalog.get("bool_q"), settings, splits=["test"])
    code, found = doctor("bool_q", "--use", "files", "--data_dir", tmp_path)
    assert code == 1 and found["bool_q"]["state"] == "faulty"
    assert "3 rows, but the card says 3,270" in found["bool_q"]["findings"][0]["why"]


def test_a_family_is_one_line_that_counts_the_states(doctor, tmp_path, capsys):
    family = [card for card in catalog.load().values() if card.family == "niv2"]
    path = tmp_path / family[3].source.files["train"]
    path.parent.mkdir(parents=True)
    path.write_text("12345\n")
    code, found = doctor("niv2", "bool_q", "--use", "files", "--data_dir", tmp_path)
    assert code == 1 and len(found) == len(family) + 1
    assert found[family[3].name]["state"] == "at hand"
    lines = capsys.readouterr().out.splitlines()
    table = [line.split() for line in lines[: lines.index("")]]
    assert [cells[:2] for cells in table[1:]] == [["niv2", "several"], ["bool_q", "by"]]
    assert f"{len(family):,} datasets: 1 at hand, {len(family) - 1:,} by hand" in lines[1]
    assert " 6 B " in lines[1]
    steps = lines[lines.index("niv2: by hand") :]
    assert f"{len(family) - 1:,} datasets, the first of them {family[0].name}" in steps[1]
    assert sum(name in line for name in found for line in steps) < 10, "and no others"


def test_an_archive_is_at_hand_and_is_not_unpacked_for_that(doctor, tmp_path):
    (tmp_path / "niv2").mkdir()
    (tmp_path / "niv2" / "tasks.tar.gz").write_bytes(b"123")
    code, found = doctor("niv2", "--use", "files", "--data_dir", tmp_path)
    assert code == 0 and not (tmp_path / "store").exists()
    for entry in found.values():
        assert entry["state"] == "at hand" and entry["bytes"] == 3
        assert "tasks.tar.gz (unpacked on first use)" in entry["findings"][1]["why"]


def test_a_source_that_is_damaged_is_a_fault(doctor, tmp_path):
    folder = tmp_path / "bool_q" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text('{"name": "bool_q", "spl')
    code, found = doctor("bool_q", "--use", "tfds")
    assert code == 1 and found["bool_q"]["state"] == "faulty"
    assert "not JSON" in found["bool_q"]["findings"][1]["why"]


# Downloads by hand


def test_the_steps_of_a_manual_download_are_told(doctor, monkeypatch, capsys):
    changed(monkeypatch, "bool_q", manual=STEPS, hub="")
    code, found = doctor("bool_q", "--use", "tfds", "files", "hub")
    assert code == 1 and found["bool_q"]["state"] == "by hand"
    assert STEPS in " ".join(capsys.readouterr().out.split())


def test_the_hub_may_serve_what_tfds_does_not_download(doctor, monkeypatch):
    changed(monkeypatch, "bool_q", manual=STEPS, hub="nobody/nothing")
    _, found = doctor("bool_q", "--use", "tfds", "hub")
    states = {each["kind"]: each["state"] for each in found["bool_q"]["findings"]}
    assert states == {"store": "no", "tfds": "by hand", "hub": "download"}


def test_the_steps_are_the_first_remedy_of_the_error(monkeypatch):
    card = changed(monkeypatch, "bool_q", manual=STEPS)
    error = sources.not_found(card, "train", {"tfds": Unavailable("not there", "build it")})
    assert isinstance(error, SourceError)
    assert error.remedy.index(STEPS) < error.remedy.index("build it")


def test_steps_without_an_address_are_refused(monkeypatch):
    card = changed(monkeypatch, "bool_q", manual="Ask the authors.")
    with pytest.raises(CardError, match=r"\[source\] manual: .Ask the authors.. does not say"):
        card_checks.check_row(card, "bool_q.toml")


def test_every_card_with_steps_names_what_they_are_for():
    manual = [card for card in catalog.load().values() if card.source.manual]
    assert {"newsroom", "samsum", "story_cloze"} <= {card.name for card in manual}
    for card in manual:
        assert card.source.files or card.source.tfds
        for name in map(pathlib.Path, card.source.files.values()):
            named = name.parts[0] if "*" in name.name else name.name  # shards by their folder
            assert named in card.source.manual


# Asking the hosts


def hub_files(monkeypatch, names):
    import huggingface_hub

    siblings = [types.SimpleNamespace(rfilename=name, size=500) for name in names]
    monkeypatch.setattr(
        huggingface_hub.HfApi,
        "dataset_info",
        lambda *_, **__: types.SimpleNamespace(siblings=siblings),
    )


def test_the_hub_is_reachable_when_it_lists_every_split(doctor, monkeypatch):
    names = [f"default/{split}/0000.parquet" for split in ("train", "validation", "other")]
    hub_files(monkeypatch, names)
    code, found = doctor("bool_q", "--use", "hub", "--online")
    assert code == 0 and found["bool_q"]["state"] == "reachable"
    assert found["bool_q"]["bytes"] == 1000, "of the splits asked for only"
    hub_files(monkeypatch, names[:1])
    code, found = doctor("bool_q", "--use", "hub", "--online")
    assert code == 1 and found["bool_q"]["state"] == "unreachable"
    assert "no split 'validation'" in found["bool_q"]["findings"][1]["why"]


def test_a_repository_that_holds_a_family_is_asked_once(doctor, monkeypatch):
    asked = []

    def list_files(self, repository, *, revision, **_):
        asked.append((repository, revision))
        names = [f"data/{name}/train.jsonl-0000{shard}-of-00002" for name in "ab" for shard in "01"]
        siblings = [types.SimpleNamespace(rfilename=name, size=5) for name in names]
        return types.SimpleNamespace(siblings=siblings)

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", list_files)
    card = catalog.get("bool_q")
    family = {}
    for name in "abc":
        files = {"train": f"data/{name}/train.jsonl-*"}
        source = dataclasses.replace(card.source, hub="nobody/nothing", hub_files=files)
        family[name] = dataclasses.replace(
            card, name=name, family="abc", source=source, splits={"train": "train"}
        )
    monkeypatch.setattr(catalog, "load", lambda: family)
    _, found = doctor("all", "--use", "hub", "--online")
    assert asked == [("nobody/nothing", "main")]
    assert [found[name]["state"] for name in "abc"] == ["reachable", "reachable", "unreachable"]
    assert found["a"]["bytes"] == 10


def test_tfds_is_reachable_when_its_hosts_answer(doctor, monkeypatch, tmp_path):
    (tmp_path / "data.zip").write_text("x")
    addresses = {
        (tmp_path / "data.zip").as_uri(): types.SimpleNamespace(size=70),
    }
    builder = types.SimpleNamespace(url_infos=addresses)
    fake = types.SimpleNamespace(builder=lambda name: builder, __spec__=object())
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    code, found = doctor("bool_q", "--use", "tfds", "--online")
    assert code == 0
    assert (found["bool_q"]["state"], found["bool_q"]["bytes"]) == ("reachable", 70)
    (tmp_path / "data.zip").unlink()
    code, found = doctor("bool_q", "--use", "tfds", "--online")
    assert code == 1 and found["bool_q"]["state"] == "unreachable"


# The command line


def test_an_unknown_dataset_is_refused(doctor, capsys):
    code, found = doctor("boolq")
    assert code == 1 and found == {}
    assert "Did you mean: bool_q" in capsys.readouterr().err


def test_all_datasets_in_seconds_from_a_shell_without_tensorflow(tmp_path):
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("FLAN_")},
        "PYTHONPATH": str(TOOLS.parent),
        "FLAN_STORE_DIR": str(tmp_path / "store"),
        "HF_HUB_OFFLINE": "1",
    }
    path = tmp_path / "doctor.json"
    program = (
        f"import sys; sys.path.insert(0, {str(TOOLS)!r}); import doctor; "
        f"code = doctor.main(['--json', {str(path)!r}, '--tfds_data_dir', {str(tmp_path)!r}]); "
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    start = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert time.monotonic() - start < 30  # 3 s on a machine that has nothing else to do
    report = json.loads(path.read_text("utf-8"))
    assert [entry["dataset"] for entry in report["datasets"]] == list(catalog.load())
    assert run.returncode == (report["can_be_had"] < len(catalog.load())), run.stderr
