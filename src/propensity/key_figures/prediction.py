"""Predicted against realised value, for every prediction whose window has closed by the cutoff."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from propensity.data.event_log import to_date, to_day
from propensity.decision.value_file import file_of, predicted_day, rows_of_file
from propensity.errors import DataError
from propensity.ingest.provenance import configured_task
from propensity.key_figures.lines import WEEK, SalesData
from propensity.key_figures.money import UNIT, in_currency, share
from propensity.key_figures.segment import customers_in
from propensity.key_figures.tier import ORDER, tier_of
from propensity.scores import load_scores

DECILES = 10
OPTIONAL = ("p_active", "expected_orders", "revenue_upper_90", "tier", "margin")


class Prediction(NamedTuple):
    """Predicted values of customers at a date.

    Attributes
    ----------
    source : str
        The file.
    day : int
        Date of the prediction, in days since 1970-01-01.
    days : int
        Length of the window.
    table : pl.DataFrame
        row, expected_revenue and, where they are there, p_active, expected_orders, revenue_upper_90 and tier.
    """

    source: str
    day: int
    days: int
    table: pl.DataFrame


def paths_of(given: str | Sequence[str] | None, name: str) -> list[Path]:
    """Files of a setting: a file, or a folder that holds `name`.parquet, or several of them.

    Raises
    ------
    ConfigurationError
        If there is no such file.
    """
    return [file_of(each, name) for each in ([given] if isinstance(given, str) else given or [])]


def predictions_of(sales: SalesData, path: Path) -> list[Prediction]:
    """Predictions of a file of `propensity clv`, one for each horizon.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.
    path : Path
        Parquet or CSV with customer_id, weeks and expected_revenue.

    Returns
    -------
    list[Prediction]
        By ascending horizon.

    Raises
    ------
    DataError
        If the file has other columns, a customer twice, a value that is not finite, or does not say when it was
        predicted.
    """
    table = rows_of_file(path, "clv", ("customer_id", "weeks", "expected_revenue"))
    if table.select("customer_id", "weeks").is_duplicated().any():
        raise DataError(f"{path} holds a customer twice for the same weeks; keep one row each")
    if not table["expected_revenue"].cast(pl.Float64).is_finite().fill_null(False).all():
        raise DataError(f"{path} has a customer without a finite expected_revenue; predict again, or leave the row out")
    day = predicted_day(path, table)
    own = table.with_columns(row=pl.Series(customers_in(sales, table, str(path)))).filter(pl.col("row") >= 0)
    columns = ["row", "expected_revenue", *(name for name in OPTIONAL if name in table.columns)]
    return [
        Prediction(str(path), day, int(weeks) * WEEK, own.filter(pl.col("weeks") == weeks).select(columns))
        for weeks in own["weeks"].unique().sort().to_list()
    ]


def predictions_of_scores(sales: SalesData, path: str) -> list[Prediction]:
    """Expected revenue of all offers of a table of scores, for the horizon of the run that it lies in.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.
    path : str
        Parquet of scores.

    Returns
    -------
    list[Prediction]
        By cutoff; empty where no config.yaml beside the scores names the horizon.
    """
    config = Path(path).parent / "config.yaml"
    if not config.is_file():
        return []
    days = int(configured_task(config).horizon)
    predictions = []
    for scores in load_scores(path):
        table = pl.DataFrame({"customer_id": scores.customer, "expected_revenue": scores.revenue.sum(1, dtype=float)})
        table = table.with_columns(row=pl.Series(customers_in(sales, table, path))).filter(pl.col("row") >= 0)
        own = table.select("row", "expected_revenue")
        predictions.append(Prediction(path, to_day(scores.cutoff), days, own))
    return predictions


def closed(sales: SalesData, predictions: Sequence[Prediction]) -> tuple[list[Prediction], list[str]]:
    """The predictions whose windows ended by the cutoff, and a sentence on the others."""
    whole = [each for each in predictions if each.day + each.days <= sales.day]
    rest = [each for each in predictions if each.day + each.days > sales.day]
    if not rest:
        return whole, []
    windows = ", ".join(f"{each.days} days from {to_date(each.day)}" for each in rest)
    return whole, [f"not compared, because the window has not closed by {sales.cutoff}: {windows}"]


def predicted(sales: SalesData, predictions: Sequence[Prediction], shares: Sequence[float]) -> pl.DataFrame:
    """Predicted and realised value by cohort, tier and decile of the prediction.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.
    predictions : Sequence[Prediction]
        With windows that have closed.
    shares : Sequence[float]
        Tiers of the prediction, see `tier_of`.

    Returns
    -------
    pl.DataFrame
        source, predicted_on, days, grouping (all, cohort, tier, decile; decile 1 has the highest prediction), name,
        customers, expected_revenue, realised_revenue, realised_net_revenue, expected_over_realised, expected_orders,
        realised_orders, expected_active, realised_active, above_upper_90 (share of customers).
    """
    parts = [_compared(sales, each, shares) for each in predictions]
    return pl.concat([part for part in parts if part.height], how="diagonal") if parts else pl.DataFrame()


def realised(sales: SalesData, prediction: Prediction) -> pl.DataFrame:
    """The table of a prediction with realised orders, revenue and net revenue (in units) of its window."""
    lines = sales.lines.filter(pl.col("day").is_between(prediction.day, prediction.day + prediction.days, "left"))
    bought = ~pl.col("returned")
    seen = lines.group_by("row").agg(
        realised_orders=pl.col("order").filter(bought).n_unique(),
        realised_revenue=pl.col("revenue").filter(bought).sum(),
        realised_net_revenue=pl.col("revenue").sum(),
    )
    names = ("realised_orders", "realised_revenue", "realised_net_revenue")
    return prediction.table.join(seen, on="row", how="left", maintain_order="left").with_columns(
        pl.col(names).fill_null(0)
    )


def _compared(sales: SalesData, prediction: Prediction, shares: Sequence[float]) -> pl.DataFrame:
    table = realised(sales, prediction).join(
        sales.customers.select("row", "cohort"), on="row", how="left", maintain_order="left"
    )
    rank = pl.col("expected_revenue").rank("min", descending=True) - 1
    table = table.with_columns(
        _all=pl.lit("all"),
        _cohort=pl.col("cohort").cast(pl.String).fill_null("unknown"),
        _tier=pl.col("tier").cast(pl.String) if "tier" in table.columns else tier_of("expected_revenue", shares),
        _decile=(rank * DECILES // pl.len() + 1).cast(pl.Int64).cast(pl.String),
    )
    parts = [_grouped(table, name) for name in ("all", "cohort", "tier", "decile")]
    head = {"source": prediction.source, "predicted_on": to_date(prediction.day), "days": prediction.days}
    return pl.concat(parts).select(*(pl.lit(value).alias(name) for name, value in head.items()), pl.all())


def _grouped(table: pl.DataFrame, grouping: str) -> pl.DataFrame:
    has = set(table.columns)
    # Revenue is compared with its bound in units, so that an amount equal to the bound is not above it.
    bound = (pl.col("revenue_upper_90") * UNIT).round().cast(pl.Int64) if "revenue_upper_90" in has else None
    sums = table.group_by(pl.col(f"_{grouping}").alias("name")).agg(
        customers=pl.len(),
        expected_revenue=pl.col("expected_revenue").sum(),
        realised_revenue=pl.col("realised_revenue").sum(),
        realised_net_revenue=pl.col("realised_net_revenue").sum(),
        expected_orders=pl.col("expected_orders").sum() if "expected_orders" in has else pl.lit(None, pl.Float64),
        realised_orders=pl.col("realised_orders").sum(),
        expected_active=pl.col("p_active").sum() if "p_active" in has else pl.lit(None, pl.Float64),
        realised_active=(pl.col("realised_orders") > 0).sum(),
        above_upper_90=(
            pl.lit(None, pl.Float64) if bound is None else (pl.col("realised_revenue") > bound).cast(pl.Float64).mean()
        ),
    )
    order = {name: k for k, name in enumerate(ORDER)}
    by = {
        "tier": pl.col("name").replace_strict(order, default=len(order), return_dtype=pl.Int64),
        "decile": pl.col("name").cast(pl.Int64, strict=False),
    }.get(grouping, pl.col("name"))
    return sums.sort(by, "name").select(
        *(pl.lit(grouping).alias("grouping"), "name", "customers", "expected_revenue"),
        *(in_currency("realised_revenue"), in_currency("realised_net_revenue")),
        (share("expected_revenue", "realised_revenue") * UNIT).alias("expected_over_realised"),
        *("expected_orders", "realised_orders", "expected_active", "realised_active", "above_upper_90"),
    )
