"""Examples that other training caches hold already, found by task and index.

An example depends on the seed, its task's name and its index, on the model's lengths, and on the
task's rows, card and vocabulary: not on the mixture that it is drawn in. So a cache of a mixture
with other rates takes over from an earlier one, complete or not, whatever both have in common.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from flan_tasks import cache_files, sharded_output
from flan_tasks.cache_files import CachedExample, Shard
from flan_tasks.errors import StoreError

# What all examples of a cache depend on: keys of its description.
SETTINGS = ("split", "seed", "lengths", "vocabulary_fingerprint", "versions", "code")
# A key is the number of the task and, in the lower bits, the index of the example.
_INDEX_BITS = 44
# A place is the number of the shard and, in the lower bits, that of the example in it.
_EXAMPLE_BITS = 32


@dataclasses.dataclass(frozen=True)
class Reusable:
    """The examples of other caches that a stream may lead to.

    Picklable, and small: processes share the table in a file, which is mapped into memory.

    Attributes:
      table: file with keys, in order, and places: int64 [2, examples].
      shards: paths of the shards that places lie in.
    """

    table: str
    shards: tuple[str, ...]

    def find(self, tasks: np.ndarray, index: np.ndarray) -> np.ndarray:
        """The places of examples, or -1 for those that are in no cache: int64 [n].

        Args:
          tasks: numbers of the tasks, int64 [n].
          index: indices of the examples, int64 [n].
        """
        keys, places = self._table
        if not len(keys):
            return np.full(len(tasks), -1)
        wanted = _keys(tasks, index)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[at] == wanted, places[at], -1)

    def example(self, place: int) -> CachedExample:
        """The example at a place that `find` told."""
        shard, number = divmod(place, 1 << _EXAMPLE_BITS)
        return self._open[shard].example(number)

    @functools.cached_property
    def _table(self) -> np.ndarray:
        return np.load(self.table, mmap_mode="r")

    @functools.cached_property
    def _open(self) -> "_Shards":
        return _Shards(self.shards)


class _Shards(dict):
    """Shards by number, opened when they are needed."""

    def __init__(self, paths: Sequence[str]):
        super().__init__()
        self._paths = paths

    def __missing__(self, number: int) -> Shard:
        try:
            self[number] = Shard(self._paths[number])
        except FileNotFoundError:
            raise StoreError(
                "this cache was moved or deleted while it was copied from",
                where=self._paths[number],
                remedy="Run the same again; finished shards are kept.",
            ) from None
        return self[number]


@dataclasses.dataclass(frozen=True)
class Cache:
    """Another cache, complete or not.

    Attributes:
      folder: where it lies.
      metadata: see `sharded_output.read_so_far`.
    """

    folder: str
    metadata: Mapping[str, Any]

    def other_settings(self, description: Mapping[str, Any]) -> list[str]:
        """Those settings that keep its examples from being those of the cache described."""
        return [key for key in SETTINGS if self.metadata["job"].get(key) != description.get(key)]

    def shared_tasks(self, description: Mapping[str, Any]) -> dict[str, int]:
        """The tasks that both caches have, of the same rows and cards, and their numbers there."""
        mine = self.metadata["job"]["tasks"]
        numbered = enumerate(description["tasks"].items())
        return {name: number for number, (name, same) in numbered if mine.get(name) == same}


def caches_in(folder: str) -> list[Cache]:
    """The cache that a folder is, or else those in it, complete or not."""
    own = _cache(folder)
    if own or not os.path.isdir(folder):
        return [own] if own else []
    found = map(_cache, sorted(entry.path for entry in os.scandir(folder) if entry.is_dir()))
    return [cache for cache in found if cache]


def _cache(folder: str) -> Cache | None:
    metadata = sharded_output.read_so_far(folder)
    if metadata is None or metadata["job"].get("program") != cache_files.PROGRAM:
        return None
    return Cache(folder, metadata)


def gather(
    caches: Iterable[Cache], description: Mapping[str, Any], table: pathlib.Path
) -> Reusable:
    """What those caches hold of the tasks of the cache described; writes the file `table`.

    Caches of other settings hold nothing of it.

    Raises:
      StoreError: a shard is not what was written; names the file.
    """
    paths: list[str] = []
    keys, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for cache in caches:
        if cache.other_settings(description):
            continue
        numbers = cache.shared_tasks(description)
        for path in _verified(cache):
            of_shard, number = _wanted(Shard(path), numbers)
            keys.append(of_shard)
            places.append((len(paths) << _EXAMPLE_BITS) + number)
            paths.append(path)
    unique, first = np.unique(np.concatenate(keys), return_index=True)
    with _replacing(table) as file:
        np.save(file, np.stack([unique, np.concatenate(places)[first]]))
    return Reusable(str(table), tuple(paths))


@contextlib.contextmanager
def _replacing(path: pathlib.Path) -> Iterator[BinaryIO]:
    """A file that takes a name only when it is written, for others may be reading what has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with temporary.open("wb") as file:
        yield file
    temporary.replace(path)


def _verified(cache: Cache) -> Iterator[str]:
    for record in cache.metadata["shards"]:
        yield sharded_output.verify_shard(cache.folder, record)


def _wanted(shard: Shard, numbers: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """The keys of the examples of some tasks, and which of the shard's they are."""
    number_of = np.array([numbers.get(name, -1) for name in shard.task_names], np.int64)
    tasks = number_of[shard.tasks]
    [wanted] = np.nonzero(tasks >= 0)
    return _keys(tasks[wanted], shard.index[wanted]), wanted


def _keys(tasks: np.ndarray, index: np.ndarray) -> np.ndarray:
    return (tasks << _INDEX_BITS) + index
