"""Accounts for every leaf: it matches, is missing, is left over, or has another shape."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from t5x import layout

_LAYER = re.compile(r"layers_\d+")


@dataclasses.dataclass(frozen=True)
class Row:
    """A leaf, here and there; None where it is not.

    Attributes:
        name: what it is called.
        found: its shape in the checkpoint.
        wanted: its shape in the model.
        covered: the part of it that is read, if it was resized.
    """

    name: str
    found: tuple[int, ...] | None
    wanted: tuple[int, ...] | None
    covered: tuple[int, ...] | None = None

    @property
    def verdict(self) -> str:
        """One of "matched", "resized", "missing", "left over" and "other shape"."""
        if self.found is None:
            return "missing"
        if self.wanted is None:
            return "left over"
        if self.found != self.wanted:
            return "other shape"
        return "matched" if self.covered is None else "resized"


def account(found: Mapping[str, Any], wanted: Mapping[str, Any], *, optimizer: bool) -> list[Row]:
    """A row for each leaf of the parts that are wanted, parameters first.

    What T5X writes for moments that it doesn't keep is nobody's, and neither are counts that are
    the step once more: they are not in the table.
    """
    placeholders = {
        name
        for name in layout.momentum_slots(wanted) & found.keys()
        if tuple(found[name].shape) == layout.PLACEHOLDER.shape
    }
    spare = placeholders | (layout.counts(found) - wanted.keys())
    parts = ("target/", "state/") if optimizer else ("target/",)
    names = {name for name in found if name.startswith(parts)} - spare | wanted.keys()
    return [
        Row(
            name,
            _shape(found.get(name)),
            _shape(wanted.get(name)),
            getattr(found.get(name), "covered", None),
        )
        for name in sorted(names, key=lambda name: (not name.startswith("target/"), name))
    ]


def table(rows: Iterable[Row]) -> str:
    """The rows as text, those of several layers as one; what matches comes last."""
    groups: dict[tuple, int] = {}
    for row in rows:
        name = _LAYER.sub("layers_*", row.name)
        key = (row.verdict, name, row.found, row.wanted, row.covered)
        groups[key] = groups.get(key, 0) + 1
    order = ["missing", "left over", "other shape", "resized", "matched"]
    cells = [("", "", "checkpoint", "model", "")]
    for (verdict, name, found, wanted, covered), count in sorted(
        groups.items(), key=lambda item: order.index(item[0][0])
    ):
        times = f" x {count}" if count > 1 else ""
        note = "" if covered is None else f"read: {list(covered)}"
        cells.append((verdict, name + times, _text(found), _text(wanted), note))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
    return "\n".join(lines)


def _shape(leaf: Any) -> tuple[int, ...] | None:
    return None if leaf is None else tuple(leaf.shape)


def _text(shape: tuple[int, ...] | None) -> str:
    return "-" if shape is None else str(list(shape))
