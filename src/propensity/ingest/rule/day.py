"""Reading of calendar dates: dates, timestamps with or without a zone, epochs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

import polars as pl

from propensity.errors import DataError
from propensity.ingest.rule.distinct import by_distinct
from propensity.ingest.rule.number import MAX_ODD_SHARE, clean_text

EARLIEST, LATEST = date(1980, 1, 1), date(2100, 1, 1)
EXCEL = "excel"  # value of `day_format` for serial dates
EXCEL_EPOCH = date(1899, 12, 30)
SERIAL = (20_000, 80_000)  # serial dates of the years 1954 to 2119
CLEAR_SERIAL = (29_221, 55_000)  # those of 1980 to 2050, which no count of days since 1970 reaches before 2050
SMALLEST_DATE = 19_000_000  # 1900 as yyyymmdd; smaller numbers are durations or serial dates
ISO = r"^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ].*)?$"
POINTED = r"^(\d{4})\. ?(\d{1,2})\. ?(\d{1,2})\."  # such as 2024. 03. 14.
PARTS = r"^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})(?:[T ,].*)?$"
MONTHS = r"(?i)(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
MONTH_NAMES = ("%d-%b-%Y", "%d %b %Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y", "%b %d %Y")
WEEKDAY = r"^(?i)(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+"
HOURS_OF_ZONE = {
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,  # RFC 2822
    "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3,
}  # fmt: skip
ZONE = rf"[Zz]|(?:UTC|GMT|UT)?[+-]\d{{2}}(?::?\d{{2}})?|UTC|GMT|UT|{'|'.join(HOURS_OF_ZONE)}"
CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?(?:\s*([AaPp])\.?[Mm]\.?)?"
MOMENT = rf"^(.*\d\.?)[T ,]\s*{CLOCK}\s*({ZONE})?(?:\s*[\[(].*[\])])?$"  # date, hour, minute, second, half, zone
UNITS = {(9, 10): 1_000, (12, 13): 1, (15, 16): 1e-3, (18, 19): 1e-6}  # digits of an epoch -> its unit in milliseconds


class DayFormat(NamedTuple):
    """Format of a column of days."""

    format: str | None = None  # strptime format, if configured
    first: str | None = None  # "day" or "month", whichever comes first in dates such as 13/02/2024
    zone: str | None = None  # time zone of the calendar
    named: bool = True  # whether a month may be a name
    times_in: str | None = None  # time zone of times without an offset; None for `zone`


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
    if dtype == pl.String:
        return by_distinct(value, lambda text: _written_day(text, style), pl.Date())
    if isinstance(dtype, pl.Datetime):
        if style.zone and style.times_in and not dtype.time_zone:
            value = value.dt.replace_time_zone(style.times_in, ambiguous="earliest", non_existent="null")
            return value.dt.convert_time_zone(style.zone).dt.date()
        shifted = value.dt.convert_time_zone(style.zone) if style.zone and dtype.time_zone else value
        return shifted.dt.date()
    if style.format == EXCEL:
        return pl.coalesce(serial_date(value), _number_day(value, dtype, style))
    if style.format is not None:
        return _written_day(value, style)
    return _number_day(value, dtype, style)


def _number_day(value: pl.Expr, dtype: pl.DataType, style: DayFormat) -> pl.Expr:
    """Date of a number."""
    whole = value.cast(pl.Int64, strict=False) if dtype.is_float() else value
    return calendar_date(clean_text(whole), style, not dtype.is_numeric())


def _written_day(value: pl.Expr, style: DayFormat) -> pl.Expr:
    """Date of a text."""
    text = clean_text(value).str.replace(r"\.0+$", "")
    if style.format == EXCEL:
        return pl.coalesce(serial_date(value), calendar_date(text, style, True))
    if style.format is not None:
        return pl.coalesce(
            text.str.to_date(style.format, strict=False), text.str.to_datetime(style.format, strict=False).dt.date()
        )
    return calendar_date(text, style, True)


def calendar_date(text: pl.Expr, style: DayFormat, words: bool) -> pl.Expr:
    """Build an expression that reads dates in all known formats.

    Parameters
    ----------
    text : polars.Expr
        Text.
    style : DayFormat
        Format of the days.
    words : bool
        Whether the text may be more than digits.

    Returns
    -------
    polars.Expr
        Date. With a time zone, a time with an offset is converted, a time without one is local, and a text with
        anything else behind the date is null, because it may name a zone.
    """
    numbers = [compact_date(text), epoch_date(text, style.zone)]
    if words:
        text = text.str.replace(POINTED, "$1-$2-$3")
    if not words:
        return pl.coalesce([date_from_parts(text, ISO, (1, 2, 3)), *numbers])
    if not style.zone:
        return pl.coalesce([*written_dates(text, style), *numbers])
    head = pl.coalesce(text.str.extract(MOMENT, 1), pl.when(text.str.contains(":", literal=True).not_()).then(text))
    exact = pl.when(head.str.contains(r"[T ,]\s*\d{1,2}:|^\d{4}\S*[T ]|^\d+[-/.]\d+[-/.]\d+[T ,]").not_()).then(head)
    written = pl.coalesce(written_dates(exact, style))
    return pl.coalesce([zoned_date(text, written, style.zone, style.times_in), *numbers])


def written_dates(text: pl.Expr, style: DayFormat) -> list[pl.Expr]:
    """Build expressions that read dates as written.

    Parameters
    ----------
    text : polars.Expr
        Text.
    style : DayFormat
        Format of the days.

    Returns
    -------
    list of polars.Expr
        One date for each format.
    """
    readings = [date_from_parts(text, ISO, (1, 2, 3))]
    if style.first:
        readings.append(date_from_parts(text, PARTS, (3, 2, 1) if style.first == "day" else (3, 1, 2)))
    if style.named:
        name = text.str.replace(WEEKDAY, "").str.replace(rf"[T ,]\s*{CLOCK}.*$", "")
        readings += [name.str.to_date(form, strict=False) for form in MONTH_NAMES]
    return readings


def serial_date(number: pl.Expr) -> pl.Expr:
    """Build an expression that reads Excel's serial dates.

    Parameters
    ----------
    number : polars.Expr
        Days since 1899-12-30, with a fraction for the time.

    Returns
    -------
    polars.Expr
        Date.
    """
    days = number.cast(pl.String).str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    days = pl.when(days.is_between(1, SMALLEST_DATE)).then(days.floor())
    return (days.cast(pl.Int32, strict=False) + pl.lit(EXCEL_EPOCH).cast(pl.Int32)).cast(pl.Date)


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
    whole = text.str.extract(r"^(\d{9,19})(?:\.\d+)?$")
    digits, count = whole.str.len_chars(), whole.cast(pl.Int64, strict=False)
    milliseconds = [
        pl.when(digits.is_between(*lengths)).then((count * pl.lit(scale)).cast(pl.Int64, strict=False))
        for lengths, scale in UNITS.items()
    ]
    moment = pl.coalesce(milliseconds).cast(pl.Datetime("ms"))
    return moment.dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.date() if zone else moment.dt.date()


def zoned_date(text: pl.Expr, written: pl.Expr, zone: str, times_in: str | None = None) -> pl.Expr:
    """Build an expression that converts timestamps to the calendar of a zone.

    Parameters
    ----------
    text : polars.Expr
        Text.
    written : polars.Expr
        Date as written.
    zone : str
        Time zone of the calendar.
    times_in : str, optional
        Time zone of times without an offset.

    Returns
    -------
    polars.Expr
        Date in `zone`; without `times_in`, the date as written without a time or an offset.
    """
    hour, minute, second = (text.str.extract(MOMENT, group).cast(pl.Int64, strict=False) for group in (2, 3, 4))
    half, name = text.str.extract(MOMENT, 5).str.to_lowercase(), text.str.extract(MOMENT, 6).str.to_uppercase()
    hour = pl.when(half.is_null()).then(hour).otherwise(hour % 12 + pl.when(half == "p").then(12).otherwise(0))
    sign = pl.when(name.str.contains("-", literal=True)).then(-1).otherwise(1)
    hours, minutes = (name.str.extract(r"[+-](\d{2}):?(\d{2})?$", k).cast(pl.Int64, strict=False) for k in (1, 2))
    offset = sign * (hours * 60 + minutes.fill_null(0))
    for abbreviation, hours_of_zone in HOURS_OF_ZONE.items():
        offset = pl.when(name == abbreviation).then(60 * hours_of_zone).otherwise(offset)
    seconds = hour * 3600 + minute * 60 + second.fill_null(0) - 60 * offset.fill_null(0)
    utc = (written.cast(pl.Int32).cast(pl.Int64) * 86_400 + seconds) * 1_000
    moment = utc.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.date()
    valid = (hour <= 24) & (minute < 60)
    if times_in is None:
        return pl.when(name.is_null() | hour.is_null()).then(written).when(valid).then(moment)
    clock = ((written.cast(pl.Int32).cast(pl.Int64) * 86_400 + hour * 3600 + minute * 60) * 1_000).cast(
        pl.Datetime("ms")
    )
    local = clock.dt.replace_time_zone(times_in, ambiguous="earliest", non_existent="null")
    shifted = local.dt.convert_time_zone(zone).dt.date()
    return pl.when(hour.is_null()).then(written).when(valid & name.is_null()).then(shifted).when(valid).then(moment)


def day_evidence(column: str, dtype: pl.DataType, prefix: str = "") -> list[pl.Expr]:
    """Build expressions that find the format of a column of days.

    Parameters
    ----------
    column : str
        Column of text or numbers; the frame also needs a column `row`.
    dtype : polars.DataType
        Type of the column.
    prefix : str
        Prefix of the names of the expressions.

    Returns
    -------
    list of polars.Expr
        The number of rows whose date must be day first ("days"), must be month first ("months"), or has this form at
        all ("eithers"), and the first of each with its text; whether months have names; the number of present cells
        and of numbers that are too small for dates, with the smallest and largest of these. Nothing for dates.
    """
    if dtype != pl.String and not dtype.is_numeric():
        return []
    text = clean_text(pl.col(column))
    number = pl.col(column).cast(pl.Float64, strict=False)
    if dtype == pl.String:
        text = by_distinct(pl.col(column), clean_text, pl.String())
        number = by_distinct(pl.col(column), _small_number, pl.Float64())
    small = pl.when((number >= 0) & (number < SMALLEST_DATE)).then(number)
    probes = [small.count().alias("small"), small.min().alias("low"), small.max().alias("high")]
    probes.append(text.count().alias("present"))
    if dtype == pl.String:
        order = by_distinct(pl.col(column), _order_shown, pl.Int8())
        evidence = {"day": order == 1, "month": order == 2, "either": order.is_not_null()}
        cell = pl.struct("row", text.alias("text"))
        probes += [cell.filter(mask).first().alias(name) for name, mask in evidence.items()]
        probes += [mask.sum().alias(f"{name}s") for name, mask in evidence.items()]
        named = by_distinct(pl.col(column), lambda each: clean_text(each).str.contains(MONTHS), pl.Boolean())
        probes.append(named.any().alias("named"))
    return [probe.name.prefix(prefix) for probe in probes]


def _small_number(text: pl.Expr) -> pl.Expr:
    """A number, perhaps with a decimal comma."""
    return clean_text(text).str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)


def _order_shown(text: pl.Expr) -> pl.Expr:
    """What a date of two small numbers and a year shows: 1 day first, 2 month first, 0 neither; null for others."""
    first, second = (clean_text(text).str.extract(PARTS, group).cast(pl.Int32, strict=False) for group in (1, 2))
    shown = pl.when((first > 12) & (second <= 12)).then(1).when((second > 12) & (first <= 12)).then(2).otherwise(0)
    return pl.when(first.is_not_null()).then(shown)


def day_format(
    evidence: Mapping[str, Any],
    place: str,
    form: str | None,
    zone: str | None,
    setting: str = "data.source.columns.day",
    times_in: str | None = None,
) -> DayFormat:
    """Decide the format of a column of days.

    Parameters
    ----------
    evidence : mapping
        Values of `day_evidence`, without their prefix.
    place : str
        File and column, for error messages.
    form, zone : str or None
        Configured format and time zone.
    setting : str
        Setting of the column, for error messages.
    times_in : str, optional
        Time zone of times without an offset.

    Returns
    -------
    DayFormat
        The format. Single cells that contradict the others do not count.

    Raises
    ------
    DataError
        If most cells are durations or serial dates, or the order of day and month is ambiguous.
    """
    style = DayFormat(form, None, zone, times_in=times_in)
    if form is not None or not evidence:
        return style
    if evidence["small"] > 0.5 * evidence["present"]:
        low, high = evidence["low"], evidence["high"]
        if CLEAR_SERIAL[0] <= low and high < CLEAR_SERIAL[1]:
            return style._replace(format=EXCEL)
        if SERIAL[0] <= low and high < SERIAL[1]:
            raise DataError(
                f"{place} holds numbers from {low:g} to {high:g}, which look like serial dates of Excel; "
                "set data.source.day_format=excel"
            )
        raise DataError(
            f"{place} holds numbers from {low:g} to {high:g}, which are not calendar dates; "
            f"map {setting} to a column of dates"
        )
    if "days" not in evidence:
        return style
    return style._replace(first=_date_order(evidence, place), named=bool(evidence["named"]))


def _date_order(evidence: Mapping[str, Any], place: str) -> str | None:
    """Whether day or month comes first in dates such as 13/02/2024; DataError if it is ambiguous."""
    days, months = evidence["days"], evidence["months"]
    fix = "set data.source.day_format, such as %d/%m/%Y or %m/%d/%Y"
    if min(days, months) > MAX_ODD_SHARE * (days + months):
        day, month = evidence["day"], evidence["month"]
        raise DataError(
            f"{place} has {day['text']} in line {day['row'] + 1} and {month['text']} in line {month['row'] + 1}, "
            f"day first and month first in one column; {fix}"
        )
    if not days and not months and evidence["eithers"] > MAX_ODD_SHARE * evidence["present"]:
        either = evidence["either"]
        raise DataError(
            f"{place} has {either['text']} in line {either['row'] + 1}, which may be day first or month first; {fix}"
        )
    return "day" if days > months else "month" if months else None
