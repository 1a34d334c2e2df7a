"""Lists datasets, all or those that meet terms, a line each.

    python tools/inspect list license:commercial language:French --exclude niv2

Terms are names, or collection: kind: license: language: pair: held_out: and a value. Terms of one
key are alternatives, as in mixtures; see flan_tasks/selection.py.
"""

import argparse
from collections.abc import Iterator, Sequence

from flan_tasks import catalog, licenses, selection
from flan_tasks.spec import Dataset

_HEADINGS = ("dataset", "collection", "kind", "examples", "licence", "languages")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("terms", nargs="*", metavar="TERM", help="what they meet; left out: all")
    parser.add_argument(
        "--exclude", nargs="+", default=[], metavar="TERM", help="what none of them may meet"
    )


def run(options: argparse.Namespace) -> None:
    """Prints the list.

    Raises:
      CardError: see `selection.select`.
    """
    for line in lines(options.terms, options.exclude):
        print(line)


def lines(include: Sequence[str], exclude: Sequence[str]) -> Iterator[str]:
    """The chosen datasets in columns, and how many they are.

    Raises:
      CardError: see `selection.select`.
    """
    chosen = selection.select(catalog.load().values(), include, exclude)
    table = [_HEADINGS, *map(_cells, chosen)]
    *widths, _ = (max(map(len, column)) for column in zip(*table, strict=True))
    for name, collection, kind, examples, licence, languages in table:
        columns = (name, collection, kind, examples.rjust(widths[3]), licence)
        padded = (cell.ljust(width) for cell, width in zip(columns, widths, strict=True))
        yield "  ".join([*padded, languages])
    total = sum(dataset.num_examples.get("train", 0) for dataset in chosen)
    yield f"\n{len(chosen):,} datasets, {total:,} examples to train on"


def _cells(dataset: Dataset) -> tuple[str, ...]:
    classes = licenses.classes(dataset.license)
    return (
        dataset.name,
        dataset.collection,
        dataset.kind,
        f"{dataset.num_examples.get('train', 0):,}",
        ", ".join(name for name in licenses.CLASSES if name in classes),
        selection.pair(dataset) or ", ".join(dataset.languages),
    )
