"""Tables of customers or items of two deliveries as one."""

from __future__ import annotations

import numpy as np
import polars as pl


def merged_vocabulary(old: pl.DataFrame, new: pl.DataFrame, key: str, described: bool) -> pl.DataFrame:
    """Merge the tables of two deliveries.

    Parameters
    ----------
    old, new : polars.DataFrame
        Rows of each delivery, with their ids in the column `key` and perhaps `known`.
    key : {"customer", "item"}
        Column of the ids.
    described : bool
        Whether the later delivery has a table of its own.

    Returns
    -------
    polars.DataFrame
        Sorted rows of both tables; an id in both has the new attributes if `described`, and the earlier `known`.
        Otherwise the first description is kept, as in a log that is built from all events at once.
    """
    both = pl.concat([old, new.cast({key: old.schema[key]})], how="diagonal_relaxed")
    names = [name for name in both.columns if name not in (key, "known")]
    attributes = [pl.col(name).drop_nulls().last() if described else pl.col(name).first() for name in names]
    known = [pl.col("known").min()] if "known" in both.columns else []
    return both.group_by(key).agg(*attributes, *known).sort(key).select(both.columns)


def rows_in(ids: pl.DataFrame, table: pl.DataFrame, key: str) -> np.ndarray:
    """Row of each id in a table.

    Parameters
    ----------
    ids, table : polars.DataFrame
        Rows with their ids in the column `key`, distinct in `table`.
    key : str
        Column of the ids.

    Returns
    -------
    numpy.ndarray of int64
        Rows, -1 for an id that is not there.
    """
    place = table.select(key).with_row_index("row")
    rows = ids.select(key).join(place, on=key, how="left", maintain_order="left")["row"]
    return rows.cast(pl.Int64).fill_null(-1).to_numpy()
