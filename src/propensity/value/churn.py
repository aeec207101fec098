"""Churn: no order within some weeks, and the early warning of customers who are behind their own rhythm.

No contract says when a customer leaves. Churn is therefore a window without an order, whose probability is one minus
that of an order. It is not one minus P(alive), which ranks customers of one order by their age alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog
from propensity.kernel.order_day import ahead, recency
from propensity.value.choose import last_window
from propensity.value.quality import auc
from propensity.value.question import Question, question
from propensity.value.valuation import alarms, value_customers

COLUMNS = ("silence_weeks", "usual_gap_weeks", "behind", "p_alive", "expected_revenue")


class Churn(NamedTuple):
    """The result.

    Parameters
    ----------
    table : customer_id, p_churn, alarm_since and `COLUMNS`, a row for each customer
    summary : every number of the run, for JSON
    warnings : one sentence each
    """

    table: pl.DataFrame
    summary: dict[str, Any]
    warnings: list[str]


def find_churn(log: EventLog, cutoff: int, weeks: int, false_alarms: float = 0.1, seed: int = 17) -> Churn:
    """Give each customer the probability of no order in the next weeks, and the day of the alarm.

    Parameters
    ----------
    log : EventLog
        The log; events from the cutoff on are not read.
    cutoff : int
        Days since 1970-01-01.
    weeks : int
        Length of the window.
    false_alarms : float
        Share of staying customers with an alarm in 13 weeks.
    seed : int
        Seed of samples and trees.

    Returns
    -------
    Churn
        Customers without guests and objectors to profiling.

    Raises
    ------
    DataError
        If no customer can be valued.
    """
    valuation = value_customers(log, cutoff, [weeks], false_alarms=false_alarms, seed=seed)
    table = valuation.table.select("customer_id", (1.0 - pl.col("p_active")).alias("p_churn"), "alarm_since", *COLUMNS)
    summary = {
        "cutoff": valuation.summary["cutoff"],
        "weeks": weeks,
        "customers": table.height,
        "left_out": valuation.summary["left_out"],
        "expected_churners": float(table["p_churn"].sum()),
        "alarms": int(table["alarm_since"].is_not_null().sum()),
        "expected_revenue_of_alarms": float(
            table.filter(pl.col("alarm_since").is_not_null())["expected_revenue"].sum()
        ),
        "currency": valuation.summary["currency"],
        "last_closed_window": closed_alarms(question(log.until(cutoff), cutoff, [weeks]), weeks, false_alarms),
        "values": valuation.summary["last_closed_window"],
        "warnings": valuation.warnings,
    }
    return Churn(table, summary, valuation.warnings)


def closed_alarms(asked: Question, weeks: int, false_alarms: float) -> dict[str, Any]:
    """Precision, recall and AUC of the alarms at the beginning of the last closed window, empty without one."""
    length = last_window(asked.first_day, asked.cutoff, weeks)
    if length is None:
        return {}
    start = asked.cutoff - 7 * length
    state = recency(asked.orders, start)
    chosen = state.x >= 0
    earlier = asked._replace(cutoff=start)
    table = alarms(earlier, state._replace(**{k: np.maximum(v, 0) for k, v in state._asdict().items()}), false_alarms)
    alarm, behind = (table[name].to_numpy() for name in ("alarm_since", "behind"))
    rings, gone = ~np.isnat(alarm)[chosen], ahead(asked.orders, start, asked.cutoff)[0][chosen] == 0
    return {
        "weeks": length,
        "churned": int(gone.sum()),
        "alarms": int(rings.sum()),
        "precision": float(gone[rings].mean()) if rings.any() else None,
        "recall": float(rings[gone].mean()) if gone.any() else None,
        "auc_behind": auc(gone, behind[chosen]),
    }
