"""The answers of a cost report as a picture: one file of SVG, light or dark as the viewer is."""

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cost_text

_WIDTH, _LEFT, _RIGHT = 720, 92, 156
_TOP, _HEAD, _BAR, _GAP, _PANEL_GAP = 64, 26, 24, 12, 30
_LEAST_WIDTH = 1.5
_LETTER = 6.8  # width of one, about
_STYLE = """\
svg { --ground: #fff; --ink: #1d2127; --faint: #636a73; --line: #e2e4e5;
  --h0: #2467c9; --h1: #12855a; --h2: #c2502e;
  font: 13px/1 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
@media (prefers-color-scheme: dark) {
  svg { --ground: #1c1f25; --ink: #e3e5e8; --faint: #979da6; --line: #30353d;
    --h0: #74a9f7; --h1: #55c998; --h2: #f2906f; }
}
.ground { fill: var(--ground); }
text { fill: var(--faint); font-variant-numeric: tabular-nums; }
.title { fill: var(--ink); font-size: 17px; font-weight: 600; }
.head, .total { fill: var(--ink); font-weight: 600; }
.line { stroke: var(--line); }
.hue0 { fill: var(--h0); } .hue1 { fill: var(--h1); } .hue2 { fill: var(--h2); }
"""

Parts = Sequence[tuple[str, str]]  # name, key in a row
_FLOPS: Parts = (
    ("encoder", "encoder"),
    ("cross-attention keys and values", "memory"),
    ("decoder", "decoder"),
)
_SECONDS: Parts = (("before the first token", "encoding_seconds"), ("decoder", "decoding_seconds"))


def chart(report: Mapping[str, Any]) -> str:
    """Bars of FLOPs by part for each length of answer; with devices, of time and energy too."""
    answers, devices = report["answers"], report["devices"]
    rows = answers["rows"]
    panels = [_panel("FLOPs of an answer", rows, _FLOPS, _flops_label, _TOP)]
    if devices:
        title = f"time of {answers['batch']:,} at once on {devices['name']}; energy of one"
        panels.append(_panel(title, rows, _SECONDS, _time_label, _TOP + _panel_height(rows)))
    height = _TOP + len(panels) * _panel_height(rows)
    title = f"{report['configuration']}: {answers['inputs']:,} tokens in"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            f'width="{_WIDTH}" height="{height}" role="img">',
            f"<style>\n{_STYLE}</style>",
            f'<rect class="ground" width="{_WIDTH}" height="{height}"/>',
            _text(24, 38, title, "title"),
            *panels,
            "</svg>\n",
        ]
    )


def _panel(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    parts: Parts,
    label: Callable[[Mapping[str, Any]], str],
    top: float,
) -> str:
    most = max(sum(row[key] for _, key in parts) for row in rows)
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    body = [_text(24, top + 14, title, "head"), *_legend(parts, top + 14)]
    for i, row in enumerate(rows):
        y = top + _HEAD + i * (_BAR + _GAP)
        body.append(_text(_LEFT - 10, y + 17, f"{row['outputs']:,} out", "", "end"))
        x = float(_LEFT)
        for hue, (name, key) in enumerate(parts):
            width = max(_LEAST_WIDTH, row[key] * scale)
            kind = hue if len(parts) > 2 else 2 * hue
            body.append(_bar(x, y, width, kind, f"{name}: {row[key]:.4g}"))
            x += width
        body.append(_text(x + 9, y + 17, label(row), "total"))
    bottom = top + _HEAD + len(rows) * (_BAR + _GAP)
    body.append(f'<line class="line" x1="{_LEFT}" y1="{top + 22}" x2="{_LEFT}" y2="{bottom - 6}"/>')
    return "\n".join(body)


def _legend(parts: Parts, y: float) -> list[str]:
    found, right = [], float(_WIDTH - 24)
    for hue, (name, _) in reversed(list(enumerate(parts))):
        right -= _LETTER * len(name)
        found.append(_text(right, y, name, ""))
        kind = hue if len(parts) > 2 else 2 * hue
        found.append(
            f'<rect class="hue{kind}" x="{right - 15:.1f}" y="{y - 10}" width="10" height="10"/>'
        )
        right -= 34
    return found


def _flops_label(row: Mapping[str, Any]) -> str:
    return f"{cost_text.flops(row['flops'])}  {row['times_the_first']:.3g}x"


def _time_label(row: Mapping[str, Any]) -> str:
    joules = row["joules_per_answer"]
    found = cost_text.duration(row["seconds"])
    return found if joules is None else f"{found}  {cost_text.energy(joules)}"


def _panel_height(rows: Sequence[Any]) -> int:
    return _HEAD + len(rows) * (_BAR + _GAP) + _PANEL_GAP


def _bar(x: float, y: float, width: float, hue: int, title: str) -> str:
    return (
        f'<rect class="hue{hue}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}">'
        f"<title>{html.escape(title)}</title></rect>"
    )


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    where = f'x="{x:.1f}" y="{y}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {where}>{html.escape(text)}</text>'
