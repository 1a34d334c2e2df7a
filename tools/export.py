#!/usr/bin/env python
"""Writes a task's or a mixture's prompts as text, with targets, provenance and licences.

    python tools/export.py bool_q_fs_opt --format jsonl --out exports/bool_q
    python tools/export.py flan2022 --format hf --num 1000000 --workers 16 --out exports/flan
    python tools/export.py --gin_file gin/mixtures/cot.gin --format parquet --num 5000 --out cot

--num counts positions of the stream that training with the same seed and lengths sees, from its
beginning: so many examples are written, less those that have to be left out (too long even without
exemplars, or without a field that every template asks for), which are counted in metadata.json.
Without --num a task is written whole, every row once; a mixture has no end and needs --num.

jsonl and parquet are plain files; hf is parquet with a dataset card. `datasets.load_dataset(OUT)`
reads all three. The same arguments give the same bytes, with any number of workers. A run that was
killed goes on where it was when it is started again; until the last file is written, everything
stays in OUT.unfinished.
"""

import argparse
import collections
import dataclasses
import functools
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

os.environ.setdefault("FLAN_TASKS_REGISTER", "0")  # workers are sent the tasks they need

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flan_tasks import sharded_output, stream_arguments
from flan_tasks.errors import FlanError, MixtureError
from flan_tasks.prompts import Example, PromptStream
from flan_tasks.stream_spec import StreamSpec

