"""How customers behaved up to a day: columns for segments, and for conditions that name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.decision.history import PurchaseHistory
from propensity.errors import ConfigurationError
from propensity.kernel.event import PURCHASE

YEAR, QUARTER = 364, 91
# What distances are measured in; columns that grow with the calendar (tenure, penetration) would drift on their own.
LOGGED = (
    "orders_28",
    "orders_91",
    "spend_28",
    "spend_91",
    "recency",
    "interpurchase_time",
    "order_spend",
    "order_lines",
)
PLAIN = ("order_offers", "discount_share", "weekend_share", "return_rate")


class Standing(NamedTuple):
    """row (n,) of the log and table, one row per customer with a purchase before the day: customer_id and columns."""

    row: np.ndarray
    table: pl.DataFrame


def standing(past: PurchaseHistory, shares: Mapping[str, str]) -> Standing:
    """Columns as of the day.

    Of the kernel: orders, spend, recency, tenure (capped at 364) and the rest of `customer_columns`. Of the last year's
    purchases: top_share, of spend in the favourite offer; offers, how many were bought; season_share, of spend in the
    best quarter of the calendar; <name>_share, of spend on items for which the SQL condition `shares[name]` holds;
    channel_<name>, of purchases through a channel.
    """
    row = past.log.purchasers(past.day)
    own = pl.DataFrame(past.behaviour(row)).with_row_index("place")
    lines = purchases(past, row)
    extra = [taste(past, lines), quarters(lines), *(of_items(past, lines, n, rule) for n, rule in shares.items())]
    if past.log.meta.get("channels"):
        extra.append(channels(past, lines))
    for found in extra:
        own = own.join(found, on="place", how="left", maintain_order="left")
    ids = pl.Series("customer_id", past.log.customer_id[row])
    return Standing(row, own.drop("place", "masked").fill_nan(None).insert_column(0, ids))


def purchases(past: PurchaseHistory, row: np.ndarray) -> pl.DataFrame:
    """Lines of the last year: place (among `row`), day, item, revenue, channel."""
    log = past.log
    place = np.full(len(log), -1)
    place[row] = np.arange(row.size)
    kept = np.flatnonzero((log.kind == PURCHASE) & (log.day < past.day) & (log.day >= past.day - YEAR))
    owner = np.searchsorted(log.offsets, kept, side="right") - 1
    columns = {name: np.asarray(getattr(log, name))[kept] for name in ("day", "item", "revenue", "channel")}
    return pl.DataFrame({"place": place[owner].astype(np.uint32), **columns})


def taste(past: PurchaseHistory, lines: pl.DataFrame) -> pl.DataFrame:
    offers = past.offers
    entries = pl.DataFrame({"item": offers.item.astype(np.int32), "offer": offers.item_offer})
    spent = lines.join(entries, on="item").group_by("place", "offer").agg(pl.col("revenue").sum())
    return spent.group_by("place").agg(
        top_share=pl.col("revenue").max() / pl.max_horizontal(pl.col("revenue").sum(), 0.01), offers=pl.len()
    )


def quarters(lines: pl.DataFrame) -> pl.DataFrame:
    dated = lines.with_columns(quarter=pl.col("day").cast(pl.Date).dt.quarter())
    spent = dated.group_by("place", "quarter").agg(pl.col("revenue").sum())
    return spent.group_by("place").agg(
        season_share=pl.col("revenue").max() / pl.max_horizontal(pl.col("revenue").sum(), 0.01)
    )


def of_items(past: PurchaseHistory, lines: pl.DataFrame, name: str, rule: str) -> pl.DataFrame:
    try:
        held = past.log.items.select(pl.sql_expr(rule).cast(pl.Boolean).fill_null(False)).to_series()
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(f"decision.shares.{name} ({rule}) cannot be applied to items: {reason}") from None
    inside = pl.Series(held.to_numpy()[lines["item"].to_numpy()] & (lines["item"].to_numpy() >= 0))
    spent = lines.with_columns(part=pl.col("revenue") * inside).group_by("place")
    return spent.agg((pl.col("part").sum() / pl.max_horizontal(pl.col("revenue").sum(), 0.01)).alias(f"{name}_share"))


def channels(past: PurchaseHistory, lines: pl.DataFrame) -> pl.DataFrame:
    names = list(past.log.meta["channels"])
    shares = [(pl.col("channel") == k).mean().alias(f"channel_{name}") for k, name in enumerate(names)]
    return lines.group_by("place").agg(shares)


def matrix(table: pl.DataFrame) -> tuple[np.ndarray, list[str]]:
    """(n, F) features for distances: long-tailed ones by their logarithm, missing ones at the column's worst."""
    names = [name for name in (*LOGGED, *PLAIN) if name in table.columns]
    if not names:
        names = [name for name, kind in table.schema.items() if kind.is_numeric() and name != "customer_id"]
    if not names:
        raise ConfigurationError("customers have no column of numbers to make segments from; give log=<folder>")
    columns = []
    for name in names:
        x = table[name].cast(pl.Float64).to_numpy().copy()
        known = x[np.isfinite(x)]
        x[~np.isfinite(x)] = (
            known.max() if known.size and name in ("recency", "interpurchase_time", "recency_ratio") else 0.0
        )
        columns.append(np.log1p(np.maximum(x, 0.0)) if name in LOGGED else x)
    return np.stack(columns, axis=1), names
