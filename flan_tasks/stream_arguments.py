"""The command line of programs that write a stream of prompts to disk."""

import argparse
import os

import gin

from flan_tasks import configs, sources, stream_spec
from flan_tasks.errors import MixtureError
from flan_tasks.prompts import DEFAULT_SEED, Lengths
from flan_tasks.stream_spec import StreamSpec

# What the papers train with.
_LENGTHS = Lengths(inputs=2048, targets=512)


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say which stream is written, by whom and where to."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="MIXTURE_OR_TASK",
        help="what to write; left out: the gin file's MIXTURE_OR_TASK_NAME",
    )
    parser.add_argument("--out", required=True, help="folder to write, not there yet or empty")
    parser.add_argument("--split", default="train", help="split of each task (train)")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help=f"({DEFAULT_SEED})")
    parser.add_argument(
        "--lengths",
        type=_lengths,
        default=_LENGTHS,
        metavar="INPUTS,TARGETS",
        help="longest inputs and targets in tokens "
        f"({_LENGTHS.inputs},{_LENGTHS.targets}); longer examples are left out",
    )
    parser.add_argument(
        "--workers",
        type=positive,
        default=len(os.sched_getaffinity(0)),
        help="processes (one for every processor)",
    )
    parser.add_argument(
        "--gin_file",
        action="append",
        default=[],
        help="gin file with mixtures, sources, vocabulary; repeatable",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="say what would be written, write nothing"
    )


def positive(text: str) -> int:
    """The type of an argument that is a number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def spec_of(options: argparse.Namespace, *, num_epochs: int | None) -> StreamSpec:
    """The stream that the arguments name; reads the gin files.

    Raises:
      MixtureError: none is named, or see `stream_spec.of_provider`.
    """
    for folder in configs.search_paths():
        gin.add_config_file_search_path(folder)
    for path in options.gin_file:
        gin.parse_config_file(path, skip_unknown=True)
    in_gin = stream_spec.name_in_gin()
    name = options.name or in_gin
    if name is None:
        raise MixtureError(
            "neither a mixture nor a task is named",
            where="arguments",
            remedy="Name one, or give a --gin_file that sets MIXTURE_OR_TASK_NAME.",
        )
    return stream_spec.of_provider(
        name,
        split=options.split,
        seed=options.seed,
        lengths=options.lengths,
        num_epochs=num_epochs,
    )


def print_datasets(spec: StreamSpec) -> int:
    """Prints each dataset's share, licence and source; returns 1 if one is nowhere at hand."""
    shares = spec.shares()
    code = 0
    for name, dataset in {task.dataset.name: task.dataset for task in spec.tasks}.items():
        found = [each for each in sources.availability(dataset, spec.sources) if each.ok]
        code |= not found
        place = f"{found[0].kind}: {found[0].why}" if found else "nowhere at hand"
        print(f"{name:<40} {shares[name]:>8.3%}   {dataset.license:<20} {place}")
    return code


def _lengths(text: str) -> Lengths:
    inputs, _, targets = text.partition(",")
    return Lengths(positive(inputs), positive(targets))
