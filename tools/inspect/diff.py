"""Shows what one mixture changes against another, task by task: what an ablation is.

    python tools/inspect diff flan2022 gin/ablations/table1/without_cot.gin
    python tools/inspect diff flan2022 flan2022_paper_a --json

Tasks whose rates change by the same factor are told of together, in the fewest names.
"""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import arguments
import changes
import mixture_named
from changes import Change, Statement
from mixture_named import Mixture

# More statements than this say less than tables do.
_MOST_STATEMENTS = 12
_MOST_OF_IT = 0.5
_NAMES_LISTED = 6
_TABLES = ("collection", "setting", "source")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("a", metavar="A", help="published mixture, or a gin file that makes one")
    parser.add_argument("b", metavar="B", help="likewise")
    parser.add_argument("--json", action="store_true", help="every task as JSON")
    parser.add_argument("--all", action="store_true", help="every task too")
    mixture_named.add_on_missing(parser)
    arguments.add_settings(parser)


def run(options: argparse.Namespace) -> None:
    """Prints the difference.

    Raises:
      FlanError: there is no such mixture.
      OSError: a file cannot be read.
    """
    first, second = (mixture_named.named(name, options) for name in (options.a, options.b))
    found = changes.between(first.resolved.leaves, second.resolved.leaves)
    if options.json:
        print(json.dumps(as_json(first, second, found), ensure_ascii=False, indent=1))
        return
    for line in lines(first, second, found):
        print(line)
    if options.all:
        print("\nevery task")
        for change in found:
            print(f"  {change.leaf.task}: {_arrow(change.before, change.after)}")


def lines(first: Mixture, second: Mixture, found: Sequence[Change]) -> Iterator[str]:
    """The difference as text: what changes, and by which factor everything else does."""
    yield f"{first.name} -> {second.name}"
    gone = [change for change in found if not change.after]
    new = [change for change in found if not change.before]
    yield f"  {_tasks(gone)} only in {first.name}, {_tasks(new)} only in {second.name}, " + (
        f"{_tasks(found[len(gone) + len(new) :])} in both"
    )
    statements = changes.statements(found)
    if len(statements) > _MOST_STATEMENTS:
        yield f"  rates change by {len(statements):,} different factors"
        for table in _TABLES:
            yield from _table(found, table)
        return
    most = max(statements, key=lambda each: (each.after, each.before))
    for statement in statements:
        whole = "everything" if len(statements) == 1 else "everything else"
        is_rest = statement is most and statement.after > _MOST_OF_IT
        named = f"{whole} ({_names(statement)})" if is_rest else _names(statement)
        yield f"  {named}: {_arrow(statement.before, statement.after)}"


def as_json(first: Mixture, second: Mixture, found: Sequence[Change]) -> dict[str, Any]:
    """The difference as plain data; the ratio of a task only in the second is null."""
    return {
        "a": first.name,
        "b": second.name,
        "only_in_a": [_task(each) for each in found if not each.after],
        "only_in_b": [_task(each) for each in found if not each.before],
        "changed": [_task(each) for each in found if each.factor not in (0, 1, math.inf)],
        "unchanged": [_task(each) for each in found if each.factor == 1],
        "statements": [
            {"by": each.way, "names": each.names, "tasks": len(each.changes), **_rates(each)}
            for each in changes.statements(found)
        ],
    }


def _task(change: Change) -> dict[str, Any]:
    return {"task": change.leaf.task, **_rates(change)}


def _rates(each: Change | Statement) -> dict[str, float | None]:
    factor = None if math.isinf(each.factor) else each.factor
    return {"a": each.before, "b": each.after, "ratio": factor}


def _names(statement: Statement) -> str:
    names = statement.names
    if len(names) <= _NAMES_LISTED:
        return ", ".join(names)
    ways = f"{statement.way[:-1]}ies" if statement.way.endswith("y") else f"{statement.way}s"
    return f"{len(names):,} {ways}, such as {', '.join(names[: _NAMES_LISTED // 2])}"


def _arrow(before: float, after: float) -> str:
    if before == after or changes.ratio(before, after) == 1:
        return f"{_percent(after)}, unchanged"
    times = f" (x {changes.ratio(before, after):.4g})" if before and after else ""
    return f"{_percent(before)} -> {_percent(after)}{times}"


def _percent(share: float) -> str:
    if not share:
        return "0"
    return f"{share:.2%}" if share >= 1e-3 else f"{share:.2g}"


def _table(found: Sequence[Change], way: str) -> Iterator[str]:
    yield f"  by {way}:"
    tables = changes.in_groups(found, way)
    for name, members in list(tables.items())[:_MOST_STATEMENTS]:
        before = math.fsum(each.before for each in members)
        yield f"    {name}: {_arrow(before, math.fsum(each.after for each in members))}"
    if len(tables) > _MOST_STATEMENTS:
        yield f"    … and {len(tables) - _MOST_STATEMENTS:,} more (--json)"


def _tasks(some: Sequence[Change]) -> str:
    return f"{len(some):,} task{'' if len(some) == 1 else 's'}"
