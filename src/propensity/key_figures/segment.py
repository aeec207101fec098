"""Groups of customers: lifecycle, behaviour, columns of the customers' table and segments from a file."""

from __future__ import annotations

import numpy as np
import polars as pl

from propensity.data.offer import is_categorical
from propensity.data.offer.column import ColumnOffers
from propensity.decision.condition import LIFECYCLE, rows_where
from propensity.decision.history import PurchaseHistory
from propensity.decision.rfm import customer_table
from propensity.decision.segment import Segment
from propensity.decision.table import read
from propensity.errors import DataError
from propensity.ingest.rule.matching import require_match, rows_of
from propensity.key_figures.lines import SalesData, money_columns
from propensity.key_figures.money import UNIT, in_currency, share

FEW = 20  # values of a column of the customers up to which each is a segment
MOST_OFFERS = 1_000  # of the item column that behaviour is measured by
SCHEMA = {"row": pl.Int64, "grouping": pl.String, "segment": pl.String}


def memberships(sales: SalesData, path: str | None) -> pl.DataFrame:
    """Which customer belongs to which segments.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.
    path : str, optional
        Table with customer_id and segment, as decision=segment writes it.

    Returns
    -------
    pl.DataFrame
        row, grouping (lifecycle, behaviour, a column of the customers' table, or segments), segment. A customer may
        belong to several segments of the grouping behaviour, and to none.
    """
    parts = [lifecycle(sales), attributes(sales), behaviour(sales)]
    parts += [] if path is None else [from_file(sales, path)]
    return pl.concat([part.cast(SCHEMA) for part in parts])  # type: ignore[arg-type]


def lifecycle(sales: SalesData) -> pl.DataFrame:
    """Segments `LIFECYCLE`, of which every customer belongs to one."""
    ages = sales.customers.select("row", tenure=sales.day - pl.col("first"), recency=sales.day - pl.col("last"))
    masks = [(name, rows_where(ages, rule, name)) for name, rule in LIFECYCLE.items()]
    return pl.concat([_members(ages["row"].filter(pl.Series(mask)), "lifecycle", name) for name, mask in masks])


def behaviour(sales: SalesData) -> pl.DataFrame:
    """The built-in segments of decision=segment beside the lifecycle, where the log allows them."""
    if not sales.log.items["item"].drop_nulls().len():
        return pl.DataFrame(schema=SCHEMA)
    column = offer_column(sales.log.items)
    history = PurchaseHistory(sales.log, ColumnOffers(column or "item", min_buyers=1), sales.day)
    table = customer_table(history, None)
    if column is None:  # single items tell nothing of specialists and of those who buy across categories
        table = table._replace(table=table.table.drop("top_share", "penetration"))
    named = Segment().named_segments(table)[0]
    parts = [
        _members(pl.Series(table.row).filter(named[name]), "behaviour", name)
        for name in named.columns
        if name not in LIFECYCLE
    ]
    everybody = [part for part in parts if part.height]
    if not everybody:
        return pl.DataFrame(schema=SCHEMA)
    return pl.concat(everybody).join(sales.customers.select("row"), on="row", how="semi")


def offer_column(items: pl.DataFrame) -> str | None:
    """The categorical item column with most values, of those with 2 to `MOST_OFFERS`; None without one."""
    counts = {name: items[name].n_unique() for name, kind in items.schema.items() if is_categorical(kind)}
    fitting = {name: count for name, count in counts.items() if 2 <= count <= MOST_OFFERS and name != "item"}
    return max(fitting, key=lambda name: fitting[name]) if fitting else None


def attributes(sales: SalesData) -> pl.DataFrame:
    """A grouping for each text column of the customers' table with 2 to `FEW` values."""
    table = sales.log.customers
    row = sales.customers["row"]
    parts = [pl.DataFrame(schema=SCHEMA)]
    for name, kind in table.schema.items():
        if name == "customer" or not (is_categorical(kind) or kind == pl.Boolean) or _is_consent(name):
            continue
        values = table[name].cast(pl.String).gather(row)
        if 2 <= values.drop_nulls().n_unique() <= FEW:
            parts.append(pl.DataFrame({"row": row, "grouping": name, "segment": values}, schema=SCHEMA).drop_nulls())
    return pl.concat(parts)


