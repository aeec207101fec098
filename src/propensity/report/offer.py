"""The offers one by one: where the ranking has the highest and lowest lift, and expected against observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from propensity.metric.headline import served_model
from propensity.report.expected_over_observed import RATIO
from propensity.report.figure import expected_and_realised
from propensity.report.html_table import Footnotes, HtmlTable, TableCell, value_cell
from propensity.report.number import Cell, currency_of, in_currency, optional

FEW, MANY = 8, 300  # offers in the short tables; in the long one
SUMS = ("buyers", "revenue", "expected_buyers", "expected_revenue")
MEANS = ("lift", "revenue_capture", "auc")


def offers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The evaluated offers with the highest and lowest lift, the scatter plot, and all offers by revenue."""
    rows = over_cutoffs(list(metrics["offers"].values()))
    evaluated = sorted((row for row in rows if row["evaluated"]), key=lambda row: -row["lift"])
    few = min(FEW, len(evaluated) // 2)
    biggest = sorted(rows, key=lambda row: -row["revenue"])
    title, currency = metrics["metrics"]["lift"]["title"], currency_of(metrics)
    measured = metrics.get("expected_over_observed", {}).get(served_model(metrics), {})
    ratios = {name: cells.get("offers", {}) for name, cells in measured.items()}
    return {
        "highest": _table(evaluated[:few], title, currency),
        "lowest": _table(evaluated[len(evaluated) - few :][::-1], title, currency),
        "all": _table(biggest[:MANY], title, currency, ratios),
        "hidden": max(len(rows) - MANY, 0),
        "evaluated": len(evaluated),
        "count": len(rows),
        "figure": expected_and_realised(rows, currency)
        if any((row["expected_revenue"] or 0) > 0 for row in rows)
        else "",
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


def _table(
    rows: Sequence[Mapping[str, Any]],
    title: str,
    currency: str,
    ratios: Mapping[str, Mapping[str, Cell]] | None = None,
) -> HtmlTable:
    """A row for each offer; with `ratios`, expected over observed purchases and revenue with their intervals."""
    money = [in_currency(name, currency) for name in ("Revenue", "Revenue expected")]
    head = ["Offer", title, "AUC", "Buyers", "Buyers expected", *money]
    digits = {"lift": 2, "auc": 3, "buyers": 0, "expected_buyers": 0, "revenue": 0, "expected_revenue": 0}
    numbers = [[TableCell(optional(row[key], n)) for key, n in digits.items()] for row in rows]
    cells = [[TableCell(_breakable(row["offer"])), *line] for row, line in zip(rows, numbers, strict=True)]
    notes = Footnotes()
    for quantity, by_offer in (ratios or {}).items():
        if all(row["offer"] in by_offer for row in rows):
            head.append(f"Expected / observed {quantity}")
            for row, line in zip(rows, cells, strict=True):
                line.append(value_cell(by_offer[row["offer"]], RATIO, notes))
    return HtmlTable(head, cells, notes.reasons)


def _breakable(name: str) -> Markup:
    """An offer's name, escaped, that a narrow column may break after a slash."""
    return escape(name).replace("/", Markup("/<wbr>"))


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
