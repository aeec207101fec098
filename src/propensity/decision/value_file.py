"""Files of predicted value and churn: where they lie, the date of their prediction, and their rows by customer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from propensity.data.event_log import to_day
from propensity.data.table_file import own_metadata
from propensity.decision.table import read
from propensity.errors import ConfigurationError, DataError

SUMMARY = "summary.json"
CUTOFF = "propensity.cutoff"  # key of the metadata of a Parquet file


def file_of(given: str, name: str) -> Path:
    """The file of a setting: itself, or `name`.parquet in the folder that the setting names.

    Raises
    ------
    ConfigurationError
        If there is no such file.
    """
    path = Path(given) / f"{name}.parquet" if Path(given).is_dir() else Path(given)
    if not path.is_file():
        raise ConfigurationError(f"no {name} at {path}; give the file or folder that `propensity {name}` wrote")
    return path


def summary_of(path: Path) -> dict[str, Any]:
    """summary.json beside a file; empty where there is none, DataError where it is none."""
    beside = path.parent / SUMMARY
    try:
        known = json.loads(beside.read_text()) if beside.is_file() else {}
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise DataError(f"{beside} is no summary; write it again")
    return known


def predicted_day(path: Path, table: pl.DataFrame) -> int:
    """Day of a prediction: of the column cutoff, of the metadata, or of summary.json beside the file.

    Parameters
    ----------
    path : Path
        The file.
    table : pl.DataFrame
        Its rows.

    Returns
    -------
    int
        Days since 1970-01-01.

    Raises
    ------
    DataError
        If none of them names it, or the file holds several.
    """
    if "cutoff" in table.columns and table.height:
        dates = table["cutoff"].unique()
        if dates.len() > 1:
            raise DataError(f"{path} holds predictions of {dates.len()} cutoffs; give a file for each")
        return to_day(str(dates[0]))
    known = own_metadata(path).get(CUTOFF) if path.suffix == ".parquet" else None
    known = summary_of(path).get("cutoff") if known is None else known
    if known is None:
        raise DataError(f"{path} does not say when it was predicted; add a column cutoff, or {SUMMARY} beside it")
    return to_day(str(known))


def rows_of_file(path: Path, name: str, columns: tuple[str, ...]) -> pl.DataFrame:
    """The rows of a file of predictions.

    Parameters
    ----------
    path : Path
        Parquet or CSV.
    name : str
        Of the setting, for messages.
    columns : tuple[str, ...]
        That it must have.

    Returns
    -------
    pl.DataFrame
        Its rows.

    Raises
    ------
    DataError
        If it lacks a column.
    """
    table = read(str(path), name)
    if lacking := [column for column in columns if column not in table.columns]:
        raise DataError(f"{path} has no column {lacking[0]}, only {', '.join(table.columns)}; name it so")
    return table
