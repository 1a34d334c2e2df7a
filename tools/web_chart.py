"""Parts of charts in SVG that several tools draw: scales, round marks along an axis, text."""

import dataclasses
import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

NUM_HUES = 6  # in web_page.css; further curves are dashed
_NICE = (1, 2, 2.5, 5, 10)
_MIN_TICK_DISTANCE = 34


@dataclasses.dataclass(frozen=True)
class Scale:
    """From values `low` to `high` to pixels `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        turn: Callable[[float], float] = math.log if self.logarithmic else float
        share = (turn(value) - turn(self.low)) / (turn(self.high) - turn(self.low))
        return round(self.start + share * (self.end - self.start), 1)


def marks(low: float, high: float) -> list[float]:
    """Round numbers for an axis, the first and the last of which enclose `low` and `high`."""
    if high - low < 1e-9 * max(abs(high), 1.0):
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = power * next(nice for nice in _NICE if power * nice >= (high - low) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def spaced(ticks: Mapping[float, str], scale: Scale) -> Iterator[tuple[float, str]]:
    """From the right, those marks of the axis that don't run into one another."""
    limit = math.inf
    for x in sorted(ticks, reverse=True):
        if limit - scale(x) >= _MIN_TICK_DISTANCE:
            limit = scale(x)
            yield limit, ticks[x]


def hue(index: int) -> str:
    """The classes of a curve's colour and dashes."""
    return f"hue{index % NUM_HUES}{' dashed' if index >= NUM_HUES else ''}"


def rule(x1: float, y1: float, x2: float, y2: float) -> str:
    """A faint line."""
    return f'<line class="rule" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def text(x: float, y: float, words: str, anchor: str) -> str:
    """Words that start, end or have their middle at a place."""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{html.escape(words)}</text>'


def shortened(words: str, letters: int) -> str:
    """The end of a long label: there names differ."""
    return words if len(words) <= letters else f"…{words[1 - letters :]}"


def svg(width: float, height: float, body: Sequence[str], label: str = "") -> str:
    """The picture; `label` says what it shows to who can't see it."""
    about = f' aria-label="{html.escape(label)}"' if label else ""
    return f'<svg viewBox="0 0 {width} {height}" role="img"{about}>{"".join(body)}</svg>'
