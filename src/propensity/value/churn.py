"""Churn: no order within some weeks, and the early warning of customers who are behind their own rhythm.

No contract says when a customer leaves. Churn is therefore a window without an order, whose probability is one minus
that of an order. It is not one minus P(alive), which ranks customers of one order by their age alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog
from propensity.kernel.order_day import Recency, ahead, recency
from propensity.value.choose import last_window
from propensity.value.closed import YEAR
from propensity.value.model import MODELS
from propensity.value.parametric import PARETO_NBD, fit_orders
from propensity.value.quality import auc
from propensity.value.question import Question, of_rows, question
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


def find_churn(
    log: EventLog,
    cutoff: int,
    weeks: int,
    false_alarms: float = 0.1,
    seed: int = 17,
    models: Sequence[str] = MODELS,
) -> Churn:
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
        Seed of samples, trees and network.
    models : sequence of str
        Learners that the last closed window chooses from: `trees`, `network`.

    Returns
    -------
    Churn
        Customers without guests and objectors to profiling.

    Raises
    ------
    DataError
        If no customer can be valued.
    """
    valuation = value_customers(log, cutoff, [weeks], false_alarms=false_alarms, seed=seed, models=models)
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
    """How good the alarms at the beginning of the last closed window were, empty without one.

    It is about customers with an order in the year before the window. Beside precision, recall, the value that was
    found and the lead time, it has other rules with as many alarms.
    """
    length = last_window(asked.first_day, asked.cutoff, weeks)
    if length is None:
        return {}
    start = asked.cutoff - 7 * length
    state = recency(asked.orders, start)
    row = np.flatnonzero((state.x >= 0) & (state.t_end - state.t_x < YEAR / 7))  # others left long ago
    if not row.size:
        return {}
    own = Recency(*(column[row] for column in state))
    table = alarms(earlier(asked, start, row), false_alarms)
    alarm, behind, silence, usual = (
        table[name].to_numpy() for name in ("alarm_since", "behind", "silence_weeks", "usual_gap_weeks")
    )
    gone = ahead(asked.orders, start, asked.cutoff)[0][row] == 0
    rings, value = ~np.isnat(alarm), ahead(asked.orders, start - YEAR, start)[1][row]
    gap = np.where(own.x > 0, own.t_x / np.maximum(own.x, 1.0), usual)
    since = np.where(rings, (start - alarm.astype("datetime64[D]").astype(np.int64)) / 7.0, np.nan)
    alive = fit_orders(PARETO_NBD, own).alive(own)
    ranking = {"twice_the_gap": silence / np.maximum(gap, 1 / 7), "p_alive": -alive, "recency": silence}
    rules = {"alarm": rule(rings, gone, value) | {"lead_weeks": _lead(since, rings & gone, length)}}
    for name, score in ranking.items():
        rules[name] = rule(_largest(score, int(rings.sum())), gone, value) | {"lead_weeks": None}
    return {
        "weeks": length,
        "churned": int(gone.sum()),
        "alarms": int(rings.sum()),
        "precision": rules["alarm"]["precision"],
        "recall": rules["alarm"]["recall"],
        "lead_weeks": rules["alarm"]["lead_weeks"],
        "auc_behind": auc(gone, behind),
        "rules": rules,
    }


def earlier(asked: Question, start: int, row: np.ndarray) -> Question:
    """The customers `row` (R,) of a question at an earlier cutoff."""
    return asked._replace(
        orders=of_rows(asked.orders, row),
        visits=of_rows(asked.visits, row),
        customer_id=asked.customer_id[row],
        cutoff=start,
    )


def rule(rings: np.ndarray, gone: np.ndarray, value: np.ndarray) -> dict[str, Any]:
    """Alarms, precision, recall, and the share of the value of the churned that the alarms found: (N,) x 3.

    Examples
    --------
    >>> rule(np.array([True, True, False]), np.array([True, False, True]), np.array([3.0, 1.0, 1.0]))
    {'alarms': 2, 'precision': 0.5, 'recall': 0.5, 'value_captured': 0.75}
    """
    lost = float(value[gone].sum())
    return {
        "alarms": int(rings.sum()),
        "precision": float(gone[rings].mean()) if rings.any() else None,
        "recall": float(rings[gone].mean()) if gone.any() else None,
        "value_captured": float(value[rings & gone].sum()) / lost if lost > 0 else None,
    }


def _largest(score: np.ndarray, size: int) -> np.ndarray:
    """The customers with the `size` largest scores."""
    chosen = np.zeros(score.size, bool)
    chosen[np.argsort(-score, kind="stable")[:size]] = True
    return chosen


def _lead(since: np.ndarray, rows: np.ndarray, length: int) -> float | None:
    """Median weeks from the alarm to the end of a window of `length` weeks."""
    return float(np.median(since[rows]) + length) if rows.any() else None
