"""Attributes of items and customers, from a table of their own or from their events."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from propensity.data.segment import KNOWN
from propensity.ingest.rule.identity import clean_attribute
from propensity.ingest.source.attribute_table import read_attribute_table
from propensity.ingest.source.id_normalisation import IdFormat

PAUSE = 90  # days without an event after which a code may be reused for another product


def attribute_table(
    path: str,
    setting: str,
    key: str,
    column: str,
    separator: str | None,
    ids: IdFormat,
    dtype: pl.DataType,
    encoding: str | None = None,
) -> pl.LazyFrame:
    """Read a table of items or customers.

    Parameters
    ----------
    path : str
        File or pattern of files.
    setting : str
        Setting of the path, for error messages.
    key : str
        "item" or "customer".
    column : str
        Name of the id column.
    separator : str or None
        Field separator of text files; detected if None.
    ids : IdFormat
        Format of the ids.
    dtype : polars.DataType
        Type of the ids in the events.
    encoding : str, optional
        Encoding of text files that are neither UTF-8 nor UTF-16; detected by default.

    Returns
    -------
    polars.LazyFrame
        The id as `key`, and clean attributes.
    """
    frame = read_attribute_table(path, setting, column, f"{setting[:-1]}_key", separator, encoding)
    schema = frame.collect_schema()
    attributes = [clean_attribute(c, schema[c]) for c in schema.names() if c not in (column, key)]
    table = frame.select(ids.read(column, schema[column]).cast(dtype, strict=False).alias(key), *attributes)
    return table.filter(pl.col(key).is_not_null())


def table_warnings(frame: pl.LazyFrame, key: str) -> dict[str, int]:
    """Count repeated ids and empty descriptions of a table.

    Parameters
    ----------
    frame : polars.LazyFrame
        Table of `attribute_table`.
    key : str
        "item" or "customer".

    Returns
    -------
    dict of str to int
        Number of rows by rule.
    """
    attributes = [c for c in frame.collect_schema().names() if c != key]
    empty = pl.all_horizontal(pl.col(c).is_null() for c in attributes) if attributes else pl.lit(False)
    rows, ids, empty_rows = (
        frame.select(pl.len(), pl.col(key).n_unique().alias("ids"), empty.sum().alias("empty")).collect().row(0)
    )
    counts = {f"{key}_described_again": rows - ids}
    if key == "item":
        counts["item_without_category"] = empty_rows
    return {code: count for code, count in counts.items() if count}


def event_attributes(events: pl.LazyFrame, key: str, columns: Sequence[str]) -> pl.LazyFrame:
    """Collect the distinct descriptions of items or customers in the events.

    Parameters
    ----------
    events : polars.LazyFrame
        Events with columns `<key>.<column>`.
    key : str
        "item" or "customer".
    columns : sequence of str
        Attributes.

    Returns
    -------
    polars.LazyFrame
        One row for each id, day and description, with `place`, its first position in the delivery.
    """
    attributes = [pl.col(f"{key}.{c}").alias(c) for c in columns]
    place = pl.col("file").to_physical().cast(pl.Int64) * (1 << 32) + pl.col("row")
    rows = events.filter(pl.col(key).is_not_null()).select(key, "day", *attributes, place=place)
    return rows.group_by(key, "day", *columns).agg(pl.col("place").min())


def first_day_attributes(
    descriptions: pl.DataFrame, key: str, columns: Sequence[str], of_log: pl.Series | None = None
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Select the description of each item or customer on the first day that describes it.

    Later descriptions are not used, because the attributes of an item must not depend on its future. Rows without any
    attribute, such as those of a table of views, do not describe.

    Parameters
    ----------
    descriptions : polars.DataFrame
        Rows of `event_attributes`.
    key : str
        "item" or "customer".
    columns : sequence of str
        Attributes.
    of_log : polars.Series, optional
        Items of the log that the events are appended to; those without a description here are not counted again.

    Returns
    -------
    table : polars.DataFrame
        One row per id; items have a column `?known`, the first day that describes them, or their first day if none
        does.
    warnings : dict of str to int
        Number of ids by rule.
    """
    day, rows = pl.col("day"), descriptions.sort("place")
    described = pl.any_horizontal(pl.col(c).is_not_null() for c in columns)
    first_day = day.filter(described).min()
    first = [pl.col(c).filter(day == first_day).drop_nulls().first() for c in columns]
    changed = pl.any_horizontal(pl.col(c).drop_nulls().n_unique() > 1 for c in columns).alias("?changed")
    known = [pl.coalesce(first_day, day.min()).alias(KNOWN)] if key == "item" else []
    table = rows.group_by(key).agg(*first, *known, changed).sort(key)
    counts = {f"{key}_described_again": int(table["?changed"].sum())}
    if key == "item":
        empty = table.filter(pl.all_horizontal(pl.col(c).is_null() for c in columns))["item"]
        counted = empty if of_log is None else empty.filter(~empty.cast(of_log.dtype).is_in(of_log.implode()))
        counts["item_without_category"] = counted.len()
        counts["item_reused"] = count_reused_codes(rows, columns[0])
    return table.drop("?changed"), {code: count for code, count in counts.items() if count}


def count_reused_codes(descriptions: pl.DataFrame, column: str) -> int:
    """Count item codes that were reused for another product.

    Parameters
    ----------
    descriptions : polars.DataFrame
        Rows of `event_attributes` of items.
    column : str
        Attribute that identifies the product.

    Returns
    -------
    int
        Items with one value until some day and another value from `PAUSE` days later on.
    """
    days = pl.col("day")
    periods = descriptions.drop_nulls(column).group_by("item", column).agg(start=days.min(), end=days.max())
    pause = (pl.col("start") - pl.col("end").shift(1).over("item")).dt.total_days()
    return periods.sort("item", "start").filter(pause >= PAUSE)["item"].n_unique()
