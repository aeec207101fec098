"""Reference queries: trailing windows in Polars and DuckDB over the purchases of `market.frame`."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

WINDOWS, HALF_LIVES = (7, 14, 28, 56, 91, 182, 365), (10, 30, 90)
CUSTOMER = (
    *(f"orders_{w}" for w in WINDOWS),
    *(f"spend_{w}" for w in WINDOWS),
    *(f"decayed_{h}" for h in HALF_LIVES),
    "recency",
)
PAIR = (*(f"days_{w}" for w in WINDOWS), *CUSTOMER[len(WINDOWS) :])


def customers(purchases: pl.LazyFrame, day: int) -> pl.LazyFrame:
    """One row per customer with a purchase before `day`. Masked sums are twice as fast as a filter in each sum."""
    masked = purchases.filter(pl.col("day") < day).select(
        "customer",
        (day - pl.col("day")).alias("recency"),
        *((pl.col("opens") & (day - pl.col("day") <= w)).cast(pl.UInt32).alias(f"orders_{w}") for w in WINDOWS),
        *(_within("revenue", day, w).alias(f"spend_{w}") for w in WINDOWS),
        *(
            pl.when("opens").then(0.5 ** ((day - pl.col("day")) / h)).otherwise(0.0).alias(f"decayed_{h}")
            for h in HALF_LIVES
        ),
    )
    return masked.group_by("customer").agg(pl.col(CUSTOMER[:-1]).sum(), pl.col("recency").min())


def _within(column: str, day: int, window: int) -> pl.Expr:
    return pl.when(day - pl.col("day") <= window).then(column).otherwise(0.0)


def daily(purchases: pl.LazyFrame) -> pl.DataFrame:
    """Orders and spend of each customer and day, from which the windows of many cutoffs can be computed."""
    totals = purchases.group_by("customer", "day").agg(orders=pl.col("opens").sum(), spend=pl.col("revenue").sum())
    return totals.collect(engine="streaming")


def customers_of_days(days: pl.LazyFrame, day: int) -> pl.LazyFrame:
    """The same as `customers`, from `daily` totals."""
    age = day - pl.col("day")
    return (
        days.filter(pl.col("day") < day)
        .group_by("customer")
        .agg(
            *(pl.col("orders").filter(age <= w).sum().alias(f"orders_{w}") for w in WINDOWS),
            *(pl.col("spend").filter(age <= w).sum().alias(f"spend_{w}") for w in WINDOWS),
            *((pl.col("orders") * 0.5 ** (age / h)).sum().alias(f"decayed_{h}") for h in HALF_LIVES),
            recency=day - pl.col("day").max(),
        )
    )


def pair_days(purchases: pl.LazyFrame) -> pl.DataFrame:
    """Spend of each customer, offer and day."""
    return purchases.group_by("customer", "offer", "day").agg(pl.col("revenue").sum()).collect(engine="streaming")


def pairs(days: pl.LazyFrame, day: int) -> pl.LazyFrame:
    """One row per customer and offer bought before `day`, from `pair_days`; a day counts once."""
    age = day - pl.col("day")
    return (
        days.filter(pl.col("day") < day)
        .group_by("customer", "offer")
        .agg(
            *((age <= w).sum().alias(f"days_{w}") for w in WINDOWS),
            *(pl.col("revenue").filter(age <= w).sum().alias(f"spend_{w}") for w in WINDOWS),
            *((0.5 ** (age / h)).sum().alias(f"decayed_{h}") for h in HALF_LIVES),
            recency=day - pl.col("day").max(),
        )
    )


def duckdb_of(purchases: pl.DataFrame) -> Any:
    """A connection with one thread and the table `purchases`."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.register("frame", purchases.to_arrow())
    connection.execute("CREATE TABLE purchases AS SELECT * FROM frame")
    return connection


def result(connection: Any, sql: str) -> pl.DataFrame:
    """The result of a query."""
    columns: dict[str, Any] = connection.execute(sql).fetchnumpy()
    return pl.DataFrame({name: np.asarray(values) for name, values in columns.items()})


def duckdb_customers(day: int) -> str:
    """The SQL of `customers`."""
    age = f"({day} - day)"
    columns = [f"count(*) FILTER (opens AND {age} <= {w}) AS orders_{w}" for w in WINDOWS]
    columns += [f"coalesce(sum(revenue) FILTER ({age} <= {w}), 0) AS spend_{w}" for w in WINDOWS]
    columns += [f"coalesce(sum(pow(0.5, {age} / {h}.0)) FILTER (opens), 0) AS decayed_{h}" for h in HALF_LIVES]
    columns += [f"{day} - max(day) AS recency"]
    return f"SELECT customer, {', '.join(columns)} FROM purchases WHERE day < {day} GROUP BY customer"


def duckdb_pairs(day: int) -> str:
    """The SQL of `pairs`, from the lines."""
    age = f"({day} - day)"
    columns = [f"count(*) FILTER ({age} <= {w}) AS days_{w}" for w in WINDOWS]
    columns += [f"coalesce(sum(revenue) FILTER ({age} <= {w}), 0) AS spend_{w}" for w in WINDOWS]
    columns += [f"sum(pow(0.5, {age} / {h}.0)) AS decayed_{h}" for h in HALF_LIVES] + [f"{day} - max(day) AS recency"]
    daily_spend = f"SELECT customer, offer, day, sum(revenue) AS revenue FROM purchases WHERE day < {day} GROUP BY ALL"
    return f"SELECT customer, offer, {', '.join(columns)} FROM ({daily_spend}) GROUP BY customer, offer"
