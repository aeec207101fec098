"""The figures of the page: revenue curves, intervals, reliability diagrams, expected against realised revenue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from zlib import crc32

from markupsafe import Markup

from propensity.metric.warning import CALIBRATED
from propensity.report.chart import (
    Axis,
    ModelStyle,
    PlotArea,
    axes,
    error_bar,
    marker,
    path,
    plot_area,
    svg,
    text_at,
    value_range,
)
from propensity.report.number import Cell, MetricFormat, in_currency, percent, short

# Okabe and Ito's colours, which colour-blind readers can distinguish; dash and shape repeat the distinction.
STYLES = {
    "network": ModelStyle("#0072B2", "", "circle", 3.6),
    "lightgbm": ModelStyle("#D55E00", "9 4", "square"),
    "frequency": ModelStyle("#009E73", "2 3", "triangle", 2.4),
    "logistic": ModelStyle("#CC79A7", "9 3 2 3", "diamond"),
    "popularity": ModelStyle("#E69F00", "14 5", "wedge"),
    "oracle": ModelStyle("#222222", "1 4", "diamond", 1.8),
}
SPARE = (ModelStyle("#56B4E9", "6 2", "diamond"), ModelStyle("#000000", "4 4", "square"))
CUT = ModelStyle("#444444", "3 3", "circle", 1.0)
ZERO = ModelStyle("#444444", "", "circle", 1.4)
PLAIN = ModelStyle("#8a8f98", "", "circle", 1.2)


def style_of(model: str) -> ModelStyle:
    """The style of a model, the same in every figure."""
    return STYLES[model] if model in STYLES else SPARE[crc32(model.encode()) % len(SPARE)]


def revenue_curves(curves: Mapping[str, Any], named: Mapping[str, str], fraction: float, end: float = 1.0) -> Markup:
    """Share of revenue against share of customers, best first, up to the share `end`; `fraction` is marked."""
    lines = {name: _points(curves[name]["share"], curves[name]["macro"], end) for name in named if name in curves}
    top = max([y for line in lines.values() for _, y in line] + [end])
    area = plot_area((0.0, end), (0.0, min(top * 1.02, 1.0)))
    parts = [axes(area, ("share of customers, best first", "share of revenue"), (_share, _share))]
    if fraction <= end:
        parts.append(path(area, [(fraction, 0.0), (fraction, area.y.high)], CUT, f"best {percent(fraction, 0)}"))
    parts.append(path(area, [(0.0, 0.0), (end, end)], PLAIN, "random ranking"))
    # The network's solid line is drawn first, so that the dashes of a close model remain visible.
    for name in sorted(lines, key=lambda name: name != "network"):
        parts.append(path(area, lines[name], style_of(name), named[name]))
    return svg("Share of revenue against share of customers, best first", area.height, *parts)


class DotRow(NamedTuple):
    """A row of a dot plot: its label, and the cell of each model."""

    label: str
    cells: dict[str, Cell]


def dot_rows(
    rows: Sequence[DotRow], named: Mapping[str, str], metric: MetricFormat, title: str, difference: bool
) -> Markup:
    """One row per label, one dot with its interval per model; a line at zero where differences are shown."""
    bounds = ("value", "low", "high")
    known = [cell[k] for row in rows for cell in row.cells.values() for k in bounds if cell.get(k) is not None]
    step = 20 + 14 * len(named)
    height = step * len(rows) + 66
    low, high = value_range([*known, 0.0] if difference else known)
    area = plot_area((low * metric.scale, high * metric.scale), (0.0, 1.0), height, left=112, right=24)
    parts = [axes(area, (title, ""), (_tick_of(area.x), short), rows=False)]
    if difference:
        parts.append(path(area, [(0.0, 0.0), (0.0, 1.0)], ZERO, "no difference"))
    for number, row in enumerate(rows):
        middle = 14 + step * (number + 0.5)
        parts.append(text_at(area.x.start - 10, middle + 4, row.label, "end", "name"))
        parts += _dots(area, row, named, metric, middle, difference)
    return svg(title, height, *parts)


def reliability(bins: Mapping[str, Sequence[Mapping[str, float]]], named: Mapping[str, str]) -> Markup:
    """Purchase rate against mean predicted probability by bin, both on log scales; the diagonal is calibrated."""
    points = {name: [(row["predicted"], row["observed"]) for row in bins[name]] for name in named}
    points = {name: [point for point in line if min(point) > 0] for name, line in points.items()}
    low, high = value_range([n for line in points.values() for point in line for n in point], log=True)
    area = plot_area((low, min(high, 1.0)), (low, min(high, 1.0)), 400, log=(True, True))
    parts = [axes(area, ("predicted probability", "purchase rate"), (_chance, _chance))]
    parts.append(path(area, [(low, low), (area.x.high, area.x.high)], PLAIN, "calibrated"))
    for name in sorted(points, key=lambda name: name != "network"):
        style = style_of(name)
        parts.append(path(area, points[name], style, named[name]))
        texts = [f"{named[name]}: predicted {_chance(p)}, observed {_chance(o)}" for p, o in points[name]]
        marks = zip(points[name], texts, strict=True)
        parts += [marker(*area.at(point), style, title, 6.0 if name == "network" else 3.6) for point, title in marks]
    return svg("Purchase rate against predicted probability", area.height, *parts)


def expected_and_realised(offers: Sequence[Mapping[str, Any]], currency: str = "") -> Markup:
    """A dot per offer: realised against expected revenue, on log scales."""
    sold = [row for row in offers if (row["expected_revenue"] or 0) > 0 and row["revenue"] > 0]
    low, high = value_range([row[k] for row in sold for k in ("expected_revenue", "revenue")], log=True)
    area = plot_area((low, high), (low, high), 400, log=(True, True))
    parts = [
        axes(
            area, (in_currency("expected revenue", currency), in_currency("realised revenue", currency)), (short, short)
        )
    ]
    parts.append(path(area, [(low, low), (high, high)], PLAIN, "expected = realised"))
    for row in sold:
        title = f"{row['offer']}: expected {short(row['expected_revenue'])}, realised {short(row['revenue'])}"
        parts.append(
            marker(*area.at((row["expected_revenue"], row["revenue"])), STYLES["network"], title, 4.0, faint=True)
        )
    return svg("Realised against expected revenue, by offer", area.height, *parts)


def ratios_by_decile(cells: Sequence[Cell], quantity: str) -> Markup:
    """Expected over observed by decile of the prediction with intervals, on a log scale; the band is 0.9 to 1.1."""
    known = [(n + 1.0, cell) for n, cell in enumerate(cells) if cell["value"] is not None]
    bounds = [cell[key] for _, cell in known for key in ("value", "low", "high") if cell.get(key)]
    low, high = value_range([*bounds, *CALIBRATED], log=True)
    area = plot_area((0.5, 10.5), (max(low, 0.1), min(high, 10.0)), 320, log=(False, True))
    by = "probability" if quantity == "purchases" else "expected revenue"
    title = f"expected / observed {quantity}"
    parts = [_band(area), axes(area, (f"decile of pairs by {by}, lowest first", title), (short, short))]
    parts.append(path(area, [(0.5, 1.0), (10.5, 1.0)], ZERO, "expected = observed"))
    style = STYLES["network"]
    bar = ModelStyle(style.colour, "", "circle", 2.0)
    for decile, cell in known:
        text = f"decile {decile:.0f}: {cell['value']:.2f}"
        if cell.get("low") is not None:
            text += f" [{cell['low']:.2f}, {cell['high']:.2f}]"
            parts.append(path(area, [(decile, cell["low"]), (decile, cell["high"])], bar, text))
        parts.append(marker(*area.at((decile, cell["value"])), style, text))
    return svg(f"{title} by decile, 95 % interval", area.height, *parts)


def _band(area: PlotArea) -> Markup:
    """The ratios that count as calibrated."""
    top, bottom = area.y.at(CALIBRATED[1]), area.y.at(CALIBRATED[0])
    tag = Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="#e3f0f8"/>')
    return tag.format(area.x.start, top, area.x.end - area.x.start, round(bottom - top, 1))


def _dots(
    area: PlotArea, row: DotRow, named: Mapping[str, str], metric: MetricFormat, middle: float, difference: bool
) -> list[Markup]:
    parts: list[Markup] = []
    for position, name in enumerate(named):
        cell, y = row.cells.get(name, {}), round(middle + 14 * (position - (len(named) - 1) / 2), 1)
        if cell.get("value") is None:
            continue
        style = style_of(name)
        text = metric.difference(cell) if difference else metric.value(cell)
        if cell.get("low") is not None:
            parts.append(
                error_bar(area.x.at(cell["low"] * metric.scale), area.x.at(cell["high"] * metric.scale), y, style)
            )
        title = f"{row.label}, {named[name]}: {text} {metric.interval(cell, difference)}"
        parts.append(marker(area.x.at(cell["value"] * metric.scale), y, style, title))
    return parts


def _points(share: Sequence[float], values: Sequence[float | None], end: float) -> list[tuple[float, float]]:
    pairs = zip(share, values, strict=True)
    return [(x, y) for x, y in pairs if y is not None and x <= end + 1e-9]


def _tick_of(axis: Axis) -> Any:
    """Writes the numbers of an axis with the digits that its step needs."""
    ticks = axis.ticks()
    digits = next((d for d in range(6) if all(abs(round(t, d) - t) < 1e-9 for t in ticks)), 6)
    return lambda value: f"{value:.{digits}f}".replace("-", "−")


def _share(value: float) -> str:
    return percent(value, 0)


def _chance(value: float) -> str:
    return f"{short(100 * value)}\u00a0%"
