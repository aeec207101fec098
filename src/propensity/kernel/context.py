"""What the market did with each offer before a cutoff: reach, volume, revenue, life cycle, season, over customers."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from numba import njit

from propensity.kernel.column import FeatureColumn, names, positions
from propensity.kernel.event import PURCHASE, Events, Sets
from propensity.kernel.reference import context_reference
from propensity.kernel.window import NEVER, first_at, window_of, window_table

LINE_DAYS = 91  # days of the lines that say what is usual
LINES = 20  # of an offer, below which no line is implausible
WIDE, NARROWEST = 6.0, 0.5  # standard deviations of the log revenue above the median; the least that is assumed

total = partial(FeatureColumn, block="context", definition=context_reference)

# Totals that the context columns of the inputs are ratios of. Families first, then the single columns.
TOTALS = (
    total("buyers_{}", "customers with a purchase in the last {} days", per="window"),
    total("days_{}", "purchase days of all customers in the last {} days", per="window"),
    total("spend_{}", "revenue of the last {} days, where an implausible line counts as the usual one", per="window"),
    total("repeat_buyers", "customers with two purchase days or more"),
    total("first_buyers_28", "customers whose first purchase is at most 28 days old"),
    total("interpurchase_time", "mean days between purchase days", missing="nobody bought twice", empty=np.nan),
    total("age", "days since the first sale", missing="nobody bought", empty=np.nan),
    total("last_year_days", "purchase days in the weeks of last year that the horizon covers"),
    total("last_year_around", "purchase days in the 91 days around them, scaled to the horizon"),
)
# Constants of this file: Numba compiles them in, and an edited declaration recompiles the kernels below.
AT = positions(TOTALS)
REPEAT_BUYERS, FIRST_BUYERS_28 = AT["repeat_buyers"], AT["first_buyers_28"]
INTERPURCHASE_TIME, AGE = AT["interpurchase_time"], AT["age"]
LAST_YEAR_DAYS, LAST_YEAR_AROUND = AT["last_year_days"], AT["last_year_around"]
SINGLE = len(AT)


def context_columns(windows: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the columns that `offer_context` writes, in order."""
    return names(TOTALS, windows, ())


class LineLimits(NamedTuple):
    """Which purchase lines of M offers are implausible, and what they count as.

    Parameters
    ----------
    highest : (M,) float64
        A line with more revenue is implausible; inf for an offer with few lines.
    usual : (M,) float64
        The median revenue of a line.
    """

    highest: np.ndarray
    usual: np.ndarray


@njit(cache=True, nogil=True)
def line_limits(events: Events, sets: Sets, n_offers: int, customer: np.ndarray, cutoff: int) -> LineLimits:
    """The limits of each offer's lines, from those with a revenue in the last `LINE_DAYS` days.

    Parameters
    ----------
    events, sets : Events, Sets
        The log and the offers of its items.
    n_offers : int
        Number of offers M.
    customer : (B,) int
        Rows of the log.
    cutoff : int
        Day; events of this day and later are not read.

    Returns
    -------
    LineLimits
        The highest plausible revenue is `WIDE` standard deviations of the log revenue above its median. The standard
        deviation is half the distance between the quantiles of 16 % and 84 %, and at least `NARROWEST`, so that one
        line cannot move the limit.
    """
    highest, usual = np.full(n_offers, np.inf), np.zeros(n_offers)
    offsets, revenue = line_revenues(events, sets, n_offers, customer, cutoff)
    for m in range(n_offers):
        lines = revenue[offsets[m] : offsets[m + 1]]
        if lines.size >= LINES:
            low, middle, high = quantile(lines, 0.16), quantile(lines, 0.5), quantile(lines, 0.84)
            highest[m], usual[m] = middle * max((high / low) ** (WIDE / 2), np.exp(WIDE * NARROWEST)), middle
    return LineLimits(highest, usual)


@njit(cache=True, nogil=True)
def line_revenues(
    events: Events, sets: Sets, n_offers: int, customer: np.ndarray, cutoff: int
) -> tuple[np.ndarray, np.ndarray]:
    """Revenues above 0 of the lines of the last `LINE_DAYS` days; offer m has `offsets[m]:offsets[m + 1]`."""
    offsets, revenue = np.zeros(n_offers + 2, np.int64), np.empty(0, np.float32)
    for fill in range(2):
        for b in range(customer.size):
            for e in range(first_at(events, customer[b], cutoff - LINE_DAYS), first_at(events, customer[b], cutoff)):
                if events.kind[e] != PURCHASE or events.item[e] < 0 or events.revenue[e] <= 0:
                    continue
                for k in range(sets.offsets[events.item[e]], sets.offsets[events.item[e] + 1]):
                    place = sets.offer[k] + 2 - fill
                    if fill == 1:
                        revenue[offsets[place]] = events.revenue[e]
                    offsets[place] += 1
        if fill == 0:
            offsets[:] = np.cumsum(offsets)
            revenue = np.empty(offsets[-1], np.float32)
    return offsets[:-1], revenue


@njit(cache=True, nogil=True)
def quantile(values: np.ndarray, share: float) -> float:
    """The largest value (K,) of which at most a share is smaller."""
    place = int(share * (values.size - 1))
    return float(np.partition(values, place)[place])


