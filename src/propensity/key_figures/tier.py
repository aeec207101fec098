"""Value tiers by net revenue of a window, and how customers and money moved between the tiers of two windows."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from propensity.key_figures.lines import SalesData
from propensity.key_figures.money import UNIT, in_currency, share

TOP, HIGH, MIDDLE, LOW, NONE, NEW = "top", "high", "middle", "low", "inactive", "new"
NAMES = (TOP, HIGH, MIDDLE, LOW)
ORDER = (*NAMES, NONE)
SHARES = (0.1, 0.3, 0.6)  # of the customers with net revenue, from the highest


def tier_of(value: str, shares: Sequence[float] = SHARES) -> pl.Expr:
    """Tier of each row by a column of money, as text.

    Parameters
    ----------
    value : str
        Column; rows at or below 0 are inactive.
    shares : Sequence[float]
        Where high, middle and low begin: shares of the rows above 0, ascending.

    Returns
    -------
    pl.Expr
        A row is in the first tier that its share of rows with more money is below; equal rows share a tier.
    """
    above = pl.col(value) > 0
    better = (pl.when(above).then(pl.col(value)).rank("min", descending=True) - 1) / above.sum()
    tier = pl.lit(NAMES[-1])
    for name, limit in reversed([*zip(NAMES[:-1], shares, strict=True)]):
        tier = pl.when(better < limit).then(pl.lit(name)).otherwise(tier)
    return pl.when(above.fill_null(False)).then(tier).otherwise(pl.lit(NONE))


def tiered(sales: SalesData, shares: Sequence[float]) -> pl.DataFrame:
    """Tier and money of each customer in the last window and in the one before.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.
    shares : Sequence[float]
        See `tier_of`.

    Returns
    -------
    pl.DataFrame
        row, cohort, before and after (net revenue in units), tier_before (new for a first purchase in the last window),
        tier, orders and revenue (in units) of the last window.
    """
    start = sales.day - sales.window
    earlier = sales.between(start - sales.window, start).group_by("row").agg(before=pl.col("revenue").sum())
    bought = ~pl.col("returned")
    later = (
        sales.between(start, sales.day)
        .group_by("row")
        .agg(
            after=pl.col("revenue").sum(),
            window_orders=pl.col("order").filter(bought).n_unique(),
            window_revenue=pl.col("revenue").filter(bought).sum(),
        )
    )
    table = sales.customers.select("row", "cohort", "first").join(earlier, on="row", how="left")
    table = table.join(later, on="row", how="left", maintain_order="left").with_columns(
        pl.col("before", "after", "window_orders", "window_revenue").fill_null(0)
    )
    known = pl.col("first") < start
    # Ranks are of the customers who were there: a customer who is new had no tier before.
    earlier_tiers = table.filter(known).select("row", tier_before=tier_of("before", shares))
    return table.join(earlier_tiers, on="row", how="left", maintain_order="left").with_columns(
        pl.col("tier_before").fill_null(NEW), tier=tier_of("after", shares)
    )


def tiers(table: pl.DataFrame) -> pl.DataFrame:
    """One row per tier of the last window.

    Parameters
    ----------
    table : pl.DataFrame
        Result of `tiered`.

    Returns
    -------
    pl.DataFrame
        tier, customers, share, orders, revenue, net_revenue, net_revenue_share, average_order_value,
        net_revenue_per_customer.
    """
    known = table.group_by("tier").agg(
        customers=pl.len(),
        orders=pl.col("window_orders").sum(),
        revenue=pl.col("window_revenue").sum(),
        net_revenue=pl.col("after").sum(),
    )
    listed = pl.DataFrame({"tier": ORDER}).join(known, on="tier", how="left", maintain_order="left").fill_null(0)
    return listed.with_columns(
        in_currency("revenue"),
        in_currency("net_revenue"),
        share=share("customers", pl.col("customers").sum()),
        net_revenue_share=share("net_revenue", pl.col("net_revenue").sum()),
        average_order_value=share("revenue", "orders") / UNIT,
        net_revenue_per_customer=share("net_revenue", "customers") / UNIT,
    )


def migration(table: pl.DataFrame) -> pl.DataFrame:
    """Customers and money by tier of the earlier and of the last window.

    Parameters
    ----------
    table : pl.DataFrame
        Result of `tiered`.

    Returns
    -------
    pl.DataFrame
        tier_before, tier, movement (new, up, down, stayed, lost, returned), customers, before, after and change (net
        revenue).
    """
    flows = table.group_by("tier_before", "tier").agg(
        customers=pl.len(), before=pl.col("before").sum(), after=pl.col("after").sum()
    )
    place = {name: k for k, name in enumerate((*ORDER, NEW))}
    at, to = (pl.col(name).replace_strict(place, return_dtype=pl.Int64) for name in ("tier_before", "tier"))
    movement = (
        pl.when(pl.col("tier_before") == NEW)
        .then(pl.lit("new"))
        .when(at == to)
        .then(pl.lit("stayed"))
        .when(pl.col("tier") == NONE)
        .then(pl.lit("lost"))
        .when(pl.col("tier_before") == NONE)
        .then(pl.lit("returned"))
        .when(to < at)
        .then(pl.lit("up"))
        .otherwise(pl.lit("down"))
    )
    return (
        flows.with_columns(movement=movement, change=pl.col("after") - pl.col("before"), _at=at, _to=to)
        .sort("_at", "_to")
        .with_columns(in_currency(name) for name in ("before", "after", "change"))
        .select("tier_before", "tier", "movement", "customers", "before", "after", "change")
    )


MOVEMENTS = ("new", "returned", "up", "stayed", "down", "lost")


def waterfall(table: pl.DataFrame) -> pl.DataFrame:
    """Net revenue of the earlier window, what each movement changed, and net revenue of the last window.

    Parameters
    ----------
    table : pl.DataFrame
        Result of `tiered`.

    Returns
    -------
    pl.DataFrame
        step (before, the `MOVEMENTS`, after), customers, amount (net revenue, a change for movements). The changes and
        the first amount add up to the last.
    """
    flows = migration(table)
    by_movement = dict(flows.group_by("movement").agg(pl.col("customers").sum()).iter_rows())
    units = table.join(
        flows.select("tier_before", "tier", "movement"), on=["tier_before", "tier"], how="left"
    ).group_by("movement")
    changes = dict(units.agg((pl.col("after") - pl.col("before")).sum()).iter_rows())
    rows = [("before", int((table["before"] != 0).sum()), int(table["before"].sum()))]
    rows += [(name, by_movement.get(name, 0), changes.get(name, 0)) for name in MOVEMENTS]
    rows.append(("after", int((table["after"] != 0).sum()), int(table["after"].sum())))
    frame = pl.DataFrame(rows, schema=["step", "customers", "amount"], orient="row")
    return frame.with_columns(in_currency("amount"))
