"""Covariates as a matrix: numbers standardised, words as indicators of their levels."""

from __future__ import annotations

import numpy as np
import polars as pl

LEVELS = 20  # levels of a column of words; the rest are one level
OTHER = "(other)"


def design_matrix(table: pl.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Standardised columns without constants.

    Parameters
    ----------
    table : pl.DataFrame
        n rows of numbers, booleans, dates or words.

    Returns
    -------
    np.ndarray
        (n, C) float64, mean 0 and variance 1. A missing number is the mean, with an indicator of its own.
    list of str
        C names, `column=level` for words.

    Examples
    --------
    >>> x, names = design_matrix(pl.DataFrame({"age": [1, 2, 3, 6], "city": ["b", "a", "b", "a"], "one": 1}))
    >>> names, x[:, 1].tolist()
    (['age', 'city=b'], [1.0, -1.0, 1.0, -1.0])
    """
    parts = [part for column in table.iter_columns() for part in _columns(column)]
    values = [(name, standardised(each)) for name, each in parts if np.ptp(each) > 0]
    matrix = np.column_stack([each for _, each in values]) if values else np.zeros((table.height, 0))
    return matrix, [name for name, _ in values]


def standardised(values: np.ndarray) -> np.ndarray:
    """Values (n,) with mean 0 and variance 1."""
    centred = values - values.mean()
    scale = float(np.sqrt(np.mean(centred**2)))
    return centred / scale if scale > 0 else centred


def _columns(column: pl.Series) -> list[tuple[str, np.ndarray]]:
    if column.dtype.is_temporal():
        column = column.to_physical()
    if not column.dtype.is_numeric() and column.dtype != pl.Boolean:
        return _levels(column.cast(pl.String).fill_null("(missing)"))
    values = np.asarray(column.cast(pl.Float64).fill_null(float("nan")).to_numpy(), dtype=np.float64)
    known = np.isfinite(values)
    mean = float(values[known].mean()) if known.any() else 0.0
    missing = [] if known.all() else [(f"{column.name}=(missing)", (~known).astype(np.float64))]
    return [(column.name, np.where(known, values, mean)), *missing]


def _levels(column: pl.Series) -> list[tuple[str, np.ndarray]]:
    """Indicators of the most frequent levels but the first in the alphabet."""
    count = column.value_counts().sort(["count", column.name], descending=[True, False])
    frequent = sorted(count[column.name].head(LEVELS).to_list())
    if count.height > LEVELS:
        column = pl.Series(column.name, [each if each in set(frequent) else OTHER for each in column.to_list()])
        frequent.append(OTHER)
    return [(f"{column.name}={level}", (column == level).to_numpy().astype(np.float64)) for level in frequent[1:]]
