"""Reading of calendar dates: dates, timestamps with or without a zone, epochs."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import polars as pl

from propensity.ingest.rule.number import clean_text

EARLIEST, LATEST = date(1980, 1, 1), date(2100, 1, 1)
ISO = r"^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ].*)?$"
PARTS = r"^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})(?:[T ,].*)?$"
MONTH_NAMES = ("%d-%b-%Y", "%d %b %Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y")
OFFSET = r"^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2})?(?:\.\d+)?\s*(Z|[+-]\d{2}:?\d{2}|UTC)$"
UNITS = {(9, 10): 1_000, (12, 13): 1, (15, 16): 1e-3, (18, 19): 1e-6}  # digits of an epoch -> its unit in milliseconds


class DayFormat(NamedTuple):
    """Format of a column of days."""

    format: str | None = None  # strptime format, if configured
    first: str | None = None  # "day" or "month", whichever comes first in dates such as 13/02/2024
    zone: str | None = None  # time zone of the calendar


def read_day(column: str, dtype: pl.DataType, style: DayFormat) -> pl.Expr:
    """Build an expression that reads calendar dates.

    Parameters
    ----------
    column : str
        Name of the column.
    dtype : polars.DataType
        Type of the column.
    style : DayFormat
        Format of the days.

    Returns
    -------
    polars.Expr
        Date, null where none can be read. Dates and timestamps are used as written; zoned timestamps use their own
        zone unless `style.zone` is set. Whole numbers are yyyymmdd, or seconds, milliseconds, microseconds or
        nanoseconds since 1970, depending on their length.
    """
    value = pl.col(column)
    if dtype == pl.Date:
        return value
    if isinstance(dtype, pl.Datetime):
        shifted = value.dt.convert_time_zone(style.zone) if style.zone and dtype.time_zone else value
        return shifted.dt.date()
    if dtype.is_float():
        value = value.cast(pl.Int64, strict=False)
    text = clean_text(value).str.replace(r"\.0+$", "")
    if style.format is not None:
        return pl.coalesce(
            text.str.to_date(style.format, strict=False), text.str.to_datetime(style.format, strict=False).dt.date()
        )
    readings = [zoned_date(text, style.zone)] if style.zone else []
    readings += [date_from_parts(text, ISO, (1, 2, 3)), compact_date(text), epoch_date(text, style.zone)]
    if style.first:
        readings.append(date_from_parts(text, PARTS, (3, 2, 1) if style.first == "day" else (3, 1, 2)))
    if not dtype.is_numeric():
        readings += [text.str.to_date(name, strict=False) for name in MONTH_NAMES]
    return pl.coalesce(readings)


def date_from_parts(text: pl.Expr, pattern: str, order: tuple[int, int, int]) -> pl.Expr:
    """Build an expression that reads a date from three groups of a pattern.

    Parameters
    ----------
    text : polars.Expr
        Text.
    pattern : str
        Regular expression with three groups.
    order : tuple of int
        Group numbers of year, month and day.

    Returns
    -------
    polars.Expr
        Date; a year of two digits is 20xx.
    """
    year, month, day = (text.str.extract(pattern, group) for group in order)
    year = pl.when(year.str.len_chars() == 2).then(pl.lit("20") + year).otherwise(year)
    return (year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2)).str.to_date("%Y-%m-%d", strict=False)


def compact_date(text: pl.Expr) -> pl.Expr:
    """Build an expression that reads yyyymmdd or yyyymmddhhmmss.

    Parameters
    ----------
    text : polars.Expr
        Text.

    Returns
    -------
    polars.Expr
        Date.
    """
    return text.str.extract(r"^(\d{8})(?:\d{6})?$").str.to_date("%Y%m%d", strict=False)


def epoch_date(text: pl.Expr, zone: str | None) -> pl.Expr:
    """Build an expression that reads a count since 1970.

    Parameters
    ----------
    text : polars.Expr
        Digits; their number determines the unit.
    zone : str or None
        Time zone of the calendar; UTC without one.

    Returns
    -------
    polars.Expr
        Date.
    """
    digits, count = text.str.len_chars(), text.str.extract(r"^(\d{9,19})$").cast(pl.Int64, strict=False)
    milliseconds = [
        pl.when(digits.is_between(*lengths)).then((count * pl.lit(scale)).cast(pl.Int64, strict=False))
        for lengths, scale in UNITS.items()
    ]
    moment = pl.coalesce(milliseconds).cast(pl.Datetime("ms"))
    return moment.dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.date() if zone else moment.dt.date()


def zoned_date(text: pl.Expr, zone: str) -> pl.Expr:
    """Build an expression that reads a timestamp with an offset.

    Parameters
    ----------
    text : polars.Expr
        Text.
    zone : str
        Time zone of the calendar.

    Returns
    -------
    polars.Expr
        Date in `zone`, null for a timestamp without an offset.
    """
    offset = (
        text.str.extract(OFFSET, 4).str.replace("^(Z|UTC)$", "+00:00").str.replace(r"^([+-]\d{2})(\d{2})$", "$1:$2")
    )
    seconds = text.str.extract(OFFSET, 3).fill_null(":00")
    moment = text.str.extract(OFFSET, 1) + "T" + text.str.extract(OFFSET, 2) + seconds + offset
    utc = moment.str.to_datetime("%Y-%m-%dT%H:%M:%S%:z", strict=False, time_zone="UTC")
    return utc.dt.convert_time_zone(zone).dt.date()


def day_order_evidence(column: str) -> list[pl.Expr]:
    """Build expressions that find the order of day and month in a text column.

    Parameters
    ----------
    column : str
        Text column; the frame also needs a column `row`.

    Returns
    -------
    list of polars.Expr
        The first row, with its text, whose date must be day first ("day"), must be month first ("month"), or has this
        form at all ("either").
    """
    text = clean_text(pl.col(column))
    first, second = (text.str.extract(PARTS, group).cast(pl.Int32, strict=False) for group in (1, 2))
    evidence = {
        "day": (first > 12) & (second <= 12),
        "month": (second > 12) & (first <= 12),
        "either": first.is_not_null(),
    }
    return [pl.struct("row", text.alias("text")).filter(mask).first().alias(name) for name, mask in evidence.items()]
