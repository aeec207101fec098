"""Contract of a retailer's tables: the columns that mappings, documentation and checks refer to.

Checks are Polars expressions that run in a stream, so they apply to tables of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from propensity.kernel.event import EVERY_KIND


class Column(NamedTuple):
    """A column of a table."""

    name: str
    type: str  # after reading
    meaning: str
    default: str | None = None  # assumption without the column; None for a required column
    aliases: tuple[str, ...] = ()  # common names, for the draft of a mapping


# columns of events that a log has only where they are delivered
OPTIONAL_COLUMNS = ("time", "cost", "campaign", "offer", "arm", "experiment", "probability")
EVENTS = (
    Column(
        "customer",
        "id",
        "buyer: one person or household",
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
        "calendar date in the shop",
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
        "product or article",
        "all lines have the item `anything`, whose `category` is `anything`",
        ("product", "sku", "article", "stockcode", "itemid", "product_id", "article_id", "ean", "upc"),
    ),
    Column(
        "quantity",
        "number",
        "units or weight; negative for a return",
        "1 per line",
        ("units", "qty", "amount", "pieces"),
    ),
    Column(
        "revenue",
        "number",
        "what was paid for the line; see revenue_is for prices of one unit and amounts before a discount",
        "1 per unit",
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
            "amount",
        ),
    ),
    Column(
        "kind",
        ", ".join(EVERY_KIND),
        "type of event",
        "return if the quantity (without one, the revenue) is negative, otherwise purchase",
        ("event", "type", "event_type", "action", "status"),
    ),
    Column(
        "channel",
        "text",
        "channel of the purchase or contact",
        "none",
        ("sales_channel_id", "store", "medium", "source"),
    ),
    Column(
        "order",
        "id",
        "receipt or order of the line; the same number on another day is another order",
        "all purchases of a customer on a day are one order",
        (
            "order_id",
            "invoice",
            "invoiceno",
            "basket",
            "basket_id",
            "transactionid",
            "transaction_id",
            "receipt",
            "till_no",
        ),
    ),
    Column(
        "parent",
        "id",
        "order that a refund belongs to; it gives a refund its customer",
        "refunds have a customer of their own",
        ("parent_id", "parent_order", "refunded_order"),
    ),
    Column(
        "event_id",
        "id",
        "id of the line; the last delivery of an id is used",
        "every line is an event",
        ("line_id", "event_id", "uuid", "row_id", "transaction_line"),
    ),
    Column(
        "discount",
        "number",
        "discount on the line, or a percentage such as 10%; taken off with revenue_is=gross or unit",
        "0",
        ("rebate", "coupon", "discount_amount", "markdown"),
    ),
    Column(
        "order_discount",
        "number",
        "discount on the whole order, or a percentage; divided among its lines with revenue_is=gross or unit",
        "0",
        ("cart_discount", "order_discount_amount"),
    ),
    Column(
        "order_total",
        "number",
        "what was paid for all products of the order, without postage; the lines are reduced to it with gross or unit",
        "the sum of the lines less discounts",
        ("subtotal",),
    ),
    Column(
        "order_refund",
        "number",
        "what was paid back of the whole order, whenever that was; taken off its lines",
        "0",
        ("refunded_amount",),
    ),
    Column(
        "refund",
        "number",
        "what was paid back of the line, whenever that was; taken off it, see refund_is",
        "0",
    ),
    Column(
        "refunded_quantity",
        "number",
        "units of the line that were returned, whenever that was; without refund, their share of the revenue goes too",
        "0",
    ),
    Column(
        "cancelled_quantity",
        "number",
        "units of the line that were cancelled; their share of the revenue is taken off",
        "0",
    ),
    Column(
        "description",
        "text",
        "text of the item; by it, lines such as postage are recognised",
        "lines are recognised by the codes of items and by item_columns that are descriptions",
        ("product_name", "item_name", "title", "name"),
    ),
    Column(
        "currency",
        "text",
        "three-letter code; several currencies need data.source.rates",
        "one currency",
        ("currency", "curr", "ccy"),
    ),
    Column(
        "available_at",
        "date",
        "date on which the row became available",
        "the day of the event",
        ("loaded_at", "available_at", "ingested_at", "delivered_at", "delivered", "updated_at"),
    ),
    Column(
        "time",
        "time of day",
        "time of the event, in a column of its own or in that of the day; with data.source.timezone in the shop's zone",
        "events have a day only",
        ("time_of_day", "trans_time"),
    ),
    Column(
        "cost",
        "number",
        "cost of the goods of the line, or of the message; see cost_is for the cost of one unit",
        "not known",
        ("cogs", "cost_of_goods"),
    ),
    Column("campaign", "id", "campaign that the message or the response to it belongs to", "none", ("campaign_id",)),
    Column("offer", "id", "offer of the message", "none", ("offer_id",)),
    Column("arm", "id", "arm of the experiment, such as treatment or holdout", "none", ("variant", "arm")),
    Column("experiment", "id", "experiment that decided what was sent", "none", ("experiment_id",)),
    Column(
        "probability",
        "number",
        "probability of having been sent exactly this, above 0 and at most 1, or a percentage",
        "not known",
        ("propensity_of_sending",),
    ),
)
ITEMS = (
    Column("item", "id", "item of the events; data.source.item_key names the column", None, EVENTS[2].aliases),
    Column("any other", "text or number", "attribute from which offers are defined", "no attributes"),
)
CUSTOMERS = (
    Column(
        "customer", "id", "customer of the events; data.source.customer_key names the column", None, EVENTS[0].aliases
    ),
    Column("any other", "text or number", "attribute for audience filters", "no attributes"),
)
ACQUISITION = (
    Column("day", "date", "date of registration or first contact; stored as acquired_day", "not known"),
    Column("channel", "text", "how the customer was won; stored as acquired_channel", "not known"),
    Column("cost", "number", "what that cost; stored as acquired_cost", "not known"),
)
CONTACTS = (
    Column("customer", "id", "recipient", None),
    Column("day", "date", "date of sending", None),
    Column("channel", "text", "channel of the message", "none"),
    *(column for column in EVENTS if column.name in OPTIONAL_COLUMNS),
)
BEHAVIOUR = (
    Column("customer", "id", "customer of the events, or a registrant", None),
    Column("day", "date", "date or time of the event", None),
    Column("item", "id", "item that was viewed or put into a cart", "events without an item; views need one"),
    Column("kind", "view, cart, search, open, click, unsubscribe, complaint", "type of event", "view"),
    Column("channel", "text", "channel of the event", "none"),
    *(column for column in EVENTS if column.name in ("time", "campaign")),
)
IDENTITY_MAP = (
    Column("alias", "id", "id that is replaced", None),
    Column("customer", "id", "id that replaces it; chains are followed to their end", None),
)
CONSENTS = (
    Column("customer", "id", "customer of the events", None),
    Column("consent", "yes or no", "whether messages may be sent", None),
    Column(
        "channel", "text", "channel of the consent; stored as consent_<channel>", "all channels; stored as suppressed"
    ),
    Column("purpose", "text", "marketing or profiling; any other refusal is one of both", "marketing"),
    Column("day", "date", "date of the entry; the last one is used, on one day a withdrawal", "a withdrawal is used"),
)
TABLES = {
    "events": EVENTS,
    "items": ITEMS,
    "customers": CUSTOMERS,
    "acquisition": ACQUISITION,
    "contacts": CONTACTS,
    "behaviour": BEHAVIOUR,
    "identity_map": IDENTITY_MAP,
    "consents": CONSENTS,
}


def mandatory(table: Sequence[Column]) -> tuple[str, ...]:
    """List the required columns of a table.

    Parameters
    ----------
    table : sequence of Column
        Columns of the table.

    Returns
    -------
    tuple of str
        Names of the columns without a default.

    Examples
    --------
    >>> mandatory(EVENTS)
    ('customer', 'day')
    """
    return tuple(column.name for column in table if column.default is None)


def contract_violations() -> dict[str, pl.Expr]:
    """Build expressions that count the accepted events that violate the contract.

    Returns
    -------
    dict of str to polars.Expr
        Number of rows by violation; a correct log has none.
    """
    kind, purchase = pl.col("kind"), pl.col("kind") == "purchase"
    violations = {
        "customer is null": pl.col("customer").is_null(),
        "day is null": pl.col("day").is_null(),
        f"kind is not one of {', '.join(EVERY_KIND)}": kind.is_in(list(EVERY_KIND)).not_().fill_null(True),
        "quantity is not finite": pl.col("quantity").is_finite().not_().fill_null(True),
        "revenue is not finite": pl.col("revenue").is_finite().not_().fill_null(True),
        "quantity of a purchase is not positive": purchase & (pl.col("quantity") <= 0),
        "revenue of a purchase is negative": purchase & (pl.col("revenue") < 0),
        "revenue of a return is positive": (kind == "return") & (pl.col("revenue") > 0),
    }
    return {violation: rows.sum().alias(violation) for violation, rows in violations.items()}
