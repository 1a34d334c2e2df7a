"""Packed folders: unpacked once, each file found by the end of its path, nothing put elsewhere."""

import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import time
import zipfile

import pytest
from example_dataset import dataset

from flan_tasks import archives, sources, store
from flan_tasks.errors import SourceError
from flan_tasks.origin import Unavailable
from flan_tasks.spec import Answer, Source

TASKS = {
    f"task{number}": [{"q": f"{number}-{row}", "a": 0} for row in range(3)] for number in (1, 2)
}
SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")


def task(name):
    return dataset(
        name=f"niv2_{name}",
        family="niv2",
        source=Source(files={"train": f"niv2/tasks/{name}.json"}, rows="Instances"),
        num_examples={"train": 3},
        fields={"question": "q", "label": "a"},
        answer=Answer(label="label", options=("no", "yes")),
        constants={"task_name": name},
    )


def pack(path, members):
    """Writes an archive of members: name -> text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in members.items():
                archive.writestr(name, text)
        return
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


def task_files(folder=""):
    return {
        f"{folder}{name}.json": json.dumps({"Definition": ["d"], "Instances": rows})
        for name, rows in TASKS.items()
    }


@pytest.fixture
def settings(tmp_path):
    return sources.settings(
        data_dir=str(tmp_path / "data"), store_dir=str(tmp_path / "store"), use="files"
    )


def questions(name, settings):
    return [row["q"] for row in sources.raw_rows(task(name), "train", settings)]


def unpacked(tmp_path):
    return list((tmp_path / "store").glob(".raw/*/*/**/task*.json"))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("packed", "inside"),
    [
        ("niv2/tasks", ""),
        ("niv2/tasks", "tasks/"),
        ("niv2/tasks", "natural-instructions-2.8/tasks/"),
        ("niv2", "natural-instructions-2.8/tasks/"),
        ("niv2", "niv2/tasks/"),
    ],
)
def test_a_packed_folder_serves_each_dataset(tmp_path, settings, suffix, packed, inside):
    pack(tmp_path / "data" / (packed + suffix), {"README.md": "read me", **task_files(inside)})
    for name, rows in TASKS.items():
        assert questions(name, settings) == [row["q"] for row in rows]
    assert len(unpacked(tmp_path)) == 2, "once"
    place = sources.availability(task("task1"), settings)[0].why
    assert place == f"{tmp_path}/data/{packed}{suffix}: {inside}task1.json"


def test_the_folder_itself_comes_first(tmp_path, settings):
    pack(tmp_path / "data/niv2/tasks.tar.gz", task_files())
    (tmp_path / "data/niv2/tasks").mkdir()
    (tmp_path / "data/niv2/tasks/task1.json").write_text('{"Instances": [{"q": "mine"}]}')
    assert questions("task1", settings) == ["mine"] and unpacked(tmp_path) == []
    assert len(questions("task2", settings)) == 3


def test_gzipped_files_and_shards_in_an_archive(tmp_path, settings):
    members = {f"x/tasks/rows.jsonl-{n}-of-3": json.dumps({"n": n}) for n in range(3)}
    pack(tmp_path / "data/niv2/tasks.tar.gz", members)
    card = dataset(source=Source(files={"train": "niv2/tasks/rows.jsonl-*"}))
    assert [row["n"] for row in sources.raw_rows(card, "train", settings)] == [0, 1, 2]


def test_looking_does_not_unpack(tmp_path, settings):
    pack(tmp_path / "data/niv2/tasks.tar.gz", task_files())
    (files,) = sources.availability(task("task1"), settings)
    assert files.ok and "tasks.tar.gz (unpacked on first use)" in files.why
    found = sources.find_split(task("task1"), "train", "files", settings, fetch=False)
    assert not (tmp_path / "store").exists()
    later = sources.find_split(task("task1"), "train", "files", settings, fetch=True)
    assert found.is_pending and not later.is_pending and found.stamps == later.stamps
    assert list(found.rows()) == list(later.rows())


def test_what_the_archive_lacks_another_source_may_have(tmp_path, settings, monkeypatch):
    pack(tmp_path / "data/niv2/tasks.tar.gz", task_files())
    monkeypatch.setattr(sources, "_SAMPLES", tmp_path)
    (tmp_path / "niv2").mkdir()
    (tmp_path / "niv2/task3.jsonl").write_text('{"q": "a sample", "a": 1}\n' * 5)
    with_samples = sources.settings(
        data_dir=settings.data_dir, store_dir=settings.store_dir, use=("files", "samples")
    )
    assert store.open_split(task("task3"), "train", with_samples).origin.startswith("samples: ")
    assert store.open_split(task("task1"), "train", with_samples).origin.startswith("files: ")
    with pytest.raises(SourceError, match=r"tasks.tar.gz holds no file .* task3.json"):
        questions("task3", settings)


def test_prepared_rows_follow_the_archive(tmp_path, settings):
    path = tmp_path / "data/niv2/tasks.tar.gz"
    pack(path, task_files())
    first = store.open_split(task("task1"), "train", settings)
    assert store.open_split(task("task1"), "train", settings).fingerprint == first.fingerprint
    pack(path, {"task1.json": task_files()["task2.json"]})
    os.utime(path, ns=(0, 7))
    assert store.open_split(task("task1"), "train", settings).row(0)["question"] == "2-0"
    assert len(unpacked(tmp_path)) == 1, "what the former archive held is gone"


def test_two_files_of_the_same_end_are_both_named(tmp_path, settings):
    members = {"a/tasks/task1.json": "{}", "b/tasks/task1.json": "{}", "c/task2.json": "{}"}
    pack(tmp_path / "data/niv2/tasks.zip", members)
    with pytest.raises(SourceError, match=r"a/tasks/task1.json and b/tasks/task1.json"):
        questions("task1", settings)


def test_the_longest_end_decides(tmp_path, settings):
    files = task_files("repo/tasks/") | {"repo/splits/task1.json": "no json"}
    pack(tmp_path / "data/niv2/tasks.tar", files)
    assert len(questions("task1", settings)) == 3


def link(kind, target):
    member = tarfile.TarInfo("tasks/task1.json")
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../escaped.json"),
        tarfile.TarInfo("tasks/../../escaped.json"),
        tarfile.TarInfo("/escaped.json"),
        link(tarfile.SYMTYPE, "/etc/passwd"),
        link(tarfile.SYMTYPE, "task2.json"),
        link(tarfile.LNKTYPE, "/etc/passwd"),
        link(tarfile.FIFOTYPE, ""),
    ],
    ids=lambda member: f"{member.name} {member.linkname}",
)
def test_members_that_are_not_plain_files_inside_are_refused(tmp_path, settings, member):
    path = tmp_path / "data/niv2/tasks.tar"
    pack(path, task_files())
    with tarfile.open(path, "a") as archive:
        archive.addfile(member)
    with pytest.raises(SourceError, match=r"(?s)tasks.tar: cannot be unpacked: .*plain file"):
        questions("task1", settings)
    assert unpacked(tmp_path) == [] and not list(tmp_path.rglob("escaped.json"))


def test_a_zip_file_does_not_write_elsewhere(tmp_path, settings):
    pack(tmp_path / "data/niv2/tasks.zip", {**task_files(), "../../escaped.json": "{}"})
    with pytest.raises(SourceError, match=r"tasks.zip: cannot be unpacked: .*escaped.json"):
        questions("task1", settings)
    assert not list(tmp_path.rglob("escaped.json"))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0, 0.3, 0.7, 0.99])
def test_an_archive_cut_short_is_refused_wherever_it_is_cut(tmp_path, settings, suffix, share):
    path = tmp_path / f"data/niv2/tasks{suffix}"
    pack(path, {f"filler{n}": os.urandom(700).hex() for n in range(9)} | task_files())
    data = path.read_bytes()
    if suffix == ".tar":
        data = data.rstrip(b"\0")  # the end is padded with zeros, of which some do no harm
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SourceError, match=f"tasks{suffix}: cannot be unpacked"):
        questions("task1", settings)
    assert unpacked(tmp_path) == []


def test_a_changed_byte_is_found_by_the_checksum(tmp_path, settings):
    path = tmp_path / "data/niv2/tasks.tar.gz"
    pack(path, task_files())
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"tasks.tar.gz: cannot be unpacked: CRC"):
        questions("task1", settings)


def test_a_tar_file_cut_between_members_is_refused(tmp_path, settings):
    path = tmp_path / "data/niv2/tasks.tar"
    pack(path, task_files())
    with tarfile.open(path) as archive:
        end_of_first = archive.getmembers()[1].offset
    path.write_bytes(path.read_bytes()[:end_of_first])
    with pytest.raises(SourceError, match=r"tasks.tar: cannot be unpacked: it is cut short"):
        questions("task1", settings)


def test_names_with_an_absolute_path_have_no_archives(tmp_path):
    assert list(archives.beside("/a/b.json", "")) == []
    assert list(archives.beside("/elsewhere/b.json", str(tmp_path))) == []
    with pytest.raises(Unavailable):
        files = {"niv2_task1": {"train": "/no/such/file.json"}}
        settings = sources.settings(data_dir=str(tmp_path), files=files, use="files")
        sources.find_split(task("task1"), "train", "files", settings, fetch=True)


UNPACK = """
import pathlib, sys
from flan_tasks import archives
archive, store = sys.argv[1:]
archives.unpack(archive, archives.folder_of(archive, store))
"""


def start_unpacking(archive, folder):
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    arguments = [sys.executable, "-c", UNPACK, str(archive), str(folder)]
    return subprocess.Popen(arguments, env=environment)


def test_killed_at_any_moment_or_made_by_several_the_folder_is_whole(tmp_path):
    archive, folder = tmp_path / "tasks.tar", tmp_path / "store"
    pack(archive, {f"{number}.json": "x" * 100 for number in range(4000)})
    final = archives.folder_of(str(archive), str(folder))
    work = final.with_name(".making")
    for number in range(3):
        process = start_unpacking(archive, folder)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and len(_names(work)) <= 200 * number:
            time.sleep(0.001)
        process.kill()
        process.wait()
        assert _names(work) and not final.exists()
    processes = [start_unpacking(archive, folder) for _ in range(3)]
    while not _names(work):
        time.sleep(0.001)
    processes[0].kill()  # be it the one at work or one that waits
    assert [process.wait(timeout=60) for process in processes[1:]] == [0, 0]
    assert len(_names(final)) == 4000 and not work.exists()


def _names(folder: pathlib.Path):
    return os.listdir(folder) if folder.exists() else []
