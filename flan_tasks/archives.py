"""Folders published as one archive: unpacked once, after which each file is read by itself.

For niv2/tasks/a.json that is niv2/tasks.tar.gz or niv2.tar.gz, also as .tgz, .tar or .zip. In the
archive the file may lie below other folders: it is told by the end of its path.
"""

import contextlib
import functools
import gzip
import os
import pathlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping

import tqdm

from flan_tasks import made_once, readers, shards
from flan_tasks.errors import SourceError
from flan_tasks.origin import Unavailable

_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
_BLOCK = 512  # what a tar file is made of; a block of zeros ends it


class _Unsafe(Exception):
    """A member that could be written elsewhere than into the folder."""


_FAULTS = (
    *(_Unsafe, EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile),
    RuntimeError,  # zipfile's, of a member that is encrypted or compressed in another way
)


def beside(path: str, data_dir: str) -> Iterator[tuple[str, str]]:
    """The archives that may hold a file of the data directory: (archive, folder packed in it)."""
    root = data_dir.rstrip("/")
    folder = os.path.dirname(path)
    while folder.startswith(f"{root}/") and root:
        for suffix in _SUFFIXES:
            if readers.stat(folder + suffix):
                yield folder + suffix, folder
        folder = os.path.dirname(folder)


def folder_of(archive: str, store_dir: str) -> pathlib.Path:
    """Where an archive is unpacked to, whether it has been or not."""
    return made_once.folder(store_dir, archive, str(readers.stat(archive)))


def unpack(archive: str, folder: pathlib.Path) -> None:
    """Unpacks an archive into its folder, unless it is there.

    Raises:
      SourceError: the archive is damaged, or would put a file elsewhere than into the folder.
    """
    made_once.make(folder, functools.partial(_extract, archive))


def files(archive: str, unpacked: pathlib.Path, path: str, packed: str) -> list[str]:
    """The unpacked files that a path stands for; see `shards.find`.

    Args:
      archive: the archive, for errors.
      unpacked: the folder that it was unpacked to.
      path: the file's path, or a pattern of several.
      packed: the folder in that path for which the archive stands.

    Raises:
      Unavailable: the archive has none, or several that may be meant; names them.
    """
    inside = os.path.relpath(path, packed)
    for end in (os.path.join(os.path.basename(packed), inside), inside):
        head, name = os.path.split(end)
        found = {
            folder: names
            for folder, there in _names_by_folder(unpacked).items()
            if _ends_in(folder, head) and (names := shards.pick(there, name))
        }
        if len(found) > 1:
            places = " and ".join(os.path.join(folder, names[0]) for folder, names in found.items())
            raise Unavailable(f"{archive} holds {places}", "pack only the one that is meant")
        if found:
            ((folder, names),) = found.items()
            return [os.path.join(unpacked, folder, each) for each in names]
    raise Unavailable(f"{archive} holds no file whose path ends in {inside}")


def _ends_in(folder: str, end: str) -> bool:
    return not end or f"/{folder}".endswith(f"/{end}")


@functools.lru_cache(maxsize=8)
def _names_by_folder(unpacked: pathlib.Path) -> Mapping[str, frozenset[str]]:
    """Folder -> names of its files; what was unpacked does not change any more."""
    return {
        os.path.relpath(folder, unpacked): frozenset(names)
        for folder, _, names in sorted(os.walk(unpacked))
        if names
    }


def _extract(archive: str, folder: pathlib.Path) -> None:
    try:
        with readers.local_copy(archive) as path:
            extract = _extract_zip if path.endswith(".zip") else _extract_tar
            extract(path, folder)
    except _FAULTS as error:
        raise SourceError(
            f"cannot be unpacked: {error}", where=archive, remedy="Get the archive anew."
        ) from error


def _extract_tar(path: str, folder: pathlib.Path) -> None:
    with tarfile.open(path) as archive, _progress(path) as progress:
        for member in archive:
            _check_safe(member.name, plain=member.isreg() or member.isdir())
            content = archive.extractfile(member)
            if content:  # a folder has none; it is made for its files
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("wb") as file:
                    shutil.copyfileobj(content, file)
            progress.update()
        assert archive.fileobj
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(_BLOCK) != bytes(_BLOCK):
            raise tarfile.ReadError("it is cut short")
        while archive.fileobj.read(2**20):  # gzip's checksum comes last
            pass


def _extract_zip(path: str, folder: pathlib.Path) -> None:
    with zipfile.ZipFile(path) as archive, _progress(path) as progress:
        for member in archive.infolist():
            _check_safe(member.filename, plain=True)  # links come out as small text files
            archive.extract(member, folder)
            progress.update()


def _check_safe(name: str, *, plain: bool) -> None:
    path = pathlib.PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not plain:
        raise _Unsafe(f"its member {name!r} is not a plain file inside it")


def _progress(path: str) -> contextlib.AbstractContextManager[tqdm.tqdm]:
    return tqdm.tqdm(desc=f"unpacking {path}", unit=" files", leave=False, delay=1, mininterval=1)
