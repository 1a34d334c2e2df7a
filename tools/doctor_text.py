"""What tools/doctor.py prints: a line per dataset, a family's datasets in one; then the steps."""

import collections
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from doctor_diagnosis import DOWNLOAD, NO, STATES, Diagnosis

_LICENCE_WIDTH = 40
_FOLDED = textwrap.TextWrapper(
    width=100,
    initial_indent="  ",
    subsequent_indent="    ",
    break_long_words=False,
    break_on_hyphens=False,
)
_UNITS = ("B", "kB", "MB", "GB", "TB")


def table(diagnoses: Sequence[Diagnosis]) -> Iterator[str]:
    """A line for each dataset or family: state, source, published rows, bytes."""
    families = _families(diagnoses)
    width = max(map(len, families))
    yield f"{'dataset':<{width}} {'state':<12} {'source':<11} {'rows':>11} {'size':>8}  licence"
    for name, of_family in families.items():
        bests = [each.best for each in of_family]
        states = dict.fromkeys(best.state for best in bests)
        kinds = ", ".join(dict.fromkeys(kind for each in of_family for kind in _kinds(each)))
        rows = sum(sum(each.dataset.num_examples.values()) for each in of_family)
        # Datasets that come from one place have its size in common.
        sizes = {best.why: best.num_bytes for best in bests if best.num_bytes is not None}
        size = _size(sum(sizes.values())) if sizes else ""
        state = "several" if len(states) > 1 else next(iter(states))
        licence = of_family[0].dataset.license
        remark = textwrap.shorten(licence, _LICENCE_WIDTH, placeholder=" …")
        if len(of_family) > 1:
            remark = f"{len(of_family):,} datasets: {_counts(of_family)}"
        yield f"{name:<{width}} {state:<12} {kinds:<11} {rows:>11,} {size:>8}  {remark}"


def steps(diagnoses: Sequence[Diagnosis]) -> Iterator[str]:
    """What is known of the datasets that no download will bring, and what to do about them.

    Of a family's datasets in one state it is told of the first.
    """
    for name, of_family in _families(diagnoses).items():
        by_state: dict[str, list[Diagnosis]] = {}
        for each in of_family:
            if not each.can_be_had and each.best.state != DOWNLOAD:
                by_state.setdefault(each.best.state, []).append(each)
        for state, in_state in by_state.items():
            first = in_state[0]
            yield f"\n{name}: {state}"
            if len(of_family) > 1:
                yield f"  {len(in_state):,} datasets, the first of them {first.dataset.name}:"
            telling = [found for found in first.findings if found.state != NO]
            lines = [f"{found.kind}, {found.state}: {found.why}" for found in telling]
            remedies = [line for found in telling for line in found.remedy.splitlines()]
            for line in dict.fromkeys(lines + remedies):
                yield from _FOLDED.wrap(line)


def summary(diagnoses: Sequence[Diagnosis], online: bool) -> Iterator[str]:
    """How many datasets can be had, and how many are in which state."""
    had = sum(each.can_be_had for each in diagnoses)
    yield f"\n{had:,} of {len(diagnoses):,} datasets can be had now: {_counts(diagnoses)}"
    if any(each.best.state == DOWNLOAD for each in diagnoses) and not online:
        yield "No download was tried: --online asks the hosts, tools/prepare.py downloads."


def _families(diagnoses: Sequence[Diagnosis]) -> Mapping[str, Sequence[Diagnosis]]:
    """The diagnoses by family, that of a family's only dataset by the dataset's name."""
    families: dict[str, list[Diagnosis]] = {}
    for each in diagnoses:
        families.setdefault(each.dataset.family, []).append(each)
    return {
        family if len(of_family) > 1 else of_family[0].dataset.name: of_family
        for family, of_family in families.items()
    }


def _kinds(diagnosis: Diagnosis) -> Iterator[str]:
    return (found.kind for found in diagnosis.findings if found.state == diagnosis.best.state)


def _counts(diagnoses: Sequence[Diagnosis]) -> str:
    counts = collections.Counter(each.best.state for each in diagnoses)
    return ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])


def _size(num_bytes: int) -> str:
    size, unit = float(num_bytes), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} {_UNITS[unit]}"
