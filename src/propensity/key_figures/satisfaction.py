"""NPS, CSAT and other answers of customers, passed through from their table by group."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from propensity.errors import ConfigurationError
from propensity.key_figures.lines import SalesData

WORDS = ("nps", "csat", "satisfaction", "ces")  # names of columns, or their beginning or end
PROMOTER, DETRACTOR, HIGHEST = 9, 6, 10


def satisfaction_columns(table: pl.DataFrame, given: Sequence[str] | None) -> list[str]:
    """Columns with answers: those that are given, or numeric ones that are called so.

    Parameters
    ----------
    table : pl.DataFrame
        Customers.
    given : Sequence[str], optional
        Names.

    Returns
    -------
    list[str]
        Names of numeric columns.

    Raises
    ------
    ConfigurationError
        If a given column is not there or holds no numbers.
    """
    numeric = [name for name, kind in table.schema.items() if kind.is_numeric() and name != "customer"]
    if given is not None:
        if lacking := [name for name in given if name not in numeric]:
            raise ConfigurationError(
                f"customers have no column of numbers {lacking[0]!r}; give satisfaction from: {', '.join(numeric)}"
            )
        return list(given)
    return [name for name in numeric if any(word in name.lower().split("_") for word in WORDS)]


def satisfaction(sales: SalesData, columns: Sequence[str], members: pl.DataFrame) -> pl.DataFrame:
    """Answers by group.

    Parameters
    ----------
    sales : SalesData
        Lines and customers.
    columns : Sequence[str]
        Columns of the customers' table.
    members : pl.DataFrame
        row, grouping and segment.

    Returns
    -------
    pl.DataFrame
        column, grouping (all, or of `members`), segment, answers, mean and, for whole numbers from 0 to 10 in a column
        that is called nps, nps: the share of 9 and 10 minus the share of 0 to 6, times 100.
    """
    everybody = sales.customers.select("row", grouping=pl.lit("all"), segment=pl.lit("all"))
    groups = pl.concat([everybody, members.select("row", "grouping", "segment")])
    parts = []
    for name in columns:
        values = sales.log.customers[name].cast(pl.Float64)
        answers = pl.DataFrame({"row": range(values.len()), "value": values}, schema_overrides={"row": pl.Int64})
        own = groups.join(answers.filter(pl.col("value").is_finite()), on="row")
        scale = own["value"].drop_nulls()
        is_nps = "nps" in name.lower() and bool(((scale >= 0) & (scale <= HIGHEST) & (scale == scale.round())).all())
        promoters, detractors = pl.col("value") >= PROMOTER, pl.col("value") <= DETRACTOR
        nps = 100.0 * (promoters.mean() - detractors.mean()) if is_nps else pl.lit(None, pl.Float64)
        sums = own.group_by("grouping", "segment").agg(answers=pl.len(), mean=pl.col("value").mean(), nps=nps)
        parts.append(sums.sort("grouping", "segment").select(pl.lit(name).alias("column"), pl.all()))
    return pl.concat(parts) if parts else pl.DataFrame()
