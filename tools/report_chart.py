"""The charts of a report: curves over steps, scores with their intervals, shares of a mixture."""

import dataclasses
import html
import statistics
from collections.abc import Sequence

from report_published import Published
from report_scores import Row, Score
from report_words import score_in_words
from sweep_text import number
from web_chart import Scale, hue, marks, rule, shortened, spaced, svg, text

_WIDTH = 440
_LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 52, 16, 12, 42, 232
_MOST_POINTS = 300
_BAR_LEFT, _BAR_HEIGHT, _BAR_GAP, _LETTERS = 150, 15, 10, 22
_BAR_BOTTOM = 28

Points = Sequence[tuple[float, float]]  # step, value


@dataclasses.dataclass(frozen=True)
class Curve:
    """One run's values: the colour is its column's."""

    column: int
    name: str
    points: Points


def curves(lines: Sequence[Curve], label: str) -> str:
    """Values over steps."""
    drawn = [dataclasses.replace(line, points=thinned(line.points)) for line in lines]
    xs = [x for line in drawn for x, _ in line.points]
    ys = [y for line in drawn for _, y in line.points]
    steps = marks(min(ys), max(ys))
    across = marks(min(xs), max(xs))
    bottom = _HEIGHT - _BOTTOM
    x_of = Scale(across[0], across[-1], _LEFT + 6, _WIDTH - _RIGHT - 6)
    y_of = Scale(steps[0], steps[-1], bottom, _TOP)
    ticks = {x: _count(x) for x in across}
    body = [
        *(rule(_LEFT, y_of(y), _WIDTH - _RIGHT, y_of(y)) for y in steps),
        *(text(_LEFT - 7, y_of(y) + 4, number(y), "end") for y in steps),
        *(text(x, bottom + 18, words, "middle") for x, words in spaced(ticks, x_of)),
        text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, "steps", "middle"),
    ]
    for line in drawn:
        corners = " ".join(f"{x_of(x)},{y_of(y)}" for x, y in line.points)
        last_x, last_y = line.points[-1]
        title = html.escape(f"{line.name}: {number(last_y)} at step {last_x:,.0f}")
        body.append(
            f'<g class="{hue(line.column)}"><title>{title}</title>'
            f'<polyline class="curve" points="{corners}"/>'
            f'<circle class="mean" cx="{x_of(last_x)}" cy="{y_of(last_y)}" r="3.5"/></g>'
        )
    return svg(_WIDTH, _HEIGHT, body, label)


def thinned(points: Points) -> Points:
    """At most some hundred points: means of neighbours, where there are more."""
    size = -(-len(points) // _MOST_POINTS)
    if size <= 1:
        return points
    chunks = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (statistics.fmean(x for x, _ in chunk), statistics.fmean(y for _, y in chunk))
        for chunk in chunks
    ]


def scores(rows: Sequence[Row], published: Sequence[Published | None], label: str) -> str:
    """Suites one below the other: each column's score with its interval; published as lines."""
    shown = [score for row in rows for score in row.scores if score]
    values = [end for score in shown for end in (*_ends(score), *score.values)]
    values += [value for each in published if each for value in (each.t5, each.flan_t5)]
    across = marks(min(values), max(values))
    x_of = Scale(across[0], across[-1], _BAR_LEFT, _WIDTH - _RIGHT)
    body: list[str] = []
    y = float(_TOP)
    for row, known in zip(rows, published, strict=True):
        height = _BAR_GAP + _BAR_HEIGHT * len(row.scores)
        middle = y + height / 2
        body.append(rule(_BAR_LEFT, middle, _WIDTH - _RIGHT, middle))
        name = row.suite if row.metric == "accuracy" else f"{row.suite} {row.metric}"
        body.append(text(_BAR_LEFT - 9, middle + 4, shortened(name, _LETTERS), "end"))
        if known:
            body += _published(known, x_of, y + 3, y + height - 3)
        for column, score in enumerate(row.scores):
            if score:
                at = y + (_BAR_GAP + _BAR_HEIGHT) / 2 + _BAR_HEIGHT * column
                body.append(_mark(row, column, score, x_of, at))
        y += height
    for value in across:
        body.insert(0, rule(x_of(value), _TOP, x_of(value), y))
    ticks = {value: number(value) for value in across}
    body += [text(x, y + 17, words, "middle") for x, words in spaced(ticks, x_of)]
    return svg(_WIDTH, y + _BAR_BOTTOM, body, label)


def shares(parts: Sequence[float | None], height: float = 14) -> str:
    """One name's share in each column, as bars from the left; 1 is the whole width."""
    bars = [
        f'<rect class="{hue(column)}" x="0" y="{column * height}" '
        f'width="{max(100 * part, 0.3):.2f}" height="{height - 2}"/>'
        for column, part in enumerate(parts)
        if part
    ]
    whole = height * len(parts)
    return (
        f'<svg class="shares" viewBox="0 0 100 {whole}" preserveAspectRatio="none" '
        f'style="height:{whole}px" aria-hidden="true">{"".join(bars)}</svg>'
    )


def _mark(row: Row, column: int, score: Score, x_of: Scale, y: float) -> str:
    title = html.escape(f"{row.suite} {row.metric}: {score_in_words(score)}")
    seeds = "".join(
        f'<circle class="seed" cx="{x_of(value)}" cy="{y}" r="2.5"/>'
        for value in score.values
        if len(score.values) > 1
    )
    low, high = _ends(score)
    bar = f'<line class="bar" x1="{x_of(low)}" y1="{y}" x2="{x_of(high)}" y2="{y}"/>'
    dot = f'<circle class="mean" cx="{x_of(score.mean)}" cy="{y}" r="4"/>'
    return f'<g class="{hue(column)}"><title>{title}</title>{seeds}{bar}{dot}</g>'


def _published(known: Published, x_of: Scale, top: float, bottom: float) -> list[str]:
    return [
        f"<g><title>{html.escape(f'{name}: {value} ({known.source})')}</title>"
        f'<line class="{kind}" x1="{x_of(value)}" y1="{top}" x2="{x_of(value)}" y2="{bottom}"/></g>'
        for name, kind, value in (
            ("T5", "known-t5", known.t5),
            ("Flan-T5", "known-flan", known.flan_t5),
        )
    ]


def _ends(score: Score) -> tuple[float, float]:
    if score.interval:
        return score.interval
    spread = score.deviation or 0.0
    return score.mean - spread, score.mean + spread


def _count(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"
