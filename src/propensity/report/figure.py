"""The drawings of the page: revenue curves, intervals in rows, reliability, offers expected against realised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from zlib import crc32

from markupsafe import Markup

from propensity.report.chart import Axis, Frame, Look, axes, drawing, frame, mark, path, stretch, whisker, words
from propensity.report.number import Cell, MetricFormat, percent, short

# Okabe and Ito's colours, told apart by colour-blind readers; dash and shape repeat what they say.
LOOKS = {
    "network": Look("#0072B2", "", "circle", 3.6),
    "lightgbm": Look("#D55E00", "9 4", "square"),
    "frequency": Look("#009E73", "2 3", "triangle", 2.4),
    "logistic": Look("#CC79A7", "9 3 2 3", "diamond"),
    "popularity": Look("#E69F00", "14 5", "wedge"),
    "oracle": Look("#222222", "1 4", "diamond", 1.8),
}
SPARE = (Look("#56B4E9", "6 2", "diamond"), Look("#000000", "4 4", "square"))
CUT = Look("#444444", "3 3", "circle", 1.0)
ZERO = Look("#444444", "", "circle", 1.4)
PLAIN = Look("#8a8f98", "", "circle", 1.2)


def look(model: str) -> Look:
    """The look of a model, the same in every drawing."""
    return LOOKS[model] if model in LOOKS else SPARE[crc32(model.encode()) % len(SPARE)]


def revenue_curves(curves: Mapping[str, Any], named: Mapping[str, str], mailed: float, reach: float = 1.0) -> Markup:
    """Share of revenue against share of customers mailed, best first, up to `reach`; `mailed` is marked."""
    lines = {name: _points(curves[name]["share"], curves[name]["macro"], reach) for name in named if name in curves}
    top = max([y for line in lines.values() for _, y in line] + [reach])
    box = frame((0.0, reach), (0.0, min(top * 1.02, 1.0)))
    parts = [axes(box, ("customers mailed, best first", "revenue reached"), (_share, _share))]
    if mailed <= reach:
        parts.append(path(box, [(mailed, 0.0), (mailed, box.y.high)], CUT, "the mailing"))
    parts.append(path(box, [(0.0, 0.0), (reach, reach)], PLAIN, "random mailing"))
    # The network's full line lies below, so that the dashes of a model at its heels still show.
    for name in sorted(lines, key=lambda name: name != "network"):
        parts.append(path(box, lines[name], look(name), named[name]))
    return drawing("Share of revenue reached against share of customers mailed", box.height, *parts)


class Row(NamedTuple):
    """A line of a dot plot: what it is, and for each model its cell."""

    label: str
    cells: dict[str, Cell]


def dot_rows(
    rows: Sequence[Row], named: Mapping[str, str], metric: MetricFormat, title: str, difference: bool
) -> Markup:
    """One row per label, one dot with its interval per model; a line at zero where differences are shown."""
    bounds = ("value", "low", "high")
    known = [cell[k] for row in rows for cell in row.cells.values() for k in bounds if cell.get(k) is not None]
    step = 20 + 14 * len(named)
    height = step * len(rows) + 66
    low, high = stretch([*known, 0.0] if difference else known)
    box = frame((low * metric.scale, high * metric.scale), (0.0, 1.0), height, left=112, right=24)
    parts = [axes(box, (title, ""), (_tick_of(box.x), short), rows=False)]
    if difference:
        parts.append(path(box, [(0.0, 0.0), (0.0, 1.0)], ZERO, "no difference"))
    for number, row in enumerate(rows):
        middle = 14 + step * (number + 0.5)
        parts.append(words(box.x.start - 10, middle + 4, row.label, "end", "name"))
        parts += _dots(box, row, named, metric, middle, difference)
    return drawing(title, height, *parts)


def reliability(bins: Mapping[str, Sequence[Mapping[str, float]]], named: Mapping[str, str]) -> Markup:
    """Share that bought against the probability given, both on log scales; the diagonal is a promise kept."""
    points = {name: [(row["predicted"], row["observed"]) for row in bins[name]] for name in named}
    points = {name: [point for point in line if min(point) > 0] for name, line in points.items()}
    low, high = stretch([n for line in points.values() for point in line for n in point], log=True)
    box = frame((low, min(high, 1.0)), (low, min(high, 1.0)), 400, log=(True, True))
    parts = [axes(box, ("probability given", "share that bought"), (_chance, _chance))]
    parts.append(path(box, [(low, low), (box.x.high, box.x.high)], PLAIN, "kept to the letter"))
    for name in sorted(points, key=lambda name: name != "network"):
        style = look(name)
        parts.append(path(box, points[name], style, named[name]))
        said = [f"{named[name]}: {_chance(p)} given, {_chance(o)} bought" for p, o in points[name]]
        marks = zip(points[name], said, strict=True)
        parts += [mark(*box.at(point), style, title, 6.0 if name == "network" else 3.6) for point, title in marks]
    return drawing("Share that bought against the probability given", box.height, *parts)


def expected_and_realised(offers: Sequence[Mapping[str, Any]]) -> Markup:
    """A dot per offer: revenue realised against revenue expected, on log scales."""
    sold = [row for row in offers if (row["expected_revenue"] or 0) > 0 and row["revenue"] > 0]
    low, high = stretch([row[k] for row in sold for k in ("expected_revenue", "revenue")], log=True)
    box = frame((low, high), (low, high), 400, log=(True, True))
    parts = [axes(box, ("revenue expected", "revenue realised"), (short, short))]
    parts.append(path(box, [(low, low), (high, high)], PLAIN, "forecast met"))
    for row in sold:
        title = f"{row['offer']}: expected {short(row['expected_revenue'])}, realised {short(row['revenue'])}"
        parts.append(mark(*box.at((row["expected_revenue"], row["revenue"])), LOOKS["network"], title, 4.0, faint=True))
    return drawing("Revenue realised against revenue expected, by offer", box.height, *parts)


def _dots(
    box: Frame, row: Row, named: Mapping[str, str], metric: MetricFormat, middle: float, difference: bool
) -> list[Markup]:
    parts: list[Markup] = []
    for place, name in enumerate(named):
        cell, y = row.cells.get(name, {}), round(middle + 14 * (place - (len(named) - 1) / 2), 1)
        if cell.get("value") is None:
            continue
        style = look(name)
        said = metric.difference(cell) if difference else metric.value(cell)
        if cell.get("low") is not None:
            parts.append(whisker(box.x.at(cell["low"] * metric.scale), box.x.at(cell["high"] * metric.scale), y, style))
        title = f"{row.label}, {named[name]}: {said} {metric.interval(cell, difference)}"
        parts.append(mark(box.x.at(cell["value"] * metric.scale), y, style, title))
    return parts


def _points(share: Sequence[float], values: Sequence[float | None], reach: float) -> list[tuple[float, float]]:
    pairs = zip(share, values, strict=True)
    return [(x, y) for x, y in pairs if y is not None and x <= reach + 1e-9]


def _tick_of(axis: Axis) -> Any:
    """Numbers of an axis, all with the digits its step needs."""
    ticks = axis.ticks()
    digits = next((d for d in range(6) if all(abs(round(t, d) - t) < 1e-9 for t in ticks)), 6)
    return lambda value: f"{value:.{digits}f}".replace("-", "−")


def _share(value: float) -> str:
    return percent(value, 0)


def _chance(value: float) -> str:
    return f"{short(100 * value)}\u00a0%"
