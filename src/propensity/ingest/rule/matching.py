"""Comparison of ids between tables: one normal form, and a refusal where they do not match."""

from __future__ import annotations

import numpy as np
import polars as pl

from propensity.errors import DataError
from propensity.ingest.rule.identity import normalised_id

ENOUGH = 0.5  # share of the ids that must match


def normal_ids(ids: pl.Series) -> pl.Series:
    """Ids in the form in which they are compared: text without blanks around it; a whole number has no decimals.

    Examples
    --------
    >>> normal_ids(pl.Series([7.0, None])).to_list(), normal_ids(pl.Series([" 7", "7.0"])).to_list()
    (['7', None], ['7', '7'])
    """
    column = ids if ids.dtype.is_numeric() else ids.cast(pl.String)
    return pl.DataFrame({"id": column}).select(normalised_id("id", column.dtype)).to_series()


def rows_of(ids: pl.Series, known: pl.Series) -> np.ndarray:
    """Row of each id among the known ones.

    Parameters
    ----------
    ids : pl.Series
        n ids, of any type.
    known : pl.Series
        N ids. Leading zeros count only where two of them differ in nothing else.

    Returns
    -------
    np.ndarray
        (n,) int64, -1 for an id that is not known.

    Examples
    --------
    >>> rows_of(pl.Series([7, 9]), pl.Series(["007", "008"]))
    array([ 0, -1])
    """
    one, other = normal_ids(ids), normal_ids(known)
    bare = other.str.replace(r"^0+(\d)", "$1")
    if bare.n_unique() == other.n_unique():
        one, other = one.str.replace(r"^0+(\d)", "$1"), bare
    place = pl.DataFrame({"id": other}).with_row_index("row").unique("id", keep="first")
    rows = pl.DataFrame({"id": one}).join(place, on="id", how="left", maintain_order="left")["row"]
    return rows.cast(pl.Int64).fill_null(-1).to_numpy()


def as_written(ids: pl.Series, known: pl.Series) -> pl.Series:
    """Write ids as the known ones are written.

    Parameters
    ----------
    ids : pl.Series
        n ids, of any type.
    known : pl.Series
        N ids.

    Returns
    -------
    pl.Series
        n ids of the type of `known`; those that are not known as they are.

    Examples
    --------
    >>> as_written(pl.Series([7, 9]), pl.Series(["007", "008"])).to_list()
    ['007', '9']
    """
    row = rows_of(ids, known)
    place = pl.select(pl.when(pl.Series(row) >= 0).then(pl.Series(row))).to_series()
    return known.gather(place).fill_null(ids.cast(known.dtype)).alias(ids.name)


def require_match(ids: pl.Series, known: pl.Series, name: str, other: str) -> None:
    """Refuses a table whose ids are not those of the known customers.

    Parameters
    ----------
    ids : pl.Series
        Ids of the table.
    known : pl.Series
        Ids of the customers.
    name, other : str
        Of the table and of the customers, for the message.

    Raises
    ------
    DataError
        If under half of the ids match, counted against the smaller of the two.
    """
    own, customers = ids.drop_nulls().unique(), known.drop_nulls().unique()
    smaller = min(own.len(), customers.len())
    matched = int((rows_of(own, customers) >= 0).sum())
    if smaller and matched < ENOUGH * smaller:
        raise DataError(
            f"{matched} of {own.len()} customers of {name} are among the {customers.len()} of {other} (such as "
            f"{own.sort()[0]} and {customers.sort()[0]}); write the ids of both in the same way"
        )
