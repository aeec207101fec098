"""Totals, repeat rate, order frequency and recency, over all customers."""

from __future__ import annotations

from typing import Any

import polars as pl

from propensity.key_figures.lines import SalesData
from propensity.key_figures.money import UNIT, in_currency, ratio

RECENCY_STEP = 7  # days of a bin of recency
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def overview(sales: SalesData) -> dict[str, Any]:
    """Figures of all customers, see docs/kpi.md.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.

    Returns
    -------
    dict[str, Any]
        Name to number; None where the denominator is 0.
    """
    customers, day = sales.customers, sales.day
    total = customers.select(pl.col("orders", "revenue", "returns", "net", "discount", "costed", "cost").sum()).row(
        0, named=True
    )
    count = customers.height
    everybody = sales.lines.filter(~pl.col("returned"))["revenue"].sum()
    recent = sales.between(day - sales.window, day)
    bought = recent.filter(~pl.col("returned"))
    active = bought["row"].n_unique()
    margin = total["costed"] - total["cost"] if sales.has_cost else None
    return {
        "customers": count,
        "repeat_customers": int((customers["orders"] >= 2).sum()),
        "repeat_rate": ratio(int((customers["orders"] >= 2).sum()), count),
        "repeat_rate_days": ratio(int((customers["purchase_days"] >= 2).sum()), count),
        "orders": total["orders"],
        "orders_per_customer": ratio(total["orders"], count),
        "revenue": total["revenue"] / UNIT,
        "revenue_of_guests": (everybody - total["revenue"]) / UNIT,
        "returns": total["returns"] / UNIT,
        "net_revenue": total["net"] / UNIT,
        "net_revenue_per_customer": ratio(total["net"] / UNIT, count),
        "average_order_value": ratio(total["revenue"] / UNIT, total["orders"]),
        "discount": total["discount"] / UNIT,
        "discount_share": ratio(total["discount"], total["revenue"] + total["discount"]),
        "margin": None if margin is None else margin / UNIT,
        "margin_share": None if margin is None else ratio(margin, total["costed"]),
        "margin_coverage": None if margin is None else ratio(total["costed"], total["net"]),
        "window_active_customers": active,
        "window_active_share": ratio(active, count),
        "window_orders": orders_of(bought),
        "window_orders_per_active_customer": ratio(orders_of(bought), active),
        "window_net_revenue": int(recent["revenue"].sum()) / UNIT,
        "window_new_customers": int((customers["first"] >= day - sales.window).sum()),
    }


def orders_of(lines: pl.DataFrame) -> int:
    """Number of orders among purchase lines."""
    return int(lines.select(pl.struct("row", "order").n_unique()).item())


def frequency(sales: SalesData) -> pl.DataFrame:
    """Customers by number of orders.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.

    Returns
    -------
    pl.DataFrame
        orders, customers, share (of the customers), net_revenue.
    """
    counted = sales.customers.group_by("orders").agg(customers=pl.len(), net_revenue=pl.col("net").sum())
    return (
        counted.sort("orders")
        .with_columns(in_currency("net_revenue"), share=pl.col("customers") / sales.customers.height)
        .select("orders", "customers", "share", "net_revenue")
    )


def recency(sales: SalesData) -> pl.DataFrame:
    """Customers by days since their last purchase.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.

    Returns
    -------
    pl.DataFrame
        from_day, to_day (inclusive), customers, share (of the customers), net_revenue.
    """
    bins = sales.customers.with_columns(from_day=(sales.day - pl.col("last") - 1) // RECENCY_STEP * RECENCY_STEP + 1)
    counted = bins.group_by("from_day").agg(customers=pl.len(), net_revenue=pl.col("net").sum())
    return (
        counted.sort("from_day")
        .with_columns(
            in_currency("net_revenue"),
            to_day=pl.col("from_day") + RECENCY_STEP - 1,
            share=pl.col("customers") / sales.customers.height,
        )
        .select("from_day", "to_day", "customers", "share", "net_revenue")
    )


def quantiles(sales: SalesData) -> pl.DataFrame:
    """Quantiles of orders, recency in days and net revenue of a customer; linear between neighbours.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.

    Returns
    -------
    pl.DataFrame
        quantile, orders, recency, net_revenue.
    """
    values = sales.customers.select("orders", recency=sales.day - pl.col("last"), net_revenue=in_currency("net"))
    columns: dict[str, list[float | None]] = {"quantile": [*QUANTILES]}
    for name in values.columns:
        columns[name] = [values[name].quantile(each, "linear") for each in QUANTILES]
    return pl.DataFrame(columns)
