"""Which items customers bought in a log, for a delivery that is appended to it; only their events are read."""

from __future__ import annotations

import numpy as np
import polars as pl

from propensity.data.log_folder import UNREADABLE, first_line, log_damage
from propensity.data.log_head import LogHead
from propensity.data.segment import COUNTS, EVENTS, read_table
from propensity.kernel.event import PURCHASE
from propensity.kernel.ragged import positions

PAIR = ["customer", "item"]


def were_bought(head: LogHead, pairs: pl.DataFrame) -> pl.Series:
    """Whether customers bought items in a log.

    Parameters
    ----------
    head : LogHead
        The log.
    pairs : polars.DataFrame
        n rows with `customer`, as the log writes it, and `item`.

    Returns
    -------
    polars.Series
        (n,) bool.

    Raises
    ------
    DamageError
        If the tables of the log cannot be read, or a segment is damaged.

    Notes
    -----
    Of the base the columns `kind` and `item` of these customers are read, of segments those of all.
    """
    pairs = pairs.select(pl.col(PAIR).cast(pl.String))
    parts = [_in_base(head, pairs), *(_in_segment(head, k, pairs) for k in range(len(head.segments.names)))]
    bought = pl.concat(parts).unique().with_columns(bought=True)
    return pairs.join(bought, on=PAIR, how="left", maintain_order="left")["bought"].fill_null(False)


def _in_base(head: LogHead, pairs: pl.DataFrame) -> pl.DataFrame:
    """Those of some pairs that were bought in the base."""
    folder = head.folder
    try:
        customers = pl.read_parquet(folder / "customers.parquet", columns=["customer"]).cast(pl.String)
        items = pl.read_parquet(folder / "items.parquet", columns=["item"]).cast(pl.String)
        offsets, kind, item = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("offsets", "kind", "item"))
        rows = customers.with_row_index("row").join(pairs.select("customer").unique(), on="customer", how="semi")
        start, stop = offsets[rows["row"].to_numpy()], offsets[rows["row"].to_numpy() + 1]
        count = stop - start
        event = positions(start, count)
        owner = np.repeat(np.arange(rows.height), count)
        return _among(pairs, rows["customer"], items["item"], owner, kind[event], item[event])
    except UNREADABLE as error:
        raise log_damage(folder)("", first_line(error)) from None


def _in_segment(head: LogHead, k: int, pairs: pl.DataFrame) -> pl.DataFrame:
    """Those of some pairs that were bought in a segment."""
    customers, items = read_table(head.segments, k, "customers"), read_table(head.segments, k, "items")
    events = read_table(head.segments, k, EVENTS, ["kind", "item"])
    owner = np.repeat(np.arange(customers.height), customers[COUNTS[0]].to_numpy())
    ids = customers["customer"].cast(pl.String), items["item"].cast(pl.String)
    return _among(pairs, *ids, owner, events["kind"].to_numpy(), events["item"].to_numpy())


def _among(
    pairs: pl.DataFrame, customers: pl.Series, items: pl.Series, owner: np.ndarray, kind: np.ndarray, item: np.ndarray
) -> pl.DataFrame:
    """Those of some pairs that are purchases among events; owner, item: rows of their customers and items."""
    sold = np.flatnonzero(kind == PURCHASE)
    owner, item = owner[sold], item[sold]
    known = pl.Series(np.asarray(item), dtype=pl.Int64), pl.Series(np.asarray(owner), dtype=pl.Int64)
    bought = pl.DataFrame({"customer": customers.gather(known[1]), "item": items.gather(known[0])})
    return pairs.join(bought, on=PAIR, how="semi").unique()
