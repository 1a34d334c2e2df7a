"""Reads metrics.jsonl, which the engine writes into a run's folder, and files of its form."""

import json
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

Entry = dict[str, Any]


class RunError(ValueError):
    """A run's folder or file that cannot be read.

    Args:
      what: what is wrong.
      where: the folder, or the file and its line.
      remedy: what to do, as an instruction.
    """

    def __init__(self, what: str, *, where: object, remedy: str):
        super().__init__(f"{where}: {what}\n  {remedy}")


def read(path: pathlib.Path, *, growing: bool = False) -> Iterator[Entry]:
    """The entries of a file, each with a "step".

    Args:
      path: of JSON lines.
      growing: whether a run may be writing it still: half a line at its end is left out then.

    Raises:
      RunError: a line is damaged.
    """
    text = path.read_text("utf-8", errors="replace")
    lines = text.splitlines()
    if growing and text and not text.endswith("\n"):
        lines.pop()
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            entry["step"] + 0
        except (ValueError, TypeError, KeyError):
            raise RunError(
                "is no line of metrics",
                where=f"{path}:{number}",
                remedy="Delete the line if it is known what damaged it, or run anew.",
            ) from None
        yield entry


def numbers(entry: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of an entry: JSON has null for what is no number; Python's writer has NaN."""
    return {
        name: float(value)
        for name, value in entry.items()
        if name != "step" and is_number(value) and math.isfinite(value)
    }


def is_number(value: Any) -> bool:
    """Whether it is one in JSON's sense: true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
