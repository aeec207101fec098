"""Refunds and cancellations that are columns of the line that was sold, deducted from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

REFUND_UNITS = ("refunded_quantity", "cancelled_quantity")
REFUNDS = ("refund", *REFUND_UNITS)  # columns of the contract
NOTHING_LEFT = 1e-6  # share of a line up to which nothing of it is left


def refund_cells(columns: Mapping[str, str], read: Callable[[str], pl.Expr]) -> dict[str, pl.Expr]:
    """Build expressions that read the refunds of lines.

    Parameters
    ----------
    columns : mapping of str to str
        Column of the contract -> column of the file.
    read : callable
        Builds the expression of a number.

    Returns
    -------
    dict of str to polars.Expr
        Magnitudes `?refund`, `?refunded_quantity` and `?cancelled_quantity`, those that are mapped.
    """
    return {f"?{name}": read(name).abs() for name in REFUNDS if name in columns}


def deduct_refunds(cells: pl.LazyFrame, before_discount: bool, unit_cost: bool = False) -> pl.LazyFrame:
    """Deduct refunds and cancelled units from the lines that were sold.

    Parameters
    ----------
    cells : polars.LazyFrame
        Events with kind, quantity, revenue and discount in the currency of the log, `?rate`, and those of
        `refund_cells`.
    before_discount : bool
        Whether refunds are amounts before the discount of the line, which is paid back in proportion; otherwise they
        are what was paid back.
    unit_cost : bool
        Whether the cost is that of one unit, which stays.

    Returns
    -------
    polars.LazyFrame
        The events without the columns of refunds. Of a purchase, revenue, quantity and the cost of the line are what is
        left, and `discount` contains the difference of the revenue. `?refunded` marks lines of which nothing is left,
        `?refund_deducted` the others that changed. Without any such column the events are unchanged.

    Examples
    --------
    >>> line = {"kind": "purchase", "quantity": 2.0, "revenue": 36.0, "discount": 4.0, "?rate": 1.0, "?refund": 20.0}
    >>> deduct_refunds(pl.LazyFrame([line]), before_discount=True).collect().row(0)
    ('purchase', 2.0, 18.0, 22.0, 1.0, False, True)
    """
    schema = cells.collect_schema()
    names = [f"?{name}" for name in REFUNDS if f"?{name}" in schema]
    if not names:
        return cells
    quantity, revenue, discount = pl.col("quantity"), pl.col("revenue"), pl.col("discount").abs()
    is_sale = (pl.col("kind") == "purchase").fill_null(False)
    units = {name: pl.col(f"?{name}").fill_null(0.0) if f"?{name}" in schema else pl.lit(0.0) for name in REFUND_UNITS}
    whole = revenue + discount if before_discount else revenue
    share = units["refunded_quantity"] / pl.when(quantity > 0).then(quantity)
    if "?refund" in schema:
        share = pl.coalesce(pl.col("?refund") * pl.col("?rate").fill_null(1.0) / pl.when(whole > 0).then(whole), share)
    cancelled = units["cancelled_quantity"] / pl.when(quantity > 0).then(quantity)
    left = (1.0 - share.fill_null(0.0) - cancelled.fill_null(0.0)).clip(0.0, 1.0)
    units_left = quantity - units["refunded_quantity"] - units["cancelled_quantity"]
    some = pl.any_horizontal((pl.col(name) > 0).fill_null(False) for name in names)
    nothing = (is_sale & some & ((left < NOTHING_LEFT) | (units_left <= 0))).fill_null(False)
    left = pl.when(nothing).then(0.0).when(is_sale & some).then(left).otherwise(1.0)
    kept_units = pl.when(is_sale & some & ~nothing & (units_left > 0)).then(units_left).otherwise(quantity)
    changed = {
        "revenue": revenue * left,
        "discount": pl.when(left < 1.0).then(discount + revenue * (1.0 - left)).otherwise("discount"),
        "quantity": kept_units,
        "?refunded": nothing,
        "?refund_deducted": is_sale & some & ~nothing,
    }
    if "cost" in schema and not unit_cost:
        changed["cost"] = pl.col("cost") * kept_units / pl.when(quantity != 0).then(quantity).otherwise(1.0)
    return cells.with_columns(**changed).drop(names)
