"""Raw rows from published files in the data directory: one file, its shards, or an archive's."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Sequence

from flan_tasks import archives, readers, shards
from flan_tasks.origin import Origin, Unavailable
from flan_tasks.readers import Row
from flan_tasks.spec import Dataset

_Read = Callable[[str], Iterator[Row]]


def locate(dataset: Dataset, name: str, data_dir: str, store_dir: str, *, fetch: bool) -> Origin:
    """A raw split in the files that a name stands for.

    Args:
      dataset: whose rows they are, for the files' layout.
      name: path below the data directory, or with a * for shards: see `shards`.
      data_dir: the data directory, local or remote.
      store_dir: where archives are unpacked to: see `archives`.
      fetch: whether an archive that may hold the files is unpacked if it has not been.

    Raises:
      Unavailable: there are no such files, or not all of them.
      SourceError: the archive is damaged.
    """
    read = functools.partial(readers.read, columns=dataset.source.columns, rows=dataset.source.rows)
    path = os.path.join(data_dir, name)
    files = shards.find(path)
    if files:
        return _origin(_place(path, files), files, read)
    not_in_archives = []
    for archive, packed in archives.beside(path, data_dir):
        try:
            return _in_archive(archive, packed, path, store_dir, read, fetch)
        except Unavailable as error:
            not_in_archives.append(error.why)
    nowhere = f"no file matches {path}" if "*" in name else _neither(path)
    raise Unavailable(
        "; ".join([nowhere, *not_in_archives]),
        f"get the published file ({dataset.homepage}) and put it at {path}",
    )


def _in_archive(
    archive: str, packed: str, path: str, store_dir: str, read: _Read, fetch: bool
) -> Origin:
    stamp = readers.stat(archive)
    folder = archives.folder_of(archive, store_dir)
    if fetch:
        archives.unpack(archive, folder)
    if not folder.is_dir():
        later = functools.partial(_in_archive, archive, packed, path, store_dir, read, fetch=True)
        size = stamp and stamp[0]
        pending = "unpacked on first use"
        return Origin(archive, str(stamp), lambda: later().read(), size, pending)
    files = archives.files(archive, folder, path, packed)
    inside = os.path.relpath(_place(files[0], files), folder)
    return dataclasses.replace(_origin(f"{archive}: {inside}", files, read), stamp=str(stamp))


def _origin(place: str, files: Sequence[str], read: _Read) -> Origin:
    stats = [readers.stat(path) for path in files]
    return Origin(
        place,
        str(stats[0] if len(stats) == 1 else stats),
        lambda: (row for path in files for row in read(path)),
        sum(found[0] for found in stats if found),
    )


def _place(path: str, files: Sequence[str]) -> str:
    return files[0] if len(files) == 1 else f"{path} ({len(files)} files)"


def _neither(path: str) -> str:
    return "there is neither {} nor {}".format(*shards.twins(path))
