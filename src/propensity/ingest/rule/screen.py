"""Rules that need one row: each is an expression over the columns of a delivered event; the first that holds counts.

An event on its way here has customer, day, item, kind, quantity, revenue (null where it could not be read), and a few
columns that only these rules look at, whose names begin with a question mark.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from propensity.ingest.rule import RULE_BY_CODE
from propensity.ingest.rule.day import EARLIEST, LATEST
from propensity.ingest.rule.note import note_bits
from propensity.kernel.event import KINDS

NOT_PRODUCTS = (
    "post", "postage", "dot", "dotcom postage", "dotcom", "shipping", "freight", "delivery", "carriage", "handling",
    "manual", "fee", "fees", "bank charges", "amazonfee", "discount", "adjust", "adjustment", "voucher", "deposit",
    "gift wrap", "giftwrap", "surcharge", "tip", "donation", "cruk", "pads", "test", "rounding",
)  # fmt: skip
MOST_UNITS = 10_000.0  # of one line


def has_amount() -> pl.Expr:
    """Whether an event's quantity and revenue count."""
    return pl.col("kind").is_in(["purchase", "return"]).fill_null(False)


def rejection_reason(
    latest: date,
    earliest: date = EARLIEST,
    not_products: tuple[str, ...] = NOT_PRODUCTS,
    most_units: float | None = MOST_UNITS,
    unknown_items: bool = True,
) -> pl.Expr:
    """Code of the first rule that a row breaks, null if none."""
    kind, item, day = pl.col("kind"), pl.col("item"), pl.col("day")
    quantity, revenue = pl.col("quantity"), pl.col("revenue")
    sold = kind == "purchase"
    rules = {
        "line_blank": pl.col("?blank"),
        "line_ragged": pl.col("?ragged"),
        "left_out": pl.col("?left_out"),
        "kind_unknown": kind.is_in(list(KINDS)).not_().fill_null(True),
        "not_a_product": item.cast(pl.String).str.to_lowercase().is_in(list(not_products)),
        "customer_shared": pl.col("?shared") & pl.col("customer").is_null(),
        "customer_missing": pl.col("customer").is_null(),
        "day_missing": day.is_null() & ~pl.col("?day_given"),
        "day_unreadable": day.is_null(),
        "day_sentinel": (day < earliest) | (day >= LATEST),
        "day_in_future": day > latest,
        "item_missing": item.is_null() & kind.is_in(["message", "redemption"]).not_(),
        "item_unknown": pl.col("?unlisted") if not unknown_items else pl.lit(False),
        "quantity_unreadable": has_amount() & quantity.is_finite().not_().fill_null(True),
        "currency_without_rate": has_amount() & pl.col("?rate").is_null(),
        "revenue_unreadable": has_amount() & revenue.is_finite().not_().fill_null(True),
        "quantity_zero": sold & (quantity <= 0),
        "price_negative": sold & (revenue < 0),
        "line_in_bulk": has_amount() & (quantity.abs() > most_units) if most_units else pl.lit(False),
    }
    ordered = [code for code in RULE_BY_CODE if code in rules]
    return pl.coalesce(pl.when(rules[code]).then(pl.lit(code)) for code in ordered).alias("reason")


def screen_events(events: pl.LazyFrame, rule: pl.Expr) -> pl.LazyFrame:
    """The events with the `reason` of the first rule they break and the `notes` on those that pass."""
    kind, quantity = pl.col("kind"), pl.col("quantity")
    found = {
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
    }
    facts = [name for name in events.collect_schema() if name.startswith("?")]
    return events.with_columns(rule, note_bits(found)).drop(facts)
