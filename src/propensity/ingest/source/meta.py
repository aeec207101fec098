"""What is known of items and customers: a table of their own, or what the events of their first day say."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from propensity.ingest.rule.identity import clean_attribute
from propensity.ingest.source.delivery import read_attribute_table
from propensity.ingest.source.id_normalisation import IdFormat

PAUSE = 90  # days without a sale after which a code may stand for another product


def attribute_table(
    path: str, setting: str, key: str, column: str, separator: str, ids: IdFormat, dtype: pl.DataType
) -> pl.LazyFrame:
    """A delivered table under the id `key` of the events, which it calls `column`, and its clean attributes."""
    frame = read_attribute_table(path, setting, column, f"{setting[:-1]}_key", separator)
    schema = frame.collect_schema()
    others = [clean_attribute(c, schema[c]) for c in schema.names() if c not in (column, key)]
    found = frame.select(ids.read(column, schema[column]).cast(dtype, strict=False).alias(key), *others)
    return found.filter(pl.col(key).is_not_null())


def table_warnings(frame: pl.LazyFrame, key: str) -> dict[str, int]:
    """What a delivered table has to be said of it."""
    others = [c for c in frame.collect_schema().names() if c != key]
    empty = pl.all_horizontal(pl.col(c).is_null() for c in others) if others else pl.lit(False)
    rows, ids, bare = (
        frame.select(pl.len(), pl.col(key).n_unique().alias("ids"), empty.sum().alias("bare")).collect().row(0)
    )
    found = {f"{key}_described_again": rows - ids}
    if key == "item":
        found["item_without_category"] = bare
    return {code: count for code, count in found.items() if count}


def event_attributes(events: pl.LazyFrame, key: str, columns: Sequence[str]) -> pl.LazyFrame:
    """What the events say of items or customers: one row for each day and different saying, with its first place."""
    said = [pl.col(f"{key}.{c}").alias(c) for c in columns]
    place = pl.col("file").to_physical().cast(pl.Int64) * (1 << 32) + pl.col("row")
    rows = events.filter(pl.col(key).is_not_null()).select(key, "day", *said, place=place)
    return rows.group_by(key, "day", *columns).agg(pl.col("place").min())


def first_day_attributes(
    event_attributes: pl.DataFrame, key: str, columns: Sequence[str]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """One row per item or customer with what is said on its first day, and, of items, when that was.

    Later events say nothing: what is known of an item may not depend on its future.
    """
    day, rows = pl.col("day"), event_attributes.sort("place")
    first = [pl.col(c).filter(day == day.min()).drop_nulls().first() for c in columns]
    again = pl.any_horizontal(pl.col(c).drop_nulls().n_unique() > 1 for c in columns).alias("?again")
    known = [day.min().alias("known")] if key == "item" else []
    found = rows.group_by(key).agg(*first, *known, again).sort(key)
    counts = {f"{key}_described_again": int(found["?again"].sum())}
    if key == "item":
        counts["item_without_category"] = found.filter(pl.all_horizontal(pl.col(c).is_null() for c in columns)).height
        counts["item_reused"] = count_reused_codes(rows, columns[0])
    return found.drop("?again"), {code: count for code, count in counts.items() if count}


def count_reused_codes(event_attributes: pl.DataFrame, column: str) -> int:
    """Items whose description was one until some day and another from PAUSE days later on."""
    days = pl.col("day")
    eras = event_attributes.drop_nulls(column).group_by("item", column).agg(start=days.min(), end=days.max())
    gap = (pl.col("start") - pl.col("end").shift(1).over("item")).dt.total_days()
    return eras.sort("item", "start").filter(gap >= PAUSE)["item"].n_unique()
