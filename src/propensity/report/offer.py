"""The offers one by one: where the network's ranking has the highest and lowest lift, and expected against observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from propensity.report.figure import expected_and_realised
from propensity.report.html_table import HtmlTable, TableCell
from propensity.report.number import optional

FEW, MANY = 8, 300  # offers in the short tables; in the long one
SUMS = ("buyers", "revenue", "expected_buyers", "expected_revenue")
MEANS = ("lift", "revenue_capture", "auc")


def offers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The evaluated offers with the highest and lowest lift, the scatter plot, and all offers by revenue."""
    rows = over_cutoffs(list(metrics["offers"].values()))
    evaluated = sorted((row for row in rows if row["evaluated"]), key=lambda row: -row["lift"])
    few = min(FEW, len(evaluated) // 2)
    biggest = sorted(rows, key=lambda row: -row["revenue"])
    title = metrics["metrics"]["lift"]["title"]
    return {
        "highest": _table(evaluated[:few], title),
        "lowest": _table(evaluated[len(evaluated) - few :][::-1], title),
        "all": _table(biggest[:MANY], title),
        "hidden": max(len(rows) - MANY, 0),
        "evaluated": len(evaluated),
        "count": len(rows),
        "figure": expected_and_realised(rows) if any((row["expected_revenue"] or 0) > 0 for row in rows) else "",
    }


def over_cutoffs(tables: Sequence[Sequence[Mapping[str, Any]]], buyers: int = 10) -> list[dict[str, Any]]:
    """One row per offer: sums of purchases and revenue over the cutoffs, plain means of the ranking metrics.

    Means are over the cutoffs with at least `buyers`; an offer is evaluated if there is one.
    """
    by_offer: dict[str, list[Mapping[str, Any]]] = {}
    for row in (row for table in tables for row in table):
        by_offer.setdefault(row["offer"], []).append(row)
    result = []
    for offer, rows in by_offer.items():
        sums = {key: _sum([row[key] for row in rows]) for key in SUMS}
        means = {key: _mean([row[key] for row in rows if row["buyers"] >= buyers]) for key in MEANS}
        result.append({"offer": offer, "evaluated": means["lift"] is not None} | sums | means)
    return result


def _table(rows: Sequence[Mapping[str, Any]], title: str) -> HtmlTable:
    head = ["Offer", title, "AUC", "Buyers", "Buyers expected", "Revenue", "Revenue expected"]
    digits = {"lift": 2, "auc": 3, "buyers": 0, "expected_buyers": 0, "revenue": 0, "expected_revenue": 0}
    numbers = [[TableCell(optional(row[key], n)) for key, n in digits.items()] for row in rows]
    cells = [[TableCell(_breakable(row["offer"])), *line] for row, line in zip(rows, numbers, strict=True)]
    return HtmlTable(head, cells, [])


def _breakable(name: str) -> Markup:
    """An offer's name, escaped, that a narrow column may break after a slash."""
    return escape(name).replace("/", Markup("/<wbr>"))


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
