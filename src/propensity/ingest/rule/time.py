"""Reading of times of day as moments in UTC."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from propensity.ingest.rule.day import HOURS_OF_ZONE, UNITS, ZONE, DayFormat, read_day
from propensity.ingest.rule.number import clean_text

DAY = 86_400_000  # milliseconds
TIME = (
    r"(?:^|[T ,])\s*(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:\s*([AaPp])\.?[Mm]\.?)?"
    rf"\s*({ZONE})?(?:\s*[\[(].*[\])])?$"
)  # hour, minute, second, fraction, half, zone


def read_time(column: str, dtype: pl.DataType, style: DayFormat, day: pl.Expr, dated: bool = False) -> pl.Expr:
    """Build an expression that reads the moment of an event.

    Parameters
    ----------
    column : str
        Column of times, or of days with a time.
    dtype : polars.DataType
        Type of the column.
    style : DayFormat
        Format of the days, with the time zone of the shop.
    day : polars.Expr
        Date of the event in the shop's calendar.
    dated : bool
        Whether the column is that of the day too, so that its cells have the date on which the time was written.

    Returns
    -------
    polars.Expr
        Milliseconds since 1970-01-01 UTC, null without a time; their date in the shop's zone is `day`. Without a zone,
        the time as written counts as UTC. Numbers are the fraction of a day, hhmm, hhmmss, yyyymmddhhmmss or an epoch.

    Examples
    --------
    >>> from datetime import date
    >>> rows = pl.DataFrame({"t": ["14:05", "2:05 pm", "1405"], "day": [date(2024, 1, 5)] * 3})
    >>> lisbon = DayFormat(zone="Europe/Lisbon")
    >>> rows.select(read_time("t", rows.schema["t"], lisbon, pl.col("day"))).to_series().to_list()
    [1704463500000, 1704463500000, 1704463500000]
    """
    value = pl.col(column)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return value.dt.epoch("ms") if style.zone else _as_written(value.dt.replace_time_zone(None), day)
    if isinstance(dtype, pl.Datetime):
        return _local(_milliseconds(value), style, day)
    if dtype == pl.Time:
        return _local(value.cast(pl.Int64) // 1_000_000, style, day)
    if dtype == pl.Date:
        return pl.lit(None, pl.Int64)
    text = clean_text(value)
    readings = [_local(_number(text), style, day), *_epoch(text, style, day)]
    if dtype == pl.String:
        written = read_day(column, dtype, style._replace(zone=None, times_in=None)) if dated and style.zone else None
        readings = [*_text(text, style, day, written), *readings]
    return pl.coalesce(readings)


def _milliseconds(moment: pl.Expr) -> pl.Expr:
    """Milliseconds of a naive moment since midnight."""
    return moment.cast(pl.Datetime("ms")).cast(pl.Int64) % DAY


def _as_written(moment: pl.Expr, day: pl.Expr) -> pl.Expr:
    """A naive moment on `day`, counted as UTC."""
    return _start(day) + _milliseconds(moment)


def _start(day: pl.Expr) -> pl.Expr:
    """Midnight of a date, counted as UTC, in milliseconds."""
    return day.cast(pl.Int32).cast(pl.Int64) * DAY


def _local(clock: pl.Expr, style: DayFormat, day: pl.Expr, written: pl.Expr | None = None) -> pl.Expr:
    """The moment at which a clock without an offset shows `clock` milliseconds since midnight on `day`."""
    if style.zone is None:
        return _start(day) + clock
    shop = style.zone
    where = style.times_in or shop
    shifts = (0,) if where == shop or written is not None else (0, -DAY, DAY)
    moments = [
        (_start(day if written is None else written) + clock + shift)
        .cast(pl.Datetime("ms"))
        .dt.replace_time_zone(where, ambiguous="earliest", non_existent="null")
        for shift in shifts
    ]
    if where == shop:
        return moments[0].dt.epoch("ms")
    return pl.coalesce(pl.when(_date_in(each, shop) == day).then(each.dt.epoch("ms")) for each in moments)


def _on_day(utc: pl.Expr, zone: str, day: pl.Expr, written: pl.Expr | None) -> pl.Expr:
    """The moment `utc` milliseconds after midnight of `written` or, without it, so that its date in `zone` is `day`."""
    if written is not None:
        return _start(written) + utc
    moments = [_start(day) + utc % DAY + shift for shift in (0, -DAY, DAY)]
    dates = [_date_in(each.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC"), zone) for each in moments]
    return pl.coalesce(pl.when(own == day).then(each) for each, own in zip(moments, dates, strict=True))


def _date_in(moment: pl.Expr, zone: str) -> pl.Expr:
    """Date of a moment in a zone."""
    return moment.dt.convert_time_zone(zone).dt.date()


def _text(text: pl.Expr, style: DayFormat, day: pl.Expr, written: pl.Expr | None) -> Iterator[pl.Expr]:
    """Readings of a written time, with or without an offset."""
    hour, minute, second = (text.str.extract(TIME, group).cast(pl.Int64, strict=False) for group in (1, 2, 3))
    fraction = text.str.extract(TIME, 4).str.pad_end(3, "0").str.slice(0, 3).cast(pl.Int64, strict=False)
    half, zone = text.str.extract(TIME, 5).str.to_lowercase(), text.str.extract(TIME, 6).str.to_uppercase()
    twelve = half.is_not_null()
    hour = pl.when(~twelve).then(hour).when(hour <= 12).then(hour % 12 + pl.when(half == "p").then(12).otherwise(0))
    valid = (hour < 24) & (minute < 60) & (second.fill_null(0) < 60)
    clock = (hour * 3_600 + minute * 60 + second.fill_null(0)) * 1_000 + fraction.fill_null(0)
    clock = pl.when(valid).then(clock)
    if style.zone:
        sign = pl.when(zone.str.contains("-", literal=True)).then(-1).otherwise(1)
        hours, minutes = (zone.str.extract(r"[+-](\d{2}):?(\d{2})?$", k).cast(pl.Int64, strict=False) for k in (1, 2))
        offset = sign * (hours.fill_null(0) * 60 + minutes.fill_null(0))
        for name, hours_of_zone in HOURS_OF_ZONE.items():
            offset = pl.when(zone == name).then(60 * hours_of_zone).otherwise(offset)
        yield pl.when(zone.is_not_null()).then(_on_day(clock - offset * 60_000, style.zone, day, written))
        clock = pl.when(zone.is_null()).then(clock)
    yield _local(clock, style, day, written)
    if style.format is not None:
        yield _local(_milliseconds(text.str.to_datetime(style.format, strict=False)), style, day)


def _number(text: pl.Expr) -> pl.Expr:
    """Milliseconds since midnight of the fraction of a day, hhmm, hhmmss or yyyymmddhhmmss."""
    part = text.str.extract(r"^\d{0,5}([.,]\d+)$").str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    whole = text.str.replace(r"^(\d+)\.0$", "$1")
    digits = pl.coalesce(
        whole.str.extract(r"^\d{8}(\d{6})$"),
        whole.str.extract(r"^(\d{5,6})$").str.zfill(6),
        whole.str.extract(r"^(\d{1,4})$").str.zfill(4) + "00",
    )
    hour, minute, second = (digits.str.slice(place, 2).cast(pl.Int64, strict=False) for place in (0, 2, 4))
    clock = ((hour * 60 + minute) * 60 + second) * 1_000
    fraction = pl.when(part > 0).then((part * DAY / 1_000).round() * 1_000).cast(pl.Int64) % DAY
    return pl.coalesce(fraction, pl.when((hour < 24) & (minute < 60) & (second < 60)).then(clock))


def _epoch(text: pl.Expr, style: DayFormat, day: pl.Expr) -> Iterator[pl.Expr]:
    """Readings of a count since 1970, by its number of digits."""
    whole = text.str.replace(r"^(\d+)\.0$", "$1")
    count = whole.str.extract(r"^(\d{9,19})$").cast(pl.Int64, strict=False)
    for lengths, scale in UNITS.items():
        factor = int(scale) if scale >= 1 else round(1 / scale)
        moment = count * factor if scale >= 1 else count // factor
        moment = pl.when(whole.str.len_chars().is_between(*lengths)).then(moment)
        yield pl.when(moment.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC").dt.convert_time_zone(
            style.zone or "UTC").dt.date() == day).then(moment)  # fmt: skip
