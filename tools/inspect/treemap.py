"""Treemaps: a whole as a rectangle, its parts as rectangles of their share of it."""

from collections.abc import Sequence
from typing import NamedTuple


class Rectangle(NamedTuple):
    """Left, top, width, height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Width times height."""
        return self.width * self.height


def squarified(weights: Sequence[float], within: Rectangle) -> list[Rectangle]:
    """Rectangles with areas in proportion to the weights that together fill another one.

    Rows along the shorter side are filled as long as that makes their rectangles squarer (Bruls,
    Huizing and van Wijk, "Squarified Treemaps", 2000).

    Args:
      weights: above 0, the largest first.
      within: what is filled.
    """
    scale = within.area / sum(weights) if weights else 0
    areas = [weight * scale for weight in weights]
    placed: list[Rectangle] = []
    left = within
    while len(placed) < len(areas):
        start = len(placed)
        side = min(left.width, left.height)
        stop = start + 1
        while stop < len(areas) and _worst(areas[start : stop + 1], side) <= _worst(
            areas[start:stop], side
        ):
            stop += 1
        row, left = _row(areas[start:stop], left)
        placed += row
    return placed


def inset(rectangle: Rectangle, margin: float, top: float = 0) -> Rectangle:
    """The rectangle without a margin on all sides, and some more at the top."""
    x, y, width, height = rectangle
    return Rectangle(
        x + margin,
        y + margin + top,
        max(width - 2 * margin, 1e-6),
        max(height - 2 * margin - top, 1e-6),
    )


def _worst(areas: Sequence[float], side: float) -> float:
    """The largest ratio of length to breadth in a row along a side."""
    breadth = sum(areas) / side
    return max(max(breadth**2 / area, area / breadth**2) for area in (areas[0], areas[-1]))


def _row(areas: Sequence[float], within: Rectangle) -> tuple[list[Rectangle], Rectangle]:
    """A row along the shorter side, and what is left of the whole."""
    x, y, width, height = within
    breadth = sum(areas) / min(width, height)
    row = []
    offset = 0.0
    for area in areas:
        length = area / breadth
        if width >= height:
            row.append(Rectangle(x, y + offset, breadth, length))
        else:
            row.append(Rectangle(x + offset, y, length, breadth))
        offset += length
    if width >= height:
        return row, Rectangle(x + breadth, y, max(width - breadth, 1e-9), height)
    return row, Rectangle(x, y + breadth, width, max(height - breadth, 1e-9))
