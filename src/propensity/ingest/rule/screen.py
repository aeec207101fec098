"""Cleaning rules on single rows: each is an expression over the columns of an event; the first that holds is counted.

Events have the columns customer, day, item, kind, quantity and revenue, null where they could not be read, and columns
used by these rules only, whose names begin with a question mark.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from propensity.ingest.rule import RULE_BY_CODE
from propensity.ingest.rule.day import EARLIEST, LATEST
from propensity.ingest.rule.note import note_bits
from propensity.kernel.event import EVERY_KIND

WITHOUT_ITEM = ("message", "redemption", "open", "click", "search", "unsubscribe", "complaint")
OPTIONAL_NOTES = (  # where such columns are delivered
    "time_unreadable", "cost_unreadable", "probability_unreadable", "refund_deducted", "not_product_kept",
)  # fmt: skip
MAX_UNITS = 10_000.0  # in one line


def has_amount() -> pl.Expr:
    """Build an expression that tells whether an event needs quantity and revenue.

    Returns
    -------
    polars.Expr
        True for purchases and returns.
    """
    return pl.col("kind").is_in(["purchase", "return"]).fill_null(False)


def is_storable(number: pl.Expr) -> pl.Expr:
    """Build an expression that tells whether a number is finite as float32, the type of the log.

    Parameters
    ----------
    number : polars.Expr
        Numbers.

    Returns
    -------
    polars.Expr
        False for missing numbers too.
    """
    return number.cast(pl.Float32).is_finite().fill_null(False)


def rejection_reason(
    latest: date,
    earliest: date = EARLIEST,
    most_units: float | None = MAX_UNITS,
    unknown_items: bool = True,
    refunds: bool = False,
) -> pl.Expr:
    """Build an expression that finds the first rule that a row breaks.

    Parameters
    ----------
    latest : datetime.date
        Last valid day.
    earliest : datetime.date
        First valid day.
    most_units : float, optional
        Maximum units in one line; None for no maximum.
    unknown_items : bool
        Whether items that are missing from the table of items are accepted.
    refunds : bool
        Whether the events have refunds of lines.

    Returns
    -------
    polars.Expr
        Code of the rule, null for an accepted row; named `reason`.
    """
    kind, item, day = pl.col("kind"), pl.col("item"), pl.col("day")
    quantity, revenue = pl.col("quantity"), pl.col("revenue")
    purchase = kind == "purchase"
    rules = {
        "line_blank": pl.col("?blank"),
        "line_ragged": pl.col("?ragged"),
        "left_out": pl.col("?left_out"),
        "kind_unknown": kind.is_in(list(EVERY_KIND)).not_().fill_null(True),
        "not_a_product": pl.col("?not_product"),
        "refunded": pl.col("?refunded") if refunds else pl.lit(False),
        "id_truncated": pl.col("?truncated"),
        "customer_shared": pl.col("?shared") & pl.col("customer").is_null(),
        "customer_missing": pl.col("customer").is_null(),
        "day_missing": day.is_null() & ~pl.col("?has_day"),
        "day_unreadable": day.is_null(),
        "day_sentinel": (day < earliest) | (day >= LATEST),
        "day_in_future": day > latest,
        "item_missing": item.is_null() & kind.is_in(WITHOUT_ITEM).not_(),
        "item_unknown": pl.col("?unlisted") if not unknown_items else pl.lit(False),
        "quantity_unreadable": has_amount() & is_storable(quantity).not_(),
        "currency_without_rate": has_amount() & pl.col("?rate").is_null(),
        "revenue_unreadable": has_amount() & is_storable(revenue).not_(),
        "discount_unreadable": has_amount() & pl.col("?discount").not_(),
        "quantity_zero": purchase & (quantity <= 0),
        "price_negative": purchase & (revenue < 0),
        "line_in_bulk": has_amount() & (quantity.abs() > most_units) if most_units else pl.lit(False),
    }
    ordered = [code for code in RULE_BY_CODE if code in rules]
    return pl.coalesce(pl.when(rules[code]).then(pl.lit(code)) for code in ordered).alias("reason")


def screen_events(events: pl.LazyFrame, rule: pl.Expr) -> pl.LazyFrame:
    """Apply the rules to events.

    Parameters
    ----------
    events : polars.LazyFrame
        Events with the columns that the rules use.
    rule : polars.Expr
        Expression of `rejection_reason`.

    Returns
    -------
    polars.LazyFrame
        The events with `reason` and `notes`, without the columns that begin with a question mark.
    """
    kind, quantity = pl.col("kind"), pl.col("quantity")
    conditions = {
        "file_transcoded": pl.col("?transcoded"),
        "guest": pl.col("?guest"),
        "id_rewritten": pl.col("?rewritten"),
        "price_zero": (kind == "purchase") & (pl.col("revenue") == 0),
        "quantity_fraction": has_amount() & (quantity != quantity.floor()),
        "amount_rewritten": pl.col("?formatted"),
        "amount_converted": has_amount() & (pl.col("?rate") != 1.0),
        "line_returned": kind == "return",
        "day_late": pl.col("?late"),
        "item_unlisted": pl.col("?unlisted"),
        "discount_divided": pl.col("?divided"),
        "line_completed": pl.col("?completed"),
        "customer_zero": pl.col("customer").cast(pl.String).is_in(["0", "00", "000", "0000"]).fill_null(False),
    }
    facts = [name for name in events.collect_schema() if name.startswith("?")]
    conditions |= {code: pl.col(f"?{code}").fill_null(False) for code in OPTIONAL_NOTES if f"?{code}" in facts}
    return events.with_columns(rule, note_bits(conditions)).drop(facts)
