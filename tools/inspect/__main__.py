#!/usr/bin/env python
"""Shows what there is before anything is trained on it: datasets, prompts, mixtures, ablations.

    python tools/inspect dataset bool_q_fs_opt --rows 5 --seed 1
    python tools/inspect list license:commercial language:French --exclude niv2
    python tools/inspect mixture flan2022 --html flan2022.html
    python tools/inspect diff flan2022 gin/ablations/table1/without_cot.gin

Each subcommand has its own --help.
"""

import argparse
import os
import sys

os.environ.setdefault("FLAN_TASKS_REGISTER", "0")  # only gin files of mixtures need seqio

import dataset
import diff
import listing
import mixture

from flan_tasks.errors import FlanError

_SUBCOMMANDS = {"dataset": dataset, "list": listing, "mixture": mixture, "diff": diff}


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        _SUBCOMMANDS[options.subcommand].run(options)
    except BrokenPipeError:  # the reader, a pager say, has seen enough
        sys.stdout = None
    except (FlanError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("inspect", description=__doc__, formatter_class=as_written)
    subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
    for name, module in _SUBCOMMANDS.items():
        text = module.__doc__ or ""
        summary = text.partition("\n")[0]
        subparser = subparsers.add_parser(
            name, help=summary, description=text, formatter_class=as_written
        )
        module.add_arguments(subparser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