@njit(cache=True, nogil=True)
def offer_context(
    events: Events,
    sets: Sets,
    customer: np.ndarray,
    cutoff: int,
    horizon: int,
    windows: np.ndarray,
    limits: LineLimits,
    out: np.ndarray,
) -> np.ndarray:
    """Totals of each offer over customers before a cutoff.

    Parameters
    ----------
    events, sets : Events, Sets
        The log and the offers of its items.
    customer : (B,) int
        Rows of the log.
    cutoff : int
        Day; events of this day and later are not read.
    horizon : int
        Days that are predicted; `last_year_days` covers as many.
    windows : (W,) int
        Days, ascending.
    limits : LineLimits
        Of the offers' lines.
    out : (M, 3 W + 6) float64
        Overwritten with the columns `context_columns`.

    Returns
    -------
    (M, 3 W + 6) float64
        `out`.
    """
    n_offers, table = out.shape[0], window_table(windows)
    out[:] = 0.0
    intervals, oldest = np.zeros((n_offers, 2)), np.full(n_offers, cutoff)
    first_and_last, touched = np.full((n_offers, 2), NEVER), np.empty(n_offers, np.int64)
    for b in range(customer.size):
        start, end = events.offsets[customer[b]], first_at(events, customer[b], cutoff)
        n_touched = add_purchases(
            events, sets, start, end, cutoff, horizon, table, limits, first_and_last, touched, intervals, out
        )
        for t in range(n_touched):
            m = touched[t]
            add_buyer(out, m, cutoff, first_and_last[m, 0], first_and_last[m, 1], table, intervals)
            oldest[m] = min(oldest[m], first_and_last[m, 0])
            first_and_last[m, :] = NEVER
    for m in range(n_offers):
        finish(out[m], windows.size, intervals[m], cutoff - oldest[m])
    return out


@njit(cache=True, nogil=True)
def add_purchases(
    events: Events,
    sets: Sets,
    start: int,
    end: int,
    cutoff: int,
    horizon: int,
    table: np.ndarray,
    limits: LineLimits,
    first_and_last: np.ndarray,
    touched: np.ndarray,
    intervals: np.ndarray,
    out: np.ndarray,
) -> int:
    """Adds one customer's days and spend, and fills first_and_last (M, 2) of the offers in touched (M,).

    Returns
    -------
    int
        The number of offers in `touched`.
    """
    day, item, kind, revenue = events.day, events.item, events.kind, events.revenue
    set_of, offer = sets
    n_windows, n_touched = (out.shape[1] - SINGLE) // 3, 0
    for e in range(start, end):
        if kind[e] != PURCHASE or item[e] < 0:
            continue
        window = window_of(table, cutoff - day[e])
        for k in range(set_of[item[e]], set_of[item[e] + 1]):
            m = offer[k]
            if window >= 0:
                out[m, 2 * n_windows + window] += revenue[e] if revenue[e] <= limits.highest[m] else limits.usual[m]
            if day[e] == first_and_last[m, 1]:
                continue
            if first_and_last[m, 0] == NEVER:
                first_and_last[m, 0] = day[e]
                touched[n_touched] = m
                n_touched += 1
            first_and_last[m, 1] = day[e]
            intervals[m, 0] += 1
            if window >= 0:
                out[m, n_windows + window] += 1
            add_last_year(out, m, cutoff - day[e], horizon)
    return n_touched


@njit(cache=True, nogil=True)
def add_last_year(out: np.ndarray, m: int, age: int, horizon: int) -> None:
    """A purchase day in, or around, the weeks of last year that the horizon covers."""
    at = out.shape[1] - SINGLE
    if 364 - horizon < age <= 364:
        out[m, at + LAST_YEAR_DAYS] += 1
    if 364 - horizon / 2 - 45.5 < age <= 364 - horizon / 2 + 45.5:
        out[m, at + LAST_YEAR_AROUND] += horizon / 91


@njit(cache=True, nogil=True)
def add_buyer(
    out: np.ndarray, m: int, cutoff: int, first: int, last: int, table: np.ndarray, intervals: np.ndarray
) -> None:
    """One customer who bought from day `first` to day `last`: one interval less than purchase days."""
    at = out.shape[1] - SINGLE
    window = window_of(table, cutoff - last)
    if window >= 0:
        out[m, window] += 1
    out[m, at + REPEAT_BUYERS] += last > first
    out[m, at + FIRST_BUYERS_28] += cutoff - first <= 28
    intervals[m, 0] -= 1
    intervals[m, 1] += last - first


@njit(cache=True, nogil=True)
def finish(row: np.ndarray, n_windows: int, intervals: np.ndarray, age: int) -> None:
    """Adds the smaller windows to each; intervals (2,): their number and their days; age 0: never sold."""
    at = 3 * n_windows
    for w in range(1, n_windows):
        for block in range(0, at, n_windows):
            row[block + w] += row[block + w - 1]
    row[at + INTERPURCHASE_TIME] = intervals[1] / intervals[0] if intervals[0] > 0 else np.nan
    row[at + AGE] = age if age > 0 else np.nan
