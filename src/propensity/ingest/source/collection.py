"""Scans collected, with errors in words."""

from __future__ import annotations

import csv
import zipfile

import polars as pl

from propensity.errors import DataError

UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, EOFError, csv.Error, zipfile.BadZipFile)


def collect(frame: pl.LazyFrame, path: str) -> pl.DataFrame:
    """Collect a scan.

    Parameters
    ----------
    frame : polars.LazyFrame
        Scan.
    path : str
        Path of the scan, for the error message.

    Returns
    -------
    polars.DataFrame
        The rows.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    try:
        return frame.collect(engine="streaming")
    except UNREADABLE as error:
        raise read_error(path, error) from None


def collect_all(frames: list[pl.LazyFrame], path: str) -> list[pl.DataFrame]:
    """Collect several scans of the same files together.

    Parameters
    ----------
    frames : list of polars.LazyFrame
        Scans.
    path : str
        Path of the scans, for the error message.

    Returns
    -------
    list of polars.DataFrame
        The rows of each scan.

    Raises
    ------
    DataError
        If a file is damaged.
    """
    try:
        return pl.collect_all(frames, engine="streaming")
    except UNREADABLE as error:
        raise read_error(path, error) from None


def read_error(path: str, error: BaseException) -> DataError:
    """Create the error for a file that cannot be read.

    Parameters
    ----------
    path : str
        Path of the file.
    error : BaseException
        Cause.

    Returns
    -------
    DataError
        An error with the first line of the cause.
    """
    reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
    return DataError(f"{path} cannot be read ({reason}); deliver it again")
