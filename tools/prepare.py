#!/usr/bin/env python
"""Prepares datasets: reads their raw rows, cleans them, and stores them for training.

    python tools/prepare.py bool_q niv2 --data_dir /data/flan --out /data/prepared
    python tools/prepare.py all --workers 8
    python tools/prepare.py all --runner FnApiRunner

A family's name stands for all its datasets, which the table at the end sums up. What is prepared
already is left as it is, and a run that was stopped, or killed, goes on where it was. A dataset
that cannot be prepared does not stop the others; the exit code is then 1.

Archives are unpacked, and sources that hold a family in one piece grouped by dataset, into the
folder .raw of --out, once; when all is prepared, that folder may be deleted.

With --runner the work is a pipeline of Apache Beam (pip install 'flan-tasks[beam]'), on any of its
runners; every worker has to see --out and the raw rows under the same paths. On a single machine,
FnApiRunner is the one to name: DirectRunner first tries to download another program, Prism.
However they are made, the files are the same, byte for byte.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence

os.environ.setdefault("FLAN_TASKS_REGISTER", "0")  # reading cards needs no seqio

import gin
import prepare_table
import tqdm
from prepare_table import Outcome, Report

from flan_tasks import catalog, prepare_runners, sources, store
from flan_tasks.errors import FlanError
from flan_tasks.spec import Dataset


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.beam_option and not options.runner:
        parser.error("--beam_option goes with --runner")
    if options.workers < 1:
        parser.error("--workers has to be 1 or more")
    try:
        for path in options.gin_file:
            gin.parse_config_file(path, skip_unknown=True)
        settings = _settings(options)
        datasets = [dataset for name in options.datasets for dataset in _named(name)]
        if options.dry_run:
            return _report(datasets, settings)
        wanted = [(dataset, split) for dataset in datasets for split in dataset.splits]
        start = time.monotonic()
        _make_shards(wanted, settings, options)
    except (FlanError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    progress = tqdm.tqdm(wanted, "prepared", unit=" splits", disable=None)
    outcomes = [_prepare(dataset, split, settings) for dataset, split in progress]
    for line in prepare_table.table(outcomes, time.monotonic() - start):
        print(line)
    sys.stdout.flush()
    for complaint in prepare_table.complaints(outcomes):
        print(f"\n{complaint}", file=sys.stderr)
    return 1 if any(outcome.error for outcome in outcomes) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("datasets", nargs="+", metavar="DATASET", help="dataset, family, or all")
    add("--data_dir", help="folder of the published files (FLAN_DATA_DIR)")
    add("--out", metavar="DIR", help="folder of the prepared rows (FLAN_STORE_DIR)")
    add("--tfds_data_dir", help="TFDS's data directory (TFDS_DATA_DIR)")
    add("--use", nargs="+", choices=sources.KINDS, help="kinds of source, first choice first")
    add(
        "--allow_partial",
        action="store_true",
        default=None,
        help="take splits with another number of rows than published",
    )
    add("--gin_file", action="append", default=[], help="gin with sources.settings; repeatable")
    add("--dry_run", action="store_true", help="say what each source has, prepare nothing")
    runners = parser.add_mutually_exclusive_group()
    runners.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes of this machine (1)"
    )
    runners.add_argument("--runner", help="Apache Beam's runner: FnApiRunner, DataflowRunner, …")
    add(
        "--beam_option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of Beam's or of its runner's; repeatable",
    )
    return parser


def _settings(options: argparse.Namespace) -> sources.Settings:
    keys = {key: key for key in ("data_dir", "tfds_data_dir", "use", "allow_partial")}
    keys["store_dir"] = "out"
    given = {key: getattr(options, option) for key, option in keys.items()}
    return sources.settings(**{key: value for key, value in given.items() if value is not None})


def _named(name: str) -> list[Dataset]:
    return list(catalog.load().values()) if name == "all" else catalog.named(name)


def _make_shards(
    wanted: Sequence[tuple[Dataset, str]], settings: sources.Settings, options: argparse.Namespace
) -> None:
    """Has other processes make the shards, if so asked; else they are made one by one later."""
    if options.runner:
        arguments = [f"--runner={options.runner}", *(f"--{each}" for each in options.beam_option)]
        prepare_runners.on_beam(wanted, settings, arguments)
    elif options.workers > 1:
        prepare_runners.on_processes(wanted, settings, options.workers)


def _prepare(dataset: Dataset, split: str, settings: sources.Settings) -> Outcome:
    start = time.monotonic()
    prepared, error = None, ""
    try:
        prepared = store.open_split(dataset, split, settings)
    except (FlanError, OSError) as fault:
        error = str(fault)
    return Outcome(dataset, split, time.monotonic() - start, prepared, error)


def _report(datasets: Sequence[Dataset], settings: sources.Settings) -> int:
    """Prints what each source has; returns 1 if some dataset is nowhere at hand."""
    reports = [Report(dataset, sources.availability(dataset, settings)) for dataset in datasets]
    for line in prepare_table.availability(reports):
        print(line)
    return 0 if all(any(found.ok for found in report.found) for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
