"""Places of ids in a sorted column, and codes of channels and contacts of a log in a merged one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from propensity.data.contact_key import contact_key, contact_table


def places(ids: pl.Series, table: pl.Series) -> np.ndarray:
    """Place of each id in a sorted column that has all of them."""
    return table.search_sorted(ids.cast(table.dtype)).to_numpy().astype(np.int64)


def find_sorted(ids: pl.Series, known: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Look for ids in a sorted column.

    Parameters
    ----------
    ids : polars.Series
        n ids.
    known : polars.Series
        N sorted ids of the same type.

    Returns
    -------
    at : numpy.ndarray of shape (n,), int64
        Place at which each id is, or would be inserted.
    present : numpy.ndarray of shape (n,), bool
        Whether it is there.

    Examples
    --------
    >>> find_sorted(pl.Series(["b", "c"]), pl.Series(["a", "c"]))
    (array([1, 1]), array([False,  True]))
    """
    at = known.search_sorted(ids).to_numpy().astype(np.int64)
    present = np.zeros(ids.len(), bool)
    inside = np.flatnonzero(at < known.len())
    present[inside] = (known.gather(at[inside]) == ids.gather(inside)).to_numpy()
    return at, present


def channel_codes(old: Sequence[str], new: Sequence[str]) -> np.ndarray:
    """Code in `new` of each channel of `old`, with -1 appended."""
    return np.array([*(new.index(name) for name in old), -1], np.int64)


def merged_contacts(tables: Sequence[pl.DataFrame | None]) -> pl.DataFrame | None:
    """Distinct contacts of some logs, sorted by their keys; None where no log has one."""
    present = [each for each in tables if each is not None]
    return contact_table(contact_key(pl.concat(present)).unique().sort()) if present else None


def changed_codes(codes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns whose codes differ in the merged log; codes: merged code of each code, with -1 appended."""
    return {name: code for name, code in codes.items() if (code[:-1] != np.arange(code.size - 1)).any()}


def contact_codes(old: pl.DataFrame | None, new: pl.DataFrame | None) -> dict[str, np.ndarray]:
    """Code in `new` of each contact of `old`, with -1 appended, under the name of the column; nothing without one."""
    if old is None or new is None:
        return {}
    return {"contact": np.append(places(contact_key(old), contact_key(new)), -1)}
