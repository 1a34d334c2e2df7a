#!/usr/bin/env python
"""Finds training rows that share text with evaluation sets, and writes a list to drop them by.

    python tools/decontaminate.py all --against bool_q:validation /data/mmlu/test --out drops.jsonl
    python tools/decontaminate.py niv2 cot_gsm8k --against /data/bbh --show 5 --workers 8

An evaluation set is a file (.jsonl, .json, .csv, .tsv, .txt, .parquet, .tfrecord, also gzipped), a
folder of such files, or a dataset's split. A row shares text with it where both have the same 13
words in a row (--ngram); case and punctuation do not count. A row is all its texts, joined; numbers
are left aside. Of a table each line is a row, a head included; of nested JSON each object is.
What is shorter than 13 words, a whole row or one of its texts, has to be shared whole, and is not
looked for if it is shorter than 8.

A gin file has a mixture go without the rows that are listed:

    mixtures.register.drop_rows = "drops.jsonl"

Rows that are not prepared are prepared first. A dataset that cannot be had does not stop the others
and is not in the list; the exit code is then 1.
"""

import argparse
import collections
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

os.environ.setdefault("FLAN_TASKS_REGISTER", "0")  # reading rows needs no seqio

import decontaminate_rows
import decontaminate_sets
import gin
import tqdm
from decontaminate_rows import Split
from decontaminate_sets import EvaluationSet, Texts

