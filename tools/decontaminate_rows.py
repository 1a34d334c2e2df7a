"""Prepared rows compared with evaluation sets, by several processes; for decontaminate.py."""

import collections
import concurrent.futures
import dataclasses
import functools
import multiprocessing
from collections.abc import Iterator, Sequence

import decontaminate_sets
import tqdm

from flan_tasks import store, workers
from flan_tasks.contamination import Checked, Overlap
from flan_tasks.ngrams import Index
from flan_tasks.sources import Settings
from flan_tasks.spec import Dataset
from flan_tasks.store import PreparedSplit

# Rows that a process takes on at a time, and rows that are looked up at once.
_PIECE = 1 << 13
_BATCH = 1 << 10


@dataclasses.dataclass(frozen=True)
class Split:
    """A prepared split, in a form that can be sent to another process."""

    dataset: Dataset
    name: str
    num_rows: int
    fingerprint: str

    @classmethod
    def of(cls, dataset: Dataset, name: str, prepared: PreparedSplit) -> "Split":
        """The split of that name."""
        # Reading needs no templates, and they are most of what would have to be sent.
        bare = dataclasses.replace(dataset, templates=(), inverted=())
        return cls(bare, name, prepared.num_rows, prepared.fingerprint)


@dataclasses.dataclass(frozen=True)
class _Piece:
    split: int
    start: int
    stop: int


class _Scanner:
    """Finds what rows have in common with the sets; opens what splits it comes upon."""

    def __init__(self, splits: Sequence[Split], index: Index, settings: Settings):
        self._splits = splits
        self._index = index
        self._settings = settings
        self._open = functools.lru_cache(maxsize=8)(self._opened)

    def _opened(self, number: int) -> PreparedSplit:
        split = self._splits[number]
        return store.open_split(split.dataset, split.name, self._settings, prepare_missing=False)

    def scan(self, piece: _Piece) -> list[Overlap]:
        """The rows of a piece that have anything in common, in order."""
        prepared = self._open(piece.split)
        shares: dict[int, dict[str, str]] = collections.defaultdict(dict)
        for start in range(piece.start, piece.stop, _BATCH):
            rows = range(start, min(start + _BATCH, piece.stop))
            texts = [decontaminate_sets.texts_of(prepared.row(row)) for row in rows]
            for shared in self._index.find(texts):
                name = self._index.names[shared.evaluation]
                shares[start + shared.row][name] = shared.words
        return [Overlap(row, of_row) for row, of_row in shares.items()]


def compare(
    splits: Sequence[Split], index: Index, settings: Settings, num_workers: int
) -> list[Checked]:
    """What the rows of splits have in common with the sets; shows progress.

    Raises:
      FlanError: rows that were prepared are damaged or gone.
    """
    pieces = [
        _Piece(number, start, min(start + _PIECE, split.num_rows))
        for number, split in enumerate(splits)
        for start in range(0, split.num_rows, _PIECE)
    ]
    overlaps: list[list[Overlap]] = [[] for _ in splits]
    total = sum(split.num_rows for split in splits)
    with tqdm.tqdm(total=total, desc="compared", unit=" rows", disable=None) as progress:
        found = _scanned(pieces, (splits, index, settings), num_workers)
        for piece, some in zip(pieces, found, strict=True):
            overlaps[piece.split] += some
            progress.update(piece.stop - piece.start)
    return [
        Checked(split.dataset.name, split.name, split.fingerprint, split.num_rows, some)
        for split, some in zip(splits, overlaps, strict=True)
    ]


def _scanned(
    pieces: Sequence[_Piece], compared: tuple[Sequence[Split], Index, Settings], num_workers: int
) -> Iterator[list[Overlap]]:
    """What is found in each piece, in order."""
    num_workers = min(num_workers, len(pieces))
    if num_workers <= 1:
        yield from map(_Scanner(*compared).scan, pieces)
        return
    with concurrent.futures.ProcessPoolExecutor(
        num_workers,
        # A fork would inherit the locks of other threads.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=compared,
    ) as executor:
        yield from executor.map(_scan, pieces)


# Of a worker process: the index is sent once, not with every piece.
_scanner: _Scanner


def _start(*compared) -> None:
    global _scanner
    workers.end_with_parent()
    _scanner = _Scanner(*compared)


def _scan(piece: _Piece) -> list[Overlap]:
    return _scanner.scan(piece)
