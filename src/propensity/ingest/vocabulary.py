"""Tables of customers or items of two deliveries as one."""

from __future__ import annotations

import numpy as np
import polars as pl

from propensity.data.consent import consent_channel
from propensity.data.segment import KNOWN


def merged_vocabulary(old: pl.DataFrame, new: pl.DataFrame, key: str, described: bool) -> pl.DataFrame:
    """Merge the tables of two deliveries.

    Parameters
    ----------
    old, new : polars.DataFrame
        Rows of each delivery, with their ids in the column `key` and perhaps `?known`.
    key : {"customer", "item"}
        Column of the ids.
    described : bool
        Whether the later delivery has a table of its own.

    Returns
    -------
    polars.DataFrame
        Sorted rows of both tables; an id in both has the new attributes if `described`, and the earlier `?known`.
        Otherwise it has those of the first row with an attribute, or of the first day where days are known, as in a log
        that is built from all events at once.
    """
    both = pl.concat([old, new.cast({key: old.schema[key]})], how="diagonal_relaxed")
    names = [name for name in both.columns if name not in (key, KNOWN)]
    own = [name for name in names if name != "guest" and not _of_consent(name)]
    filled = pl.any_horizontal(pl.col(name).is_not_null() for name in own) if own else pl.lit(True)
    first_known = pl.col(KNOWN).min()
    if described:
        attributes = [pl.col(name).drop_nulls().last() for name in names]
    elif KNOWN not in both.columns:
        of_row = [pl.col(name).filter(filled).first() for name in own]
        attributes = [*of_row, *(pl.col(name).drop_nulls().first() for name in names if name not in own)]
    else:  # of the first day that has an attribute, which is one of the later delivery where its rows are late
        first_day = pl.col(KNOWN).filter(filled).min()
        first_known = pl.coalesce(first_day, first_known)
        on_first = [pl.col(name).filter(filled & (pl.col(KNOWN) == first_day)).drop_nulls().first() for name in own]
        attributes = [*on_first, *(pl.col(name).drop_nulls().first() for name in names if name not in own)]
    known = [first_known] if KNOWN in both.columns else []
    return both.group_by(key).agg(*attributes, *known).sort(key).select(both.columns)


def _of_consent(column: str) -> bool:
    """Whether a column holds words of consents, or the days beside them."""
    return consent_channel(column) is not None or column.split("_")[0] in ("consented", "withdrawn")


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
