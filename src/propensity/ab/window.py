"""Outcomes and covariates of customers from an event log: what they did in the days before and after a cutoff."""

from __future__ import annotations

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.kernel.event import PURCHASE, UNSUBSCRIBE

OUTCOMES = ("visit", "orders", "revenue", "margin", "unsubscribe")
RETAINED, RETAINED_DAYS = "retained_90", 90  # a purchase after the horizon and within so many days of the send
WINDOWS = (28, 91, 364)  # days before a cutoff whose revenue and orders are covariates


def window(log: EventLog, start: int, end: int) -> dict[str, np.ndarray]:
    """Outcomes of all customers in the days `start <= day < end`.

    Parameters
    ----------
    log : EventLog
        N customers.
    start, end : int
        Days since 1970-01-01.

    Returns
    -------
    dict of str to np.ndarray
        (N,) float64 each: `visit` (0 or 1), `orders`, `revenue`; `margin` where the log knows the cost of lines, and
        `unsubscribe` (0 or 1) where it holds events of engagement.
    """
    day = np.asarray(log.day)
    places = np.flatnonzero((day >= start) & (day < end) & (np.asarray(log.kind) == PURCHASE))
    row, n = log.owner(places), len(log)
    revenue = np.asarray(log.revenue)[places].astype(np.float64)
    pairs = np.unique(np.column_stack([row, np.asarray(log.order)[places]]), axis=0)
    orders = np.bincount(pairs[:, 0].astype(np.int64), minlength=n).astype(np.float64)
    values: dict[str, np.ndarray] = {"visit": (orders > 0).astype(np.float64), "orders": orders}
    values["revenue"] = np.bincount(row, weights=revenue, minlength=n).astype(np.float64)
    if log.cost is not None:
        cost = np.nan_to_num(np.asarray(log.cost)[places].astype(np.float64))
        values["margin"] = np.bincount(row, weights=revenue - cost, minlength=n).astype(np.float64)
    if log.engagement is not None:
        values["unsubscribe"] = _any_event(log.engagement, UNSUBSCRIBE, start, end)
    return values


def _any_event(log: EventLog, kind: int, start: int, end: int) -> np.ndarray:
    day = np.asarray(log.day)
    places = np.flatnonzero((day >= start) & (day < end) & (np.asarray(log.kind) == kind))
    return (np.bincount(log.owner(places), minlength=len(log)) > 0).astype(np.float64)


def known_customers(log: EventLog, cutoff: int) -> np.ndarray:
    """(N,) bool: who bought before the cutoff."""
    places = np.flatnonzero((np.asarray(log.day) < cutoff) & (np.asarray(log.kind) == PURCHASE))
    return np.asarray(np.bincount(log.owner(places), minlength=len(log)) > 0)


def covariates(log: EventLog, cutoff: int) -> dict[str, np.ndarray]:
    """(N,) float64 each: revenue and orders of `WINDOWS`, and days since the last purchase, before the cutoff."""
    values: dict[str, np.ndarray] = {}
    for days in WINDOWS:
        past = window(log, cutoff - days, cutoff)
        values |= {f"{name}_{days}": past[name] for name in ("revenue", "orders")}
    places = np.flatnonzero((np.asarray(log.day) < cutoff) & (np.asarray(log.kind) == PURCHASE))
    last = np.full(len(log), cutoff - WINDOWS[-1], dtype=np.int64)
    np.maximum.at(last, log.owner(places), np.asarray(log.day)[places])
    return values | {"recency": (cutoff - last).astype(np.float64)}


def require_window(log: EventLog, start: int, end: int) -> None:
    """Refuse days that the log does not cover.

    Raises
    ------
    ConfigurationError
        If the log begins after `start` or ends before `end - 1`.
    """
    if start < log.first_day or end - 1 > log.last_day:
        raise ConfigurationError(
            f"the outcomes need the days {_date(start)} to {_date(end - 1)}, and the log has {_date(log.first_day)} to "
            f"{_date(log.last_day)}; choose another cutoff or a shorter horizon"
        )


def require_outcomes(names: list[str], known: dict[str, np.ndarray]) -> None:
    """Refuse outcomes that the log does not hold.

    Raises
    ------
    ConfigurationError
        With the outcomes that it holds.
    """
    wrong = [name for name in names if name not in known]
    if wrong:
        reason = " without the cost of lines or events of engagement" if wrong[0] in OUTCOMES else ""
        raise ConfigurationError(f"outcome {wrong[0]!r} is not in the log{reason}; it has {', '.join(known)}")


def _date(day: int) -> str:
    return str(pl.select(pl.lit(day).cast(pl.Int32).cast(pl.Date)).item())
