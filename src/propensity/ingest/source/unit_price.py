"""Whether amounts are prices of one unit or totals of a line, by items that were sold in several quantities."""

from __future__ import annotations

import polars as pl


def unit_votes(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Count items whose amounts are prices of one unit, and items whose amounts are totals.

    Parameters
    ----------
    lines : polars.LazyFrame
        Lines with `item`, `units` and `amount`.

    Returns
    -------
    polars.LazyFrame
        One row: `unit` and `total`, numbers of items that were sold in several whole quantities.

    Notes
    -----
    Such an item has fewer distinct amounts than distinct ratios of amount and quantity if the amount is the price of
    one unit, and more if it is a total. Prices may change in between.

    Examples
    --------
    >>> lines = pl.LazyFrame({"item": ["tea"] * 3, "units": [1, 2, 3], "amount": [4.0, 4.0, 4.0]})
    >>> unit_votes(lines).collect().row(0)
    (1, 0)
    """
    units, amount = pl.col("units"), pl.col("amount")
    sold = lines.filter((units > 0) & (units % 1 == 0) & (amount > 0))
    counts = sold.group_by("item").agg(
        several=units.n_unique() > 1,
        amounts=amount.n_unique().cast(pl.Int64),
        ratios=(amount / units).round(2).n_unique().cast(pl.Int64),
    )
    return counts.filter(pl.col("several")).select(
        unit=(pl.col("amounts") < pl.col("ratios")).sum(), total=(pl.col("amounts") > pl.col("ratios")).sum()
    )
