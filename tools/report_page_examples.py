"""The worst and best examples of each suite on the page, to be read."""

from collections.abc import Iterator
from typing import Any

import report_examples
from report_examples import Line, Shown
from report_groups import Group
from report_scores import Scores
from report_words import NOT_RECORDED
from sweep_text import number
from web_chart import hue
from web_page import text as _text


def lines(scores: Scores, count: int) -> Iterator[str]:
    """Up to `count` of the worst and of the best of each suite."""
    yield "<h2>Examples<small>worst and best by the first metric, always the same ones</small></h2>"
    state = " open"
    for suite in scores.suites:
        if found := report_examples.chosen(scores, suite, count):
            yield f"<details{state}><summary>{_text(suite or 'Tasks of no suite')}</summary>"
            for shown in found:
                yield from _example(shown, scores)
            yield "</details>"
            state = ""
    if state:
        yield f'<p class="lead">{NOT_RECORDED.capitalize()}.</p>'


def _example(shown: Shown, scores: Scores) -> Iterator[str]:
    asked = shown.asked
    yield f'<article class="sheet {shown.verdict}"><h3><span class="verdict">{shown.verdict}</span>'
    yield f"{_text(shown.task)} · example {asked['index']:,}{_text(_provenance(asked))}</h3>"
    yield f'<div class="text prompt" tabindex="0">{_text(str(asked.get("prompt", NOT_RECORDED)))}'
    yield "</div>"
    references = asked.get("references") or [NOT_RECORDED]
    wanted = " <i>or</i> ".join(_text(str(each)) for each in references)
    yield f'<dl><dt>wanted</dt><dd class="text">{wanted}</dd>'
    for column, (group, line) in enumerate(zip(scores.groups, shown.lines, strict=True)):
        yield from _answer(shown, column, group, line, len(scores.groups) > 1)
    yield "</dl></article>"


def _answer(
    shown: Shown, column: int, group: Group, line: Line | None, named: bool
) -> Iterator[str]:
    name = f'<span class="who {hue(column)}">{_text(group.first.name)}</span>' if named else "model"
    yield f"<dt>{name}</dt>"
    if line is None:
        yield f'<dd class="missing">{NOT_RECORDED}</dd>'
        return
    score = line["scores"].get(shown.metric)
    facts = [f"{shown.metric} {NOT_RECORDED if score is None else number(score)}"]
    if line.get("answer") is not None:
        facts.append(f"read as “{line['answer']}”")
    if line.get("output_tokens") is not None:
        facts.append(f"{line['output_tokens']} tokens")
    output = str(line.get("output") or "")
    shown_output = _text(output) if output.strip() else '<i class="missing">(empty)</i>'
    yield f'<dd class="text">{shown_output}<small>{_text(" · ".join(facts))}</small></dd>'


def _provenance(line: Line) -> str:
    provenance: Any = line.get("provenance")
    if not isinstance(provenance, dict):
        return ""
    parts = [f"{key} {provenance[key]}" for key in ("split", "row") if key in provenance]
    return "".join(f" · {part}" for part in parts)
