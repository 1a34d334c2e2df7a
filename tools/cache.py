#!/usr/bin/env python
"""Writes a mixture's (or a task's) tokenized stream, for trainings that tokenize nothing.

    python tools/cache.py flan2022 --steps 30000 --batch 64 --workers 16 --out caches/flan
    python tools/cache.py flan2022 --steps 30000 --batch 64 --pack --out caches/flan_packed
    python tools/cache.py --gin_file gin/mixtures/cot.gin --steps 100 --batch 8 --out caches/cot

What is written are the first steps * batch examples that training with the same seed and lengths
sees, or with --pack so many packed rows, in the same order. A gin file trains on them:

    from flan_tasks import cached
    cached.register.directory = "caches/flan"
    train/utils.DatasetConfig.mixture_or_task_name = @cached.register()

Examples that caches beside OUT (or in --reuse) hold already are copied from there, if they have the
same seed, lengths, vocabulary, rows and cards; that they are of a mixture with other rates does not
matter. The same arguments give the same bytes, with any number of workers and whatever could be
copied. A run that was killed goes on where it was when it is started again; until the last file is
written, everything stays in OUT.unfinished.
"""

import argparse
import os
import sys
from collections.abc import Sequence

os.environ.setdefault("FLAN_TASKS_REGISTER", "0")  # workers are sent the tasks they need

from flan_tasks import caching, reuse, stream_arguments
from flan_tasks.caching import Plan
from flan_tasks.errors import FlanError, StoreError
from flan_tasks.reuse import Cache
from flan_tasks.stream_spec import StreamSpec


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        spec = stream_arguments.spec_of(options, num_epochs=None)
        plan = _plan(spec, options)
        return _dry_run(plan, options) if options.dry_run else _cache(plan, options)
    except (FlanError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    positive = stream_arguments.positive
    stream_arguments.add_to(parser)
    parser.add_argument("--steps", type=positive, required=True, help="steps of training to cache")
    parser.add_argument("--batch", type=positive, required=True, help="rows in a batch")
    parser.add_argument("--pack", action="store_true", help="pack several examples in a row")
    parser.add_argument(
        "--reuse",
        nargs="+",
        metavar="DIR",
        help="caches, or folders of them, to copy from (the folder that OUT is in)",
    )
    return parser


def _plan(spec: StreamSpec, options: argparse.Namespace) -> Plan:
    from flan_tasks import packed  # and with it TensorFlow, which workers do without

    key = packed.key_of(f"{spec.name}_packed", spec.seed) if options.pack else None
    return Plan(spec, options.steps * options.batch, packed.WINDOW, key)


def _cache(plan: Plan, options: argparse.Namespace) -> int:
    """Prepares what is not prepared, writes the cache, prints what was written."""
    plan.spec.open(prepare_missing=True)
    caches = _caches(options)
    _print_other_settings(caches, plan)
    written = caching.write(plan, options.out, caches=caches, workers=options.workers)
    totals = written.metadata["totals"]
    print(
        f"{options.out}: {plan.num_rows:,} {_kind(plan)} ({totals['rows']:,} in the files, "
        f"{totals['examples']:,} examples, {totals['bytes']:,} bytes); "
        f"left out: {totals['left_out']:,}"
    )
    print(f"examples rendered now: {written.rendered:,}; reused: {written.reused:,}")
    return 0


def _caches(options: argparse.Namespace) -> list[Cache]:
    if not options.reuse:
        return reuse.caches_in(os.path.dirname(os.path.abspath(options.out)))
    found = []
    for folder in options.reuse:
        caches = reuse.caches_in(folder)
        if not caches:
            raise StoreError(
                "there is no cache here", where=folder, remedy="Leave it out of --reuse."
            )
        found += caches
    return found


def _print_other_settings(caches: Sequence[Cache], plan: Plan) -> None:
    description = caching.describe(plan)
    for cache in caches:
        other = cache.other_settings(description)
        if other:
            print(f"not reused: {cache.folder}, of other {', '.join(other)}")


def _dry_run(plan: Plan, options: argparse.Namespace) -> int:
    """Prints what would be written; returns 1 if a dataset's rows are nowhere at hand."""
    print(f"{plan.spec.name}: the first {plan.num_rows:,} {_kind(plan)} of {plan.spec.split!r}")
    print(f"{options.out}: {plan.fewest_shards:,} files at least")
    for cache in _caches(options):
        print(f"beside it, or in --reuse: {cache.folder}")
    return stream_arguments.print_datasets(plan.spec)


def _kind(plan: Plan) -> str:
    return "examples" if plan.packing_key is None else "packed rows"


if __name__ == "__main__":
    sys.exit(main())
