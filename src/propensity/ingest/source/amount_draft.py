"""Draft of the settings that say what the amounts of a table mean, and which of its lines are no sales."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from propensity.ingest.rule.number import MarkEvidence, clean_text, mark_evidence, read_number
from propensity.ingest.source.column_name import CANCELLED, PRICE, UNIT_PRICE, normalised_name
from propensity.ingest.source.mapping_draft import MIN_READABLE
from propensity.ingest.source.unit_price import unit_votes

MIN_PRODUCTS = 5  # rows with several units from which a unit price is recognised
MOST_STATES = 20  # distinct words of a column that holds the state of orders


def line_total(rows: pl.DataFrame, mapping: dict[str, str]) -> str | None:
    """Find the column that is the product of quantity and revenue, so that revenue is the price of one unit.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the table.
    mapping : dict of str to str
        Mapping of `draft_mapping`.

    Returns
    -------
    str or None
        Name of the column, None without one.
    """
    if not {"quantity", "revenue"} <= mapping.keys():
        return None
    for name in rows.columns:
        if name in (mapping["quantity"], mapping["revenue"]) or rows.schema[name].is_temporal():
            continue
        columns = {"units": mapping["quantity"], "price": mapping["revenue"], "total": name}
        numbers = rows.select(_number(rows, column).alias(key) for key, column in columns.items())
        numbers = numbers.drop_nulls().filter((pl.col("units") != 1) & (pl.col("price") != 0))
        equal = ((pl.col("units") * pl.col("price") - pl.col("total")).abs() <= 0.01).mean()
        if numbers.height >= MIN_PRODUCTS and numbers.select(equal).item() >= MIN_READABLE:
            return name
    return None


def _number(rows: pl.DataFrame, column: str) -> pl.Expr:
    """A column read as numbers with the decimal mark that its values show."""
    counts = rows.select(mark_evidence(pl.col(column).cast(pl.String))).item()
    return read_number(pl.col(column).cast(pl.String), MarkEvidence(**counts).mark() or ".")


def decisions(rows: pl.DataFrame, mapping: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Decide what the values of a table show: cancelled orders, prices of one unit, and whether a mark is needed.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the table.
    mapping : dict of str to str
        Mapping of `draft_mapping`.

    Returns
    -------
    settings : dict
        Settings of `data.source`.
    advice : list of str
        What was decided and why, and what cannot be told.
    """
    settings: dict[str, Any] = {}
    lines = []
    if "order" in mapping and rows.schema[mapping["order"]] == pl.String:
        prefix = rows[mapping["order"]].str.extract(r"^([A-Za-z]+)\d+$")
        for letters in prefix.drop_nulls().unique().sort().to_list()[:3]:
            if (prefix == letters).sum() > 0.5 * len(prefix):  # ordinary orders
                continue
            lines.append(
                f"orders such as {letters}...: if they are cancellations, add \"data.source.cancelled='^{letters}'\""
            )
            if "quantity" in mapping and _only_negative(rows, mapping["quantity"], prefix == letters):
                settings["cancelled"] = f"^{letters}"
                lines[-1] += "; drafted so, because all their quantities are negative, and no others are"
    if not {"quantity", "revenue"} <= mapping.keys():
        return settings, lines
    revenue, quantity = mapping["revenue"], mapping["quantity"]
    unit, total = _unit_votes(rows, mapping)
    if name := line_total(rows, mapping):
        settings["revenue_is"] = "unit"
        lines.append(f"{name} is {quantity} x {revenue}: add data.source.revenue_is=unit, or map revenue to {name}")
    elif product := divided_total(rows, mapping):
        settings["revenue_is"] = "net"
        lines.append(f"{revenue} is {quantity} x {product}: it is the line's total, data.source.revenue_is=net")
    elif re.search(UNIT_PRICE, normalised_name(revenue)):
        settings["revenue_is"] = "unit"
        lines.append(f"{revenue} may be the price of one unit: if so, add data.source.revenue_is=unit; drafted so")
    elif unit >= MIN_PRODUCTS and unit >= 9 * total:
        settings["revenue_is"] = "unit"
        lines.append(f"{revenue} does not grow with {quantity} for {unit} items: it is the price of one unit")
    elif total >= MIN_PRODUCTS and total >= 9 * unit:
        settings["revenue_is"] = "net"
        lines.append(f"{revenue} grows with {quantity} for {total} items: it is the line's total")
    elif re.search(PRICE, normalised_name(revenue)) and not _number_is(rows, quantity, 1.0):
        lines.append(
            f"{revenue}: it cannot be told whether it is the line's total or the price of one unit; "
            "set data.source.revenue_is=net or unit"
        )
    return settings, lines


def cancelled_rows(rows: pl.DataFrame, mapping: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Find a column whose words say that an order was cancelled.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the events.
    mapping : mapping of str to str
        Mapping of `draft_mapping`.

    Returns
    -------
    settings : dict
        `leave_out` with the words that mean cancelled, empty without such a column.
    advice : list of str
        The words that are left out, and the others of the column.
    """
    settings: dict[str, Any] = {}
    lines = []
    for name in rows.columns:
        if name in mapping.values() or rows.schema[name] != pl.String:
            continue
        words = sorted(rows.select(clean_text(pl.col(name)).alias("word"))["word"].drop_nulls().unique().to_list())
        cancelled = [word for word in words if normalised_name(word) in CANCELLED]
        if cancelled and len(words) <= MOST_STATES:
            settings.setdefault("leave_out", {})[name] = cancelled
            others = ", ".join(word for word in words if word not in cancelled) or "nothing else"
            lines.append(
                f"{name}: rows with {', '.join(cancelled)} are left out as cancelled; it also holds {others}: "
                "add those that are no sales to leave_out"
            )
    return settings, lines


def _only_negative(rows: pl.DataFrame, quantity: str, cancelled: pl.Series) -> bool:
    """Whether the quantities of some rows, and of no others, are negative."""
    negative = rows.select(_number(rows, quantity) < 0).to_series()
    return bool(cancelled.any()) and bool((negative == cancelled).fill_null(False).all())


def _number_is(rows: pl.DataFrame, column: str, value: float) -> bool:
    """Whether a column holds one number only."""
    return bool(rows.select((_number(rows, column) == value).fill_null(True).all()).item())


def _unit_votes(rows: pl.DataFrame, mapping: dict[str, str]) -> tuple[int, int]:
    """Items whose amounts are prices of one unit, and items whose amounts are totals; 0 and 0 without items."""
    if "item" not in mapping:
        return 0, 0
    units, amount = _number(rows, mapping["quantity"]), _number(rows, mapping["revenue"])
    lines = rows.lazy().select(pl.col(mapping["item"]).alias("item"), units.alias("units"), amount.alias("amount"))
    unit, total = unit_votes(lines).collect().row(0)
    return unit, total


def divided_total(rows: pl.DataFrame, mapping: dict[str, str]) -> str | None:
    """Find the column of prices of one unit whose product with the quantity is the revenue.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the table.
    mapping : dict of str to str
        Mapping of `draft_mapping`.

    Returns
    -------
    str or None
        Name of the column, None without one.
    """
    for name in rows.columns:
        used = name in (mapping["quantity"], mapping["revenue"]) or rows.schema[name].is_temporal()
        if not used and line_total(rows, {**mapping, "revenue": name}) == mapping["revenue"]:
            return name
    return None
