"""Shows a dataset's prompts: every variant on some rows, each stretch colored by what it is.

    python tools/inspect dataset bool_q
    python tools/inspect dataset bool_q_fs_opt --rows 5 --seed 1
    python tools/inspect dataset bool_q --template 3 --settings zs_opt --rows 5
    python tools/inspect dataset bool_q --all_templates --html bool_q.html
    python tools/inspect dataset bool_q --use samples

What is shown is what training sees in its first epoch with the same seed and the papers' lengths.
With a template of your choice all else is drawn as it would be. Rows that are not prepared are
prepared first if their source is at hand; nothing is downloaded.

--html writes one page that needs no other file and no network.
"""

import argparse
import os
import pathlib
import shutil
import sys
from collections.abc import Sequence

import arguments
import dataset_page
import dataset_terminal
import examples
from examples import Group, Rows

from flan_tasks.prompts import DEFAULT_SEED
from flan_tasks.spec import Dataset
from flan_tasks.stream_arguments import positive

# Prose is hard to read in shorter or longer lines.
_NARROWEST, _WIDEST = 20, 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    add = parser.add_argument
    add("name", metavar="NAME", help="dataset, or task (a dataset in one variant)")
    add("--split", default="train", help="split whose rows are shown (train)")
    add("--rows", type=positive, default=2, metavar="N", help="rows to show (2)")
    add("--seed", type=int, default=DEFAULT_SEED, help=f"({DEFAULT_SEED})")
    add("--settings", nargs="+", metavar="VARIANT", help="zs_opt, inverted_fs_opt …; left out: all")
    templates = parser.add_mutually_exclusive_group()
    templates.add_argument("--template", metavar="ID", help="this template only: 3, inverted/0 …")
    templates.add_argument("--all_templates", action="store_true", help="each template once")
    add("--html", type=pathlib.Path, metavar="FILE", help="write a page instead")
    add("--width", type=positive, help="columns to fold lines to (the terminal's)")
    arguments.add_settings(parser)


def run(options: argparse.Namespace) -> None:
    """Shows what the options ask for.

    Raises:
      FlanError: there is no such thing, or its rows cannot be had.
      OSError: a file cannot be read or written.
    """
    arguments.configure(options)
    dataset, groups = _chosen(options)
    if options.html:
        options.html.write_text(dataset_page.page(dataset, groups), encoding="utf-8")
        print(options.html)
    else:
        _print(dataset, groups, options.width)


def _chosen(options: argparse.Namespace) -> tuple[Dataset, list[Group]]:
    """The dataset, and what of it is to be shown."""
    dataset, variants = examples.named(options.name)
    variants = examples.chosen(dataset, variants, options.settings)
    with_shots = any(variant.few_shot for variant in variants) and "train" in dataset.splits
    splits = [options.split, "train"] if with_shots else [options.split]
    examples.check_at_hand(dataset, splits)
    rows = Rows(options.split, options.rows, options.seed)
    if options.all_templates:
        groups = examples.of_all_templates(dataset, variants, rows)
    elif options.template:
        groups = examples.of_template(dataset, variants, options.template, rows)
    else:
        groups = examples.of_variants(dataset, variants, rows)
    return dataset, list(groups)


def _print(dataset: Dataset, groups: Sequence[Group], width: int | None) -> None:
    terminal = dataset_terminal.Terminal(
        dataset,
        width=max(_NARROWEST, width or min(shutil.get_terminal_size().columns, _WIDEST)),
        color=sys.stdout.isatty() and "NO_COLOR" not in os.environ,
    )
    for line in terminal.head():
        print(line)
    for group in groups:
        for line in terminal.group(group):
            print(line)
