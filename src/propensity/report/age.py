"""How fast a network grows old: lift by weeks since training, and what that says about training again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from propensity.report.chart import Look, axes, drawing, frame, mark, path, stretch
from propensity.report.figure import LOOKS, ZERO
from propensity.report.grid import HtmlTable, Item, Notes, changed, measured
from propensity.report.number import Cell, MetricFormat, decimal, short


def decay(metrics: Mapping[str, Any], shown: Mapping[str, MetricFormat]) -> dict[str, Any] | None:
    """The curve, its table, the advice and where it was measured; None where no curve is stored."""
    curve = metrics.get("decay")
    if not curve:
        return None
    notes, rows = Notes(), []
    for point in curve["points"]:
        row = [Item(str(point["weeks"])), measured(point["revenue_lift"], shown["revenue_lift"], notes)]
        for key, metric in (("lost", shown["revenue_lift"]), ("lost_auc", shown["auc"])):
            row.append(changed(_gained(point[key]), metric, notes) if key in point else Item("fresh"))
        rows.append(row)
    head = ["Weeks since training", "Times random", "Against the fresh one", "AUC against it"]
    elsewhere = curve["about"]["data"] != metrics["run"].get("data")
    return {
        "figure": _figure([point for point in curve["points"] if "lost" in point]),
        "table": HtmlTable(head, rows, notes.reasons),
        "advice": curve["sentence"],
        "dates": curve["dates"],
        "about": curve["about"],
        "elsewhere": elsewhere,
    }


def _gained(lost: Cell) -> dict[str, Any]:
    """What the fresh network leads by, as what the older one is behind by."""
    word = {"win": "loss", "loss": "win"}.get(lost.get("verdict") or "", lost.get("verdict"))
    low, high = lost.get("low"), lost.get("high")
    turned = {"low": None if high is None else -high, "high": None if low is None else -low, "verdict": word}
    return {**lost, **turned, "value": None if lost["value"] is None else -lost["value"]}


def _figure(points: list[Mapping[str, Any]]) -> Markup:
    """Difference in revenue lift to the fresh network by age, with its interval; the line at zero is the fresh one."""
    cells = [(point["weeks"], _gained(point["lost"])) for point in points]
    known = [(weeks, cell) for weeks, cell in cells if cell["value"] is not None]
    if not known:
        return Markup("")
    bounds = [cell[key] for _, cell in known for key in ("value", "low", "high") if cell[key] is not None]
    last = float(known[-1][0])
    box = frame((0.0, last + 0.5), stretch([*bounds, 0.0]), 320)
    parts = [axes(box, ("weeks since training", "revenue lift, times random"), (short, _signed))]
    parts.append(path(box, [(0.0, 0.0), (last + 0.5, 0.0)], ZERO, "the fresh network"))
    look = LOOKS["network"]
    parts.append(path(box, [(0.0, 0.0), *((float(w), cell["value"]) for w, cell in known)], look, "older networks"))
    thin = Look(look.colour, "", "circle", 2.0)
    for weeks, cell in known:
        if cell["low"] is not None:
            parts.append(path(box, [(float(weeks), cell["low"]), (float(weeks), cell["high"])], thin))
        parts.append(mark(*box.at((float(weeks), cell["value"])), look, f"{weeks} weeks: {_signed(cell['value'])}"))
    return drawing("Revenue lift against the fresh network, by weeks since training", box.height, *parts)


def _signed(value: float) -> str:
    return decimal(value, 2, signed=True)
