"""Runs of words that texts share with evaluation sets: what tells that a row may be in one of them.

A text counts as its words, lower-cased and without punctuation, as in the published
decontaminations of GPT-3 (arXiv 2005.14165, appendix C: 13 words; where the examples are shorter
fewer, but at least 8) and of PaLM (arXiv 2204.02311, section 8).

Runs are looked up by a hash of 64 bits and then compared word by word: none is taken for another.
Only the evaluation sets are held in memory, with about 40 bytes a word.
"""

import array
import collections
import dataclasses
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from flan_tasks import draws

DEFAULT_LENGTH = 13
# What is shorter than a run counts whole, if it has at least so many words.
SHORTEST = 8
# Scripts that put no spaces between words: each of their characters counts as a word.
_SPACELESS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
# The number of a word that no evaluation set has, and of the end of a row.
_UNKNOWN = 0
# Odd, so that it has an inverse among the integers of 64 bits.
_BASE = 0x9E3779B97F4A7C15
# A sieve has so many bits more than it takes to number its runs: one hash in eight gets through.
_SIEVE_SPARE_BITS = 3


def words(text: str) -> list[str]:
    """The words of a text: runs of letters, marks and digits, lower-cased.

    words("Don't count 1,000 'sheep'!") is ["don", "t", "count", "1", "000", "sheep"].
    """
    return unicodedata.normalize("NFKC", text).lower().translate(_SEPARATED).split()


class _Separated(dict):
    """Character -> itself, a space, or itself between spaces; filled as characters turn up."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if unicodedata.category(character)[0] not in "LMN":
            character = " "
        elif unicodedata.name(character, "").startswith(_SPACELESS):
            character = f" {character} "
        self[code] = character
        return character


_SEPARATED = _Separated()


class Shared(NamedTuple):
    """A run of words that a row and an evaluation set have in common.

    Attributes:
      row: number of the row.
      evaluation: number of the evaluation set.
      words: the words, with spaces between.
    """

    row: int
    evaluation: int
    words: str


class Index:
    """The runs of words of some evaluation sets; picklable.

    Args:
      sets: name -> rows, each the texts that make it up. A row counts as one text, its texts
        joined. A row, or a text of one, of fewer words than a run has counts whole, unless it has
        fewer than SHORTEST.
      length: words in a run.

    Attributes:
      names: of the sets.
      length: words in a run.
      num_rows: rows of each set.
      num_too_short: rows of each set that cannot be found, for they are too short.
    """

    def __init__(self, sets: Mapping[str, Iterable[Sequence[str]]], length: int = DEFAULT_LENGTH):
        self.names = tuple(sets)
        self.length = length
        self.num_rows = [0] * len(sets)
        self.num_too_short = [0] * len(sets)
        self._number_of: dict[str, int] = {"": _UNKNOWN}
        numbers = array.array("i")
        short: dict[int, array.array] = collections.defaultdict(lambda: array.array("q"))
        ends = []
        for number, rows in enumerate(sets.values()):
            for texts in rows:
                self.num_rows[number] += 1
                self.num_too_short[number] += not self._add(texts, numbers, short)
            ends.append(len(numbers))
        self._words = np.array(numbers, np.int32)
        self._vocabulary = list(self._number_of)
        self._keys = draws.hash64(np.arange(len(self._number_of)))
        hashes = _Hashes(self._keys[self._words])
        starts = {size: np.array(found, np.int64) for size, found in sorted(short.items())}
        starts[length] = _whole_runs(self._words, length)
        self._runs = tuple(
            _Runs.of(size, hashes.at(of_size, size), of_size, np.array(ends))
            for size, of_size in starts.items()
        )

    def find(self, rows: Sequence[Iterable[str]]) -> list[Shared]:
        """What rows share with the sets: one run for each row and set that have any in common.

        Args:
          rows: each the texts that make it up.
        """
        mine, ends = self._numbered(rows)
        hashes = _Hashes(self._keys[mine])
        found: dict[tuple[int, int], str] = {}
        for runs in reversed(self._runs):  # the longest first
            starts = _whole_runs(mine, runs.length)
            hit, run = runs.find(hashes.at(starts, runs.length))
            at, theirs = starts[hit], runs.starts[run]
            span = np.arange(runs.length)
            same = (mine[at[:, None] + span] == self._words[theirs[:, None] + span]).all(axis=1)
            row = np.searchsorted(ends, at[same], side="right").tolist()
            sets = runs.sets[run[same]].tolist()
            for key, start in zip(zip(row, sets, strict=True), at[same].tolist(), strict=True):
                if key not in found:
                    found[key] = self._text(mine[start : start + runs.length])
        return [Shared(*key, text) for key, text in sorted(found.items())]

    def _numbered(self, rows: Sequence[Iterable[str]]) -> tuple[np.ndarray, list[int]]:
        """The numbers of the rows' words, each row closed by an unknown one; and the rows' ends."""
        numbers = array.array("i")
        ends = []
        number_of = self._number_of.get
        for texts in rows:
            for text in texts:
                numbers.extend([number_of(word, _UNKNOWN) for word in words(text)])
            numbers.append(_UNKNOWN)
            ends.append(len(numbers))
        return np.array(numbers, np.int32), ends

    def num_runs(self) -> list[int]:
        """How many different runs each set has."""
        counts = [np.bincount(runs.sets, minlength=len(self.names)) for runs in self._runs]
        return np.sum(counts, axis=0).tolist()

    def _add(
        self, texts: Sequence[str], numbers: array.array, short: Mapping[int, array.array]
    ) -> bool:
        """Adds a row's words, and the starts of what counts whole; False: it adds no run."""
        first, adds = len(numbers), False
        bounds = []
        for text in texts:
            start = len(numbers)
            for word in words(text):
                numbers.append(self._number_of.setdefault(word, len(self._number_of)))
            bounds.append((start, len(numbers)))
        for start, end in {*bounds, (first, len(numbers))}:
            if SHORTEST <= end - start < self.length:
                short[end - start].append(start)
                adds = True
        adds |= len(numbers) - first >= self.length
        numbers.append(_UNKNOWN)
        return adds

    def _text(self, numbers: np.ndarray) -> str:
        return " ".join(self._vocabulary[number] for number in numbers.tolist())


