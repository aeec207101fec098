"""Who is one customer and what is one item, when a delivery writes ids in several ways, or gives many people one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from propensity.ingest.rule.identity import PADDED, normalised_id
from propensity.ingest.source.delivery import Delivery, collect

GUEST = "guest:"
MIN_SHARED_ROWS = 1_000  # rows below which an id is nobody's but its customer's


@dataclass(frozen=True)
class IdFormat:
    """How an id is written: as a whole number, or as text whose leading zeros and case count or not."""

    numeric: bool = False
    padded: bool = True
    fold: bool = False

    def read(self, column: str, dtype: pl.DataType) -> pl.Expr:
        return normalised_id(column, dtype, self.numeric, self.padded, self.fold)


def detect_id_format(
    column: str, events: Sequence[Delivery], beside: Sequence[pl.DataType], asked: str, fold: bool
) -> IdFormat:
    """How the ids of a column are read: numbers where all files have numbers; otherwise text.

    Leading zeros are kept, unless a table `beside`, or another file, has the same id as a number, or the text itself
    holds one number with and without them. asked: "text" or "number" where that was decided by hand, else "auto".
    """
    kinds = [each.schema[column] for each in events]
    if all(kind.is_numeric() for kind in kinds) and asked != "text":
        return IdFormat(numeric=True)
    if asked != "auto":
        return IdFormat(padded=asked == "text", fold=fold)
    if any(kind.is_numeric() for kind in (*kinds, *beside)):
        return IdFormat(padded=False, fold=fold)
    return IdFormat(padded=not _both_ways(column, events), fold=fold)


def _both_ways(column: str, events: Sequence[Delivery]) -> bool:
    """Whether one number occurs with zeros in front of it and without."""
    found = set[str](), set[str]()
    for each in events:
        text = normalised_id(column, each.schema[column])
        for names, pattern in zip(found, (PADDED, r"^[1-9]\d*$"), strict=True):
            if names is found[1] and not found[0]:
                continue
            rows = each.frame.select(text.alias("id")).filter(pl.col("id").str.contains(pattern))
            names.update(collect(rows.unique(), str(each.file))["id"].to_list())
    return bool({name.lstrip("0") for name in found[0]} & found[1])


def text_for_guests(ids: IdFormat, column: str, events: Sequence[Delivery]) -> IdFormat:
    """Text, where numbers would leave a guest without a name."""
    if not ids.numeric:
        return ids
    missing = (collect(each.frame.select(pl.col(column).is_null().any()), str(each.file)).item() for each in events)
    return replace(ids, numeric=False) if any(missing) else ids


def shared_ids(events: pl.LazyFrame, most_orders: float) -> list[object]:
    """Ids with more orders on an average day of theirs than one person has."""
    busy = (
        events.group_by("customer")
        .agg(rows=pl.len())
        .filter((pl.col("rows") >= MIN_SHARED_ROWS) & pl.col("customer").is_not_null())
    )
    names = busy.collect(engine="streaming")["customer"]
    if not names.len():
        return []
    theirs = events.filter(pl.col("customer").is_in(names.implode()))
    found = theirs.group_by("customer").agg(orders=pl.struct("day", "order").n_unique(), days=pl.col("day").n_unique())
    return found.filter(pl.col("orders") > most_orders * pl.col("days")).collect()["customer"].sort().to_list()


def assign_guest_ids(events: pl.LazyFrame, shared: Sequence[object], ordered: bool, welcome: bool) -> pl.LazyFrame:
    """The events with each order of nobody, or of an id that is shared, under a name of its own if that is `welcome`.

    Adds `?shared` and `?guest`.
    """
    customer, dtype = pl.col("customer"), events.collect_schema()["customer"]
    many = customer.is_in(pl.Series(list(shared), dtype=dtype).implode()).fill_null(False) if shared else pl.lit(False)
    events = events.with_columns(many.alias("?shared"))
    nobody, guest = pl.col("?shared") | customer.is_null(), pl.lit(False)
    own: pl.Expr = pl.when(~nobody).then(customer)
    if ordered and welcome and dtype == pl.String:
        guest = nobody & pl.col("order").is_not_null()
        own = pl.when(guest).then(pl.lit(GUEST) + pl.col("order").cast(pl.String)).otherwise(own)
    return events.with_columns(own.alias("customer"), guest.alias("?guest"))
