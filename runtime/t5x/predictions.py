"""A JSON-lines file that is written in chunks, survives interruption, and appears when complete."""

import json
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

import jax
from etils import epath

from t5x import processes


class PredictionFile:
    """One output file of inference.

    Chunks are collected in `<path>.parts`, each under its final name only when it is whole. What
    was asked for is written down beside them, and beside the finished file: chunks and files that
    answer another request are not taken for this one's.

    Args:
        path: the finished file.
        request: all that the contents depend on, as JSON values.
    """

    def __init__(self, path: epath.PathLike, request: Mapping[str, Any]) -> None:
        self.path = epath.Path(path)
        self._request = json.dumps(request, indent=1, sort_keys=True)
        self._parts = self.path.with_name(self.path.name + ".parts")
        self._stamp = self.path.with_name(self.path.name + ".request.json")
        self._active = jax.process_index() == 0

    def is_complete(self) -> bool:
        """Whether the finished file is there and answers this very request; all must ask."""
        return bool(processes.of_first(self.path.exists() and self._matches(self._stamp)))

    def chunks_done(self) -> int:
        """How many chunks an interrupted run has left; those of other requests are no use.

        All processes must ask, and get the same answer, whoever asks late.
        """
        done = 0
        if self._matches(self._parts / "request.json"):
            while self._chunk(done).exists():
                done += 1
        return processes.of_first(done)

    def write_chunk(self, number: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes chunk `number`, a line per row; chunk 0 of a new request clears older ones."""
        if not self._active:
            return
        if number == 0:
            self._start_over()
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        _write_whole(self._chunk(number), text)

    def finish(self, chunks: int) -> None:
        """Joins the chunks into the finished file."""
        if not self._active:
            return
        temporary = self.path.with_name(self.path.name + ".tmp")
        with temporary.open("wb") as joined:
            for number in range(chunks):
                with self._chunk(number).open("rb") as chunk:
                    shutil.copyfileobj(chunk, joined)
        self._stamp.unlink(missing_ok=True)
        temporary.replace(self.path)
        _write_whole(self._stamp, self._request)
        self._parts.rmtree()

    def _start_over(self) -> None:
        if self._parts.exists():
            self._parts.rmtree()
        self._parts.mkdir(parents=True)
        _write_whole(self._parts / "request.json", self._request)

    def _matches(self, stamp: epath.Path) -> bool:
        return stamp.exists() and stamp.read_text() == self._request

    def _chunk(self, number: int) -> epath.Path:
        return self._parts / f"chunk-{number:06d}"


def _write_whole(path: epath.Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)
