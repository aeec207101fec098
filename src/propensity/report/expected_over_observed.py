"""Expected over observed purchases and revenue: by model, by decile with a figure, by slice and by cutoff."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from propensity.champion.model_name import name_of
from propensity.metric.expected_over_observed import TOP
from propensity.metric.headline import served_model
from propensity.metric.slice import ANY, MARGINS, NO_PURCHASE
from propensity.report.figure import ratios_by_decile
from propensity.report.html_table import Footnotes, HtmlTable, TableCell, value_cell
from propensity.report.number import DASH, Cell, MetricFormat, currency_of, decimal, in_currency, optional, percent
from propensity.report.verdict import baselines_of

Metrics = Mapping[str, Any]
RATIO = MetricFormat("ratio", "Expected / observed", "", "closest to 1", 2)
TOP_PAIRS = f"top {percent(TOP, 0)} of pairs"


def expected_over_observed(metrics: Metrics) -> dict[str, Any] | None:
    """The ratios of every model, and those of the served model by decile; None where they were not measured."""
    totals = metrics.get("expected_over_observed")
    if not totals:
        return None
    ours = totals[served_model(metrics)]
    drawn = next((name for name in ("revenue", "purchases") if ours[name]["value"] is not None), None)
    return {
        "models": _models(metrics),
        "deciles": _deciles(ours, currency_of(metrics)),
        "figure": ratios_by_decile(ours[drawn]["deciles"], drawn) if drawn else Markup(""),
        "drawn": drawn,
    }


def ratio_lines(metrics: Metrics) -> list[tuple[str, str, str]]:
    """Purchases, revenue, and revenue of the top pairs of the served model: over all cutoffs, and by cutoff, as text.

    A line is what was measured, the ratio with its interval, and the ratios at the cutoffs. Empty where not measured.
    """
    totals = metrics.get("expected_over_observed")
    if not totals:
        return []
    ours = totals[served_model(metrics)]
    lines = []
    for title, cell in (
        ("purchases", ours["purchases"]),
        ("revenue", ours["revenue"]),
        (f"revenue, {TOP_PAIRS}", ours["revenue"]["top"]),
    ):
        cutoffs = (f"{day}: {written(each)}" for day, each in cell.get("cutoffs", {}).items())
        lines.append((title, written(cell), "; ".join(cutoffs)))
    return lines


def written(cell: Cell) -> str:
    """A ratio with its interval; a dash and the reason where it is undefined."""
    if cell["value"] is None:
        return f"{DASH} ({cell['reason']})"
    return f"{RATIO.value(cell)} {RATIO.interval(cell)}".strip()


def expected_and_observed(metrics: Metrics) -> dict[str, HtmlTable]:
    """Expected and observed buyers and revenue of the served model, by margin of the partition and by cutoff."""
    served = served_model(metrics)
    table, totals = metrics["calibration"][served], metrics.get("expected_over_observed", {}).get(served, {})
    slices = {name: table.get("slices", {}).get(name) for name in (*MARGINS, NO_PURCHASE)}
    currency = currency_of(metrics)
    return {
        "slices": _expected("Slice", slices, _cells(totals, "slices"), currency),
        "dates": _expected("Cutoff", table.get("dates", {}), _cells(totals, "cutoffs"), currency),
    }


def short_name(name: str) -> str:
    """A margin of the partition without the axes that it sums over.

    >>> short_name("any / lapsed / any")
    'lapsed'
    """
    return " / ".join(word for word in name.split(" / ") if word != ANY)


def _cells(totals: Metrics, kind: str) -> dict[str, Mapping[str, Cell]]:
    """The measured ratios of a kind of group by quantity; empty in metrics.json of an older version."""
    return {quantity: each.get(kind, {}) for quantity, each in totals.items()}


def _models(metrics: Metrics) -> HtmlTable:
    notes, rows = Footnotes(), []
    for name in (served_model(metrics), *baselines_of(metrics)):
        each = metrics["expected_over_observed"][name]
        cells = (each["purchases"], each["revenue"], each["revenue"]["top"])
        rows.append([TableCell(name_of(name)), *(value_cell(cell, RATIO, notes) for cell in cells)])
    return HtmlTable(["Model", "Purchases", "Revenue", f"Revenue, {TOP_PAIRS}"], rows, notes.reasons)


def _deciles(ours: Mapping[str, Mapping[str, Any]], currency: str) -> HtmlTable:
    """Sums and ratios of each decile, and of the top pairs."""
    notes, rows = Footnotes(), []
    names = [f"{decile + 1}{' (lowest)' * (decile == 0)}{' (highest)' * (decile == 9)}" for decile in range(10)]
    for place, name in enumerate([*names, TOP_PAIRS]):
        row = [TableCell(name)]
        for quantity in ("purchases", "revenue"):
            groups = [*ours[quantity]["deciles"], ours[quantity]["top"]]
            if len(groups) == 1:  # undefined: the top stands for every decile
                groups *= len(names) + 1
            cell = groups[place]
            row += [TableCell(optional(cell[key], 0)) for key in ("expected", "observed")]
            row.append(value_cell(cell, RATIO, notes))
        rows.append(row)
    head = ["Decile of pairs", *_heads("Purchases", ""), *_heads("Revenue", currency)]
    return HtmlTable(head, rows, notes.reasons)


def _heads(title: str, currency: str) -> Sequence[str]:
    sums = (in_currency(f"{title} {which}", currency) for which in ("expected", "observed"))
    return *sums, f"{title} ratio"


def _expected(
    title: str,
    parts: Mapping[str, Mapping[str, Any] | None],
    cells: Mapping[str, Mapping[str, Cell]],
    currency: str,
) -> HtmlTable:
    rows = []
    for name, part in parts.items():
        if not part or not part["pairs"]:
            continue
        row = [TableCell(short_name(name)), TableCell(decimal(part["pairs"], 0))]
        for key, quantity in (("buyers", "purchases"), ("revenue", "revenue")):
            row += _sums(part[f"expected_{key}"], part[key], cells.get(quantity, {}).get(name))
        rows.append([*row, TableCell(decimal(part["ece"], 4))])
    return HtmlTable([title, "Pairs", *_heads("Buyers", ""), *_heads("Revenue", currency), "ECE"], rows, [])


def _sums(expected: float | None, observed: float, cell: Cell | None) -> list[TableCell]:
    """Two sums and their ratio, with its interval where it was measured."""
    ratio = DASH if expected is None or not observed else decimal(expected / observed, 2)
    interval = RATIO.interval(cell) if cell and cell["value"] is not None else ""
    return [TableCell(optional(expected, 0)), TableCell(decimal(observed, 0)), TableCell(ratio, interval)]
