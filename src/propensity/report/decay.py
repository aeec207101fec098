"""Lift decay on the page: the loss of revenue lift by model age, and how often to retrain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from propensity.report.chart import ModelStyle, axes, marker, path, plot_area, svg, value_range
from propensity.report.figure import STYLES, ZERO
from propensity.report.html_table import Footnotes, HtmlTable, TableCell, difference_cell, value_cell
from propensity.report.number import Cell, MetricFormat, decimal, short


def decay(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat]) -> dict[str, Any] | None:
    """The curve, its table, the advice and where it was measured; None where no curve is stored."""
    curve = metrics.get("decay")
    if not curve:
        return None
    lift, auc = shown["revenue_lift"], shown["auc"]
    notes, rows = Footnotes(), []
    for point in curve["points"]:
        row = [TableCell(str(point["weeks"])), value_cell(point["revenue_lift"], lift, notes)]
        for key, metric in (("lost", lift), ("lost_auc", auc)):
            row.append(difference_cell(_gain(point[key]), metric, notes) if key in point else TableCell("reference"))
        rows.append(row)
    head = ["Weeks since training", lift.title, f"{lift.title}: difference", "AUC: difference"]
    return {
        "figure": _figure([point for point in curve["points"] if "lost" in point], lift.title),
        "table": HtmlTable(head, rows, notes.reasons),
        "advice": curve["sentence"],
        "dates": curve["dates"],
        "about": curve["about"],
    }


def _gain(lost: Cell) -> dict[str, Any]:
    """The loss against the newest model as a difference: older model minus newest model."""
    word = {"win": "loss", "loss": "win"}.get(lost.get("verdict") or "", lost.get("verdict"))
    low, high = lost.get("low"), lost.get("high")
    turned = {"low": None if high is None else -high, "high": None if low is None else -low, "verdict": word}
    return {**lost, **turned, "value": None if lost["value"] is None else -lost["value"]}


def _figure(points: list[Mapping[str, Any]], title: str) -> Markup:
    """Difference to the newest model by age, with its interval; the line at zero is the newest model."""
    cells = [(point["weeks"], _gain(point["lost"])) for point in points]
    known = [(weeks, cell) for weeks, cell in cells if cell["value"] is not None]
    if not known:
        return Markup("")
    bounds = [cell[key] for _, cell in known for key in ("value", "low", "high") if cell[key] is not None]
    last = float(known[-1][0])
    area = plot_area((0.0, last + 0.5), value_range([*bounds, 0.0]), 320)
    parts = [axes(area, ("weeks since training", f"{title}: difference"), (short, _signed))]
    parts.append(path(area, [(0.0, 0.0), (last + 0.5, 0.0)], ZERO, "newest model"))
    style = STYLES["network"]
    line = [(0.0, 0.0), *((float(weeks), cell["value"]) for weeks, cell in known)]
    parts.append(path(area, line, style, "older models"))
    thin = ModelStyle(style.colour, "", "circle", 2.0)
    for weeks, cell in known:
        if cell["low"] is not None:
            parts.append(path(area, [(float(weeks), cell["low"]), (float(weeks), cell["high"])], thin))
        text = f"{weeks} weeks: {_signed(cell['value'])}"
        parts.append(marker(*area.at((float(weeks), cell["value"])), style, text))
    return svg(f"{title} against the newest model, by weeks since training", area.height, *parts)


def _signed(value: float) -> str:
    return decimal(value, 2, signed=True)
