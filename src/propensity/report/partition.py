"""The partition of all pairs of customer and offer into cells: what each holds and how it is ranked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from propensity.champion.model_name import name_of
from propensity.metric.headline import served_model
from propensity.metric.slice import CELLS, ITEMS
from propensity.report.html_table import Footnotes, HtmlTable, TableCell, difference_cell, missing_cell, value_cell
from propensity.report.number import MetricFormat, currency_of, decimal, in_currency, percent
from propensity.report.verdict import baseline_of

Metrics = Mapping[str, Any]
SUMS = {"pairs": "Pairs", "positives": "Purchases", "revenue": "Revenue"}


def partition(metrics: Metrics, shown: Mapping[str, MetricFormat]) -> dict[str, Any] | None:
    """A row for every cell that holds a pair, and one for all pairs; None where the slices hold no partition."""
    if CELLS[0] not in metrics["models"][served_model(metrics)]["mean"]:
        return None
    notes, sums = Footnotes(), {name: totals(metrics, name) for name in ("all", *CELLS)}
    filled = [name for name in CELLS if sums[name]["pairs"]]
    rows = [_row(metrics, shown, name, sums, notes) for name in (*filled, "all")]
    title, baseline = shown["revenue_lift"].title, baseline_of(metrics)
    columns = {
        "Customer / history / offer": "",
        **{in_currency(title, currency_of(metrics) if key == "revenue" else ""): "" for key, title in SUMS.items()},
        "Evaluated": "share of the purchases that belong to offers with enough buyers to be evaluated",
        "Coverage": "share of the pairs with a score",
        title: "",
    }
    if baseline:
        columns[f"{title}: minus {name_of(baseline)}"] = ""
    table = HtmlTable(list(columns), rows, notes.reasons, list(columns.values()))
    return {"table": table, "cells": len(CELLS), "empty": len(CELLS) - len(filled)}


def totals(metrics: Metrics, name: str) -> dict[str, float]:
    """Pairs, purchases and revenue of a slice, summed over the cutoffs."""
    counts = [count["slices"][name] for count in metrics["counts"].values()]
    return {key: sum(each[key] for each in counts) for key in SUMS}


def _row(
    metrics: Metrics,
    shown: Mapping[str, MetricFormat],
    name: str,
    sums: Mapping[str, Mapping[str, float]],
    notes: Footnotes,
) -> list[TableCell]:
    lift, whole = shown["revenue_lift"], sums["all"]
    row = [TableCell("all pairs" if name == "all" else name.removesuffix(f" / {ITEMS[1]}"))]
    for key in SUMS:
        share = percent(sums[name][key] / whole[key]) if whole[key] and name != "all" else ""
        row.append(TableCell(decimal(sums[name][key], 0), share))
    row += [_share(metrics, name, "evaluated", notes), _share(metrics, name, "coverage", notes)]
    row.append(value_cell(metrics["models"][served_model(metrics)]["mean"][name]["revenue_lift"], lift, notes))
    if baseline := baseline_of(metrics):
        row.append(difference_cell(metrics["differences"][baseline]["mean"][name]["revenue_lift"], lift, notes))
    return row


def _share(metrics: Metrics, name: str, key: str, notes: Footnotes) -> TableCell:
    """Plain mean over cutoffs: the share of purchases of evaluated offers, or of pairs that the served model scored."""
    shares = [count["slices"][name][key] for count in metrics["counts"].values()]
    own = (each.get(served_model(metrics)) if isinstance(each, Mapping) else each for each in shares)
    known = [float(each) for each in own if each is not None]
    if not known:
        return missing_cell(
            "nobody bought anything in this cell" if key == "evaluated" else "the cell has no pair", notes
        )
    return TableCell(percent(sum(known) / len(known), 0))
