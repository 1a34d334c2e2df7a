#!/usr/bin/env python
"""Prepares datasets: reads their raw rows, cleans them, and stores them for training.

    python tools/prepare.py bool_q niv2 --data_dir /data/flan
    python tools/prepare.py all --use samples

A family's name stands for all its datasets. What is prepared already is left as it is. A dataset
that cannot be prepared does not stop the others; the exit code is then 1.
"""

import argparse
import os
import sys
import time

os.environ.setdefault("FLAN_TASKS_REGISTER", "0")  # reading cards needs no seqio

import gin

from flan_tasks import catalog, sources, store
from flan_tasks.errors import FlanError
from flan_tasks.spec import Dataset


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        for path in options.gin_file:
            gin.parse_config_file(path, skip_unknown=True)
        settings = _settings(options)
        datasets = [dataset for name in options.datasets for dataset in _named(name)]
    except (FlanError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.dry_run:
        return _report(datasets, settings)
    results = [_prepare(each, split, settings) for each in datasets for split in each.splits]
    complaints = list(filter(None, results))
    for complaint in complaints:
        print(f"\n{complaint}", file=sys.stderr)
    return 1 if complaints else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="+", metavar="DATASET", help="dataset, family, or all")
    parser.add_argument("--data_dir", help="folder of the published files (FLAN_DATA_DIR)")
    parser.add_argument("--store_dir", help="folder of the prepared rows (FLAN_STORE_DIR)")
    parser.add_argument("--tfds_data_dir", help="TFDS's data directory (TFDS_DATA_DIR)")
    parser.add_argument(
        "--use", nargs="+", choices=sources.KINDS, help="kinds of source, first choice first"
    )
    parser.add_argument(
        "--allow_partial",
        action="store_true",
        default=None,
        help="take splits with another number of rows than published",
    )
    parser.add_argument(
        "--gin_file", action="append", default=[], help="gin file with sources.settings; repeatable"
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="say what each source has, prepare nothing"
    )
    return parser


def _settings(options: argparse.Namespace) -> sources.Settings:
    keys = ("data_dir", "store_dir", "tfds_data_dir", "use", "allow_partial")
    given = {key: value for key in keys if (value := getattr(options, key)) is not None}
    return sources.settings(**given)


def _named(name: str) -> list[Dataset]:
    return list(catalog.load().values()) if name == "all" else catalog.named(name)


def _prepare(dataset: Dataset, split: str, settings: sources.Settings) -> str:
    """Prepares a split and prints a line on it; returns the error, empty if there was none."""
    start = time.monotonic()
    try:
        prepared = store.open_split(dataset, split, settings)
    except FlanError as error:
        print(f"{dataset.name:<40} {split:<10}     failed", flush=True)
        return str(error)
    seconds = time.monotonic() - start
    dropped = ", ".join(f"{reason} {count:,}" for reason, count in prepared.drops.items())
    print(
        f"{dataset.name:<40} {split:<10} {prepared.num_rows:>10,} rows {seconds:>8.1f} s   "
        f"dropped: {dropped or 'none'}   {prepared.origin}",
        flush=True,
    )
    return ""


def _report(datasets: list[Dataset], settings: sources.Settings) -> int:
    """Prints what each source has; returns 1 if some dataset is nowhere at hand."""
    code = 0
    for dataset in datasets:
        report = sources.availability(dataset, settings)
        code |= not any(each.ok for each in report)
        for each in report:
            print(f"{dataset.name:<40} {each.kind:<8} {'yes' if each.ok else 'no':<4} {each.why}")
    return code


if __name__ == "__main__":
    sys.exit(main())