def from_file(sales: SalesData, path: str) -> pl.DataFrame:
    """Segments of a table with customer_id and segment."""
    table = read(path, "segments")
    for name in ("customer_id", "segment"):
        if name not in table.columns:
            raise DataError(f"{path} has no column {name}, only {', '.join(table.columns)}; name it so")
    row = customers_in(sales, table, path)
    known = pl.DataFrame({"row": row, "grouping": "segments", "segment": table["segment"].cast(pl.String)})
    return known.filter(pl.col("row") >= 0).drop_nulls().join(sales.customers.select("row"), on="row", how="semi")


def customers_in(sales: SalesData, table: pl.DataFrame, path: str) -> np.ndarray:
    """(n,) rows of the log's customers of a table, -1 for one that the log does not have; DataError for others' ids."""
    require_match(table["customer_id"], sales.log.customers["customer"], path, "the log")
    return rows_of(table["customer_id"], sales.log.customers["customer"]).astype(np.int64)


def segments(sales: SalesData, members: pl.DataFrame) -> pl.DataFrame:
    """One row per segment.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.
    members : pl.DataFrame
        Result of `memberships`.

    Returns
    -------
    pl.DataFrame
        grouping, segment, customers, share (of all customers), repeat_rate, orders, revenue, net_revenue,
        average_order_value, discount_share, window_net_revenue (of the last window) and, where costs are known, margin,
        margin_share (of the revenue of known cost) and margin_coverage (share of the net revenue of known cost).
    """
    window = sales.between(sales.day - sales.window, sales.day).group_by("row").agg(window=pl.col("revenue").sum())
    own = members.join(sales.customers, on="row").join(window, on="row", how="left")
    sums = own.group_by("grouping", "segment").agg(
        pl.len().alias("customers"),
        (pl.col("orders") >= 2).sum().alias("repeat_customers"),
        pl.col("window").sum().alias("window_net_revenue"),
        *(pl.col(name).sum() for name in ("orders", *money_columns())),
    )
    known = [("lifecycle", name) for name in LIFECYCLE]
    empty = pl.DataFrame(known, schema=["grouping", "segment"], orient="row").join(
        sums, on=["grouping", "segment"], how="anti"
    )
    table = pl.concat([sums, empty], how="diagonal").with_columns(pl.selectors.numeric().fill_null(0))
    margin = pl.col("costed") - pl.col("cost")
    table = table.sort("grouping", "segment").with_columns(
        share=pl.col("customers") / sales.customers.height,
        repeat_rate=share("repeat_customers", "customers"),
        average_order_value=share("revenue", "orders") / UNIT,
        discount_share=share("discount", pl.col("revenue") + pl.col("discount")),
        margin_share=share(margin, "costed"),
        margin_coverage=share("costed", "net"),
        margin=margin / UNIT,
        revenue=in_currency("revenue"),
        net_revenue=in_currency("net"),
        window_net_revenue=in_currency("window_net_revenue"),
    )
    columns = ["grouping", "segment", "customers", "share", "repeat_rate", "orders", "revenue", "net_revenue"]
    columns += ["average_order_value", "discount_share", "window_net_revenue"]
    return table.select(columns + (["margin", "margin_share", "margin_coverage"] if sales.has_cost else []))


def _members(row: pl.Series, grouping: str, segment: str) -> pl.DataFrame:
    return pl.DataFrame({"row": row, "grouping": grouping, "segment": segment}, schema=SCHEMA)


def _is_consent(column: str) -> bool:
    """Whether a column of the customers' table is about consents or the account, and no attribute."""
    return column in ("guest", "suppressed", "unsubscribed", "consent") or column.startswith(
        ("consent_", "consented", "withdrawn")
    )
