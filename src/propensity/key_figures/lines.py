"""What the key figures are computed from: purchase and return lines, and customers, before the cutoff."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog, to_date
from propensity.errors import DataError
from propensity.kernel.event import PURCHASE, RETURN
from propensity.key_figures.money import EXACT, units_of

PERIODS = ("week", "month", "quarter", "year")
LENGTH = {"week": 70, "month": 800, "quarter": 3_000}  # days of log up to which cohorts are of a period
YEAR, WEEK = 364, 7


class SalesData(NamedTuple):
    """Lines and customers before a cutoff.

    Attributes
    ----------
    log : EventLog
        The log, cut at the cutoff, with all its customers.
    day : int
        The cutoff, in days since 1970-01-01.
    lines : pl.DataFrame
        A row per purchase or return line: row (of the log's customers), day, returned, order (-1 for a return), and in
        1/10,000 of the currency revenue, discount and cost (null where it is not known).
    customers : pl.DataFrame
        A row per customer with a purchase: row, customer_id, first and last day of purchase, cohort (first day of the
        period of the first purchase), period (its number), orders, purchase_days, and in 1/10,000 of the currency
        revenue, returns (at most 0), net, discount, and, over lines of known cost, costed and cost.
    period : str
        Of cohorts: week, month, quarter or year.
    window : int
        Days of a tier window.
    warnings : list[str]
        What a reader should know first.
    """

    log: EventLog
    day: int
    lines: pl.DataFrame
    customers: pl.DataFrame
    period: str
    window: int
    warnings: list[str]

    @property
    def cutoff(self) -> date:
        """The cutoff as a date."""
        return to_date(self.day)

    @property
    def has_money(self) -> bool:
        """Whether any line has an amount."""
        return bool((self.lines["revenue"] != 0).any())

    @property
    def has_cost(self) -> bool:
        """Whether the cost of any line is known."""
        return bool(self.lines["cost"].is_not_null().any())

    def between(self, start: int, end: int) -> pl.DataFrame:
        """Lines of the days in [start, end), of customers."""
        inside = self.lines.filter(pl.col("day").is_between(start, end, closed="left"))
        return inside.join(self.customers.select("row"), on="row", how="semi")


def sales_data(log: EventLog, day: int, period: str, window: int | None) -> SalesData:
    """Read the lines and customers before a cutoff.

    Parameters
    ----------
    log : EventLog
        Event log; no event at or after `day` is used.
    day : int
        Cutoff, in days since 1970-01-01.
    period : str
        Of cohorts, or auto.
    window : int, optional
        Days of a tier window; None: a year, or half of a shorter log in whole weeks.

    Returns
    -------
    SalesData
        Lines and customers.

    Raises
    ------
    DataError
        If nobody bought anything before the cutoff.
    """
    past = log.until(day)
    lines = lines_of(past)
    who = past.purchasers(day)
    if not who.size:
        raise DataError(
            f"no customer of the log bought anything before {to_date(day)}: purchases begin on "
            f"{to_date(log.first_day)}; give a later cutoff"
        )
    span = day - int(lines.filter(~pl.col("returned"))["day"].min())  # type: ignore[arg-type]
    warnings: list[str] = []
    if period == "auto":
        period = next((name for name, most in LENGTH.items() if span <= most), "year")
    chosen = window or (YEAR if span >= 2 * YEAR else max(span // 2 // WEEK * WEEK, 1))
    if span < 2 * chosen:
        warnings.append(
            f"the log has {span:,} days before {to_date(day)}, less than two windows of {chosen:,}: the earlier window "
            "of the tiers is not complete"
        )
    elif chosen != YEAR and window is None:
        warnings.append(
            f"the log has {span:,} days before {to_date(day)}, less than two years: tiers and their migration are of "
            f"windows of {chosen:,} days"
        )
    sales = SalesData(past, day, lines, customers_of(past, lines, who, period), period, chosen, warnings)
    return sales._replace(warnings=warnings + warnings_of(sales))


def lines_of(log: EventLog) -> pl.DataFrame:
    """Purchase and return lines of a log, see `SalesData.lines`."""
    kind = np.asarray(log.kind)
    event = np.flatnonzero((kind == PURCHASE) | (kind == RETURN))
    columns = {name: np.asarray(getattr(log, name))[event] for name in ("day", "order", "revenue", "discount")}
    cost = None if log.cost is None else np.asarray(log.cost)[event]
    known = np.zeros(event.size, bool) if cost is None else np.isfinite(cost)
    spent = np.zeros(event.size, np.int64) if cost is None else units_of(cost)
    returned = kind[event] == RETURN
    return pl.DataFrame(
        {
            "row": log.owner(event).astype(np.int64),
            "day": columns["day"],
            "returned": returned,
            "order": np.where(returned, -1, columns["order"]),
            "revenue": units_of(columns["revenue"]),
            "discount": units_of(columns["discount"]),
            "cost": pl.Series(np.where(returned, -np.abs(spent), spent)).set(pl.Series(~known), None),
        }
    )


def customers_of(log: EventLog, lines: pl.DataFrame, who: np.ndarray, period: str) -> pl.DataFrame:
    """One row per customer in `who`, see `SalesData.customers`."""
    bought = ~pl.col("returned")
    table = (
        lines.join(pl.DataFrame({"row": who.astype(np.int64)}), on="row", how="semi")
        .group_by("row")
        .agg(
            first=pl.col("day").filter(bought).min(),
            last=pl.col("day").filter(bought).max(),
            orders=pl.col("order").filter(bought).n_unique(),
            purchase_days=pl.col("day").filter(bought).n_unique(),
            **money_columns(),
        )
        .sort("row")
    )
    ids = pl.Series("customer_id", log.customer_id[table["row"].to_numpy()])
    dated = table.insert_column(1, ids).with_columns(cohort=period_start("first", period))
    return dated.with_columns(period=period_number("cohort", period))


def money_columns() -> dict[str, pl.Expr]:
    """Sums of money of lines, in units: revenue, returns, net, discount, costed (revenue of known cost) and cost."""
    bought = ~pl.col("returned")
    return {
        "revenue": pl.col("revenue").filter(bought).sum(),
        "returns": pl.col("revenue").filter(~bought).sum(),
        "net": pl.col("revenue").sum(),
        "discount": pl.col("discount").filter(bought).sum(),
        "costed": pl.col("revenue").filter(pl.col("cost").is_not_null()).sum(),
        "cost": pl.col("cost").sum(),
    }


def period_start(column: str, period: str) -> pl.Expr:
    """First day of the period of a column of days, as a date; weeks begin on Monday."""
    every = {"week": "1w", "month": "1mo", "quarter": "1q", "year": "1y"}[period]
    return pl.col(column).cast(pl.Int32).cast(pl.Date).dt.truncate(every)


def period_number(column: str, period: str) -> pl.Expr:
    """A number of the period of a column of dates, that grows by 1 from a period to the next."""
    day = pl.col(column)
    if period == "week":
        return (day.cast(pl.Int32).cast(pl.Int64) + 3) // WEEK
    year = day.dt.year().cast(pl.Int64)
    if period == "month":
        return year * 12 + day.dt.month()
    return year * 4 + day.dt.quarter() if period == "quarter" else year


def warnings_of(sales: SalesData) -> list[str]:
    """What limits the figures of a log, a sentence each."""
    sold = sales.lines.filter(~pl.col("returned"))
    sentences = []
    if not sales.has_money:
        sentences.append("the log has no amounts: figures in money are 0 or undefined")
    elif zero := int((sold["revenue"] <= 0).sum()):
        sentences.append(f"{zero:,} of {sold.height:,} purchase lines have an amount of 0: they count as lines")
    if large := int((sales.lines["revenue"].abs() >= EXACT * 10_000).sum()):
        sentences.append(f"{large:,} lines have amounts of {EXACT:,} or more, which a log does not store to the cent")
    if sales.customers.height == 1:
        sentences.append("the log has one customer: shares and quantiles are those of one person")
    if sold["day"].n_unique() == 1:
        sentences.append("all purchases are of one day: there is no repeat, no retention and no migration to be seen")
    guests = int(sold.join(sales.customers.select("row"), on="row", how="anti")["row"].n_unique())
    if guests:
        sentences.append(f"{guests:,} guests and objectors to profiling count in the totals of sales alone")
    return sentences
