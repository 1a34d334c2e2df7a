"""Charts as SVG: curves along a number, and values compared line by line, both with deviations."""

import dataclasses
import html
import math
from collections.abc import Callable, Iterator, Sequence

from sweep_figures import Curve, is_logarithmic
from sweep_results import Row, Summary
from sweep_text import mean_and_deviation, number

NUM_HUES = 6  # in the style sheet; further curves are dashed
_WIDTH = 440
_RIGHT = 16
_CURVES_LEFT, _CURVES_TOP, _CURVES_BOTTOM, _CURVES_HEIGHT = 52, 14, 46, 264
_LINES_LEFT, _LINES_TOP, _LINES_BOTTOM = 158, 8, 28
_LINE_HEIGHT, _LINE_GAP = 15, 9
_LABEL_LETTERS = 24
_MIN_TICK_DISTANCE = 34
_NICE = (1, 2, 2.5, 5, 10)


@dataclasses.dataclass(frozen=True)
class _Scale:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        turn: Callable[[float], float] = math.log if self.logarithmic else float
        share = (turn(value) - turn(self.low)) / (turn(self.high) - turn(self.low))
        return round(self.start + share * (self.end - self.start), 1)


def curves(axis: str, lines: Sequence[Curve], metric: str) -> str:
    """A metric along a number: means joined by a line, deviations as bars, seeds as dots."""
    found = [
        (
            i,
            [
                (x, text, row.metrics[metric])
                for x, text, row in line.points
                if metric in row.metrics
            ],
        )
        for i, line in enumerate(lines)
    ]
    ticks = {x: text for line in lines for x, text, _ in line.points}
    low, high, steps = _range([summary for _, points in found for _, _, summary in points])
    bottom = _CURVES_HEIGHT - _CURVES_BOTTOM
    x_of = _Scale(
        *(min(ticks), max(ticks)), _CURVES_LEFT + 14, _WIDTH - _RIGHT - 14, is_logarithmic([*ticks])
    )
    y_of = _Scale(low, high, bottom, _CURVES_TOP)
    body = [
        *(_rule(_CURVES_LEFT, y_of(y), _WIDTH - _RIGHT, y_of(y)) for y in steps),
        *(_text(_CURVES_LEFT - 7, y_of(y) + 4, number(y), "end") for y in steps),
        *(_text(x, bottom + 18, text, "middle") for x, text in _spaced(ticks, x_of)),
        _text((_CURVES_LEFT + _WIDTH - _RIGHT) / 2, _CURVES_HEIGHT - 8, axis, "middle"),
    ]
    for i, points in found:
        corners = " ".join(f"{x_of(x)},{y_of(summary.mean)}" for x, _, summary in points)
        body.append(f'<g class="{hue(i)}"><polyline class="curve" points="{corners}"/>')
        for x, text, summary in points:
            body += _mark(summary, f"{lines[i].name} {text}", y_of, upright_at=x_of(x))
        body.append("</g>")
    return _svg(_CURVES_HEIGHT, body)


def comparison(rows: Sequence[Row], metric: str) -> str:
    """A metric of rows, one below the other; the bases of an ablation side by side, in colours."""
    bases = list(dict.fromkeys(row.base for row in rows))
    low, high, steps = _range([row.metrics[metric] for row in rows if metric in row.metrics])
    x_of = _Scale(low, high, _LINES_LEFT, _WIDTH - _RIGHT)
    body: list[str] = []
    y = float(_LINES_TOP)
    for ablation in dict.fromkeys(row.ablation for row in rows):
        group = [row for row in rows if row.ablation == ablation]
        middle = y + (_LINE_GAP + _LINE_HEIGHT * len(group)) / 2
        body.append(_rule(_LINES_LEFT, middle, _WIDTH - _RIGHT, middle))
        body.append(_text(_LINES_LEFT - 9, middle + 4, _shortened(ablation or "(none)"), "end"))
        for i, row in enumerate(group):
            if metric in row.metrics:
                at = y + (_LINE_GAP + _LINE_HEIGHT) / 2 + _LINE_HEIGHT * i
                body.append(f'<g class="{hue(bases.index(row.base))}">')
                label = f"{row.ablation} {row.base}"
                body += [*_mark(row.metrics[metric], label, x_of, level_at=at), "</g>"]
        y += _LINE_GAP + _LINE_HEIGHT * len(group)
    for step in steps:
        body.insert(0, _rule(x_of(step), _LINES_TOP, x_of(step), y))
        body.append(_text(x_of(step), y + 17, number(step), "middle"))
    return _svg(y + _LINES_BOTTOM, body)


def hue(index: int) -> str:
    """The classes of a curve's colour and dashes."""
    return f"hue{index % NUM_HUES}{' dashed' if index >= NUM_HUES else ''}"


def _mark(
    summary: Summary,
    label: str,
    scale: _Scale,
    *,
    upright_at: float | None = None,
    level_at: float | None = None,
) -> Iterator[str]:
    """The seeds, the bar of the deviation and the mean, along either axis."""

    def place(value: float) -> tuple[float, float]:
        if level_at is None:
            assert upright_at is not None
            return upright_at, scale(value)
        return scale(value), level_at

    seeds = ", ".join(f"seed {seed}: {number(v)}" for seed, v in summary.values.items())
    yield f"<g><title>{html.escape(f'{label}: {mean_and_deviation(summary)} ({seeds})')}</title>"
    if summary.deviation is not None:
        for value in summary.values.values():
            yield '<circle class="seed" cx="{}" cy="{}" r="2.5"/>'.format(*place(value))
        ends = (summary.mean - summary.deviation, summary.mean + summary.deviation)
        yield '<line class="bar" x1="{}" y1="{}" x2="{}" y2="{}"/>'.format(
            *place(ends[0]), *place(ends[1])
        )
    yield '<circle class="mean" cx="{}" cy="{}" r="4"/></g>'.format(*place(summary.mean))


def _range(summaries: Sequence[Summary]) -> tuple[float, float, list[float]]:
    """What an axis reaches from and to, and the round numbers to mark on it."""
    spreads = [(summary, summary.deviation or 0.0) for summary in summaries]
    low = min(min(*s.values.values(), s.mean - spread) for s, spread in spreads)
    high = max(max(*s.values.values(), s.mean + spread) for s, spread in spreads)
    if high - low < 1e-9 * max(abs(high), 1.0):
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = power * next(nice for nice in _NICE if power * nice >= (high - low) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    marks = [round(i * step, 12) for i in range(first, last + 1)]
    return marks[0], marks[-1], marks


def _spaced(ticks: dict[float, str], scale: _Scale) -> Iterator[tuple[float, str]]:
    """From the right, those marks of the axis that don't run into one another."""
    limit = math.inf
    for x in sorted(ticks, reverse=True):
        if limit - scale(x) >= _MIN_TICK_DISTANCE:
            limit = scale(x)
            yield limit, ticks[x]


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="rule" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _shortened(text: str) -> str:
    """The end of a long label: there ablations differ."""
    return text if len(text) <= _LABEL_LETTERS else f"…{text[1 - _LABEL_LETTERS :]}"


def _svg(height: float, body: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{"".join(body)}</svg>'
