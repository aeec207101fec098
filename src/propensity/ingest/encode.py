"""Settled rows of some customers as columns of a log: codes for ids, sorted by customer and day, orders numbered."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.kernel.event import KINDS, PURCHASE
from propensity.kernel.sort import by_customer_and_day, number_orders

NEVER = np.iinfo(np.int32).max


class CodeTable:
    """Distinct values of a column, numbered as they are met; `first` holds the first day of each."""

    def __init__(self, dtype: pl.DataType) -> None:
        self.met = pl.DataFrame(schema={"name": dtype, "first": pl.Int32, "code": pl.Int32})

    def code(self, name: pl.Series, day: pl.Series) -> np.ndarray:
        """Codes of some values, null being -1: (R,) int32."""
        rows = pl.DataFrame({"name": name, "day": day})
        seen = rows.lazy().drop_nulls("name").group_by("name").agg(first=pl.col("day").min()).collect()
        known = seen.join(self.met, on="name", how="left", suffix="_before")
        new = known.filter(pl.col("code").is_null()).sort("name").select("name", "first")
        old = known.filter(pl.col("code").is_not_null()).select("code", earlier="first")
        new = new.with_columns(code=pl.int_range(self.met.height, self.met.height + pl.len(), dtype=pl.Int32))
        met = self.met.join(old, on="code", how="left", maintain_order="left")
        met = met.with_columns(first=pl.min_horizontal("first", "earlier")).drop("earlier")
        self.met = pl.concat([met, new])
        found = rows.join(self.met.select("name", "code"), on="name", how="left", maintain_order="left")
        return found["code"].fill_null(-1).to_numpy()

    def ranks(self, every: pl.Series) -> np.ndarray:
        """Place of each value among `every`, which holds them all, by code."""
        place = pl.DataFrame({"name": every}).with_row_index("place")
        return self.met.join(place, on="name", how="left", maintain_order="left")["place"].to_numpy()


class EncodedEvents(NamedTuple):
    """customer: sorted distinct ids; events: number of each; columns of `COLUMNS`."""

    customer: pl.Series
    events: np.ndarray
    columns: dict[str, np.ndarray]


def encode(rows: pl.DataFrame, items: CodeTable, channels: CodeTable) -> EncodedEvents:
    """The events of some customers in the order of a log; items and channels under codes of their own."""
    day = rows["day"].cast(pl.Date).to_physical()
    customer = rows["customer"].unique().sort()
    owner = _place(rows["customer"], customer).to_numpy()
    kind = rows["kind"].cast(pl.Enum(list(KINDS))).to_physical().cast(pl.Int8).to_numpy()
    code, through = items.code(rows["item"], day), channels.code(rows["channel"], day)
    place = by_customer_and_day(owner, day.to_numpy(), len(customer))
    count = np.bincount(owner, minlength=len(customer))
    columns = {"day": day.to_numpy()[place], "item": code[place], "kind": kind[place], "channel": through[place]}
    columns["order"] = _order_numbers(rows["order"], place, count, columns)
    for name, absent in (("quantity", 1.0), ("revenue", 0.0), ("discount", 0.0)):
        columns[name] = rows[name].fill_null(absent).to_numpy().astype(np.float32)[place]
    return EncodedEvents(customer, count, columns)


def _place(ids: pl.Series, distinct: pl.Series) -> pl.Series:
    """Place of each id among the distinct ones; null stays null."""
    place = pl.DataFrame({"id": distinct}).with_columns(place=pl.int_range(pl.len(), dtype=pl.Int32))
    return pl.DataFrame({"id": ids}).join(place, on="id", how="left", maintain_order="left")["place"]


def _order_numbers(
    order: pl.Series, place: np.ndarray, count: np.ndarray, columns: dict[str, np.ndarray]
) -> np.ndarray:
    if not order.dtype.is_integer():
        order = _place(order, order.drop_nulls().unique())
    offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    named, key = order.is_not_null().to_numpy(), order.fill_null(0).cast(pl.Int64, wrap_numerical=True).to_numpy()
    return number_orders(offsets, columns["kind"] == PURCHASE, named[place], key[place], columns["day"])
