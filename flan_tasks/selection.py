"""Datasets chosen by what they are.

A term says one thing of a dataset:

    bool_q, cot_*             its name, or its family's
    collection:t0             flan2021, t0, niv2, cot, dialog …
    kind:translation          what is asked of it
    license:commercial        a class of its licence, see `flan_tasks.licenses`
    language:French           one of its languages
    pair:French-English       translation: from one language, into the other; pair:*-French
    held_out:niv2_test        named in that list of the folder held_out

Upper and lower case are the same, and * stands for anything: kind:*question answering. To be
included a dataset meets one of the terms of each key that is used; any one term excludes it:

    include = ["collection:t0", "collection:niv2", "license:commercial"]
    exclude = ["language:Persian", "held_out:niv2_test"]

are the datasets of T0 and of Super-Natural Instructions that may be used commercially, without
those that hold Persian and without the benchmark's test tasks. A term that no dataset meets is an
error: it is misspelt more often than meant.
"""

import difflib
import fnmatch
import functools
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from flan_tasks import licenses
from flan_tasks.errors import CardError
from flan_tasks.spec import Dataset

_HELD_OUT = pathlib.Path(__file__).parent / "held_out"
_NAMES_SUGGESTED = 3
_VALUES_LISTED = 8


def select(
    datasets: Iterable[Dataset], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[Dataset]:
    """The datasets that meet `include` and no term of `exclude`, in their order.

    Without `include` all are included.

    Raises:
      CardError: a term has no such key or no dataset meets it (near values are suggested), or no
        dataset is left.
    """
    datasets = list(datasets)
    alternatives: dict[str, set[str]] = {}
    for term in include:
        alternatives.setdefault(_parsed(term)[0], set()).update(_meeting(term, datasets))
    excluded = {name for term in exclude for name in _meeting(term, datasets)}
    kept = [
        dataset
        for dataset in datasets
        if all(dataset.name in names for names in alternatives.values())
        and dataset.name not in excluded
    ]
    if not kept:
        without = f" and not {', '.join(exclude)}" if exclude else ""
        raise CardError(
            f"no dataset is {', '.join(include) or 'there'}{without}",
            where="include and exclude",
            remedy="Terms of one key are alternatives, each key in use has to be met; use fewer.",
        )
    return kept


def pair(dataset: Dataset) -> str:
    """From which language into which its forward prompts translate, "French-English"; or ""."""
    translates = dataset.kind == "translation" and len(dataset.languages) == 2
    return "-".join(dataset.languages) if translates else ""


@functools.cache
def held_out() -> Mapping[str, frozenset[str]]:
    """Name of a list -> the datasets, or rows of a table, that are in it."""
    return {
        path.stem: frozenset(
            line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines()
        )
        - {""}
        for path in sorted(_HELD_OUT.glob("*.txt"))
    }


def _held_out_of(dataset: Dataset) -> list[str]:
    names = {dataset.name, dataset.constants.get("task_name", dataset.name)}
    return [name for name, listed in held_out().items() if names & listed]


_VALUES: Mapping[str, Callable[[Dataset], Iterable[str]]] = {
    "name": lambda dataset: (dataset.name, dataset.family),
    "collection": lambda dataset: (dataset.collection,),
    "kind": lambda dataset: (dataset.kind,),
    "license": lambda dataset: licenses.classes(dataset.license),
    "language": lambda dataset: dataset.languages,
    "pair": lambda dataset: filter(None, (pair(dataset),)),
    "held_out": _held_out_of,
}


def _parsed(term: str) -> tuple[str, str]:
    """Key and pattern of a term."""
    key, colon, pattern = term.partition(":")
    key, pattern = (key.strip(), pattern.strip()) if colon else ("name", term.strip())
    if key not in _VALUES:
        raise _error(f"there is no {key!r} to choose by", term, key, _VALUES)
    return key, pattern


def _meeting(term: str, datasets: Sequence[Dataset]) -> set[str]:
    """The names of the datasets that meet a term; there are some."""
    key, pattern = _parsed(term)
    values_of = _VALUES[key]
    matches = re.compile(fnmatch.translate(pattern), re.IGNORECASE).match
    found = {each.name for each in datasets if any(map(matches, values_of(each)))}
    if not found:
        known = dict.fromkeys(value for each in datasets for value in values_of(each))
        raise _error(f"no dataset has the {key} {pattern!r}", term, pattern, known)
    return found


def _error(what: str, term: str, given: str, known: Iterable[str]) -> CardError:
    by_case = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(given.casefold(), by_case, _NAMES_SUGGESTED)
    listed = [by_case[each] for each in near] or sorted(by_case.values())[:_VALUES_LISTED]
    more = "" if near or len(by_case) <= _VALUES_LISTED else f", … ({len(by_case)} in all)"
    return CardError(
        what,
        where=f"term {term!r}",
        remedy=f"{'Did you mean' if near else 'There are'}: {', '.join(listed) or 'none'}{more}",
    )
