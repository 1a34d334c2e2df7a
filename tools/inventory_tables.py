"""What tools/inventory.py prints for people to read."""

import collections
import textwrap
from collections.abc import Iterator, Sequence

from inventory_rows import Entry

from flan_tasks import licenses
from flan_tasks.spec import Dataset

_MISSING_SHOWN = 20
_LICENCE_WIDTH = 40
_Line = Sequence[str | int]
_SUMS: _Line = (
    *("collection", "there", "rows", "datasets", "tasks", "templates", "examples", "languages"),
    "commercial",
)
_DETAILS: _Line = (
    *("dataset", "direction", "tasks", "templates", "examples", "state", "category"),
    *("languages", "licence", "note"),
)


def lines(entries: Sequence[Entry], beyond: Sequence[Entry], rows: bool) -> Iterator[str]:
    """The inventory by collection, what goes beyond it, what is missing, and the sum of it all.

    Args:
      entries: the inventory's.
      beyond: those of datasets that it does not name.
      rows: whether every row is shown, or only sums.
    """
    yield from _overview(entries, rows)
    if beyond:
        yield "\nBeyond the inventory:"
        yield from _overview(beyond, rows)
    missing = [entry for entry in entries if not entry.is_there]
    if missing:
        yield f"\nMissing: {len(missing):,}"
    shown = missing if rows else missing[:_MISSING_SHOWN]
    for entry in shown:
        yield f"  {entry.row.collection}, {entry.row.category}: {entry.lacks}"
    if len(shown) < len(missing):
        yield f"  … --rows lists the other {len(missing) - len(shown):,}"
    yield f"\n{len(entries) - len(missing)}/{len(entries)}"


def _overview(entries: Sequence[Entry], rows: bool) -> Iterator[str]:
    """The sums of each collection, before them its rows if asked for, and the states of sources."""
    by_collection: dict[str, list[Entry]] = {}
    for entry in entries:
        by_collection.setdefault(entry.row.collection, []).append(entry)
    if rows:
        for name, each in by_collection.items():
            yield f"\n{name}"
            yield from _aligned([_DETAILS, *map(_details, each)])
        yield ""
    groups = list(by_collection.items())
    if len(groups) > 1:
        groups.append(("all", list(entries)))
    yield from _aligned([_SUMS, *(_sums(name, each) for name, each in groups)])
    states = {entry.row.dataset: entry.state for entry in entries if entry.dataset}
    counts = collections.Counter(states.values()).most_common()
    yield f"sources: {', '.join(f'{count:,} {state}' for state, count in counts)}"


def _sums(name: str, entries: Sequence[Entry]) -> _Line:
    datasets = {entry.dataset.name: entry.dataset for entry in entries if entry.dataset}.values()
    return (
        name,
        sum(entry.is_there for entry in entries),
        len(entries),
        len(datasets),
        len({task for entry in entries for task in entry.tasks}),
        len({template for entry in entries for template in entry.templates}),
        sum(dataset.num_examples.get("train", 0) for dataset in datasets),
        len({language for dataset in datasets for language in dataset.languages}),
        sum(_is_commercial(dataset) for dataset in datasets),
    )


def _is_commercial(dataset: Dataset) -> bool:
    return "commercial" in licenses.classes(dataset.license)


def _details(entry: Entry) -> _Line:
    row, dataset = entry.row, entry.dataset
    return (
        *(row.dataset, row.direction, len(entry.tasks), len(entry.templates), entry.num_examples),
        *(entry.state if entry.is_there else "missing", row.category),
        ", ".join(dataset.languages) if dataset else "",
        textwrap.shorten(dataset.license, _LICENCE_WIDTH, placeholder=" …") if dataset else "",
        row.note,
    )


def _aligned(table: Sequence[_Line]) -> Iterator[str]:
    """The lines in columns: numbers to the right."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in line] for line in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_number = [isinstance(cell, int) for cell in table[-1]]
    for line in cells:
        columns = zip(line, widths, is_number, strict=True)
        padded = [
            cell.rjust(width) if right else cell.ljust(width) for cell, width, right in columns
        ]
        yield "  ".join(padded).rstrip()
