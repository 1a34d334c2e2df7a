#!/usr/bin/env python
"""Holds the paper's inventory, row by row, against the datasets that are registered.

    python tools/inventory.py
    python tools/inventory.py --rows collection:cot
    python tools/inventory.py kind:translation language:French
    python tools/inventory.py --json

A row of the inventory (arXiv 2301.13688; all 1,945 are in tools/inventory.tsv) is a dataset, a
category of tasks and with it a direction: what is given and what is asked for. It is there if the
dataset is registered with templates that ask in this direction. Terms choose datasets by what they
are, as in mixtures: see flan_tasks/selection.py. States of sources are those of tools/doctor.py.

The exit code is 0 only if every row asked for is there.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("FLAN_TASKS_REGISTER", "0")  # reading cards needs no seqio

import inventory_rows
import inventory_tables
from inventory_rows import Entry

from flan_tasks import catalog, licenses, selection
from flan_tasks.errors import FlanError


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        chosen = selection.select(catalog.load().values(), options.terms)
        entries, beyond = inventory_rows.entries(chosen, with_missing=not options.terms)
        if options.json:
            print(json.dumps(_report(entries, beyond), indent=1, ensure_ascii=False))
        else:
            for line in inventory_tables.lines(entries, beyond, options.rows):
                print(line)
    except BrokenPipeError:  # the reader, a pager say, has seen enough
        sys.stdout = None
    except (FlanError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if all(entry.is_there for entry in entries) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("terms", nargs="*", metavar="TERM", help="names, or terms such as license:commercial (all)")
    add("--rows", action="store_true", help="show every row, not only sums")
    add("--json", action="store_true", help="print all that is known of every row as JSON")
    return parser


def _report(entries: Sequence[Entry], beyond: Sequence[Entry]) -> dict[str, Any]:
    return {
        "there": sum(entry.is_there for entry in entries),
        "inventory": len(entries),
        "rows": [_fields(entry) for entry in entries],
        "beyond": [_fields(entry) for entry in beyond],
    }


def _fields(entry: Entry) -> dict[str, Any]:
    fields = {**vars(entry.row), "there": entry.is_there}
    if entry.dataset is None:
        return fields
    return {
        **fields,
        "tasks": list(entry.tasks),
        "templates": len(entry.templates),
        "examples": entry.num_examples,
        "languages": list(entry.dataset.languages),
        "license": entry.dataset.license,
        "license_classes": sorted(licenses.classes(entry.dataset.license)),
        "state": entry.state,
    }


if __name__ == "__main__":
    sys.exit(main())
