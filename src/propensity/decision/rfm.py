"""Recency, frequency, monetary value and related features of customers as of a day, for segments and conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.decision.condition import rows_where
from propensity.decision.history import PurchaseHistory
from propensity.errors import ConfigurationError
from propensity.kernel.event import PURCHASE

YEAR, QUARTER = 364, 91
FEW_VALUES = 8  # of an item column, up to which each value gets a share of spend
PRIVATE_COLUMNS = ("brand", "label")  # words in the names of item columns that tell private label
PRIVATE_VALUES = (
    *("private", "private label", "own", "own brand", "own label", "store brand", "house brand"),
    *("eigenmarke", "handelsmarke", "marque propre", "marca propria", "marca blanca", "sajátmárka", "saját márka"),
)
TEXT = (pl.String, pl.Categorical, pl.Enum, pl.Boolean)
ROUNDING = 0.01  # money below which spend is none
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


class CustomerTable(NamedTuple):
    """Features of the customers who bought before a day.

    Attributes
    ----------
    row : np.ndarray
        (n,) rows of the log.
    table : pl.DataFrame
        n rows: customer_id and one column per feature.
    share_labels : dict[str, str]
        Columns of shares of spend, to the name of the share or ``<item column> <value>``.
    """

    row: np.ndarray
    table: pl.DataFrame
    share_labels: dict[str, str]


def customer_table(history: PurchaseHistory, shares: Mapping[str, str] | None) -> CustomerTable:
    """Features of every customer with a purchase before the day of the history.

    Parameters
    ----------
    history : PurchaseHistory
        The log, its offers and the day.
    shares : Mapping[str, str] or None
        Name to SQL condition on items: the column ``<name>_share`` is the share of the last year's spend on items for
        which it holds. None: ``<column>_<value>_share`` for each value of each text column of the items that has 2 to
        8 values.

    Returns
    -------
    CustomerTable
        Columns of `kernel.customer.customer_columns` (orders, spend, recency, tenure and others), ``spend_rank`` (share
        of the customers with less spend in 91 days, in [0, 1]), and of the last year's purchases: ``top_share`` (of
        spend on the offer with the highest), ``offers`` (how many were bought), ``season_share`` (of spend in the
        calendar quarter with the highest), ``channel_<name>`` (of purchases through a channel), the shares, and without
        `shares` ``private_label_share`` where an item column tells private label (`private_label`).

    Raises
    ------
    ConfigurationError
        If a condition of `shares` cannot be applied to the items.
    """
    row = history.purchasers()
    features = pl.DataFrame(history.customer_features(row)).with_row_index("place")
    lines = purchase_lines(history, row)
    masks, labels = item_masks(history.log.items, shares)
    if shares is None and (own := private_label(history.log.items)) is not None:
        masks["private_label_share"] = own
    parts = [concentration(history, lines), seasonality(lines), *([spend_shares(lines, masks)] if masks else [])]
    if history.log.meta.get("channels"):
        parts.append(channel_shares(history, lines))
    for part in parts:
        features = features.join(part, on="place", how="left", maintain_order="left")
    rank = (pl.col("spend_91").rank("min") - 1) / max(row.size - 1, 1)
    ids = pl.Series("customer_id", history.log.customer_id[row])
    table = features.with_columns(spend_rank=rank).drop("place", "masked").fill_nan(None).insert_column(0, ids)
    return CustomerTable(row, table, labels)


def purchase_lines(history: PurchaseHistory, row: np.ndarray) -> pl.DataFrame:
    """Purchase lines of the last year.

    Parameters
    ----------
    history : PurchaseHistory
        The log and the day.
    row : np.ndarray
        (n,) rows of the log; the lines of other customers are left out.

    Returns
    -------
    pl.DataFrame
        One row per line: place (position in `row`), day, item, revenue, channel (code, -1 for none).
    """
    log = history.log
    place = np.full(len(log), -1)
    place[row] = np.arange(row.size)
    event = np.flatnonzero((log.kind == PURCHASE) & (log.day < history.day) & (log.day >= history.day - YEAR))
    owner = log.owner(event)
    event, owner = (part[place[owner] >= 0] for part in (event, owner))
    columns = {name: np.asarray(getattr(log, name))[event] for name in ("day", "item", "revenue", "channel")}
    return pl.DataFrame({"place": place[owner].astype(np.uint32), **columns})


def concentration(history: PurchaseHistory, lines: pl.DataFrame) -> pl.DataFrame:
    """top_share and offers by place."""
    offers = history.offers
    entries = pl.DataFrame({"item": offers.item.astype(np.int32), "offer": offers.item_offer})
    spend = lines.join(entries, on="item").group_by("place", "offer").agg(pl.col("revenue").sum())
    return spend.group_by("place").agg(
        top_share=pl.col("revenue").max() / pl.max_horizontal(pl.col("revenue").sum(), ROUNDING), offers=pl.len()
    )


def seasonality(lines: pl.DataFrame) -> pl.DataFrame:
    """season_share by place."""
    dated = lines.with_columns(quarter=pl.col("day").cast(pl.Date).dt.quarter())
    spend = dated.group_by("place", "quarter").agg(pl.col("revenue").sum())
    return spend.group_by("place").agg(
        season_share=pl.col("revenue").max() / pl.max_horizontal(pl.col("revenue").sum(), ROUNDING)
    )


def item_masks(items: pl.DataFrame, shares: Mapping[str, str] | None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Masks (I,) of items by column of the share, and what each share is called."""
    if shares is not None:
        masks = {f"{n}_share": rows_where(items, rule, f"decision.shares.{n}") for n, rule in shares.items()}
        return masks, {f"{n}_share": n for n in shares}
    masks, labels = {}, {}
    for column, kind in items.schema.items():
        values = items[column].drop_nulls().unique().sort() if column != "item" and kind in TEXT else pl.Series([])
        if 2 <= values.len() <= FEW_VALUES:
            for value in values.cast(pl.String).to_list():
                masks[f"{column}_{value}_share"] = (items[column].cast(pl.String) == value).fill_null(False).to_numpy()
                labels[f"{column}_{value}_share"] = f"{column} {value}"
    return masks, labels