@dataclasses.dataclass(frozen=True)
class _Runs:
    """The runs of one length, each once for every set that has it: arrays in order of the hashes.

    Attributes:
      length: words in a run.
      hashes: uint64 [n].
      starts: where a run starts among all words of the sets, int64 [n].
      sets: the numbers of the sets, int32 [n].
      sieve: bool [2**bits], whether there is a hash with these upper bits.
    """

    length: int
    hashes: np.ndarray
    starts: np.ndarray
    sets: np.ndarray
    sieve: np.ndarray

    @classmethod
    def of(cls, length: int, hashes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> "_Runs":
        """The runs with such hashes and starts; `ends` is where each set's words end, int64."""
        sets = np.searchsorted(ends, starts, side="right").astype(np.int32)
        order = np.lexsort((starts, sets, hashes))
        hashes, starts, sets = hashes[order], starts[order], sets[order]
        is_first = np.ones(len(hashes), bool)
        is_first[1:] = (hashes[1:] != hashes[:-1]) | (sets[1:] != sets[:-1])
        hashes = hashes[is_first]
        sieve = np.zeros(1 << (len(hashes).bit_length() + _SIEVE_SPARE_BITS), bool)
        sieve[_upper_bits(hashes, sieve)] = True
        return cls(length, hashes, starts[is_first], sets[is_first], sieve)

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of some hashes that runs have, and the runs: the numbers of both, int64 [hits]."""
        [likely] = np.nonzero(self.sieve[_upper_bits(hashes, self.sieve)])
        first = np.searchsorted(self.hashes, hashes[likely], side="left")
        count = np.searchsorted(self.hashes, hashes[likely], side="right") - first
        further = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return np.repeat(likely, count), np.repeat(first, count) + further


class _Hashes:
    """Hashes of runs of words: sum of key * base**place, over the run, in 64 bits.

    Args:
      keys: the words' own hashes, uint64 [n].
    """

    def __init__(self, keys: np.ndarray):
        self._sums = np.zeros(len(keys) + 1, np.uint64)
        np.cumsum(keys * _powers(_BASE, len(keys)), out=self._sums[1:])
        self._shifts = _powers(pow(_BASE, -1, 1 << 64), len(keys))

    def at(self, starts: np.ndarray, length: int) -> np.ndarray:
        """uint64 [starts]: the hashes of the runs of a length that start there."""
        return (self._sums[starts + length] - self._sums[starts]) * self._shifts[starts]


def _powers(base: int, count: int) -> np.ndarray:
    """The powers of a number, from the first, in 64 bits: uint64 [count]."""
    return np.cumprod(np.full(count, base, np.uint64))


def _whole_runs(numbers: np.ndarray, length: int) -> np.ndarray:
    """Where runs of so many known words start: int64 [n]."""
    unknown = np.zeros(len(numbers) + 1, np.int64)
    np.cumsum(numbers == _UNKNOWN, out=unknown[1:])
    return np.flatnonzero(unknown[length:] == unknown[: len(unknown) - length])


def _upper_bits(hashes: np.ndarray, sieve: np.ndarray) -> np.ndarray:
    return hashes >> np.uint64(64 - (len(sieve) - 1).bit_length())
