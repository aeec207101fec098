"""Joins of event columns from several tables; a join neither loses nor duplicates events."""

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
    """Join further tables to the events.

    Parameters
    ----------
    events : list of Delivery
        Files of events.
    joins : sequence of mapping
        Each has `table`, a path, and `by`, the key (or `left` for the key of the events and `right` for that of the
        table), and optionally `columns` to take.
    separator : str
        Field separator of text files.

    Returns
    -------
    list of Delivery
        The events with the columns. Of several rows with one key the last is used. A column that the events already
        have is named `<table>.<column>`.

    Raises
    ------
    ConfigurationError
        If a join lacks a key, or a table or column does not exist.
    """
    for k, join in enumerate(joins):
        setting = f"{SETTING}[{k}]"
        check_keys(join, KEYS, setting)
        left, right = join.get("left") or join.get("by"), join.get("right") or join.get("by")
        if not join.get("table") or not left or not right:
            raise ConfigurationError(f"{setting} needs table and by, or left and right; got {dict(join)}")
        tables = open_files(join["table"], f"{setting}.table", separator)
        other = pl.concat([_by_key(each, right, join, setting) for each in tables], how="diagonal_relaxed")
        events = [_join(each, other, left, tables[0].file.stem.split(".")[0], setting) for each in events]
    return events


def _by_key(table: Delivery, key: str, join: Mapping[str, Any], setting: str) -> pl.LazyFrame:
    """One row of a table for each key, which is text."""
    table.column(key, f"{setting}.by")
    names = join.get("columns") or [name for name in table.schema.names() if name not in (ROW, key)]
    for name in names:
        table.column(name, f"{setting}.columns")
    keyed = table.frame.select(normalised_id(key, table.schema[key]).alias("?key"), *names)
    return keyed.filter(pl.col("?key").is_not_null()).unique("?key", keep="last", maintain_order=True)


def _join(events: Delivery, other: pl.LazyFrame, key: str, name: str, setting: str) -> Delivery:
    """The events with the columns of a table called `name`."""
    events.column(key, f"{setting}.by")
    existing = set(events.schema.names())
    other = other.rename({c: f"{name}.{c}" for c in other.collect_schema().names() if c in existing})
    keyed = events.frame.with_columns(normalised_id(key, events.schema[key]).alias("?key"))
    frame = keyed.join(other, on="?key", how="left", maintain_order="left").drop("?key")
    return replace(events, frame=frame, schema=frame.collect_schema())
