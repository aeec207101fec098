"""From raw tables to an event log: codes for ids, events sorted by customer and day, every row accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from propensity.data.event_log import COLUMNS, EPOCH, EventLog, fingerprint
from propensity.data.source import Source, Tables
from propensity.errors import DataError
from propensity.kernel.event import KINDS, PURCHASE

ALWAYS, NEVER = np.iinfo(np.int32).min, np.iinfo(np.int32).max
MOST_CHANNELS = 127  # a channel is one byte
OPTIONAL = {
    "kind": pl.lit("purchase"),
    "channel": pl.lit(None, pl.String),
    "order": pl.lit(None, pl.Int64),
    "quantity": pl.lit(1.0),
    "discount": pl.lit(0.0),
}


def prepare(source: Source, out: str | Path, notes: Mapping[str, str] | None = None) -> EventLog:
    """Loads `source` and leaves its log at `out`, whole or not at all, with `notes` (file name -> text) beside it."""
    return build_log(source.load()).save(out, notes or {})


def build_log(tables: Tables) -> EventLog:
    """The event log of raw tables, in memory.

    Codes are ranks of the sorted ids, so they do not depend on the order of delivery. Raises DataError for tables
    without a usable event, or that a reader cannot decode.
    """
    try:
        events = _events(tables)
        customers = _vocabulary(events, tables.customers, "customer")
        items = _items(events, tables.items)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"the raw tables cannot be read ({str(error).splitlines()[0]}); deliver them again") from None
    if events.height == 0:
        raise DataError(f"no usable event among {tables.read} rows (left out: {tables.dropped}); check the columns")
    channels = sorted(events["channel"].drop_nulls().unique().to_list())
    if len(channels) > MOST_CHANNELS:
        raise DataError(
            f"the events name {len(channels)} channels, at most {MOST_CHANNELS} fit; map channel to a coarser column"
        )
    coded = _encode(events, customers, items, channels)
    counts = np.bincount(coded["customer"].to_numpy(), minlength=customers.height)
    columns = {name: coded[name].to_numpy().astype(dtype) for name, dtype in COLUMNS.items()}
    sold = columns["day"][columns["kind"] == PURCHASE]
    if sold.size == 0:
        raise DataError(f"none of {events.height} events is a purchase; map data.source.columns.kind or leave it out")
    meta: dict[str, Any] = {
        "rows": {"in": tables.read, "used": events.height, "dropped": tables.dropped},
        "channels": channels,
        "first_day": int(sold.min()),
        "last_day": int(sold.max()),
    }
    log = EventLog(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        item_known=items["known"].to_numpy().astype(np.int32),
        customers=customers,
        items=items.drop("known"),
        meta=meta,
        **columns,
    )
    meta["fingerprint"] = fingerprint(log)
    return log


def _events(tables: Tables) -> pl.DataFrame:
    have = set(tables.events.collect_schema().names())
    absent = [value.alias(name) for name, value in OPTIONAL.items() if name not in have]
    events = tables.events.with_columns(*absent).collect()
    unknown = sorted(set(events["kind"].unique()) - set(KINDS), key=str)
    if unknown:
        raise DataError(f"unknown event kind {unknown[0]!r}; map it to one of {', '.join(KINDS)}")
    nameless = events.filter(pl.col("customer").is_null() | pl.col("day").is_null()).height
    if nameless:
        raise DataError(f"{nameless} of {events.height} events have no customer or no day; a source leaves those out")
    return events.with_columns(
        pl.col("quantity").fill_null(1.0), pl.col("revenue").fill_null(0.0), pl.col("discount").fill_null(0.0)
    )


def _vocabulary(events: pl.DataFrame, table: pl.LazyFrame | None, key: str) -> pl.DataFrame:
    """Distinct ids of both, sorted, with the table's attributes: row n is code n."""
    ids = events.select(pl.col(key).drop_nulls().unique())
    if table is None:
        return ids.sort(key)
    attributes = (
        table.drop_nulls(key)
        .unique(key, keep="last", maintain_order=True)
        .collect()
        .with_columns(pl.col(key).cast(ids.schema[key]))
    )
    every = pl.concat([ids, attributes.select(key)]).unique().sort(key)
    return every.join(attributes, on=key, how="left", maintain_order="left")


def _items(events: pl.DataFrame, table: pl.LazyFrame | None) -> pl.DataFrame:
    """The item vocabulary with `known`, the day after which an item may be spoken of: its first event, or always."""
    items = _vocabulary(events, table, "item")
    met = events.drop_nulls("item").group_by("item").agg(first=pl.col("day").cast(pl.Date).min().to_physical())
    first = items.select("item").join(met, on="item", how="left", maintain_order="left")["first"]
    known = first.fill_null(NEVER).to_numpy()
    if table is not None and "known" not in items.columns:
        delivered = table.select(pl.col("item").cast(items.schema["item"])).collect()["item"]
        known = np.where(items["item"].is_in(delivered.implode()).to_numpy(), ALWAYS, known)
    return items.with_columns(known=pl.Series(known, dtype=pl.Int32))


def _encode(events: pl.DataFrame, customers: pl.DataFrame, items: pl.DataFrame, channels: list[str]) -> pl.DataFrame:
    """Events with codes for ids, sorted by customer and day, orders numbered within their customer."""
    customer_code = customers.select("customer", customer_code=pl.int_range(pl.len(), dtype=pl.Int32))
    item_code = items.select("item", item_code=pl.int_range(pl.len(), dtype=pl.Int32))
    kinds = pl.Enum(list(KINDS))
    coded = (
        events.lazy()
        .join(customer_code.lazy(), on="customer", how="left", maintain_order="left")
        .join(item_code.lazy(), on="item", how="left", maintain_order="left")
        .select(
            customer="customer_code",
            day=(pl.col("day").cast(pl.Date) - pl.lit(EPOCH)).dt.total_days().cast(pl.Int32),
            item=pl.col("item_code").fill_null(-1),
            kind=pl.col("kind").cast(kinds).to_physical().cast(pl.Int8),
            channel=pl.col("channel").replace_strict(channels, range(len(channels)), default=-1, return_dtype=pl.Int8),
            order="order",
            quantity="quantity",
            revenue="revenue",
            discount="discount",
        )
        .sort("customer", "day", maintain_order=True)
        .collect()
    )
    return coded.with_columns(_order_number(coded))


def _order_number(coded: pl.DataFrame) -> pl.Series:
    """Number of each purchase's order in its customer, by first appearance; without an order id, a day is an order."""
    purchase = coded["kind"] == KINDS.index("purchase")
    key = pl.struct("customer", "order", pl.when(pl.col("order").is_null()).then("day"))
    rows = coded.lazy().with_row_index("row").filter(purchase)
    first = rows.select("row", "customer", first=pl.col("row").min().over(key)).with_columns(
        number=(pl.col("first") == pl.col("row")).cum_sum().over("customer").cast(pl.Int32) - 1
    )
    starts = first.filter(pl.col("first") == pl.col("row")).select("first", start="number")
    numbered = first.join(starts, on="first", how="left", maintain_order="left").select("row", "start").collect()
    order = np.full(coded.height, -1, np.int32)
    order[numbered["row"].to_numpy()] = numbered["start"].to_numpy()
    return pl.Series("order", order)
