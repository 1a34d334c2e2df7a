"""Folders made once from raw data: in whole or not at all, by one of however many processes.

    <store_dir>/.raw/<name>/<key>/       what was made from the data as they are now
    <store_dir>/.raw/<name>/.making/     the same on its way there
    <store_dir>/.raw/<name>/.lock        held by the process that makes it

The lock is the kernel's, so it goes with its holder, be that killed; who comes next removes what
the killed one left, and what was made from data as they were before. All of .raw may be deleted
when no process is preparing: it is made again where it is needed.
"""

import fcntl
import hashlib
import pathlib
import re
import shutil
from collections.abc import Callable

from flan_tasks import disk


def folder(store_dir: str, source: str, stamp: str) -> pathlib.Path:
    """The folder of what is made from a source, whether it has been made or not.

    Args:
      store_dir: the folder of the prepared rows.
      source: what it is made from, and how.
      stamp: changes when the source's data change.
    """
    readable = re.sub(r"[^\w.]+", "-", source).strip("-.")[-40:]
    return pathlib.Path(
        store_dir, ".raw", f"{readable}-{_fingerprint(source)}", _fingerprint(stamp)
    )


def make(final: pathlib.Path, fill: Callable[[pathlib.Path], None]) -> None:
    """Has a folder made, unless it is there, or another process makes it in the meantime.

    Args:
      final: a path of `folder`.
      fill: writes files into the empty folder that it is given; what it raises is passed on.
    """
    if final.is_dir():
        return
    final.parent.mkdir(parents=True, exist_ok=True)
    with (final.parent / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.is_dir():
            return
        for outdated in filter(pathlib.Path.is_dir, final.parent.iterdir()):
            shutil.rmtree(outdated)
        work = final.with_name(".making")
        work.mkdir()
        try:
            fill(work)
            for path in work.rglob("*"):
                disk.flush_to_disk(path)
            work.rename(final)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        disk.flush_to_disk(final.parent)


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
