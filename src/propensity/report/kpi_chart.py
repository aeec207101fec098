"""Charts of key figures: cohort heat map, retention curves, value waterfall, predicted against realised, bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from markupsafe import Markup

from propensity.report.chart import (
    WIDTH,
    ModelStyle,
    axes,
    legend_swatch,
    marker,
    path,
    plot_area,
    svg,
    text_at,
    value_range,
)
from propensity.report.number import decimal, percent, short

INK, GREY, BLUE, ORANGE, GREEN = "#1c2430", "#8a8f98", "#0072B2", "#D55E00", "#009E73"
LINES = (
    ModelStyle(BLUE, "", "circle"),
    ModelStyle(ORANGE, "6 3", "square"),
    ModelStyle(GREEN, "2 3", "triangle"),
    ModelStyle("#CC79A7", "8 3 2 3", "diamond"),
)
ALL = ModelStyle(INK, "", "circle", 3.0)
MOST_COHORTS, MOST_AGES = 24, 24  # rows and columns of the heat map
WIDE = 30.0  # ratio of the largest to the smallest amount from which both axes are logarithmic
STEP_NAMES = {"before": "earlier window", "after": "last window"}


def period_name(day: Any, period: str) -> str:
    """A period by its first day.

    >>> from datetime import date
    >>> period_name(date(2017, 4, 1), "month"), period_name(date(2017, 4, 1), "quarter")
    ('2017-04', '2017 Q2')
    """
    if period == "quarter":
        return f"{day.year} Q{(day.month + 2) // 3}"
    return str(day)[: {"year": 4, "month": 7}.get(period, 10)]


def heat_map(retention: pl.DataFrame, period: str) -> Markup:
    """Share of each cohort that bought at each age, the last `MOST_COHORTS` cohorts; ages whose period is not complete
    are outlined."""
    cohorts = retention["cohort"].unique().sort().to_list()[-MOST_COHORTS:]
    shown = retention.filter(pl.col("cohort").is_in(cohorts) & (pl.col("age") < MOST_AGES))
    columns = int(shown["age"].max()) + 1  # type: ignore[arg-type]
    left, top, cell = 96, 30, 19
    width = (WIDTH - left - 8) / max(columns, 6)
    later = shown.filter(pl.col("age") > 0)["share"]
    highest = max(float(later.max() or 0.0), 1e-9)  # type: ignore[arg-type]
    parts = [text_at(left + (age + 0.5) * width, top - 6, str(age), "middle") for age in range(columns)]
    parts.append(text_at(left - 8, top - 6, f"{period}s", "end"))
    tag = Markup(
        '<rect x="{}" y="{}" width="{}" height="{}" fill="{}" fill-opacity="{}" stroke="{}"><title>{}</title></rect>'
    )
    for row in shown.to_dicts():
        line = cohorts.index(row["cohort"])
        share = row["share"] if row["age"] else 1.0
        shade = 0.85 if row["age"] == 0 else 0.85 * share / highest
        title = (
            f"{period_name(row['cohort'], period)}, age {row['age']}: {row['active']:,} of {row['customers']:,} "
            f"customers{'' if row['complete'] else ', period not complete'}"
        )
        x, y = round(left + row["age"] * width, 1), top + line * cell
        fill = GREY if row["age"] == 0 else BLUE
        edge = "#ffffff" if row["complete"] else GREY
        parts.append(tag.format(x, y, round(width - 1, 1), cell - 1, fill, round(shade, 3), edge, title))
        if width >= 26 and row["age"]:
            text = text_at(x + width / 2, y + 13, f"{100 * share:.0f}", "middle", "heat")
            parts.append(Markup('<g fill="#fff" class="light">{}</g>').format(text) if shade > 0.5 else text)
    for line, cohort in enumerate(cohorts):
        parts.append(text_at(left - 8, top + line * cell + 13, period_name(cohort, period), "end"))
    return svg("share of each cohort that bought, by age", top + len(cohorts) * cell + 6, *parts)


def retention_curves(retention: pl.DataFrame, curve: pl.DataFrame, period: str) -> Markup:
    """Retention of all cohorts, and of up to four cohorts spread over the log; complete periods only."""
    complete = retention.filter(pl.col("complete") & (pl.col("age") > 0))
    sizes = complete.group_by("cohort").len().filter(pl.col("len") >= 2)["cohort"].sort().to_list()
    spread = [sizes[k * (len(sizes) - 1) // 3] for k in range(4)] if len(sizes) >= 4 else sizes
    lines: list[tuple[str, ModelStyle, list[tuple[float, float]]]] = [
        ("all cohorts", ALL, _points(curve.filter(pl.col("age") > 0)))
    ]
    for style, cohort in zip(LINES, dict.fromkeys(spread), strict=False):
        lines.append((period_name(cohort, period), style, _points(complete.filter(pl.col("cohort") == cohort))))
    values = [point for _, _, points in lines for point in points]
    if not values:
        return Markup("")
    most = max(max(share for _, share in values) * 1.08, 0.01)
    area = plot_area((0.5, max(age for age, _ in values) + 0.5), (0.0, most), 300)
    drawn = [axes(area, (f"{period}s since the first purchase", "customers who bought"), (short, _percent))]
    for name, style, points in reversed(lines):
        drawn.append(path(area, points, style, name))
        drawn += [marker(*area.at(p), style, f"{name}, age {p[0]}: {percent(p[1])}", 3.0) for p in points]
    items = [
        Markup("<li>{}<span>{}</span></li>").format(legend_swatch(style), name)
        for name, style, points in lines
        if points
    ]
    legend = Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))
    return svg("retention by age", area.height, *drawn) + legend


def _points(table: pl.DataFrame) -> list[tuple[float, float]]:
    known = table.drop_nulls("share").sort("age")
    return [(float(age), float(share)) for age, share in known.select("age", "share").iter_rows()]


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def waterfall_chart(table: pl.DataFrame, currency: str) -> Markup:
    """Net revenue of the earlier window, the change by each movement, and net revenue of the last window."""
    steps = table.to_dicts()
    total, bars = 0.0, []
    for step in steps:
        start = 0.0 if step["step"] in STEP_NAMES else total
        total = step["amount"] if step["step"] in STEP_NAMES else total + step["amount"]
        bars.append((step, start, total))
    low, high = value_range([0.0, *(value for _, *ends in bars for value in ends)], room=0.08)
    area = plot_area((0.0, len(bars)), (min(low, 0.0), high), 320)
    title = f"net revenue ({currency})" if currency else "net revenue"
    parts = [_rows(area, title)]
    tag = Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="{}"><title>{}</title></rect>')
    for k, (step, start, end) in enumerate(bars):
        x, wide = area.x.at(k + 0.12), area.x.at(k + 0.88) - area.x.at(k + 0.12)
        y, height = area.y.at(max(start, end)), abs(area.y.at(start) - area.y.at(end))
        whole = step["step"] in STEP_NAMES
        colour = INK if whole else GREEN if step["amount"] > 0 else ORANGE
        name = STEP_NAMES.get(step["step"], step["step"])
        note = f"{name}: {decimal(step['amount'], 2, signed=not whole)}, {step['customers']:,} customers"
        parts.append(tag.format(x, y, round(wide, 1), max(round(height, 1), 1.0), colour, note))
        parts.append(text_at(x + wide / 2, y - 5, _signed(step["amount"], whole), "middle"))
        for line, word in enumerate(name.split(" ")):
            parts.append(text_at(x + wide / 2, area.y.start + 18 + 14 * line, word, "middle"))
    return svg("net revenue of two windows and what changed between them", area.height, *parts)


def _rows(area: Any, title: str) -> Markup:
    """Horizontal grid lines with their numbers, and the title of the axis."""
    tag = Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>')
    parts = [tag.format(area.x.start, area.y.at(t), area.x.end, area.y.at(t)) for t in area.y.ticks()]
    parts += [text_at(area.x.start - 7, area.y.at(t) + 4, short(t), "end") for t in area.y.ticks()]
    turned = Markup('<text class="name" text-anchor="middle" transform="translate(14 {}) rotate(-90)">{}</text>')
    parts.append(turned.format(round((area.y.start + area.y.end) / 2, 1), title))
    return Markup("").join(parts)


def _signed(value: float, whole: bool) -> str:
    text = short(value)
    return text if whole or value <= 0 else f"+{text}"


def scatter(rows: Sequence[dict[str, Any]], grouping: str, currency: str) -> Markup:
    """Expected against realised revenue of groups, with the diagonal on which they are equal."""
    points = [
        (row["name"], row["expected_revenue"], row["realised_revenue"]) for row in rows if row["grouping"] == grouping
    ]
    values = [value for _, *pair in points for value in pair]
    wide = min(values) > 0 and max(values) / min(values) > WIDE
    low, high = value_range(values, log=True) if wide else (0.0, value_range([0.0, *values])[1])
    unit = f" ({currency})" if currency else ""
    area = plot_area((low, high), (low, high), 340, log=(wide, wide))
    parts = [axes(area, (f"expected revenue{unit}", f"realised revenue{unit}"), (short, short))]
    parts.append(path(area, [(low, low), (high, high)], ModelStyle(GREY, "4 3", "circle", 1.5), "expected = realised"))
    for name, expected, realised in points:
        x, y = area.at((expected, realised))
        note = f"{grouping} {name}: expected {decimal(expected, 2)}, realised {decimal(realised, 2)}"
        parts += [marker(x, y, LINES[0], note, 4.5), text_at(x + 7, y + 4, str(name))]
    return svg(f"expected against realised revenue by {grouping}", area.height, *parts)


def bars(values: Sequence[tuple[str, float, str]], titles: tuple[str, str], most: int = 30) -> Markup:
    """Vertical bars of shares: label, share and a note each; what is beyond the first `most` is summed in the last."""
    shown = list(values[:most])
    if rest := values[most:]:
        shown[-1] = (f"{shown[-1][0]}+", shown[-1][1] + sum(share for _, share, _ in rest), "and above")
    area = plot_area((0.0, len(shown)), (0.0, max(share for _, share, _ in shown) * 1.08 or 1.0), 260)
    tag = Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="{}"><title>{}</title></rect>')
    line = Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>')
    parts = []
    for tick in area.y.ticks():
        parts.append(line.format(area.x.start, area.y.at(tick), area.x.end, area.y.at(tick)))
        parts.append(text_at(area.x.start - 7, area.y.at(tick) + 4, _percent(tick), "end"))
    every = -(-len(shown) // 10)
    for k, (label, share, note) in enumerate(shown):
        x, wide = area.x.at(k + 0.08), area.x.at(k + 0.92) - area.x.at(k + 0.08)
        y = area.y.at(share)
        title = f"{label}: {percent(share)} {note}".strip()
        parts.append(tag.format(x, y, round(wide, 1), round(area.y.start - y, 1), BLUE, title))
        if k % every == 0:
            parts.append(text_at(x + wide / 2, area.y.start + 18, label, "middle"))
    parts.append(text_at((area.x.start + area.x.end) / 2, area.height - 7, titles[0], "middle", "name"))
    return svg(f"customers by {titles[0]}", area.height, *parts)
