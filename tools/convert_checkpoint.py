#!/usr/bin/env python
"""Converts checkpoints between this engine, Google's T5X and Hugging Face, and looks into them.

    python tools/convert_checkpoint.py flan-t5-xl checkpoint_0                 # from Hugging Face
    python tools/convert_checkpoint.py gs://BUCKET/small/checkpoint_1000000 checkpoint_1000000
    python tools/convert_checkpoint.py model/checkpoint_30000 my-flan --vocabulary spiece.model
    python tools/convert_checkpoint.py inspect checkpoint_0 --stats
    python tools/convert_checkpoint.py diff checkpoint_0 flan-t5-xl

Any of these is read: checkpoints of this engine; those of T5X, through Orbax or in its own format
(MessagePack and Zarr), on disk or in a bucket; Hugging Face folders with .safetensors. If DST is
called checkpoint_<step>, a checkpoint of this engine is written, which T5X reads too, and otherwise
a Hugging Face folder. DST appears when all of it is written. docs/checkpoints.md tells more.
"""

import argparse
import json
import os
import pathlib
import sys
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # Arrays are only copied.

from tqdm import tqdm

from t5x.errors import T5XError
from t5x.weights import conversion, inspection, sources, stacking

_COMMANDS = ("inspect", "diff", "convert")


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] not in (*_COMMANDS, "-h", "--help"):
        given.insert(0, "convert")
    options = _parser().parse_args(given)
    try:
        return options.run(options)
    except (T5XError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def _convert(options: argparse.Namespace) -> int:
    settings = conversion.Options(
        target=options.to,
        dtype=options.dtype,
        scan_layers=options.scan_layers,
        optimizer=options.optimizer,
        vocabulary=options.vocabulary,
        extra_ids=options.extra_ids,
        settings=dict(options.set),
        shard_bytes=int(options.shard_gb * 10**9),
    )
    plan = conversion.plan(options.source, options.destination, settings)
    size = sum(leaf.nbytes for leaf in plan.leaves.values())
    kind = "a checkpoint of this engine and T5X" if plan.is_for_t5x else "a Hugging Face folder"
    print(f"{plan.source.path}: {plan.source.format.value}, step {plan.source.step}")
    print(f"{plan.destination}: {kind}, {len(plan.leaves):,} arrays, {size / 1e9:.2f} GB")
    for note in plan.notes:
        print(note)
    if options.dry_run:
        print("Nothing is written (--dry_run).")
        return 0
    with tqdm(total=len(plan.leaves), unit="array", disable=None) as bar:
        conversion.run(plan, settings, lambda _: bar.update())
    print(f"Written: {plan.destination}")
    return 0


def _inspect(options: argparse.Namespace) -> int:
    about = inspection.describe(sources.open_source(options.path), stats=options.stats)
    if options.json:
        print(json.dumps(about, indent=1))
        return 0
    print(f"{about['path']}\nformat      {about['format']}\nstep        {about['step']}")
    print(f"parameters  {about['parameters']:,}\nbytes       {about['bytes']:,}\n")
    rows = [_row(leaf, options.stats) for leaf in about["leaves"]]
    titles = ["name", "shape", "dtype", "bytes"]
    titles += ["norm", "mean", "smallest", "largest", "not finite"] if options.stats else []
    _print_table([titles, *rows])
    return 0


def _row(leaf: dict[str, Any], with_stats: bool) -> list[str]:
    cells = [leaf["name"], str(leaf["shape"]), leaf["dtype"], f"{leaf['bytes']:,}"]
    if with_stats:
        figures = (leaf[key] for key in ("norm", "mean", "smallest", "largest"))
        cells += [*(f"{figure:.6g}" for figure in figures), str(leaf["not_finite"])]
    return cells


def _print_table(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _diff(options: argparse.Namespace) -> int:
    """Like diff(1), the exit code is 1 if the two differ."""
    first, second = (sources.open_source(path) for path in (options.first, options.second))
    leaves = [stacking.arrange(source.leaves, stacked=False) for source in (first, second)]
    if sources.Format.HUGGING_FACE in (first.format, second.format) or options.parameters:
        leaves = [{n: x for n, x in each.items() if n.startswith("target/")} for each in leaves]
    count = 0
    for difference in inspection.differences(leaves[0], leaves[1], options.tolerance):
        print(f"{difference.name}: {difference.what}")
        count += 1
    compared = len({*leaves[0], *leaves[1]})
    print(f"{count:,} of {compared:,} arrays differ; steps {first.step} and {second.step}")
    return 1 if count else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="[convert] | inspect | diff")
    convert = commands.add_parser("convert", help="SRC DST; the default")
    convert.set_defaults(run=_convert)
    _add_convert_options(convert)
    inspect = commands.add_parser("inspect", help="names, shapes, dtypes, bytes, step, format")
    inspect.set_defaults(run=_inspect)
    inspect.add_argument("path", metavar="PATH")
    inspect.add_argument(
        "--stats", action="store_true", help="read all of it, for norms and ranges"
    )
    inspect.add_argument("--json", action="store_true", help="print JSON")
    diff = commands.add_parser("diff", help="how two checkpoints differ, of whatever formats")
    diff.set_defaults(run=_diff)
    diff.add_argument("first", metavar="A")
    diff.add_argument("second", metavar="B")
    diff.add_argument("--tolerance", type=float, default=0.0, help="relative to an array's largest")
    diff.add_argument("--parameters", action="store_true", help="leave the optimizer out")
    return parser


def _add_convert_options(parser: argparse.ArgumentParser) -> None:
    yes_or_no = argparse.BooleanOptionalAction
    parser.add_argument("source", metavar="SRC")
    parser.add_argument("destination", metavar="DST")
    parser.add_argument("--to", choices=conversion.TARGETS, help="else DST's name tells")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="of the parameters")
    parser.add_argument("--scan_layers", action=yes_or_no, help="stack layers, or side by side")
    parser.add_argument("--optimizer", action=yes_or_no, default=True, help="take its state along")
    parser.add_argument(
        "--vocabulary", type=pathlib.Path, metavar="FILE", help="SentencePiece model"
    )
    parser.add_argument(
        "--extra_ids", type=int, help="sentinels beyond its pieces: 100, or 0 if it has its own"
    )
    parser.add_argument("--shard_gb", type=float, default=5.0, help="largest file of weights (5)")
    parser.add_argument("--dry_run", action="store_true", help="tell, and write nothing")
    parser.add_argument(
        "--set",
        action="append",
        type=_setting,
        default=[],
        metavar="KEY=VALUE",
        help="an entry of config.json that shapes don't tell, such as model_type=mt5, "
        "feed_forward_proj=gated-silu or dropout_rate=0.0",
    )


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


if __name__ == "__main__":
    sys.exit(main())
