"""Which items customers bought in a log, for a delivery that is appended to it; only their events are read."""

from __future__ import annotations

import polars as pl

from propensity.data.earlier_event import earlier_events
from propensity.data.log_head import LogHead
from propensity.kernel.event import PURCHASE

PAIR = ["customer", "item"]


def were_bought(head: LogHead, pairs: pl.DataFrame) -> pl.Series:
    """Whether customers bought items in a log.

    Parameters
    ----------
    head : LogHead
        The log.
    pairs : polars.DataFrame
        n rows with `customer`, as the log writes it, `item` and `day` (Date): purchases until then count.

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
    Of the base the columns `day`, `kind` and `item` of these customers are read, of segments those of all.
    """
    pairs = pairs.select(pl.col(PAIR).cast(pl.String), pl.col("day").cast(pl.Date).to_physical())
    sold = earlier_events(head, pairs.select("customer").unique(), ["day", "kind", "item"]).filter(kind=PURCHASE)
    first = sold.group_by(PAIR).agg(first=pl.col("day").min())
    both = pairs.join(first, on=PAIR, how="left", maintain_order="left")
    return both.select((pl.col("first") <= pl.col("day")).fill_null(False)).to_series()
