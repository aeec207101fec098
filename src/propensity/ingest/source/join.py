"""Events whose columns lie in several tables: each is joined by a key, and no event is lost or doubled by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from propensity.errors import ConfigurationError
from propensity.ingest.rule.identity import normalised_id
from propensity.ingest.source.delivery import ROW, Delivery, check_keys, open_files

KEYS = ("table", "by", "left", "right", "columns", "sum")
SETTING = "data.source.joins"


def join_tables(events: list[Delivery], joins: Sequence[Mapping[str, Any]], separator: str) -> list[Delivery]:
    """The events with the columns of other tables beside their own.

    Each join names a `table`, the key `by` (or `left` of the events and `right` of the table), and, if not all, the
    `columns` to take. Of several rows with one key the last counts. A column that the events have too comes as
    `<table>.<column>`.
    """
    for k, join in enumerate(joins):
        setting = f"{SETTING}[{k}]"
        check_keys(join, KEYS, setting)
        left, right = join.get("left") or join.get("by"), join.get("right") or join.get("by")
        if not join.get("table") or not left or not right:
            raise ConfigurationError(f"{setting} needs table and by, or left and right; got {dict(join)}")
        tables = open_files(join["table"], f"{setting}.table", separator)
        other = pl.concat([_keyed(each, right, join, setting) for each in tables], how="diagonal_relaxed")
        events = [_with(each, other, left, tables[0].file.stem.split(".")[0], setting) for each in events]
    return events


def _keyed(table: Delivery, key: str, join: Mapping[str, Any], setting: str) -> pl.LazyFrame:
    """A table under its key as text, one row each."""
    table.column(key, f"{setting}.by")
    names = join.get("columns") or [name for name in table.schema.names() if name not in (ROW, key)]
    for name in names:
        table.column(name, f"{setting}.columns")
    keyed = table.frame.select(normalised_id(key, table.schema[key]).alias("?key"), *names)
    return keyed.filter(pl.col("?key").is_not_null()).unique("?key", keep="last", maintain_order=True)


def _with(events: Delivery, other: pl.LazyFrame, key: str, name: str, setting: str) -> Delivery:
    events.column(key, f"{setting}.by")
    taken = set(events.schema.names())
    other = other.rename({column: f"{name}.{column}" for column in other.collect_schema().names() if column in taken})
    keyed = events.frame.with_columns(normalised_id(key, events.schema[key]).alias("?key"))
    frame = keyed.join(other, on="?key", how="left", maintain_order="left").drop("?key")
    return replace(events, frame=frame, schema=frame.collect_schema())
