"""The files of prepared rows: written so that what lies there is whole, and checked when opened.

A folder holds metadata.json and shards, Arrow IPC files of one record batch each. It is written
under a temporary name and renamed when complete: a process killed at any moment leaves either the
whole folder or a hidden one that nobody reads and the next writer sweeps away.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from flan_tasks.errors import StoreError

_METADATA = "metadata.json"
_VERIFIED = "verified.json"
# A shard ends at whichever comes first. Small enough to be held in memory while it is written.
_MOST_ROWS = 100_000
_MOST_BYTES = 128 << 20
_ROWS_PER_PIECE = 1_000
# Large strings have 64-bit offsets: a shard may then hold any amount of text.
_ARROW_TYPES = {
    "str": pa.large_string(),
    "int": pa.int64(),
    "list": pa.large_list(pa.large_string()),
}


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of rows."""

    name: str
    num_rows: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What metadata.json says of a prepared split.

    Attributes:
      origin: kind of source and place of the raw rows.
      stamps: the raw splits' stamps, which change when the data do.
      num_read: raw rows of the split, before any was dropped.
      num_expected: rows that the card says the split has; None: any number.
      drops: reason -> rows dropped.
      types: field -> str, int or list.
      shards: the files, in the order of the rows.
    """

    origin: str
    stamps: list[str]
    num_read: int
    num_expected: int | None
    drops: Mapping[str, int]
    types: Mapping[str, str]
    shards: list[Shard]

    @property
    def num_rows(self) -> int:
        """Rows in all shards."""
        return sum(shard.num_rows for shard in self.shards)


def read_metadata(folder: str) -> Metadata | None:
    """The metadata of a prepared split; None if nothing is prepared there.

    Raises:
      StoreError: the file is damaged.
    """
    path = pathlib.Path(folder, _METADATA)
    try:
        values = json.loads(path.read_text("utf-8"))
        shards = [Shard(**shard) for shard in values.pop("shards")]
        return Metadata(**values, shards=shards)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"not the metadata of prepared rows: {error}") from error


def map_shard(path: str) -> pa.RecordBatch:
    """The rows of a shard, mapped into memory; no file stays open."""
    with pa.memory_map(path) as file:
        return pa.ipc.open_file(file).get_batch(0)


def verify(folder: str, metadata: Metadata) -> None:
    """Compares the shards with their checksums, unless that was done since they last changed.

    Raises:
      StoreError: a shard is missing or is not what was written; names the file.
    """
    stamps = {shard.name: _stamp(pathlib.Path(folder, shard.name)) for shard in metadata.shards}
    marker = pathlib.Path(folder, _VERIFIED)
    with contextlib.suppress(OSError, ValueError):
        if json.loads(marker.read_text("utf-8")) == stamps:
            return
    for shard in metadata.shards:
        path = pathlib.Path(folder, shard.name)
        if _sha256(path) != shard.sha256:
            raise _damaged(path, "its checksum is not that of the rows written")
    with contextlib.suppress(OSError):  # a store that one may only read is verified every time
        temporary = marker.with_name(f".{_VERIFIED}.{uuid.uuid4().hex}")
        temporary.write_text(json.dumps(stamps), "utf-8")
        temporary.replace(marker)


class ShardWriter:
    """Writes rows to the shards of a folder; the first row says which fields there are.

    Attributes:
      types: field -> str, int or list; empty until the first row.
      shards: the files written so far.
    """

    def __init__(self, folder: str):
        self.types: dict[str, str] = {}
        self.shards: list[Shard] = []
        self._folder = folder
        self._rows: list[Mapping[str, Any]] = []
        self._pieces: list[pa.RecordBatch] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Takes one more row.

        Raises:
          TypeError: a field is of another type than in the first row.
        """
        types = {field: type(value).__name__ for field, value in row.items()}
        self.types = self.types or types
        if types != self.types:
            raise TypeError(f"the fields are {types}, but {self.types} in the first row")
        self._rows.append(row)
        if len(self._rows) == _ROWS_PER_PIECE:
            self._end_piece()

    def close(self) -> None:
        """Writes what is left."""
        self._end_piece()
        self._end_shard()

    def _end_piece(self) -> None:
        if not self._rows:
            return
        schema = pa.schema([(field, _ARROW_TYPES[kind]) for field, kind in self.types.items()])
        self._pieces.append(pa.RecordBatch.from_pylist(self._rows, schema))
        self._rows = []
        num_rows = sum(piece.num_rows for piece in self._pieces)
        num_bytes = sum(piece.nbytes for piece in self._pieces)
        if num_rows >= _MOST_ROWS or num_bytes >= _MOST_BYTES:
            self._end_shard()

    def _end_shard(self) -> None:
        if not self._pieces:
            return
        (batch,) = pa.Table.from_batches(self._pieces).combine_chunks().to_batches()
        self._pieces = []
        path = pathlib.Path(self._folder, f"{len(self.shards):05d}.arrow")
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        _flush_to_disk(path)
        self.shards.append(Shard(path.name, batch.num_rows, _sha256(path)))


@contextlib.contextmanager
def temporary_folder(folder: str) -> Iterator[str]:
    """A folder beside `folder` to write in; gone at the end, unless `put_in_place` renamed it."""
    final = pathlib.Path(folder)
    final.parent.mkdir(parents=True, exist_ok=True)
    _sweep(final.parent)
    name = f".{final.name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    temporary = final.with_name(name)
    temporary.mkdir()
    try:
        yield str(temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(temporary: str, folder: str, metadata: Metadata) -> None:
    """Completes a temporary folder with its metadata and renames it to what readers look for.

    Where another process was faster with the same data, its folder stays and ours goes.
    """
    path = pathlib.Path(temporary, _METADATA)
    path.write_text(json.dumps(dataclasses.asdict(metadata), indent=1), "utf-8")
    _flush_to_disk(path)
    there = read_metadata(folder)
    if there is not None and there.stamps == metadata.stamps:
        return
    with contextlib.suppress(FileNotFoundError):  # rows made of other data make room
        outdated = f"{temporary}.old"
        os.rename(folder, outdated)
        shutil.rmtree(outdated)
    try:
        os.rename(temporary, folder)
    except OSError:
        if read_metadata(folder) is None:
            raise


def _sweep(parent: pathlib.Path) -> None:
    """Removes the temporary folders of processes of this machine that are no more."""
    host = re.escape(socket.gethostname())
    for path in parent.glob(".*"):
        match = re.fullmatch(rf"\..+\.{host}\.(\d+)\.[0-9a-f]{{8}}(\.old)?", path.name)
        if match and not _is_alive(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _stamp(path: pathlib.Path) -> list[int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise _damaged(path, "the file is gone") from None
    return [found.st_size, found.st_mtime_ns]


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_to_disk(path: pathlib.Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _damaged(path: pathlib.Path, what: str) -> StoreError:
    return StoreError(
        what, where=str(path), remedy=f"Delete the folder {path.parent} and prepare the rows anew."
    )
