#!/usr/bin/env python
"""Says of every dataset whether its rows can be had now, from where, and else what to do.

    python tools/doctor.py
    python tools/doctor.py bool_q niv2 --data_dir /data/flan --json doctor.json
    python tools/doctor.py all --online

The datasets of a family are one line, which counts their states; --json has each of them. The state
of a dataset is that of its best source:

  prepared      its rows are in the store
  at hand       the raw rows are here: preparing them takes no network
  reachable     TFDS or the Hub can download it: its hosts answered (--online)
  download      TFDS or the Hub should be able to download it: not tried
  install       a package is missing that could download it
  by hand       no program may download it, or its files are published elsewhere: the steps follow
  unreachable   its hosts did not answer (--online)
  faulty        what is here is damaged, or has another number of rows than published

The exit code is 0 only if every dataset asked for can be had now: is in one of the first three.
"""

import argparse
import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("FLAN_TASKS_REGISTER", "0")  # reading cards needs no seqio

import doctor_diagnosis
import doctor_text
import gin
import tqdm
from doctor_diagnosis import Diagnosis

from flan_tasks import catalog, configs, sources
from flan_tasks.errors import FlanError
from flan_tasks.sources import Settings


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        diagnoses = _diagnoses(options, settings)
        if options.json:
            text = json.dumps(_report(diagnoses), indent=1, ensure_ascii=False)
            options.json.write_text(text + "\n", encoding="utf-8")
    except (FlanError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for line in doctor_text.table(diagnoses):
        print(line)
    for line in doctor_text.steps(diagnoses):
        print(line)
    for line in doctor_text.summary(diagnoses, options.online):
        print(line)
    return 0 if all(each.can_be_had for each in diagnoses) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "names", nargs="*", default=["all"], metavar="NAME", help="datasets, families, or all (all)"
    )
    add("--json", type=pathlib.Path, metavar="FILE", help="write all that was found out")
    add("--data_dir", help="folder of the published files (FLAN_DATA_DIR)")
    add("--tfds_data_dir", help="TFDS's data directory (TFDS_DATA_DIR)")
    add("--use", nargs="+", choices=sources.KINDS, help="kinds of source, first choice first")
    add("--online", action="store_true", help="ask the hosts of what would be downloaded")
    add("--gin_file", action="append", default=[], help="gin with sources.settings; repeatable")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    for folder in configs.search_paths():
        gin.add_config_file_search_path(folder)
    for path in options.gin_file:
        gin.parse_config_file(path, skip_unknown=True)
    keys = ("data_dir", "tfds_data_dir", "use")
    given = {key: getattr(options, key) for key in keys}
    return sources.settings(**{key: value for key, value in given.items() if value is not None})


def _diagnoses(options: argparse.Namespace, settings: Settings) -> list[Diagnosis]:
    datasets = dict(catalog.load())
    if "all" not in options.names:
        datasets = {each.name: each for name in options.names for each in catalog.named(name)}
    progress = tqdm.tqdm(datasets.values(), "looked at", unit=" datasets", disable=None)
    diagnoses = [doctor_diagnosis.diagnose(dataset, settings) for dataset in progress]
    if not options.online:
        return diagnoses
    import doctor_online

    return doctor_online.checked(diagnoses)


def _report(diagnoses: Sequence[Diagnosis]) -> Mapping[str, Any]:
    return {
        "can_be_had": sum(each.can_be_had for each in diagnoses),
        "datasets": [_entry(each) for each in diagnoses],
    }


def _entry(diagnosis: Diagnosis) -> Mapping[str, Any]:
    dataset, best = diagnosis.dataset, diagnosis.best
    return {
        "dataset": dataset.name,
        "collection": dataset.collection,
        "license": dataset.license,
        "homepage": dataset.homepage,
        "can_be_had": diagnosis.can_be_had,
        "state": best.state,
        "source": best.kind,
        "bytes": best.num_bytes,
        "num_examples": dict(dataset.num_examples),
        "prepared_rows": dict(diagnosis.num_rows),
        "findings": [vars(finding) for finding in diagnosis.findings],
    }


if __name__ == "__main__":
    sys.exit(main())
