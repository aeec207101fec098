"""Cohorts by first purchase: size, repeat rate, value, and retention by age."""

from __future__ import annotations

import polars as pl

from propensity.key_figures.lines import SalesData, period_number, period_start
from propensity.key_figures.money import in_currency, share


def cohorts(sales: SalesData) -> pl.DataFrame:
    """One row per cohort.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.

    Returns
    -------
    pl.DataFrame
        cohort (first day of the period of the first purchase), customers, repeat_customers, repeat_rate, orders,
        revenue, net_revenue, net_revenue_per_customer, average_order_value, and margin where costs are known.
    """
    table = sales.customers.group_by("cohort").agg(
        customers=pl.len(),
        repeat_customers=(pl.col("orders") >= 2).sum(),
        orders=pl.col("orders").sum(),
        revenue=pl.col("revenue").sum(),
        net_revenue=pl.col("net").sum(),
        margin=(pl.col("costed") - pl.col("cost")).sum(),
    )
    table = table.sort("cohort").with_columns(in_currency(name) for name in ("revenue", "net_revenue", "margin"))
    table = table.with_columns(
        repeat_rate=share("repeat_customers", "customers"),
        net_revenue_per_customer=share("net_revenue", "customers"),
        average_order_value=share("revenue", "orders"),
    )
    return table if sales.has_cost else table.drop("margin")


def retention(sales: SalesData) -> pl.DataFrame:
    """One row per cohort and age in periods.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.

    Returns
    -------
    pl.DataFrame
        cohort, age (0 is the period of the first purchase), customers (of the cohort), active (of them, with a purchase
        in the period), share, orders, net_revenue, cumulative_net_revenue, and complete: whether the period ended
        before the cutoff. Ages without an active customer are there, up to the period of the cutoff.
    """
    lines = sales.lines.join(sales.customers.select("row", "cohort", "period"), on="row")
    lines = lines.with_columns(at=period_start("day", sales.period)).with_columns(
        age=(period_number("at", sales.period) - pl.col("period")).clip(lower_bound=0)
    )  # a return of something bought before the log began is of age 0
    bought = ~pl.col("returned")
    seen = lines.group_by("cohort", "age").agg(
        active=pl.col("row").filter(bought).n_unique(),
        orders=pl.struct("row", "order").filter(bought).n_unique(),
        net_revenue=pl.col("revenue").sum(),
    )
    table = (
        grid(sales)
        .join(seen, on=["cohort", "age"], how="left")
        .with_columns(pl.col("active", "orders").fill_null(0), pl.col("net_revenue").fill_null(0))
        .sort("cohort", "age")
        .with_columns(cumulative_net_revenue=pl.col("net_revenue").cum_sum().over("cohort", order_by="age"))
    )
    return table.with_columns(
        in_currency("net_revenue"), in_currency("cumulative_net_revenue"), share=share("active", "customers")
    ).select(
        *("cohort", "age", "customers", "active", "share", "orders", "net_revenue", "cumulative_net_revenue"),
        "complete",
    )


def grid(sales: SalesData) -> pl.DataFrame:
    """Every cohort with every age up to the last day before the cutoff: cohort, customers, age, complete."""
    days = pl.DataFrame({"day": [sales.day - 1, sales.day]}, schema={"day": pl.Int32})
    numbers = days.with_columns(at=period_start("day", sales.period)).select(at=period_number("at", sales.period))
    last, current = numbers["at"].to_list()
    sizes = sales.customers.group_by("cohort", "period").agg(customers=pl.len())
    ages = sizes.with_columns(age=pl.int_ranges(0, last - pl.col("period") + 1)).explode("age")
    return ages.with_columns(complete=pl.col("period") + pl.col("age") < current).drop("period")


def retention_curve(table: pl.DataFrame) -> pl.DataFrame:
    """Share of customers with a purchase at an age, over the cohorts for which the period of that age is complete.

    Parameters
    ----------
    table : pl.DataFrame
        Result of `retention`.

    Returns
    -------
    pl.DataFrame
        age, customers, active, share, net_revenue.
    """
    whole = table.filter("complete").group_by("age").agg(pl.col("customers", "active", "net_revenue").sum())
    return whole.sort("age").with_columns(share=share("active", "customers"))