from flan_tasks import catalog, configs, contamination, ngrams, sources, store
from flan_tasks.contamination import Checked
from flan_tasks.errors import FlanError, StoreError
from flan_tasks.sources import Settings
from flan_tasks.spec import Dataset
from flan_tasks.stream_arguments import positive


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        datasets = _datasets(options)
        if options.dry_run:
            return _dry_run(datasets, options, settings)
        return _decontaminate(datasets, options, settings)
    except (FlanError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("datasets", nargs="+", metavar="DATASET", help="dataset, family, or all")
    sets = "evaluation sets: files, folders, DATASET:SPLIT"
    add("--against", nargs="+", required=True, metavar="SET", help=sets)
    add("--out", type=pathlib.Path, metavar="FILE", help="list to write (left out: none)")
    add("--split", default="train", help="split whose rows are looked at (train)")
    length = ngrams.DEFAULT_LENGTH
    add("--ngram", type=positive, default=length, metavar="N", help=f"words in a row ({length})")
    add("--show", type=int, default=0, metavar="N", help="print so many rows of each dataset (0)")
    add("--json", type=pathlib.Path, metavar="FILE", help="write the report")
    cores = len(os.sched_getaffinity(0))
    add("--workers", type=positive, default=cores, help="processes (one for every processor)")
    add("--data_dir", help="folder of the published files (FLAN_DATA_DIR)")
    add("--store_dir", help="folder of the prepared rows (FLAN_STORE_DIR)")
    add("--tfds_data_dir", help="TFDS's data directory (TFDS_DATA_DIR)")
    add("--use", nargs="+", choices=sources.KINDS, help="kinds of source, first choice first")
    add("--gin_file", action="append", default=[], help="gin with sources.settings; repeatable")
    add("--dry_run", action="store_true", help="say what would be compared, read no rows")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    for folder in configs.search_paths():
        gin.add_config_file_search_path(folder)
    for path in options.gin_file:
        gin.parse_config_file(path, skip_unknown=True)
    keys = ("data_dir", "store_dir", "tfds_data_dir", "use")
    given = {key: getattr(options, key) for key in keys}
    return sources.settings(**{key: value for key, value in given.items() if value is not None})


def _datasets(options: argparse.Namespace) -> list[Dataset]:
    """The datasets named, those that have the split."""
    names = dict.fromkeys(catalog.load() if "all" in options.datasets else options.datasets)
    named = {each.name: each for name in names for each in catalog.named(name)}
    having = [dataset for dataset in named.values() if options.split in dataset.splits]
    if not having:
        raise StoreError(
            f"no dataset has a split {options.split!r}",
            where=", ".join(options.datasets),
            remedy="Name another --split, or other datasets.",
        )
    return having


def _decontaminate(
    datasets: Sequence[Dataset], options: argparse.Namespace, settings: Settings
) -> int:
    sets = [decontaminate_sets.find(name, settings) for name in dict.fromkeys(options.against)]
    index = _index(sets, options.ngram)
    splits, complaints = _opened(datasets, options.split, settings)
    if not splits:
        raise StoreError(
            "no dataset's rows can be had",
            where=", ".join(options.datasets),
            remedy="\n".join(complaints),
        )
    start = time.monotonic()
    checked = decontaminate_rows.compare(splits, index, settings, options.workers)
    about = {"ngram": options.ngram, "evaluation": list(_described(sets, index))}
    for line in _table(about, checked, options.show):
        print(line)
    print(_summary(checked, time.monotonic() - start))
    if options.json:
        report = {**about, "datasets": [_reported(each, options.show) for each in checked]}
        options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if options.out:
        contamination.write(options.out, about, checked)
        print(options.out)
    for complaint in complaints:
        print(f"\n{complaint}", file=sys.stderr)
    return 1 if complaints else 0


def _index(sets: Sequence[EvaluationSet], length: int) -> ngrams.Index:
    with tqdm.tqdm(desc="evaluation sets", unit=" rows", disable=None) as progress:

        def counted(rows: Iterator[Texts]) -> Iterator[Texts]:
            for row in rows:
                progress.update()
                yield row

        index = ngrams.Index({each.name: counted(each.rows()) for each in sets}, length)
    for name, num_rows, runs in zip(index.names, index.num_rows, index.num_runs(), strict=True):
        if not runs:
            raise StoreError(
                f"none of its {num_rows:,} rows has {length} words",
                where=name,
                remedy="Name files with whole texts, or give a shorter --ngram.",
            )
    return index


def _opened(
    datasets: Sequence[Dataset], split: str, settings: Settings
) -> tuple[list[Split], list[str]]:
    """The datasets' rows, prepared; and what is wrong with those that cannot be had."""
    splits, complaints = [], []
    for dataset in tqdm.tqdm(datasets, "prepared", unit=" datasets", disable=None):
        try:
            prepared = store.open_split(dataset, split, settings)
        except (FlanError, OSError) as error:
            complaints.append(str(error))
            continue
        splits.append(Split.of(dataset, split, prepared))
    return splits, complaints


def _described(sets: Sequence[EvaluationSet], index: ngrams.Index) -> Iterator[dict[str, Any]]:
    """What the rows were compared with, as JSON has it."""
    counts = zip(sets, index.num_rows, index.num_too_short, index.num_runs(), strict=True)
    for each, num_rows, too_short, num_runs in counts:
        yield {
            "name": each.name,
            "checksum": each.checksum,
            "rows": num_rows,
            "too_short": too_short,
            "runs": num_runs,
        }


def _of_sets(split: Checked) -> dict[str, int]:
    """Evaluation set -> rows of the split that share text with it."""
    return dict(collections.Counter(name for each in split.overlaps for name in each.shares))


def _reported(split: Checked, show: int) -> dict[str, Any]:
    return {
        "dataset": split.dataset,
        "split": split.split,
        "rows": split.num_rows,
        "contaminated": len(split.overlaps),
        "share": len(split.overlaps) / split.num_rows,
        "of_sets": _of_sets(split),
        "examples": [{"row": each.row, **each.shares} for each in split.overlaps[:show]],
    }


def _table(about: dict[str, Any], checked: Sequence[Checked], show: int) -> Iterator[str]:
    for each in about["evaluation"]:
        yield (
            f"{each['name']}: {each['rows']:,} rows, {each['runs']:,} runs of words; "
            f"too short to be found: {each['too_short']:,} rows"
        )
    width = max(len(split.dataset) for split in checked)
    yield f"\n{'dataset':<{width}} {'rows':>12} {'shared':>10} {'share':>8}  with"
    for split in checked:
        share = len(split.overlaps) / split.num_rows
        counts = ", ".join(f"{name} {count:,}" for name, count in _of_sets(split).items())
        numbers = f"{split.num_rows:>12,} {len(split.overlaps):>10,} {share:>8.2%}"
        yield f"{split.dataset:<{width}} {numbers}  {counts}".rstrip()
        for overlap in split.overlaps[:show]:
            for name, words in overlap.shares.items():
                yield f"    row {overlap.row}, {name}: {words}"


def _summary(checked: Sequence[Checked], seconds: float) -> str:
    num_rows = sum(split.num_rows for split in checked)
    shared = sum(len(split.overlaps) for split in checked)
    rate = num_rows / seconds
    return (
        f"{shared:,} of {num_rows:,} rows of {len(checked)} datasets share text; "
        f"{seconds:.1f} s, {rate:,.0f} rows/s"
    )


def _dry_run(datasets: Sequence[Dataset], options: argparse.Namespace, settings: Settings) -> int:
    """Prints what would be compared; returns 1 if some dataset is nowhere at hand."""
    for name in options.against:
        print(f"against {name}: {decontaminate_sets.what(name)}")
    code = 0
    for dataset in datasets:
        at_hand = [each for each in sources.availability(dataset, settings) if each.ok]
        code |= not at_hand
        place = f"{at_hand[0].kind}: {at_hand[0].why}" if at_hand else "nowhere at hand"
        print(f"{dataset.name:<40} {dataset.num_examples.get(options.split, 0):>12,} rows  {place}")
    print(f"{options.out or 'no list'} would be written")
    return code


if __name__ == "__main__":
    sys.exit(main())
