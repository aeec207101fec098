"""What the model relies on, as a table of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from propensity.explain.section import KINDS, ordered
from propensity.report.html_table import HtmlTable, TableCell
from propensity.report.number import decimal, percent

TITLES = {"any": "Any offer", "best": "Best offer"}


def reliance_table(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The section of the page; None where no scores were explained.

    Parameters
    ----------
    metrics : mapping
        The content of metrics.json.
    """
    section = metrics.get("reliance")
    if not section:
        return None
    rows = [
        [TableCell(group["title"], group["meaning"]), *(contribution(group[kind]) for kind in KINDS)]
        for group in ordered(section)
    ]
    carried = {kind: percent(section["carried"][kind], 0) for kind in KINDS}
    return {"table": HtmlTable(["Group of columns", *TITLES.values()], rows, []), "carried": carried, **named(section)}


def named(section: Mapping[str, Any]) -> dict[str, Any]:
    """Cutoff, number of customers and of sentences."""
    return {name: section[name] for name in ("cutoff", "customers", "sentences")}


def contribution(cell: Mapping[str, float]) -> TableCell:
    """A mean with its interval."""
    return TableCell(decimal(cell["value"], 2), f"[{decimal(cell['low'], 2)}, {decimal(cell['high'], 2)}]")
