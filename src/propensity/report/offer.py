"""The offers one by one: where the network's list pays most and least, and what it promised against what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from propensity.report.figure import expected_and_realised
from propensity.report.grid import HtmlTable, Item
from propensity.report.number import optional

FEW, MANY = 8, 300  # offers in the short tables; in the long one
SUMS = ("buyers", "revenue", "expected_buyers", "expected_revenue")
MEANS = ("lift", "revenue_capture", "auc")


def offers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The best and worst judged offers by lift, the scatter, and all offers by revenue."""
    rows = over_dates(list(metrics["offers"].values()))
    judged = sorted((row for row in rows if row["judged"]), key=lambda row: -row["lift"])
    few = min(FEW, len(judged) // 2)
    biggest = sorted(rows, key=lambda row: -row["revenue"])
    return {
        "best": _table(judged[:few]),
        "worst": _table(judged[len(judged) - few :][::-1]),
        "all": _table(biggest[:MANY]),
        "hidden": max(len(rows) - MANY, 0),
        "judged": len(judged),
        "count": len(rows),
        "figure": expected_and_realised(rows) if any((row["expected_revenue"] or 0) > 0 for row in rows) else "",
    }


def over_dates(tables: Sequence[Sequence[Mapping[str, Any]]], buyers: int = 10) -> list[dict[str, Any]]:
    """One row per offer: sums of purchases and revenue over the dates; plain means of how it was ranked.

    A mean takes the dates with at least `buyers` only, and an offer is judged if there is one: below, luck ranks it.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in (row for table in tables for row in table):
        found.setdefault(row["offer"], []).append(row)
    made = []
    for offer, rows in found.items():
        sums = {key: _sum([row[key] for row in rows]) for key in SUMS}
        means = {key: _mean([row[key] for row in rows if row["buyers"] >= buyers]) for key in MEANS}
        made.append({"offer": offer, "judged": means["lift"] is not None} | sums | means)
    return made


def _table(rows: Sequence[Mapping[str, Any]]) -> HtmlTable:
    head = ["Offer", "Lift", "AUC", "Buyers", "forecast", "Revenue", "forecast"]
    digits = {"lift": 2, "auc": 3, "buyers": 0, "expected_buyers": 0, "revenue": 0, "expected_revenue": 0}
    figures = [[Item(optional(row[key], n)) for key, n in digits.items()] for row in rows]
    made = [[Item(_breakable(row["offer"])), *line] for row, line in zip(rows, figures, strict=True)]
    return HtmlTable(head, made, [])


def _breakable(name: str) -> Markup:
    """An offer's name, escaped, that a narrow column may break after a slash."""
    return escape(name).replace("/", Markup("/<wbr>"))


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
