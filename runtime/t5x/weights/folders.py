"""Where a checkpoint lies: on disk or in a bucket (`gs://…`), which TensorStore reads itself."""

import dataclasses
import pathlib
from typing import Any

import tensorstore as ts

_BUCKETS = "gs://"


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder on disk or in a bucket."""

    path: str

    @property
    def is_remote(self) -> bool:
        """Whether it lies in a bucket."""
        return self.path.startswith(_BUCKETS)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rstrip("/").rpartition("/")[2]

    def __truediv__(self, name: str) -> "Folder":
        return Folder(f"{self.path.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.path

    def local(self) -> pathlib.Path:
        """Its path; only on disk."""
        assert not self.is_remote
        return pathlib.Path(self.path)

    def kvstore(self) -> dict[str, Any]:
        """What TensorStore calls it."""
        if self.is_remote:
            bucket, _, inside = self.path.removeprefix(_BUCKETS).partition("/")
            return {"driver": "gcs", "bucket": bucket, "path": inside.rstrip("/") + "/"}
        return {"driver": "file", "path": self.path.rstrip("/") + "/"}

    def read(self, name: str) -> bytes | None:
        """The contents of a file below it; None if there is no such file."""
        if not self.is_remote:
            file = self.local() / name
            return file.read_bytes() if file.is_file() else None
        found = ts.KvStore.open(self.kvstore()).result().read(name).result()
        return found.value if found.state == "value" else None

    def has(self, name: str) -> bool:
        """Whether there is such a file below it."""
        if not self.is_remote:
            return (self.local() / name).is_file()
        return self.read(name) is not None


def folder(path: Any) -> Folder:
    """The folder of a path, absolute if on disk."""
    text = str(path)
    if text.startswith(_BUCKETS):
        return Folder(text.rstrip("/"))
    return Folder(str(pathlib.Path(text).absolute()))
