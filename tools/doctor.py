#!/usr/bin/env python
"""Says of every dataset whether its rows can be had now, from where, and else what to do.

    python tools/doctor.py
    python tools/doctor.py bool_q niv2 --data_dir /data/flan --json doctor.json
    python tools/doctor.py all --online

The state of a dataset is that of its best source:

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
import collections
import json
import os
import pathlib
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

os.environ.setdefault("FLAN_TASKS_REGISTER", "0")  # reading cards needs no seqio

import doctor_diagnosis
import gin
import tqdm
from doctor_diagnosis import DOWNLOAD, NO, STATES, Diagnosis

from flan_tasks import catalog, configs, sources
from flan_tasks.errors import FlanError
from flan_tasks.sources import Settings

_LICENCE_WIDTH = 40
_FOLDED = textwrap.TextWrapper(
    width=100,
    initial_indent="  ",
    subsequent_indent="    ",
    break_long_words=False,
    break_on_hyphens=False,
)
_UNITS = ("B", "kB", "MB", "GB", "TB")


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
    for lines in (_table(diagnoses), _steps(diagnoses), _summary(diagnoses, options.online)):
        for line in lines:
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
    names = dict.fromkeys(catalog.load() if "all" in options.names else options.names)
    datasets = {each.name: each for name in names for each in catalog.named(name)}
    progress = tqdm.tqdm(datasets.values(), "looked at", unit=" datasets", disable=None)
    diagnoses = [doctor_diagnosis.diagnose(dataset, settings) for dataset in progress]
    if not options.online:
        return diagnoses
    import doctor_online

    return doctor_online.checked(diagnoses)


def _table(diagnoses: Sequence[Diagnosis]) -> Iterator[str]:
    width = max(len(each.dataset.name) for each in diagnoses)
    yield f"{'dataset':<{width}} {'state':<12} {'source':<11} {'rows':>11} {'size':>8}  licence"
    for each in diagnoses:
        best = each.best
        rows = f"{sum(each.dataset.num_examples.values()):,}"
        kinds = ", ".join(found.kind for found in each.findings if found.state == best.state)
        line = f"{each.dataset.name:<{width}} {best.state:<12} {kinds:<11} {rows:>11}"
        licence = textwrap.shorten(each.dataset.license, _LICENCE_WIDTH, placeholder=" …")
        yield f"{line} {_size(best.num_bytes):>8}  {licence}"


def _size(num_bytes: int | None) -> str:
    if num_bytes is None:
        return ""
    size, unit = float(num_bytes), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} {_UNITS[unit]}"


def _steps(diagnoses: Sequence[Diagnosis]) -> Iterator[str]:
    """What is known of the datasets that no download will bring, and what to do about them."""
    for each in diagnoses:
        if each.can_be_had or each.best.state == DOWNLOAD:
            continue
        yield f"\n{each.dataset.name}: {each.best.state}"
        telling = [found for found in each.findings if found.state != NO]
        lines = [f"{found.kind}, {found.state}: {found.why}" for found in telling]
        remedies = [line for found in telling for line in found.remedy.splitlines()]
        for line in dict.fromkeys(lines + remedies):
            yield from _FOLDED.wrap(line)


def _summary(diagnoses: Sequence[Diagnosis], online: bool) -> Iterator[str]:
    counts = collections.Counter(each.best.state for each in diagnoses)
    had = sum(each.can_be_had for each in diagnoses)
    listed = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    yield f"\n{had} of {len(diagnoses)} datasets can be had now: {listed}"
    if counts[DOWNLOAD] and not online:
        yield "No download was tried: --online asks the hosts, tools/prepare.py downloads."


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
