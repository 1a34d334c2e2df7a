"""The report as a page: one file of HTML that needs no other and no network."""

from collections.abc import Iterator, Sequence

import report_chart
import report_facts
import report_page_examples
import report_page_scores
import web_page
from report_chart import Curve
from report_facts import Facts
from report_groups import Group
from report_manifest import WAYS, rows
from report_scores import Scores
from report_words import NOT_RECORDED
from web_page import name as _name
from web_page import text as _text

_CURVES = (("loss", "Training loss"), ("accuracy", "Training accuracy"))
_HELD_OUT = (("loss", "Held-out loss"), ("accuracy", "Held-out accuracy"))
_PER_TOKEN = "per target token, the answer's beginning given"
_SHOWN_SHARES = 12


def page(title: str, scores: Scores, facts: Facts, num_examples: int) -> str:
    """The page of a report."""
    return web_page.document(title, _lines(title, scores, facts, num_examples), "report_page.css")


def _lines(title: str, scores: Scores, facts: Facts, num_examples: int) -> Iterator[str]:
    groups = scores.groups
    yield f"<h1>{_text(title)}</h1>"
    count = sum(len(group.runs) for group in groups)
    yield f'<p class="lead">{count} run{"s" if count > 1 else ""}'
    yield f" in {len(groups)} columns</p>" if count > len(groups) else "</p>"
    yield web_page.legend([group.name for group in groups])
    yield from _notes(groups)
    yield from _facts("The runs", facts.of_runs, groups)
    yield from _curves(scores)
    yield from report_page_scores.lines(scores)
    yield from _manifests(groups)
    yield from _facts(
        "Cost of training",
        facts.of_training,
        groups,
        "<p>" + _text(report_facts.COST_REMARK) + "</p>",
    )
    yield from _answering(groups, facts)
    yield from report_page_examples.lines(scores, num_examples)


def _notes(groups: Sequence[Group]) -> Iterator[str]:
    notes = [(run.name, note) for group in groups for run in group.runs for note in run.notes]
    if notes:
        yield '<ul class="sheet notes">'
        for name, note in notes:
            yield f"<li><b>{_text(name)}</b> {_text(note)}"
        yield "</ul>"


def _facts(
    title: str, facts: Sequence[tuple[str, Sequence[str]]], groups: Sequence[Group], after: str = ""
) -> Iterator[str]:
    yield f'<h2>{title}</h2><div class="sheet wide"><table class="columns"><thead><tr><th>'
    yield "".join(f'<th class="number">{_text(group.name)}' for group in groups)
    yield "</thead><tbody>"
    for name, cells in facts:
        yield f"<tr><td>{_text(name)}{''.join(map(_cell, cells))}"
    yield f"</tbody></table></div>{after}"


def _cell(words: str) -> str:
    missing = ' class="number missing"' if words == NOT_RECORDED else ' class="number"'
    return f"<td{missing}>{_text(words)}"


def _curves(scores: Scores) -> Iterator[str]:
    figures = [*_training_figures(scores.groups), *_score_figures(scores)]
    yield "<h2>Curves</h2>"
    if not figures:
        yield f'<p class="lead">{NOT_RECORDED.capitalize()}.</p>'
        return
    yield '<div class="charts">'
    for title, small, curves in figures:
        yield f'<figure class="sheet"><figcaption>{_text(title)}<small>{_text(small)}</small>'
        yield f"</figcaption>{report_chart.curves(curves, title)}</figure>"
    yield "</div>"


def _training_figures(groups: Sequence[Group]) -> Iterator[tuple[str, str, list[Curve]]]:
    for key, title in _CURVES:
        if curves := [*_lines_of(groups, key, held_out=False)]:
            yield title, _PER_TOKEN, curves
    for key, title in _HELD_OUT:
        if curves := [*_lines_of(groups, key, held_out=True)]:
            yield title, _PER_TOKEN, curves


def _lines_of(groups: Sequence[Group], key: str, *, held_out: bool) -> Iterator[Curve]:
    for column, group in enumerate(groups):
        for run in group.runs:
            entries = report_facts.held_out(run)[1] if held_out else run.training
            points = [(each["step"], each[key]) for each in entries if each.get(key) is not None]
            if points:
                yield Curve(column, run.name, points)


def _score_figures(scores: Scores) -> Iterator[tuple[str, str, list[Curve]]]:
    """Suites that some run has been evaluated on at two steps or more, by their first metric."""
    for row in {row.suite: row for row in reversed(scores.of_suites())}.values():
        curves = [
            Curve(column, run.name, points)
            for column, group in enumerate(scores.groups)
            for run in group.runs
            if len(points := scores.over_steps(run, row.suite, row.metric)) > 1
        ]
        if curves:
            yield row.suite, f"{row.metric}, mean over its tasks", curves


def _manifests(groups: Sequence[Group]) -> Iterator[str]:
    manifests = [group.first.manifest for group in groups]
    yield "<h2>Training mixture<small>share of the examples drawn</small></h2>"
    if not any(manifests):
        yield f'<p class="lead">{NOT_RECORDED.capitalize()}.</p>'
        return
    yield '<div class="charts">'
    for way, title in WAYS.items():
        found = rows(manifests, way)
        yield f'<section class="sheet wide"><h3>{title}<small>{len(found):,}</small></h3>'
        yield '<table class="columns parts"><tbody>'
        for name, parts in found[:_SHOWN_SHARES]:
            cells = "".join(_cell(NOT_RECORDED if p is None else f"{p:.1%}") for p in parts)
            yield f"<tr><td>{_name(name)}{cells}<td>{report_chart.shares(parts)}"
        if rest := found[_SHOWN_SHARES:]:
            sums = [
                None if manifest is None else sum(parts[column] or 0 for _, parts in rest)
                for column, manifest in enumerate(manifests)
            ]
            cells = "".join(_cell(NOT_RECORDED if p is None else f"{p:.1%}") for p in sums)
            yield f"<tr><td>{len(rest):,} others{cells}<td>{report_chart.shares(sums)}"
        yield "</tbody></table></section>"
    yield "</div>"


def _answering(groups: Sequence[Group], facts: Facts) -> Iterator[str]:
    yield "<h2>Speed of answering</h2>"
    if not facts.of_answering:
        yield f'<p class="lead">{NOT_RECORDED.capitalize()}.</p>'
        return
    yield '<div class="sheet wide"><table class="columns"><thead><tr><th>Suite<th>Run'
    yield "".join(f'<th class="number">{name}' for name in report_facts.ANSWERING)
    yield "</thead><tbody>"
    for suite, name, cells in facts.of_answering:
        yield f"<tr><td>{_name(suite)}<td>{_name(name)}{''.join(map(_cell, cells))}"
    yield "</tbody></table></div>"
    yield f"<p>{_text(report_facts.ANSWERING_REMARK)}</p>"
