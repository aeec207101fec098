"""Joins of event columns from several tables; a join neither loses nor duplicates events."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl

from propensity.errors import ConfigurationError, DataError
from propensity.ingest.rule.day import LATEST, DayFormat, read_day
from propensity.ingest.rule.identity import normalised_id
from propensity.ingest.source.collection import collect
from propensity.ingest.source.delivery import ROW, Delivery, open_files
from propensity.ingest.source.known_name import check_keys
from propensity.ingest.source.people import detect_day_format

KEYS = ("table", "by", "left", "right", "columns", "from", "to", "keep")
END = (  # names of columns of the last day on which a row is valid
    r"(?i)^(?:(?:valid|g.?ltig|valide|vigen\w*|geldig)[ _-]*)?(?:to|until|till|thru|through|end|bis|hasta|fin|fine|tot)"
    r"(?:[ _-]*(?:date|datum|fecha|validity))?$|^date[ _-](?:to|end|until|fin)$"
)
NO_END = "none"  # value of `to`
KEEP = ("first", "last")
SETTING = "data.source.joins"
START = date(1, 1, 1)  # before every event


def join_tables(
    events: list[Delivery],
    joins: Sequence[Mapping[str, Any]],
    separator: str | None,
    day: str,
    style: DayFormat,
    needed: Collection[str],
    encoding: str | None = None,
) -> list[Delivery]:
    """Join further tables to the events.

    Parameters
    ----------
    events : list of Delivery
        Files of events.
    joins : sequence of mapping
        Each has `table`, a path, and `by`, the key (or `left` for the key of the events and `right` for that of the
        table), and optionally `columns` to take. `from` names a column of dates from which a row is valid; an event
        gets the row that was valid on its day. `to` names that of the last day, or is none: a row is valid until the
        next one begins. `keep`, first or last, says which row counts if a key has several.
    separator : str, optional
        Field separator of text files.
    day : str
        Column of the day of the events.
    style : DayFormat
        Configured format and time zone of days.
    needed : collection of str
        Columns that the mapping uses.
    encoding : str, optional
        Encoding of text files that are neither UTF-8 nor UTF-16; detected by default.

    Returns
    -------
    list of Delivery
        The events with the columns. A column that the events already have is named `<table>.<column>`.

    Raises
    ------
    ConfigurationError
        If a join lacks a key, or a table or column does not exist.
    DataError
        If a key has several rows with different values of a needed column, and neither `from` nor `keep` is set, or a
        column beside that of `from` has the name of a last day and `to` is not set.
    """
    for k, join in enumerate(joins):
        setting = f"{SETTING}[{k}]"
        check_keys(join, KEYS, setting)
        left, right = join.get("left") or join.get("by"), join.get("right") or join.get("by")
        if not join.get("table") or not left or not right:
            raise ConfigurationError(f"{setting} needs table and by, or left and right; got {dict(join)}")
        if join.get("keep") not in (None, *KEEP):
            raise ConfigurationError(f"{setting}.keep={join['keep']} is unknown; use {' or '.join(KEEP)}")
        if join.get("to") and not join.get("from"):
            raise ConfigurationError(
                f"{setting}.to={join['to']} needs from, the column of the first valid day; set both"
            )
        tables = open_files(join["table"], f"{setting}.table", separator, encoding)
        name = tables[0].file.stem.split(".")[0]
        used = {*needed, *(later.get("left") or later.get("by") for later in joins[k + 1 :])}
        rows = pl.concat([_keyed(each, right, join, setting, style) for each in tables], how="diagonal_relaxed")
        table = _one_row(rows, join, [c for c in used if c], name, f"{join['table']} ({setting})", right)
        events = [_join(each, table, left, name, setting, day if join.get("from") else None, style) for each in events]
    return events


def _keyed(table: Delivery, key: str, join: Mapping[str, Any], setting: str, style: DayFormat) -> pl.LazyFrame:
    """Rows of a table with their key, which is text, and the day from which they are valid."""
    table.column(key, f"{setting}.by")
    names = join.get("columns") or [name for name in table.schema.names() if name not in (ROW, key)]
    for name in names:
        table.column(name, f"{setting}.columns")
    bounds = {"?from": pl.lit(START), "?until": pl.lit(None, pl.Date)}
    if join.get("from"):
        _check_end(table, join, setting)
    for what, alias in (("from", "?from"), ("to", "?until")):
        if (column := join.get(what)) and column != NO_END:
            kind = table.schema[table.column(column, f"{setting}.{what}")]
            bounds[alias] = read_day(column, kind, detect_day_format(table, column, style, f"{setting}.{what}"))
    bounds["?until"] = pl.when(bounds["?until"] < LATEST).then(bounds["?until"])
    rows = table.frame.select(normalised_id(key, table.schema[key]).alias("?key"), *names, **bounds)
    return rows.filter(pl.col("?key").is_not_null())


def _check_end(table: Delivery, join: Mapping[str, Any], setting: str) -> None:
    """DataError if a table has a column of last days that `to` does not name."""
    ends = [name for name in table.schema.names() if re.search(END, name) and name != join["from"]]
    if ends and not join.get("to"):
        raise DataError(
            f"{table.file} has the column {ends[0]} beside {join['from']}; set {setting}.to={ends[0]} if it is the "
            f"last day on which a row is valid, or to={NO_END} if a row is valid until the next one begins"
        )


def _one_row(
    rows: pl.LazyFrame, join: Mapping[str, Any], used: Sequence[str], name: str, place: str, key: str
) -> pl.LazyFrame:
    """One row of a table for each key, or for each key and period with `from`; DataError if several contradict."""
    names = [c for c in rows.collect_schema().names() if c in used or f"{name}.{c}" in used]
    unit = ["?key", "?from"]
    if not join.get("keep") and names:
        differ = [pl.col(c).n_unique() for c in names]
        several = rows.group_by(unit).agg(differ).filter(pl.any_horizontal(pl.col(names) > 1)).sort("?key").head(1)
        for row in collect(several, place).iter_rows(named=True):
            column = next(c for c in names if row[c] > 1)
            raise DataError(
                f"{place} has several rows for {key}={row['?key']}, with {row[column]} values of {column}; set from to "
                "the column of the date from which a row is valid, or keep to first or last"
            )
    single = rows.unique(unit, keep=join.get("keep") or "last", maintain_order=True)
    if not join.get("from"):
        return single.drop("?from", "?until")
    periods = collect(single, place).sort(unit, maintain_order=True)
    if undated := periods["?from"].null_count():
        raise DataError(f"{place} has {undated} rows without a readable date in {join['from']}; deliver it again")
    following = pl.col("?from").shift(-1).over("?key").alias("?next")
    periods = periods.with_columns(following).with_columns(
        pl.min_horizontal("?next", pl.col("?until") + pl.duration(days=1)).alias("?to")
    )
    before = periods.group_by("?key").agg(pl.col("?from").min().alias("?to")).with_columns(pl.lit(START).alias("?from"))
    before = before.filter(pl.col("?to") > START)
    ends = pl.col("?to").is_not_null() & (pl.col("?next").is_null() | (pl.col("?to") < pl.col("?next")))
    gaps = periods.filter(ends).select("?key", pl.col("?to").alias("?from"), pl.col("?next").alias("?to"))
    return pl.concat([periods.drop("?next", "?until"), before, gaps], how="diagonal").lazy()


def _join(
    events: Delivery, other: pl.LazyFrame, key: str, name: str, setting: str, day: str | None, style: DayFormat
) -> Delivery:
    """The events with the columns of a table called `name`, valid on the column `day` if it is set."""
    events.column(key, f"{setting}.by")
    existing = set(events.schema.names())
    other = other.rename({c: f"{name}.{c}" for c in other.collect_schema().names() if c in existing})
    keyed = events.frame.with_columns(normalised_id(key, events.schema[key]).alias("?key"))
    if day is not None:
        kind = events.schema[events.column(day, "data.source.columns.day")]
        form = detect_day_format(events, day, style, "data.source.columns.day")
        keyed = keyed.with_columns(read_day(day, kind, form).fill_null(START).alias("?day"))
    frame = keyed.join(other, on="?key", how="left", maintain_order="left")
    if day is not None:
        valid = (pl.col("?from") <= pl.col("?day")) & (pl.col("?to").is_null() | (pl.col("?day") < pl.col("?to")))
        frame = frame.filter(pl.col("?from").is_null() | valid).drop("?from", "?to", "?day")
    frame = frame.drop("?key")
    return replace(events, frame=frame, schema=frame.collect_schema())
