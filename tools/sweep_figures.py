"""What of a sweep's results is drawn together, and along which number."""

import dataclasses
from collections.abc import Iterator, Sequence

from sweep_plan import SEPARATOR, family
from sweep_results import Row

# Parameters of T5 1.1, in millions: arithmetic over the published shapes.
_MILLIONS = {"small": 77, "base": 248, "large": 783, "xl": 2850, "xxl": 11135}
_MIN_POINTS = 3  # that make a sweep over a number


@dataclasses.dataclass(frozen=True)
class Curve:
    """Rows of one base, or of one ablation, along a number.

    Attributes:
      name: of the base or the ablation.
      points: (x, what to write at the axis, row), by rising x.
    """

    name: str
    points: tuple[tuple[float, str, Row], ...]


@dataclasses.dataclass(frozen=True)
class Figure:
    """What is drawn together: curves along a number called `axis`, or rows that are compared."""

    axis: str
    curves: tuple[Curve, ...] = ()
    rows: tuple[Row, ...] = ()


def figures(rows: Sequence[Row]) -> list[Figure]:
    """Each row in one figure: along the number in its ablation's name, its model's size, or none.

    Ablations are along a number if at least three of them differ in nothing but a number between
    separators, such as tasks_8, tasks_100 and tasks_all; "all" comes last.
    """
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(family(row.ablation)[0], []).append(row)
    along, rest = [], []
    for name, members in families.items():
        numbers = {family(row.ablation)[1] for row in members} - {""}
        if len(numbers) >= _MIN_POINTS:
            along.append(Figure(_axis(name), tuple(_curves_by_base(members))))
        else:
            rest += members
    if not rest:
        return along
    sizes = {row.base: _millions(row.base) for row in rest}
    if len(set(sizes.values())) == len(sizes) >= _MIN_POINTS and None not in sizes.values():
        return [*along, Figure("million parameters", tuple(_curves_by_ablation(rest)))]
    return [*along, Figure("", rows=tuple(rest))]


def _curves_by_base(rows: Sequence[Row]) -> Iterator[Curve]:
    numbers = [float(text) for row in rows if (text := family(row.ablation)[1]) != "all"]
    # Where "all" goes: as far from the greatest number as that is from the one before it.
    *_, before, greatest = sorted(set(numbers))
    beyond = greatest**2 / before if is_logarithmic(numbers) else 2 * greatest - before
    for base in dict.fromkeys(row.base for row in rows):
        mine = [(family(row.ablation)[1], row) for row in rows if row.base == base]
        points = [
            (beyond, text, row) if text == "all" else (float(text), f"{float(text):g}", row)
            for text, row in mine
        ]
        yield Curve(base, tuple(sorted(points, key=lambda point: point[0])))


def _curves_by_ablation(rows: Sequence[Row]) -> Iterator[Curve]:
    for ablation in dict.fromkeys(row.ablation for row in rows):
        mine = [(_millions(row.base) or 0, row) for row in rows if row.ablation == ablation]
        points = [(float(size), f"{size:,}", row) for size, row in mine]
        yield Curve(ablation, tuple(sorted(points, key=lambda point: point[0])))


def is_logarithmic(numbers: Sequence[float]) -> bool:
    """Whether numbers spread so widely that their logarithms are what to draw."""
    return min(numbers) > 0 and max(numbers) / min(numbers) >= 20


def _axis(name: str) -> str:
    """What the number of a family is called: "few shot share" of "few_shot_share_#"."""
    return " ".join(word for word in SEPARATOR.split(name) if word not in "#/_-")


def _millions(base: str) -> int | None:
    """The size of a model that a base's name names, such as flan_xl."""
    parts = SEPARATOR.split(base)
    return None if "mt5" in parts else next((_MILLIONS[p] for p in parts if p in _MILLIONS), None)
