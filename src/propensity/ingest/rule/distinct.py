"""Expressions of costly functions of text, which are computed for distinct values only."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

COLUMN = "value"
MAX_DISTINCT = 0.5  # share of distinct values in a batch from which all are computed
PLAIN = r"[^ -~]|^ | $|^[=<]|@|\.0+$"  # found in a text that normalisation may change
Build = Callable[[pl.Expr], pl.Expr]


def by_distinct(value: pl.Expr, build: Build, dtype: pl.DataType) -> pl.Expr:
    """Build an expression that computes a function of each distinct value of a batch once.

    Parameters
    ----------
    value : polars.Expr
        Values.
    build : callable
        Builds the expression of the function.
    dtype : polars.DataType
        Type of the result.

    Returns
    -------
    polars.Expr
        The function of each value.

    Examples
    --------
    >>> rows = pl.DataFrame({"x": ["A", None, "b", "A"]})
    >>> rows.select(by_distinct(pl.col("x"), lambda x: x.str.to_lowercase(), pl.String())).to_series().to_list()
    ['a', None, 'b', 'a']
    """

    def apply(values: pl.Series) -> pl.Series:
        return computed(values, build, dtype)

    return value.map_batches(apply, return_dtype=dtype, is_elementwise=True)


def computed(values: pl.Series, build: Build, dtype: pl.DataType) -> pl.Series:
    """Compute a function of the distinct values of a series.

    Parameters
    ----------
    values : polars.Series
        Values.
    build : callable
        Builds the expression of the function.
    dtype : polars.DataType
        Type of the result.

    Returns
    -------
    polars.Series
        The function of each value.
    """
    distinct = values.unique()
    if distinct.len() >= MAX_DISTINCT * values.len():
        return values.to_frame(COLUMN).select(build(pl.col(COLUMN)).cast(dtype)).to_series()
    results = distinct.to_frame(COLUMN).select(build(pl.col(COLUMN)).cast(dtype)).to_series()
    return values.replace_strict(distinct, results, return_dtype=dtype)


def is_plain(values: pl.Series) -> bool:
    """Tell whether no text of a series is changed by normalisation, blanks aside.

    Parameters
    ----------
    values : polars.Series
        Texts.

    Returns
    -------
    bool
        True for ASCII without white space around it, marks of addresses and formulas, and zeros behind a point.
    """
    return not values.str.contains(PLAIN).any()