FORMATS = ("jsonl", "parquet", "hf")
# Positions rendered, and written, at once: all that a process holds in memory of its shard.
_BLOCK = 1024
# Where --shards does not say: small enough that a restart loses little.
_POSITIONS_PER_SHARD = 50_000
_SCHEMA = pa.schema(
    {
        "position": pa.int64(),
        "inputs": pa.string(),
        "targets": pa.string(),
        "references": pa.list_(pa.string()),
        "collection": pa.string(),
        "dataset": pa.string(),
        "task": pa.string(),
        "variant": pa.string(),
        "split": pa.string(),
        "row": pa.int64(),
        "index": pa.int64(),
        "template": pa.string(),
        "style": pa.string(),
        "exemplars": pa.list_(pa.int64()),
        "inputs_tokens": pa.int64(),
        "targets_tokens": pa.int64(),
        "license": pa.string(),
        "homepage": pa.string(),
        "languages": pa.list_(pa.string()),
    }
)


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        spec = _spec(options)
        return _dry_run(spec, options) if options.dry_run else _export(spec, options)
    except (FlanError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    stream_arguments.add_to(parser)
    parser.add_argument("--format", choices=FORMATS, required=True)
    positive = stream_arguments.positive
    parser.add_argument("--num", type=positive, help="positions of the stream to write")
    parser.add_argument(
        "--shards", type=positive, help=f"files (one for every {_POSITIONS_PER_SHARD:,} positions)"
    )
    return parser


def _spec(options: argparse.Namespace) -> StreamSpec:
    spec = stream_arguments.spec_of(options, num_epochs=1 if options.num is None else None)
    if options.num is None and spec.rates is not None:
        raise MixtureError(
            "a mixture has no end", where=spec.name, remedy="Say how much of it to write: --num N"
        )
    return spec


def _export(spec: StreamSpec, options: argparse.Namespace) -> int:
    """Prepares what is not prepared, writes the shards, prints what was written."""
    stream = spec.open(prepare_missing=True)
    num_positions = stream.num_positions if options.num is None else options.num
    assert num_positions is not None  # without --num the stream is one epoch
    num_shards = options.shards or _shards_for(num_positions)
    if num_shards > num_positions:
        raise MixtureError(
            f"{num_positions} positions do not fill {num_shards} files",
            where=spec.name,
            remedy=f"Give --shards {num_positions} or fewer.",
        )
    job = sharded_output.Job(
        options.out,
        {
            "program": "export",
            "format": options.format,
            "positions": num_positions,
            "shards": num_shards,
            **spec.description(),
        },
        _file_names(options, num_shards),
    )
    metadata = sharded_output.run(
        job,
        ExportShard(spec, options.format, num_positions, num_shards),
        workers=options.workers,
        companions=functools.partial(_companions, spec, options.format, job.description),
    )
    totals = metadata["totals"]
    print(
        f"{options.out}: {totals['examples']:,} examples in {num_shards} files, "
        f"{totals['bytes']:,} bytes; left out: {totals['left_out']:,}"
    )
    return 0


def _shards_for(num_positions: int) -> int:
    return math.ceil(num_positions / _POSITIONS_PER_SHARD)


def _file_names(options: argparse.Namespace, num_shards: int) -> list[str]:
    suffix = "jsonl" if options.format == "jsonl" else "parquet"
    return [f"{options.split}-{i:05d}-of-{num_shards:05d}.{suffix}" for i in range(num_shards)]


def _dry_run(spec: StreamSpec, options: argparse.Namespace) -> int:
    """Prints what would be written; returns 1 if a dataset's rows are nowhere at hand."""
    if options.num is None:
        print(f"{spec.name}: every row of its split {spec.split!r}, once")
    else:
        print(f"{spec.name}: {options.num:,} positions of its split {spec.split!r}")
        num_shards = options.shards or _shards_for(options.num)
        first, *_, last = [*_file_names(options, num_shards)] * 2
        print(f"{options.out}: {num_shards} files, {first} to {last}")
    return stream_arguments.print_datasets(spec)


@dataclasses.dataclass(frozen=True)
class ExportShard:
    """Writes a shard: an even part of the stream's first positions, block by block."""

    spec: StreamSpec
    format: str
    num_positions: int
    num_shards: int

    @functools.cached_property
    def _stream(self) -> PromptStream:
        return self.spec.open(prepare_missing=False)

    def __call__(self, index: int, path: str) -> dict[str, Any]:
        """Writes shard `index` to the file `path`; returns its counts."""
        start, stop = (self.num_positions * i // self.num_shards for i in (index, index + 1))
        counts = collections.Counter(inputs_tokens=0, targets_tokens=0)
        of_dataset = collections.Counter[str]()
        writer_type = _JsonLines if self.format == "jsonl" else _Parquet
        with writer_type(path) as writer:
            for block in range(start, stop, _BLOCK):
                records = self._records(np.arange(block, min(block + _BLOCK, stop)))
                writer.write(records)
                of_dataset.update(record["dataset"] for record in records)
                for key in counts:
                    counts[key] += sum(record[key] for record in records)
        return {
            "positions": [start, stop],
            "examples": of_dataset.total(),
            "left_out": stop - start - of_dataset.total(),
            **counts,
            "examples_of_dataset": dict(sorted(of_dataset.items())),
        }

    def _records(self, positions: np.ndarray) -> list[dict[str, Any]]:
        examples = self._stream.examples(positions)
        return [
            _record(position, example)
            for position, example in zip(positions.tolist(), examples, strict=True)
            if example is not None
        ]


def _record(position: int, example: Example) -> dict[str, Any]:
    dataset = example.task.dataset
    return {
        "position": position,
        "inputs": example.inputs_pretokenized,
        "targets": example.targets_pretokenized,
        "references": list(example.references),
        "collection": dataset.collection,
        "dataset": dataset.name,
        "task": example.task.name,
        "variant": example.task.variant.name,
        "split": example.split,
        "row": example.row,
        "index": example.index,
        "template": example.template,
        "style": example.style,
        "exemplars": list(example.exemplars),
        "inputs_tokens": len(example.inputs),
        "targets_tokens": len(example.targets),
        "license": dataset.license,
        "homepage": dataset.homepage,
        "languages": list(dataset.languages),
    }


class _JsonLines:
    """A file of one JSON object a line."""

    def __init__(self, path: str):
        self._file = open(path, "w", encoding="utf-8", newline="\n")  # noqa: SIM115

    def __enter__(self) -> "_JsonLines":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


class _Parquet:
    """A Parquet file with one row group a block."""

    def __init__(self, path: str):
        self._writer = pq.ParquetWriter(path, _SCHEMA, compression="zstd")

    def __enter__(self) -> "_Parquet":
        return self

    def __exit__(self, *_) -> None:
        self._writer.close()

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        self._writer.write_table(pa.Table.from_pylist(list(records), _SCHEMA))


def _companions(
    spec: StreamSpec,
    format: str,
    description: Mapping[str, Any],
    records: Sequence[sharded_output.Record],
) -> dict[str, str]:
    if format != "hf":
        return {}
    return {"README.md": "\n".join(_dataset_card(spec, description, records)) + "\n"}


def _dataset_card(
    spec: StreamSpec, description: Mapping[str, Any], records: Sequence[sharded_output.Record]
) -> Iterator[str]:
    """The lines of the README.md that the Hugging Face Hub shows and `datasets` reads."""
    counts = collections.Counter[str]()
    for record in records:
        counts.update(record["examples_of_dataset"])
    left_out = sum(record["left_out"] for record in records)
    datasets = {task.dataset.name: task.dataset for task in spec.tasks}
    shares = spec.shares()
    yield from ("---", f"pretty_name: {spec.name}", "license: other")
    yield "license_name: see-the-license-of-each-example"
    yield from ("task_categories:", "- text-generation", "configs:", "- config_name: default")
    yield from ("  data_files:", f"  - split: {spec.split}", f'    path: "{spec.split}-*.parquet"')
    yield from ("---", "", f"# {spec.name}", "")
    yield f"{counts.total():,} prompts and targets of the Flan Collection's tasks, each with its"
    yield "acceptable answers, where it comes from and under which licence."
    yield from ("", "## Licences and counts", "")
    yield "Every example is under the licence of its dataset (column `license`)."
    yield from ("", "| dataset | collection | rate | examples | licence | languages |")
    yield "|-|-|-:|-:|-|-|"
    for name, count in sorted(counts.items()):
        dataset = datasets[name]
        yield (
            f"| [{name}]({dataset.homepage}) | {dataset.collection} "
            f"| {shares[name]:.3%} | {count:,} "
            f"| {dataset.license} | {', '.join(dataset.languages)} |"
        )
    yield from ("", "## How it was made", "")
    yield f"Positions 0 to {description['positions'] - 1:,} of the stream that training sees;"
    yield f"{left_out:,} of them gave no example: longer than {spec.lengths}, or a row without a"
    yield "field that its prompts need. Written by `tools/export.py`; started again with the same"
    yield "arguments it writes the same bytes."
    yield from ("", "```json")
    long = ("datasets", "rates")  # whole in metadata.json
    made = {key: value for key, value in description.items() if key not in long}
    yield json.dumps(made, indent=1, ensure_ascii=False)
    yield "```"


if __name__ == "__main__":
    sys.exit(main())
