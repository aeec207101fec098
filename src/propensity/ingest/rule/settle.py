"""Rules that need all rows of a customer: what was delivered again, what came back before it was bought."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import polars as pl

from propensity.ingest.rule.note import count_notes
from propensity.ingest.source import Settled

Corrections = Literal["overlap", "always", "never"]
OVERLAP_SHARE = 0.5  # share of an order's items that a later delivery repeats if it corrects the order


def settle(rows: pl.DataFrame, corrections: Corrections = "overlap", orphans: bool = False) -> Settled:
    """Applies the rules to rows in their order of delivery; a row is known by `file` and `row`.

    corrections: a later delivery (a later file, or a later `available`) of an order stands for the earlier ones if it
    repeats half of their items ("overlap"), in any case, or never. orphans: returns of what was not bought are kept.
    """
    merged: dict[str, int] = {}
    for code, kept in _merging(rows, corrections):
        if lost := rows.height - kept.height:
            merged[code], rows = lost, kept
    back = rows.clear()
    if not orphans and (rows["kind"] == "return").any():
        negative_rate = rows.select(is_orphan_return()).to_series()
        back, rows = rows.filter(negative_rate), rows.filter(~negative_rate)
    warnings = count_notes(rows["notes"])
    if "event_id" not in rows.columns and (again := _line_twice(rows)):
        warnings["line_twice"] = again
    reasoned = back.with_columns(reason=pl.lit("return_before_purchase"))
    return Settled(rows, merged, reasoned, warnings)


def _merging(rows: pl.DataFrame, corrections: Corrections) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each merging rule, and the rows that it leaves of what the one before left."""
    if "event_id" in rows.columns:
        rows = rows.filter(pl.col("event_id").is_null() | pl.col("event_id").is_last_distinct())
        yield "event_again", rows
    if corrections != "never" and "order" in rows.columns:
        yield (
            "order_again",
            rows.join(
                corrected_orders(rows, corrections),
                on=["customer", "order", *delivery_column(rows)],
                how="anti",
                maintain_order="left",
            ),
        )


def delivery_column(rows: pl.DataFrame) -> list[str]:
    """The column that tells one delivery from the next."""
    return ["available"] if "available" in rows.columns else ["file"]


def corrected_orders(rows: pl.DataFrame, corrections: Corrections) -> pl.DataFrame:
    """customer, order and delivery of the orders that a later delivery corrects."""
    order, when = ["customer", "order"], delivery_column(rows)[0]
    trade = rows.lazy().filter(pl.col("order").is_not_null(), pl.col("kind").is_in(["purchase", "return"]))
    again = trade.group_by(order).agg(pl.min(when), later=pl.max(when)).filter(pl.col(when) < pl.col("later"))
    lines = trade.join(again, on=order, how="semi").select(*order, when, "item").unique()  # of few orders
    size = lines.group_by(*order, when).agg(size=pl.len())
    later = size.select(*order, pl.col(when).alias("later"))
    pairs = size.join(later, on=order, how="inner").filter(pl.col("later") > pl.col(when))
    if corrections == "overlap":
        other = lines.rename({when: "later"})
        both = lines.join(other, on=[*order, "item"], how="inner").filter(pl.col("later") > pl.col(when))
        shared = both.group_by(*order, when, "later").agg(shared=pl.len())
        pairs = pairs.join(shared, on=[*order, when, "later"], how="inner").filter(
            pl.col("shared") >= OVERLAP_SHARE * pl.col("size")
        )
    return pairs.select(*order, when).unique().collect()


def is_orphan_return() -> pl.Expr:
    """Whether a row returns what its customer had not bought by that day."""
    bought = pl.col("day").filter(pl.col("kind") == "purchase").min().over("customer", "item")
    return (pl.col("kind") == "return") & (bought.is_null() | (bought > pl.col("day")))


def _line_twice(rows: pl.DataFrame) -> int:
    """Rows that equal an earlier one in all that an event is made of."""
    about = [name for name in rows.columns if name not in ("file", "row", "notes", "available")]
    return rows.height - rows.select(pl.struct(about).hash(seed=0).n_unique()).item() if rows.height else 0
