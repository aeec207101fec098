"""Small charts as SVG text: axes that map numbers into a plot area, and markers that differ in shape and colour.

Coordinates are units of a 520-wide chart; the page scales it. Text passes through `Markup`, which escapes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

WIDTH = 520
CORNERS = {
    "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    "triangle": [(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)],
    "diamond": [(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
    "wedge": [(0.0, 1.2), (1.1, -0.8), (-1.1, -0.8)],
}
Point = tuple[float, float]


class ModelStyle(NamedTuple):
    """How one model is drawn: colour, dash and shape each identify it."""

    colour: str
    dash: str
    shape: str
    width: float = 2.0


class Axis(NamedTuple):
    """A range of numbers mapped to a range of coordinates."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The coordinate of a number; numbers outside the range are clipped to its ends.

        >>> Axis(0, 10, 100, 200).at(5), Axis(1, 100, 0, 50, log=True).at(10), Axis(0, 1, 0, 9).at(7)
        (150.0, 25.0, 9.0)
        """
        low, high, here = (math.log10(max(n, 1e-300)) if self.log else n for n in (self.low, self.high, value))
        share = min(max((here - low) / (high - low), 0.0), 1.0)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers inside the axis."""
        return _decades(self.low, self.high) if self.log else _steps(self.low, self.high, most)


class PlotArea(NamedTuple):
    """The x and y axes of a chart, and its height."""

    x: Axis
    y: Axis
    height: int

    def at(self, point: Point) -> Point:
        return self.x.at(point[0]), self.y.at(point[1])


def plot_area(
    x: Point, y: Point, height: int = 360, left: int = 78, right: int = 26, log: tuple[bool, bool] = (False, False)
) -> PlotArea:
    """The plot area of a chart whose x and y span the given ranges."""
    return PlotArea(Axis(*x, left, WIDTH - right, log[0]), Axis(*y, height - 52, 14, log[1]), height)


def value_range(values: Iterable[float], log: bool = False, room: float = 0.06) -> Point:
    """The lowest and highest number with a margin; 0 to 1 where there is none (0.1 to 1 on a log axis)."""
    known = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    if not known:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = min(known), max(known)
    if log:
        factor = max((high / low) ** room, 1.15)
        return low / factor, high * factor
    width = (high - low) * room or abs(high) * room or 1.0
    return low - width, high + width


def svg(label: str, height: float, *parts: Markup) -> Markup:
    """A whole chart with a label for screen readers."""
    opening = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, height, label)
    return opening + Markup("\n").join(parts) + Markup("</svg>")


def axes(
    area: PlotArea,
    titles: tuple[str, str],
    write: tuple[Callable[[float], str], Callable[[float], str]],
    rows: bool = True,
) -> Markup:
    """Grid lines, their numbers and a title for each axis; without `rows`, vertical lines only."""
    left, right, bottom, top = area.x.start, area.x.end, area.y.start, area.y.end
    parts = [_rule(area.x.at(t), bottom, area.x.at(t), top) for t in area.x.ticks()]
    parts += [text_at(area.x.at(t), bottom + 19, write[0](t), "middle", "tick") for t in area.x.ticks()]
    if rows:
        parts += [_rule(left, area.y.at(t), right, area.y.at(t)) for t in area.y.ticks()]
        parts += [text_at(left - 7, area.y.at(t) + 4, write[1](t), "end", "tick") for t in area.y.ticks()]
        turned = Markup('<text class="name" text-anchor="middle" transform="translate(14 {}) rotate(-90)">{}</text>')
        parts.append(turned.format(round((bottom + top) / 2, 1), titles[1]))
    parts.append(text_at((left + right) / 2, area.height - 7, titles[0], "middle", "name"))
    return Markup("").join(parts)


def text_at(x: float, y: float, text: str, anchor: str = "start", kind: str = "tick") -> Markup:
    """Text at a coordinate."""
    tag = Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>')
    return tag.format(kind, round(x, 1), round(y, 1), anchor, text)


def path(area: PlotArea, points: Sequence[Point], style: ModelStyle, title: str = "") -> Markup:
    """A line through the points, clipped to the plot area."""
    if len(points) < 2:
        return Markup("")
    steps = " ".join(f"{x:g},{y:g}" for x, y in map(area.at, points))
    tag = Markup(
        '<polyline points="{}" fill="none" stroke="{}" stroke-width="{}" stroke-dasharray="{}" stroke-linejoin="round">'
        "<title>{}</title></polyline>"
    )
    return tag.format(steps, style.colour, style.width, style.dash, title)


def marker(x: float, y: float, style: ModelStyle, title: str = "", size: float = 5.0, faint: bool = False) -> Markup:
    """A dot in the model's shape at a coordinate."""
    tag = Markup('<path d="{}" fill="{}" fill-opacity="{}" stroke="{}"><title>{}</title></path>')
    return tag.format(_outline(x, y, size, style.shape), style.colour, 0.45 if faint else 1, style.colour, title)


def error_bar(x1: float, x2: float, y: float, style: ModelStyle) -> Markup:
    """A horizontal interval."""
    tag = Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" stroke="{}" stroke-width="2"/>')
    return tag.format(x1, y, x2, y, style.colour)


def legend_swatch(style: ModelStyle, dot: bool = False) -> Markup:
    """The sample of a legend: a piece of the line, or the dot."""
    line = Markup('<line x1="1" y1="7" x2="33" y2="7" stroke="{}" stroke-width="{}" stroke-dasharray="{}"/>')
    inside = marker(17, 7, style) if dot else line.format(style.colour, style.width, style.dash)
    return Markup('<svg class="swatch" viewBox="0 0 34 14" aria-hidden="true">{}</svg>').format(inside)


def _rule(x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(x1, y1, x2, y2)


def _outline(x: float, y: float, size: float, shape: str) -> str:
    if shape == "circle":
        half = f"a {size:g} {size:g} 0 1 0"
        return f"M {x - size:g} {y:g} {half} {2 * size:g} 0 {half} {-2 * size:g} 0 z"
    places = (f"{x + dx * size:.5g} {y + dy * size:.5g}" for dx, dy in CORNERS[shape])
    return f"M {' L '.join(places)} z"


def _steps(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * n for n in (1, 2, 2.5, 5, 10) if size * n >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    within = (1,) if last - first > 3 else (1, 3) if last - first > 2 else (1, 2, 5)
    ticks = [n * 10.0**power for power in range(first, last + 1) for n in within]
    return [value for value in ticks if low * 0.999 <= value <= high * 1.001]
