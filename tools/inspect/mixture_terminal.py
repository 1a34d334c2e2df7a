"""`inspect mixture` in the terminal."""

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import mixture_text
from dominance import Dominance
from summary import Figures, Summary

_WIDTH = 100
_WIDEST_NAME = 44
# Heading -> cell; a column in which nothing is known is left out.
_COLUMNS: Mapping[str, Callable[[Figures], str]] = {
    "rate": lambda each: f"{each.group.rate:.2%}",
    "tasks": lambda each: f"{len(each.group.leaves):,}",
    "cap": lambda each: "" if each.group.cap is None else f"{each.group.cap:,}",
    "examples": lambda each: f"{each.group.num_examples:,}",
    "epochs": lambda each: "" if each.epochs is None else f"{each.epochs:.3g}",
    "inputs": lambda each: f"{each.lengthy.inputs:,.0f}" if each.lengthy else "",
    "targets": lambda each: f"{each.lengthy.targets:,.0f}" if each.lengthy else "",
    "of tokens": lambda each: "" if each.token_share is None else f"{each.token_share:.1%}",
    "dropped": lambda each: f"{each.lengthy.dropped:.1%}" if each.lengthy else "",
    "packed": lambda each: f"{max(each.lengthy.density.values()):.0%}" if each.lengthy else "",
    "known": lambda each: f"{each.known:.0%}" if each.known else "",
}


def lines(
    summary: Summary,
    warnings: Sequence[Dominance],
    empirical: Mapping[str, Any] | None,
    *,
    top: int | None,
) -> Iterator[str]:
    """The mixture as text: facts, warnings, and a table for each way of grouping.

    Args:
      summary: its figures.
      warnings: what dominates it.
      empirical: how draws compare with the rates, if asked for.
      top: so many groups at most in each table; None: all.
    """
    yield summary.mixture.name
    for fact in mixture_text.facts(summary, empirical):
        yield from _folded(fact, "  ")
    for warning in warnings:
        yield from _folded(str(warning), "! ")
    for way, figures in summary.of_ways.items():
        yield ""
        yield from _table(way, figures[:top])
        rest = figures[len(figures[:top]) :]
        if rest:
            share = sum(each.group.rate for each in rest)
            yield f"… and {len(rest):,} more with {share:.2%} (--all)"


def _folded(text: str, mark: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=mark, subsequent_indent="  ")


def _table(way: str, figures: Sequence[Figures]) -> Iterator[str]:
    names = [way, *(textwrap.shorten(each.group.name, _WIDEST_NAME) for each in figures)]
    columns = [[heading, *map(cell, figures)] for heading, cell in _COLUMNS.items()]
    columns = [column for column in columns if any(column[1:])]
    left = max(map(len, names))
    widths = [max(map(len, column)) for column in columns]
    for name, *cells in zip(names, *columns, strict=True):
        padded = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        yield "  ".join([name.ljust(left), *padded]).rstrip()
