"""Tables of attributes of items or customers, from their files."""

from __future__ import annotations

import polars as pl

from propensity.errors import DataError
from propensity.ingest.source.collection import UNREADABLE, collect, read_error
from propensity.ingest.source.delivery import REPEATED, ROW, Delivery, open_files


def read_attribute_table(
    path: str,
    setting: str,
    key: str,
    key_setting: str,
    separator: str | None = None,
    encoding: str | None = None,
) -> pl.LazyFrame:
    """Open a table of items or customers.

    Parameters
    ----------
    path : str
        File or pattern of files.
    setting : str
        Setting of the path, for error messages.
    key : str
        Column of the ids.
    key_setting : str
        Setting of `key`, for error messages.
    separator : str, optional
        Field separator of text files; detected by default.
    encoding : str, optional
        Encoding of text files that are neither UTF-8 nor UTF-16; detected by default.

    Returns
    -------
    polars.LazyFrame
        All files, sorted by name. In text files the key is text and other types are inferred.

    Raises
    ------
    ConfigurationError
        If there is no file or no column `key`.
    DataError
        If a file cannot be read.
    """
    frames = []
    for each in open_files(path, setting, separator, encoding):
        each.column(key, key_setting)
        _check_repeated(each, setting)
        if each.options is None:
            frames.append(each.frame.drop(ROW))
            continue
        typed = {key: pl.String}
        try:
            frame = pl.scan_csv(
                each.file,
                **each.options,
                infer_schema_length=None,
                schema_overrides=typed,
                truncate_ragged_lines=True,
            )
            frame.collect_schema()
        except UNREADABLE as error:
            raise read_error(str(each.file), error) from None
        frames.append(frame)
    return pl.concat(frames, how="diagonal_relaxed")


def _check_repeated(delivery: Delivery, setting: str) -> None:
    """DataError if two columns of a table have one name and different values."""
    names = delivery.schema.names()
    for name in (each for each in names if f"{each}{REPEATED}" in names):
        differ = pl.col(name).ne_missing(pl.col(f"{name}{REPEATED}")).any()
        if collect(delivery.frame.select(differ), str(delivery.file)).item():
            raise DataError(
                f"{delivery.file} has the column {name} ({setting}) twice, with different values, as columns "
                f"{names.index(name) + 1} and {names.index(f'{name}{REPEATED}') + 1}; rename one of them"
            )
