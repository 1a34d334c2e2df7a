"""What is in a checkpoint, and how two differ."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from t5x.weights.leaves import Leaf
from t5x.weights.sources import Source

_BLOCK = 1 << 26  # Bytes of an array that are looked at together.


@dataclasses.dataclass(frozen=True)
class Stats:
    """Figures of one leaf; its not finite numbers are only counted."""

    norm: float
    mean: float
    smallest: float
    largest: float
    not_finite: int


def describe(source: Source, *, stats: bool = False) -> dict[str, Any]:
    """What a checkpoint holds, ready for JSON.

    Args:
        source: the checkpoint.
        stats: whether to read all of it, for its norms.
    """
    rows = []
    for name, leaf in source.leaves.items():
        row: dict[str, Any] = {
            "name": name,
            "shape": list(leaf.shape),
            "dtype": str(leaf.dtype),
            "bytes": leaf.nbytes,
        }
        rows.append(row | (dataclasses.asdict(measure(leaf)) if stats else {}))
    parameters = [leaf for name, leaf in source.leaves.items() if name.startswith("target/")]
    return {
        "path": source.path,
        "format": source.format.value,
        "step": source.step,
        "parameters": sum(leaf.size for leaf in parameters),
        "bytes": sum(leaf.nbytes for leaf in source.leaves.values()),
        "leaves": rows,
    }


def measure(leaf: Leaf) -> Stats:
    """Reads a leaf and computes its figures in float64."""
    squares = total = 0.0
    low, high, bad, count = math.inf, -math.inf, 0, 0
    for (block,) in _blocks(leaf):
        numbers = np.asarray(block, np.float64).reshape(-1)
        finite = numbers[np.isfinite(numbers)]
        bad += numbers.size - finite.size
        if finite.size:
            squares += float(finite @ finite)
            total += float(finite.sum())
            count += finite.size
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return Stats(math.sqrt(squares), total / max(1, count), low, high, bad)


@dataclasses.dataclass(frozen=True)
class Difference:
    """How a leaf differs between two checkpoints.

    Attributes:
        name: what it is called.
        what: in words.
    """

    name: str
    what: str


def differences(
    first: Mapping[str, Leaf], second: Mapping[str, Leaf], tolerance: float = 0.0
) -> Iterator[Difference]:
    """Compares leaf by leaf, shapes first and then numbers.

    Args:
        first: leaves by name.
        second: likewise.
        tolerance: how much numbers may differ, relative to the largest of their array.
    """
    for name in sorted({*first, *second}):
        a, b = first.get(name), second.get(name)
        if a is None or b is None:
            yield Difference(name, f"only in the {'second' if a is None else 'first'}")
        elif a.shape != b.shape:
            yield Difference(name, f"{list(a.shape)} in the first, {list(b.shape)} in the second")
        elif what := _in_numbers(a, b, tolerance):
            yield Difference(name, what)


def _in_numbers(a: Leaf, b: Leaf, tolerance: float) -> str | None:
    largest = scale = 0.0
    unequal = 0
    for one, other in _blocks(a, b):
        x, y = np.asarray(one, np.float64), np.asarray(other, np.float64)
        unequal += int(np.count_nonzero(~((x == y) | (np.isnan(x) & np.isnan(y)))))
        with np.errstate(invalid="ignore"):
            gap = np.abs(x - y)
        largest = (
            max(largest, float(np.nan_to_num(gap, nan=math.inf).max(initial=0.0)))
            if (unequal)
            else largest
        )
        scale = max(scale, float(np.nan_to_num(np.abs(x)).max(initial=0.0)))
    if not unequal or largest <= tolerance * scale:
        return None
    share = unequal / max(1, a.size)
    return f"{share:.2%} of its numbers differ, by at most {largest:.3g} (largest {scale:.3g})"


def _blocks(*leaves: Leaf) -> Iterator[list[np.ndarray]]:
    """The same rows of several leaves of one shape at a time."""
    shape = leaves[0].shape
    if not shape:
        yield [leaf.read() for leaf in leaves]
        return
    row = max(1, max(leaf.nbytes for leaf in leaves) // max(1, shape[0]))
    step = max(1, _BLOCK // row)
    for start in range(0, shape[0], step):
        part = (slice(start, min(start + step, shape[0])),)
        yield [leaf.read(part) for leaf in leaves]