def private_label(items: pl.DataFrame) -> np.ndarray | None:
    """Items of the shop's own brands.

    Parameters
    ----------
    items : pl.DataFrame
        I rows.

    Returns
    -------
    np.ndarray or None
        (I,) bool of the first column that is called after brands or labels and has a value of `PRIVATE_VALUES`, or is
        true or false; None without one.
    """
    for column, kind in items.schema.items():
        words = column.lower().replace("-", "_").split("_")
        if not {*PRIVATE_COLUMNS} & {*words} or kind not in TEXT:
            continue
        if kind == pl.Boolean:
            return items[column].fill_null(False).to_numpy() if {"private", "own"} & {*words} else None
        own = items[column].cast(pl.String).str.to_lowercase().str.strip_chars().is_in(PRIVATE_VALUES)
        if own.any():
            return own.fill_null(False).to_numpy()
    return None


def spend_shares(lines: pl.DataFrame, masks: Mapping[str, np.ndarray]) -> pl.DataFrame:
    """Share of spend on the items of each mask (I,), by place."""
    item = lines["item"].to_numpy()
    inside = {name: pl.Series(mask[item] & (item >= 0)) for name, mask in masks.items()}
    total = pl.max_horizontal(pl.col("revenue").sum(), ROUNDING)
    spend = lines.with_columns(pl.col("revenue").mul(mask).alias(name) for name, mask in inside.items())
    return spend.group_by("place").agg(pl.col(name).sum() / total for name in masks)


def channel_shares(history: PurchaseHistory, lines: pl.DataFrame) -> pl.DataFrame:
    """Share of purchase lines through each channel, by place."""
    names = list(history.log.meta["channels"])
    shares = [(pl.col("channel") == k).mean().alias(f"channel_{name}") for k, name in enumerate(names)]
    return lines.group_by("place").agg(shares)


def feature_matrix(table: pl.DataFrame, names: Sequence[str] | None = None) -> tuple[np.ndarray, list[str]]:
    """Features for distances: the RFM columns of the table, or all its numbers where it has none of them.

    Parameters
    ----------
    table : pl.DataFrame
        n customers; ``customer_id`` is no feature.
    names : Sequence[str], optional
        Columns of numbers to take instead.

    Returns
    -------
    tuple[np.ndarray, list[str]]
        (n, F) float64 and the F names. Long-tailed columns are log1p; missing ages are the column's maximum, missing
        values of other RFM columns 0, and those of further columns the column's median.

    Raises
    ------
    ConfigurationError
        If the table has no column of numbers.
    """
    names = [name for name in (*LOGGED, *PLAIN) if name in table.columns] if names is None else list(names)
    if not names:
        names = [name for name, kind in table.schema.items() if kind.is_numeric() and name != "customer_id"]
    if not names:
        raise ConfigurationError("customers have no column of numbers to make segments from; give log=<folder>")
    columns = []
    for name in names:
        x = table[name].cast(pl.Float64).to_numpy().copy()
        finite = x[np.isfinite(x)]
        x[~np.isfinite(x)] = missing_value(name, finite)
        columns.append(np.log1p(np.maximum(x, 0.0)) if name in LOGGED else x)
    return np.stack(columns, axis=1), names


def missing_value(name: str, finite: np.ndarray) -> float:
    """What stands for a missing value of a column whose other values are `finite` (m,)."""
    if not finite.size:
        return 0.0
    if name in ("recency", "interpurchase_time", "recency_ratio"):
        return float(finite.max())
    return 0.0 if name in (*LOGGED, *PLAIN) else float(np.median(finite))
