"""What tools/prepare.py prints in the end: a line per split, for a family's datasets in sum."""

import collections
import dataclasses
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from flan_tasks.sources import Availability
from flan_tasks.spec import Dataset
from flan_tasks.store import PreparedSplit

# Of the faults of a family, which are mostly the same one, so many are told in full.
_TOLD_IN_FULL = 3
_WIDTH = 100


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a split: its rows, or the error."""

    dataset: Dataset
    split: str
    seconds: float
    prepared: PreparedSplit | None
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """What each kind of source in use has of a dataset."""

    dataset: Dataset
    found: Sequence[Availability]


_Each = TypeVar("_Each", Outcome, Report)


def table(outcomes: Sequence[Outcome], seconds: float) -> Iterator[str]:
    """The lines of the table, and one with the sums and the seconds that it all took."""
    families = _families(outcomes)
    width = max(map(len, families), default=0)
    yield f"{'dataset':<{width}} {'split':<12} {'rows':>12} {'seconds':>8}  dropped / origin"
    for name, of_family in families.items():
        for split in dict.fromkeys(each.split for each in of_family):
            of_split = [each for each in of_family if each.split == split]
            yield f"{name:<{width}} {split:<12} {_sums(of_split)}"
    done = _prepared(outcomes)
    yield (
        f"{len(done):,} of {len(outcomes):,} splits, "
        f"{sum(each.num_rows for each in done):,} rows, {seconds:.1f} s"
    )


def complaints(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The errors; of a family some in full and then the names of what else failed."""
    for name, of_family in _families(outcomes).items():
        failed = [each for each in of_family if each.error]
        if len(_names(of_family)) == 1:
            yield from (each.error for each in failed)
            continue
        first_of = {each.dataset.name: each.error for each in reversed(failed)}
        names = list(_names(failed))
        yield from (first_of[each] for each in names[:_TOLD_IN_FULL])
        if names[_TOLD_IN_FULL:]:
            rest = ", ".join(names[_TOLD_IN_FULL:])
            text = f"{name}: {len(names) - _TOLD_IN_FULL:,} more datasets failed: {rest}"
            yield textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def availability(reports: Sequence[Report]) -> Iterator[str]:
    """A line for each dataset or family and each kind of source: whether it has it, and where."""
    families = _families(reports)
    width = max(map(len, families), default=0)
    for name, of_family in families.items():
        for found in zip(*(each.found for each in of_family), strict=True):
            had = [each for each in found if each.ok]
            count = f"{len(had):,} of {len(found):,}" if len(found) > 1 else "yes" if had else "no"
            example = (had or found)[0]
            such_as = "such as: " if len(found) > 1 else ""
            yield f"{name:<{width}} {example.kind:<8} {count:<14} {such_as}{example.why}"


def _families(items: Sequence[_Each]) -> Mapping[str, Sequence[_Each]]:
    """The items by family, those of a family's only dataset by the dataset's name."""
    families: dict[str, list[_Each]] = {}
    for each in items:
        families.setdefault(each.dataset.family, []).append(each)
    return {
        family if len(names := _names(of_family)) > 1 else next(iter(names)): of_family
        for family, of_family in families.items()
    }


def _names(items: Sequence[_Each]) -> Mapping[str, None]:
    return dict.fromkeys(each.dataset.name for each in items)


def _prepared(outcomes: Sequence[Outcome]) -> list[PreparedSplit]:
    return [each.prepared for each in outcomes if each.prepared]


def _sums(outcomes: Sequence[Outcome]) -> str:
    """What stands in a line after the name and the split."""
    done, count = _prepared(outcomes), len(outcomes)
    rows = f"{sum(each.num_rows for each in done):,}" if done else "failed"
    head = f"{rows:>12} {sum(each.seconds for each in outcomes):>8.1f}"
    failed = f"{count - len(done):,} of {count:,} datasets failed, see below"
    if not done:
        return f"{head}  {failed if count > 1 else 'see below'}"
    drops: collections.Counter[str] = collections.Counter()
    for each in done:
        drops.update(each.drops)
    dropped = ", ".join(f"{reason} {number:,}" for reason, number in drops.items()) or "none"
    if count == 1:
        return f"{head}  {dropped} / {done[0].origin}"
    kinds = ", ".join(dict.fromkeys(each.origin.partition(":")[0] for each in done))
    whole = f"{count:,} datasets" if len(done) == count else failed
    return f"{head}  {dropped} / {kinds}: {whole}"
