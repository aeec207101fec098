"""Cleaning rules on all rows of a customer: repeated deliveries, corrected orders, returns before a purchase."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import polars as pl

from propensity.ingest.rule.note import count_notes
from propensity.ingest.source import Settled

Corrections = Literal["overlap", "always", "never"]
OVERLAP_SHARE = 0.5  # share of an order's items that a later delivery must repeat to count as its correction


def settle(
    rows: pl.DataFrame,
    corrections: Corrections = "overlap",
    orphans: bool = False,
    bought: Callable[[pl.DataFrame], pl.Series] | None = None,
) -> Settled:
    """Apply the rules to all rows of some customers.

    Parameters
    ----------
    rows : polars.DataFrame
        Accepted rows in delivery order, identified by `file` and `row`.
    corrections : {"overlap", "always", "never"}
        When a later delivery of an order (a later file, or a later `available`) replaces the earlier ones: if it
        repeats half of their items, always, or never.
    orphans : bool
        Whether to keep returns without an earlier purchase.
    bought : callable, optional
        Returns whether the customers of some rows bought their items in the log to which the delivery is appended.

    Returns
    -------
    Settled
        Accepted, merged and quarantined rows.
    """
    merged: dict[str, int] = {}
    for code, remaining in _merge(rows, corrections):
        if removed := rows.height - remaining.height:
            merged[code], rows = removed, remaining
    quarantined = rows.clear()
    if not orphans and (rows["kind"] == "return").any():
        orphaned = rows.select(is_orphan_return()).to_series()
        if bought is not None and orphaned.any():
            orphaned = orphaned.scatter(orphaned.arg_true(), ~bought(rows.filter(orphaned)))
        quarantined, rows = rows.filter(orphaned), rows.filter(~orphaned)
    warnings = count_notes(rows["notes"])
    if "event_id" not in rows.columns and (duplicates := _count_duplicate_lines(rows)):
        warnings["line_twice"] = duplicates
    return Settled(rows, merged, quarantined.with_columns(reason=pl.lit("return_before_purchase")), warnings)


def _merge(rows: pl.DataFrame, corrections: Corrections) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each merging rule with the rows that remain after it and the rules before it."""
    if "event_id" in rows.columns:
        rows = rows.filter(pl.col("event_id").is_null() | pl.struct("customer", "event_id").is_last_distinct())
        yield "event_again", rows
    if corrections != "never" and "order" in rows.columns:
        replaced = corrected_orders(rows, corrections)
        key = [*order_key(rows), delivery_column(rows)]
        yield "order_again", rows.join(replaced, on=key, how="anti", maintain_order="left")


def delivery_column(rows: pl.DataFrame) -> str:
    """Name the column that orders deliveries.

    Parameters
    ----------
    rows : polars.DataFrame
        Rows of some customers.

    Returns
    -------
    str
        `available` if it is mapped, otherwise `file`.
    """
    return "available" if "available" in rows.columns else "file"


def order_key(rows: pl.DataFrame) -> list[str]:
    """Name the columns that identify an order.

    Parameters
    ----------
    rows : polars.DataFrame
        Rows of some customers.

    Returns
    -------
    list of str
        Customer, day and number. Receipt numbers start again after a while, so the same number on another day is
        another order. The day is the one as written (`ordered`), which lateness does not change.
    """
    return ["customer", "ordered" if "ordered" in rows.columns else "day", "order"]


def corrected_orders(rows: pl.DataFrame, corrections: Corrections) -> pl.DataFrame:
    """Find the deliveries of orders that a later delivery corrects.

    Parameters
    ----------
    rows : polars.DataFrame
        Rows of some customers.
    corrections : {"overlap", "always"}
        See `settle`.

    Returns
    -------
    polars.DataFrame
        Customer, day, order and delivery of the replaced rows.
    """
    order, delivery = order_key(rows), delivery_column(rows)
    sales = rows.lazy().filter(pl.col("order").is_not_null(), pl.col("kind").is_in(["purchase", "return"]))
    repeated = sales.group_by(order).agg(pl.min(delivery), later=pl.max(delivery))
    repeated = repeated.filter(pl.col(delivery) < pl.col("later"))
    lines = sales.join(repeated, on=order, how="semi").select(*order, delivery, "item").unique()
    size = lines.group_by(*order, delivery).agg(size=pl.len())
    later = size.select(*order, pl.col(delivery).alias("later"))
    pairs = size.join(later, on=order, how="inner").filter(pl.col("later") > pl.col(delivery))
    if corrections == "overlap":
        other = lines.rename({delivery: "later"})
        both = lines.join(other, on=[*order, "item"], how="inner").filter(pl.col("later") > pl.col(delivery))
        shared = both.group_by(*order, delivery, "later").agg(shared=pl.len())
        pairs = pairs.join(shared, on=[*order, delivery, "later"], how="inner").filter(
            pl.col("shared") >= OVERLAP_SHARE * pl.col("size")
        )
    return pairs.select(*order, delivery).unique().collect()


def is_orphan_return() -> pl.Expr:
    """Build an expression that finds returns without an earlier purchase.

    Returns
    -------
    polars.Expr
        True for a return of an item that the customer had not bought by that day.
    """
    first_purchase = pl.col("day").filter(pl.col("kind") == "purchase").min().over("customer", "item")
    return (pl.col("kind") == "return") & (first_purchase.is_null() | (first_purchase > pl.col("day")))


def _count_duplicate_lines(rows: pl.DataFrame) -> int:
    """Number of sales and returns that equal an earlier row in all columns of an event; views are often the same."""
    rows = rows.filter(pl.col("kind").is_in(["purchase", "return"]))
    columns = [name for name in rows.columns if name not in ("file", "row", "notes", "available", "ordered")]
    return rows.height - rows.select(pl.struct(columns).hash(seed=0).n_unique()).item() if rows.height else 0
