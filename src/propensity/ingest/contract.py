"""What each table of a retailer means, declared once: for the mapping of columns, the documentation and the checks.

A contract is checked by expressions in a stream, so it holds for tables of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from propensity.kernel.event import KINDS


class Column(NamedTuple):
    """A column of a table: its type once it is read, whether it must be there, what it means, what stands for it."""

    name: str
    type: str
    meaning: str
    absent: str | None = None  # what is assumed without it; None: the table needs it
    names: tuple[str, ...] = ()  # how others call it, for the draft of a mapping


EVENTS = (
    Column(
        "customer",
        "id",
        "who: one person or household",
        None,
        (
            "customer_id",
            "client",
            "member",
            "card",
            "user",
            "visitorid",
            "household",
            "cust",
            "account",
            "shopper",
            "customer_unique_id",
            "loyalty",
        ),
    ),
    Column(
        "day",
        "date",
        "the calendar date in the shop",
        None,
        (
            "date",
            "timestamp",
            "datetime",
            "invoicedate",
            "purchased_at",
            "order_date",
            "t_dat",
            "time",
            "transaction_dt",
            "sold_on",
            "created_at",
            "order_purchase_timestamp",
        ),
    ),
    Column(
        "item",
        "id",
        "what: a product or article",
        "all lines are of one item, `anything`, whose `category` is `anything`",
        ("product", "sku", "article", "stockcode", "itemid", "product_id", "article_id", "ean", "upc"),
    ),
    Column(
        "quantity",
        "number",
        "units, or weight; below zero for a return",
        "1 a line",
        ("units", "qty", "amount", "pieces"),
    ),
    Column(
        "revenue",
        "number",
        "what the line brought in all, or the price of one with revenue_is=unit",
        "1 a unit",
        (
            "price",
            "sales",
            "total",
            "sales_price",
            "unitprice",
            "paid",
            "value",
            "turnover",
            "dollars",
            "spend",
            "sales_value",
            "net",
        ),
    ),
    Column(
        "kind",
        ", ".join(KINDS),
        "what happened",
        "a return where the quantity (or else the revenue) is below zero, or else a purchase",
        ("event", "type", "event_type", "action", "status"),
    ),
    Column("channel", "text", "through which channel", "none", ("sales_channel_id", "store", "medium", "source")),
    Column(
        "order",
        "id",
        "the receipt or order that the line is part of",
        "the purchases of a day are one order",
        ("order_id", "invoice", "invoiceno", "basket", "basket_id", "transactionid", "transaction_id", "receipt"),
    ),
    Column(
        "event_id",
        "id",
        "the line itself: delivered again, the last stands",
        "every line is an event",
        ("line_id", "event_id", "uuid", "row_id", "transaction_line"),
    ),
    Column(
        "discount", "number", "what was taken off the line", "0", ("rebate", "coupon", "discount_amount", "markdown")
    ),
    Column(
        "currency", "text", "three letters; several need data.source.rates", "one currency", ("currency", "curr", "ccy")
    ),
    Column(
        "available_at",
        "date",
        "when the row was there to be seen",
        "on its day",
        ("loaded_at", "available_at", "ingested_at", "delivered_at", "updated_at"),
    ),
)
ITEMS = (
    Column("item", "id", "the item of the events, under data.source.item_key", None, EVENTS[2].names),
    Column("any other", "text or number", "an attribute: offers are made of it", "no attributes"),
)
CUSTOMERS = (
    Column("customer", "id", "the customer of the events, under data.source.customer_key", None, EVENTS[0].names),
    Column("any other", "text or number", "an attribute, for filters of audiences", "no attributes"),
)
CONTACTS = (
    Column("customer", "id", "to whom", None),
    Column("day", "date", "when it went out", None),
    Column("channel", "text", "through which channel", "none"),
)
IDENTITY_MAP = (
    Column("alias", "id", "an id that stands for another", None),
    Column("customer", "id", "the customer it stands for; chains are followed", None),
)
CONSENTS = (
    Column("customer", "id", "who", None),
    Column("consent", "yes or no", "whether messages may be sent", None),
    Column("channel", "text", "through which channel; it becomes consent_<channel>", "all: it becomes suppressed"),
    Column("day", "date", "when it was said; the last word counts", "the order of the rows"),
)
TABLES = {
    "events": EVENTS,
    "items": ITEMS,
    "customers": CUSTOMERS,
    "contacts": CONTACTS,
    "identity_map": IDENTITY_MAP,
    "consents": CONSENTS,
}


def mandatory(table: Sequence[Column]) -> tuple[str, ...]:
    """The columns that a table needs.

    >>> mandatory(EVENTS)
    ('customer', 'day')
    """
    return tuple(column.name for column in table if column.absent is None)


def contract_violations() -> dict[str, pl.Expr]:
    """How many rows of accepted events break the contract, by what they break: nothing may."""
    kind, sold = pl.col("kind"), pl.col("kind") == "purchase"
    broken = {
        "customer is null": pl.col("customer").is_null(),
        "day is null": pl.col("day").is_null(),
        f"kind is none of {', '.join(KINDS)}": kind.is_in(list(KINDS)).not_().fill_null(True),
        "quantity is not finite": pl.col("quantity").is_finite().not_().fill_null(True),
        "revenue is not finite": pl.col("revenue").is_finite().not_().fill_null(True),
        "quantity of a purchase is not above zero": sold & (pl.col("quantity") <= 0),
        "revenue of a purchase is below zero": sold & (pl.col("revenue") < 0),
        "revenue of a return is above zero": (kind == "return") & (pl.col("revenue") > 0),
    }
    return {what: rows.sum().alias(what) for what, rows in broken.items()}
