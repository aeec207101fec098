"""Delivered files as scans with readable columns: where they are, whether they open, what their cells mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from glob import glob
from pathlib import Path

import polars as pl

from propensity.errors import ConfigurationError, DataError

PARQUET = (".parquet", ".pq")
TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".csv.zst")
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


def open_tables(
    path: str, setting: str, wanted: Mapping[str, str], separator: str = ",", infer: bool = False
) -> pl.LazyFrame:
    """The files of `path`, one after the other by name, under their own column names.

    wanted: column -> the setting that asks for it. Cells of text files are text, unless `infer` finds better types
    for all but the wanted. Raises: ConfigurationError for a missing file or column, DataError for an unreadable file.
    """
    frames = [open_table(file, wanted, separator, infer) for file in find_files(path, setting)]
    for file, frame in frames:
        have = frame.collect_schema().names()
        for column, asks in wanted.items():
            if column not in have:
                raise ConfigurationError(
                    f"{asks}={column} is no column of {file}; nearest is {nearest(column, have)!r} of {len(have)}"
                )
    if infer:
        return pl.concat([frame for _, frame in frames], how="diagonal_relaxed")
    return pl.concat([frame.select(*wanted) for _, frame in frames], how="vertical_relaxed")


def find_files(path: str, setting: str) -> list[Path]:
    place = Path(path).expanduser()
    if place.is_dir():
        raise ConfigurationError(f"{setting}={path} is a folder; give a pattern such as {place / '*.parquet'}")
    files = [place] if place.is_file() else sorted(Path(name) for name in glob(str(place), recursive=True))
    if not files:
        raise ConfigurationError(f"{setting}={path} finds no file; correct the path, which starts at {Path.cwd()}")
    for file in files:
        if not file.name.lower().endswith(PARQUET + TEXT):
            raise ConfigurationError(
                f"{setting}={file} is neither CSV nor Parquet by its name; use {' or '.join(PARQUET[:1] + TEXT[:1])}"
            )
    return files


def open_table(file: Path, wanted: Collection[str], separator: str, infer: bool) -> tuple[Path, pl.LazyFrame]:
    """A scan whose columns are known; a file that does not get that far is a DataError."""
    try:
        if file.stat().st_size == 0:
            raise DataError(f"{file} is empty (0 bytes); deliver it again")
        if file.name.lower().endswith(PARQUET):
            frame = pl.scan_parquet(file)
        elif infer:
            typed = dict.fromkeys(wanted, pl.String)
            frame = pl.scan_csv(file, separator=separator, infer_schema_length=None, schema_overrides=typed)
        else:
            frame = pl.scan_csv(file, separator=separator, infer_schema=False)
        frame.collect_schema()
    except UNREADABLE as error:
        raise unreadable(str(file), error) from None
    return file, frame


def collect(frame: pl.LazyFrame, path: str) -> pl.DataFrame:
    """Runs a scan of `path`; a file that turns out to be damaged further down is a DataError."""
    try:
        return frame.collect(engine="streaming")
    except UNREADABLE as error:
        raise unreadable(path, error) from None


def unreadable(path: str, error: BaseException) -> DataError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
    return DataError(f"{path} cannot be read ({reason}); deliver it again")


def nearest(name: str, names: Collection[str]) -> str:
    """The name most like `name`, whatever the case."""
    lower = {candidate.lower(): candidate for candidate in names}
    close = get_close_matches(name.lower(), lower, n=1, cutoff=0.0)
    return lower[close[0]] if close else ""


def identity(column: str, dtype: pl.DataType) -> pl.Expr:
    """An id: whole numbers stay numbers, all else is text; blanks are null."""
    value = pl.col(column)
    if dtype.is_integer():
        return value
    if dtype.is_float():  # whole numbers that met a missing value on their way here
        return pl.when(value == value.floor()).then(value).cast(pl.Int64, strict=False)
    text = value.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def attribute(column: str, dtype: pl.DataType) -> pl.Expr:
    """A number as it is, anything else as text; blanks are null."""
    return pl.col(column) if dtype.is_numeric() else identity(column, dtype).alias(column)


def read_day(column: str, dtype: pl.DataType, day_format: str | None) -> pl.Expr:
    """A calendar date from a date, a timestamp (its date as written), ISO text, yyyymmdd, or text in `day_format`."""
    value = pl.col(column)
    if dtype == pl.Date:
        return value
    if dtype == pl.Datetime:
        return value.dt.date()
    if dtype.is_float():
        value = value.cast(pl.Int64, strict=False)
    text = value.cast(pl.String).str.strip_chars()
    if day_format is not None:
        return text.str.to_date(day_format, strict=False)
    iso = text.str.extract(r"^(\d{4}-\d{2}-\d{2})(?:[T ].*)?$").str.to_date("%Y-%m-%d", strict=False)
    return pl.coalesce(iso, text.str.extract(r"^(\d{8})$").str.to_date("%Y%m%d", strict=False))
