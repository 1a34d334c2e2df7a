#!/usr/bin/env python
"""Takes the released prompts of Flan 2022 over from your copy of its code, for exact replication.

    git clone https://github.com/google-research/FLAN ~/FLAN
    python tools/import_templates.py --flan ~/FLAN --out ~/flan_templates
    FLAN_TEMPLATES=~/flan_templates python -m t5x.train ...

The two files with the templates are read by their syntax; nothing in them is run. Each family of
templates becomes a file of --out: the templates of each setting (zero-shot and few-shot, with and
without options, which the release words differently), and the inverted ones. With FLAN_TEMPLATES
set, they take the place of ours, and examples carry ids such as "rte/flan2022:zs_opt:3". Nothing is
written unless all can be taken over; a folder that this program made before is replaced.

What comes out as released is the wording: the templates, how exemplars are joined, and what ends a
query. Lists of options and dialogs are still written in our styles, the number of exemplars is
drawn as ever, and few-shot prompts of a fixed number of exemplars in mixed templates do not exist
here. A template that lists options where the setting has none is left out. Most of P3 keeps our
templates: the release shows P3's prompts with their choices, our rows hold the choices apart.
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence

os.environ.setdefault("FLAN_TASKS_REGISTER", "0")  # reading cards needs no seqio
os.environ.pop("FLAN_TEMPLATES", None)  # the cards themselves, whatever overlay is in use

import import_templates_overlay
import import_templates_release
from import_templates_overlay import Entry, Family

from flan_tasks import catalog
from flan_tasks.errors import FlanError
from flan_tasks.spec import Dataset

_HEADINGS = ("templates", "for", "zero-shot", "few-shot", "inverted", "left out")


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    datasets = catalog.load()
    try:
        released = import_templates_release.read(options.flan)
        files, skipped = import_templates_overlay.build(released, datasets)
        if not options.dry_run:
            import_templates_overlay.write(files, options.out, datasets)
    except (FlanError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for line in _report(files, skipped, list(datasets.values())):
        print(line)
    done = "would be written" if options.dry_run else "written"
    print(f"\n{options.out}: {len(files)} files {done}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--flan", required=True, type=_folder, metavar="DIR", help="a checkout of its repository")
    add("--out", required=True, type=_folder, metavar="DIR", help="the folder to write")
    add("--dry_run", action="store_true", help="read and check everything, write nothing")
    return parser


def _folder(name: str) -> pathlib.Path:
    return pathlib.Path(name).expanduser()


def _report(
    files: Sequence[Family], skipped: Sequence[str], datasets: Sequence[Dataset]
) -> Iterator[str]:
    """What was read, a line for each family of templates, and what was passed over."""
    rows = [_HEADINGS, *map(_cells, files)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(cells)
        )
    served = {name for family in files for name in family.serves}
    for family in files:
        for place in family.left_out:
            yield f"left out: {family.name}: {place} lists options where the setting has none"
    yield f"passed over, for no dataset here: {', '.join(skipped) or 'none'}"
    kept = {each.family for each in datasets if served.isdisjoint({each.name, each.family})}
    yield f"datasets that keep our templates: {', '.join(sorted(kept)) or 'none'}"


def _cells(family: Family) -> tuple[str, ...]:
    first, *others = family.serves
    serves = f"{first} and {len(others)} more" if len(others) > 2 else ", ".join(family.serves)
    counts = (
        _count(family.template, "zs"),
        _count(family.template, "fs"),
        len(family.inverted),
        len(family.left_out),
    )
    return family.name, serves, *map(str, counts)


def _count(entries: Sequence[Entry], shots: str) -> int:
    return sum(entry.settings[0].startswith(shots) for entry in entries)


if __name__ == "__main__":
    sys.exit(main())
