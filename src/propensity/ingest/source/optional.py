"""Optional columns of events: times, costs, and the contact that an event belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import polars as pl

from propensity.data.contact import CONTACT_COLUMNS
from propensity.ingest.rule.day import DayFormat
from propensity.ingest.rule.identity import normalised_id
from propensity.ingest.rule.number import clean_text
from propensity.ingest.rule.screen import is_storable
from propensity.ingest.rule.time import read_time

NUMBERS = ("cost", "probability")  # amounts, which are read as those of sales
Read = Callable[[str], pl.Expr]  # from a column of the contract to its number


class TimeColumn(NamedTuple):
    """A column of times."""

    name: str
    type: pl.DataType
    is_day: bool  # whether it is the column of days too
    style: DayFormat  # of days


def optional_cells(columns: Mapping[str, str], schema: pl.Schema, read: Read) -> list[pl.Expr]:
    """Build expressions that read the optional columns of a file, apart from times.

    Parameters
    ----------
    columns : mapping of str to str
        Column of the contract -> column of the file.
    schema : polars.Schema
        Columns of the file.
    read : callable
        Builds the expression of a number.

    Returns
    -------
    list of polars.Expr
        `cost`, `probability`, `campaign`, `offer`, `arm` and `experiment`, those that are mapped, and flags of values
        that cannot be used.
    """
    cells = [
        normalised_id(columns[name], schema[columns[name]], numeric=schema[columns[name]].is_integer())
        .cast(pl.String)
        .alias(name)
        for name in CONTACT_COLUMNS
        if name in columns
    ]
    for name in NUMBERS:
        if name not in columns:
            continue
        number, text = read(name).cast(pl.Float64, strict=False), clean_text(pl.col(columns[name]))
        valid = is_storable(number)
        if name == "probability":
            percent = text.str.ends_with("%").fill_null(False)
            number = pl.when(percent).then(number / 100).otherwise(number)
            valid = valid & (number.cast(pl.Float32) > 0).fill_null(False) & (number <= 1).fill_null(False)
        cells.append(pl.when(valid).then(number).alias(name))
        cells.append((text.is_not_null() & ~valid).alias(f"?{name}_unreadable"))
    return cells


def with_time(events: pl.LazyFrame, column: TimeColumn) -> pl.LazyFrame:
    """Add the time of each event.

    Parameters
    ----------
    events : polars.LazyFrame
        Events with their `day` as written, and the column of times.
    column : TimeColumn
        The column.

    Returns
    -------
    polars.LazyFrame
        The events with `time`, null without one, and a flag of times that cannot be read.
    """
    text = clean_text(pl.col(column.name))
    written = text.str.contains(":", literal=True).fill_null(False) if column.is_day else text.is_not_null()
    time = read_time(column.name, column.type, column.style, pl.col("day"), column.is_day)
    events = events.with_columns(time.alias("time"))
    return events.with_columns(
        (written & pl.col("time").is_null() & pl.col("day").is_not_null()).alias("?time_unreadable")
    )


def settled_values(events: pl.LazyFrame, per_unit: bool) -> pl.LazyFrame:
    """Convert costs to the currency of the log, and take the time off events that became available later.

    Parameters
    ----------
    events : polars.LazyFrame
        Events whose kinds, quantities and days are final.
    per_unit : bool
        Whether the cost is that of one unit.

    Returns
    -------
    polars.LazyFrame
        The events; the cost of a return is negative.
    """
    names = events.collect_schema().names()
    columns = {}
    if "cost" in names:
        units = pl.when(pl.col("kind").is_in(["purchase", "return"])).then(pl.col("quantity").abs()).otherwise(1.0)
        total = pl.col("cost") * pl.col("?rate") * (units if per_unit else 1.0)
        total = pl.when(pl.col("kind") == "return").then(-total.abs()).otherwise(total)
        columns["cost"] = pl.when(is_storable(total)).then(total)
    if "time" in names:
        columns["time"] = pl.when(~pl.col("?late")).then("time")
    return events.with_columns(**columns)
