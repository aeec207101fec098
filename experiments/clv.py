"""Compare the values that `propensity clv` wrote with what followed: python experiments/clv.py clv data/cdnow.

Prints the metrics of every length of window that the log has closed, the shares of customers above the quantiles of
revenue, and the errors of the yearly cohorts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog, to_date, to_day
from propensity.kernel.order_day import ahead, order_days, recency
from propensity.value.parametric import PARETO_NBD, fit_orders
from propensity.value.quality import auc, quality


def judge(folder: Path, log_folder: Path) -> None:
    """Print the table of one folder of values."""
    table, summary = pl.read_parquet(folder / "clv.parquet"), json.loads((folder / "summary.json").read_text())
    log, cutoff = EventLog.open(log_folder), to_day(summary["cutoff"])
    orders = order_days(log.offsets, log.day, log.kind, log.revenue)
    row = log.purchasers(cutoff)
    assert (table["customer_id"].unique(maintain_order=True).to_numpy() == log.customer_id[row]).all()
    state = recency(orders, cutoff)
    own = type(state)(*(column[row] for column in state))
    for weeks in summary["weeks"]:
        if cutoff + 7 * weeks > log.last_day + 7:
            continue
        part = table.filter(pl.col("weeks") == weeks)
        count, revenue = (column[row] for column in ahead(orders, cutoff, cutoff + 7 * weeks))
        expected = tuple(part[name].to_numpy() for name in ("p_active", "expected_orders", "expected_revenue"))
        print(weeks, {name: round(value, 4) for name, value in quality(expected, count, revenue).items()})
        print("  above", above(part, revenue))
        pareto = fit_orders(PARETO_NBD, own).forecast(own, np.array([float(weeks)]))
        print("  Pareto/NBD: AUC of P(active)", round(auc(count > 0, pareto[0][:, 0]), 4),
              "of expected orders", round(auc(count > 0, pareto[1][:, 0]), 4))  # fmt: skip
        first = orders.day[orders.offsets[row]]
        years = np.array([to_date(day).year for day in first])
        cohorts = {
            int(year): expected[2][years == year].sum() / revenue[years == year].sum() for year in np.unique(years)
        }
        print("  cohorts", {year: round(float(ratio - 1), 3) for year, ratio in cohorts.items()})


def above(part: pl.DataFrame, revenue: np.ndarray) -> dict[str, float]:
    """Shares of customers whose revenue is above each quantile."""
    names = [name for name in part.columns if name.startswith(("revenue_median", "revenue_upper"))]
    return {name: round(float((revenue > part[name].to_numpy()).mean()), 4) for name in names}


if __name__ == "__main__":
    judge(Path(sys.argv[1]), Path(sys.argv[2]))
