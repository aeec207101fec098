"""Value over the cost of acquisition, by cohort and by channel of acquisition."""

from __future__ import annotations

import polars as pl

from propensity.data.event_log import EPOCH
from propensity.key_figures.lines import SalesData
from propensity.key_figures.money import UNIT, share, units_of
from propensity.key_figures.prediction import Prediction

COST, CHANNEL, DAY = "acquired_cost", "acquired_channel", "acquired_day"


def acquisition(
    sales: SalesData, column: str, margin: float | None, prediction: Prediction | None
) -> tuple[pl.DataFrame, list[str]]:
    """LTV:CAC by cohort and by channel of acquisition.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.
    column : str
        Column of the customers' table with the cost of acquisition.
    margin : float, optional
        Share of the revenue that is earned; None: the margin of the lines where costs are known, else revenue.
    prediction : Prediction, optional
        Value that is expected after the cutoff, which is added to what was realised.

    Returns
    -------
    tuple[pl.DataFrame, list[str]]
        grouping (all, cohort, channel), name, customers (of known cost), acquisition_cost, cac (mean of a customer),
        value (net revenue, or margin), ltv (mean of a customer), ltv_cac, expected_value and expected_ltv_cac (with the
        prediction); and sentences on costs that are not used.
    """
    table = sales.log.customers
    known = pl.DataFrame({"row": range(table.height), "spent": units_of(table[column].cast(pl.Float64).to_numpy())})
    known = known.with_columns(
        spent=pl.when(table[column].cast(pl.Float64).is_finite().fill_null(False)).then("spent"),
        channel=table[CHANNEL].cast(pl.String) if CHANNEL in table.columns else pl.lit(None, pl.String),
    )
    if DAY in table.columns:
        day = (table[DAY].cast(pl.Date) - EPOCH).dt.total_days()
        known = known.filter((day < sales.day).fill_null(True))
    spent = known.drop_nulls("spent")
    own = spent.join(sales.customers, on="row")
    sentences = []
    if left := spent.height - own.height:
        others = spent.join(sales.customers.select("row"), on="row", how="anti")["spent"].sum() / UNIT
        sentences.append(f"{left:,} customers who were acquired for {others:,.2f} in all have not bought: not in CAC")
    if lacking := sales.customers.height - own.height:
        sentences.append(f"the cost of acquisition of {lacking:,} customers is not known: not in LTV:CAC")
    value = pl.col("net") * margin if margin is not None else pl.col("net")
    if margin is None and sales.has_cost:
        value = pl.col("costed") - pl.col("cost")
    own = own.with_columns(value=value)
    if prediction is not None:
        later = prediction.table.select("row", later=pl.col("expected_revenue") * UNIT)
        own = own.join(later, on="row", how="left", maintain_order="left")
        factor = margin if margin is not None else _margin_share(sales)
        own = own.with_columns(expected=pl.col("value") + pl.col("later").fill_null(0.0) * factor)
    own = own.with_columns(_all=pl.lit("all"), _cohort=pl.col("cohort").cast(pl.String), _channel="channel")
    parts = [_grouped(own, grouping) for grouping in ("all", "cohort", "channel")]
    return pl.concat(parts, how="diagonal"), sentences


def _margin_share(sales: SalesData) -> float:
    """Margin over revenue of the lines of known cost; 1 without costs, where value is revenue."""
    costed = int(sales.customers["costed"].sum())
    return (costed - int(sales.customers["cost"].sum())) / costed if sales.has_cost and costed else 1.0


def _grouped(own: pl.DataFrame, grouping: str) -> pl.DataFrame:
    named = own.filter(pl.col(f"_{grouping}").is_not_null())
    sums = named.group_by(pl.col(f"_{grouping}").alias("name")).agg(
        pl.len().alias("customers"), *(pl.col(n).sum() for n in ("spent", "value", "expected") if n in own.columns)
    )
    columns = {
        "acquisition_cost": pl.col("spent") / UNIT,
        "cac": pl.col("spent") / UNIT / pl.col("customers"),
        "value": pl.col("value") / UNIT,
        "ltv": pl.col("value") / UNIT / pl.col("customers"),
        "ltv_cac": share("value", "spent"),
    }
    if "expected" in own.columns:
        columns |= {"expected_value": pl.col("expected") / UNIT, "expected_ltv_cac": share("expected", "spent")}
    table = sums.sort("name").select(pl.lit(grouping).alias("grouping"), "name", "customers", **columns)
    return table
