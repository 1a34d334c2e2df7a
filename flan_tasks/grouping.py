"""One source that holds a whole family: its rows grouped by dataset, in a single pass.

Where a family's rows lie in one piece, each dataset's are those with its values in some columns. Of
1,556 datasets each would read the rows of all; instead, the first that asks has them written to
one file per dataset, in the store's folder of what is made once (see `made_once`).
"""

import collections
import functools
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import tqdm

from flan_tasks import disk, made_once, readers
from flan_tasks.errors import SourceError
from flan_tasks.origin import Origin, Unavailable
from flan_tasks.readers import Row

_INDEX = "index.json"
# Rows held in memory before they are appended to their files, of which one at a time is open.
_MOST_HELD = 64 * 2**20  # bytes


def locate(
    origin: Origin, where: Mapping[str, str], layout: str, store_dir: str, *, fetch: bool
) -> Origin:
    """The rows of an origin that are one dataset's, in the origin's order.

    Args:
      origin: the family's rows.
      where: column -> the dataset's value in it. Rows without these columns are every dataset's.
      layout: what else the origin's rows depend on.
      store_dir: where the groups are kept.
      fetch: whether the rows are grouped now if they have not been.

    Raises:
      Unavailable: the origin has no row of the dataset.
      SourceError: a row cannot be grouped; names it.
    """
    source = f"{origin.place} {layout} by {' '.join(where)}"
    folder = made_once.folder(store_dir, source, origin.stamp)
    if fetch:
        made_once.make(folder, functools.partial(_group, origin, tuple(where)))
    if not folder.is_dir():
        later = functools.partial(locate, origin, where, layout, store_dir, fetch=True)
        pending = origin.pending or f"grouped by {', '.join(where)} on first use"
        return Origin(origin.place, origin.stamp, lambda: later().read(), origin.num_bytes, pending)
    files = _index(folder)
    if files is None:
        return origin
    name = files.get(_key(where, where))
    values = " and ".join(f"{column} = {value}" for column, value in where.items())
    if name is None:
        raise Unavailable(f"{origin.place} has no row with {values}")
    path = os.path.join(folder, name)
    return Origin(
        f"{origin.place} with {values}",
        origin.stamp,
        functools.partial(readers.read, path),
        os.path.getsize(path),
    )


@functools.lru_cache(maxsize=8)
def _index(folder: pathlib.Path) -> Mapping[str, str] | None:
    """Key of a dataset -> its file; None: the rows lack the columns that they would be grouped by.

    What was made is not changed any more, so it is read once.
    """
    return disk.read_json(folder / _INDEX)["files"]


def _key(row: Mapping[str, Any], columns: Sequence[str] | Mapping[str, str]) -> str:
    return json.dumps([row[column] for column in columns])


def _group(origin: Origin, columns: Sequence[str], folder: pathlib.Path) -> None:
    """Writes each group of rows to a file, and then the index of the files."""
    files: dict[str, str] = {}
    held: dict[str, list[str]] = collections.defaultdict(list)
    num_held = 0
    rows = tqdm.tqdm(
        origin.read(), f"grouping {origin.place}", unit=" rows", leave=False, delay=1, mininterval=1
    )
    for number, row in enumerate(rows, start=1):
        if number == 1 and not row.keys() >= set(columns):
            disk.write_json(folder / _INDEX, {"files": None})
            return
        key, line = _as_text(row, columns, f"{origin.place} row {number}")
        held[files.setdefault(key, f"{len(files):06d}.jsonl")].append(line)
        num_held += len(line)
        if num_held > _MOST_HELD:
            _append(folder, held)
            num_held = 0
    _append(folder, held)
    disk.write_json(folder / _INDEX, {"files": files})


def _as_text(row: Row, columns: Sequence[str], where: str) -> tuple[str, str]:
    """A row's key and the line that it is written as."""
    try:
        return _key(row, columns), json.dumps(row) + "\n"
    except KeyError as error:
        what = f"the row has no column {error}, other than the first one"
    except TypeError as error:
        what = f"cannot be written as JSON: {error}"
    raise SourceError(
        what, where=where, remedy="Compare the source with the card's [source] where."
    )


def _append(folder: pathlib.Path, held: dict[str, list[str]]) -> None:
    for name, lines in held.items():
        with (folder / name).open("a", encoding="ascii") as file:
            file.writelines(lines)
    held.clear()
