"""What the market did with each offer before a cutoff: reach, volume, money, life cycle, season, over all customers."""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import PURCHASE, Events, Sets
from propensity.kernel.window import NEVER, first_at, window_of, window_table

LIFE = (
    "repeat_buyers",  # customers with two purchase days or more
    "first_buyers_28",  # customers whose first purchase is at most 28 days old
    "gap_mean",  # days between purchase days, over all customers; NaN without one
    "age",  # days since the first sale; NaN without one
    "last_year_days",  # purchase days in the weeks of last year that the horizon covers
    "last_year_around",  # the same in the 91 days around them, scaled to the horizon
)


def context_columns(windows: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the columns that `offer_context` writes, in order."""
    return (
        *(f"buyers_{w}" for w in windows),
        *(f"days_{w}" for w in windows),
        *(f"spend_{w}" for w in windows),
        *LIFE,
    )


@njit(cache=True, nogil=True)
def offer_context(
    events: Events, sets: Sets, customer: np.ndarray, cutoff: int, horizon: int, windows: np.ndarray, out: np.ndarray
) -> np.ndarray:
    """Totals over `customer (B,)` of what each offer saw before `cutoff`: out (M, 3 W + 6) float64, overwritten.

    buyers_w counts customers with a purchase in the window, days_w their purchase days, spend_w their spend.
    """
    n_offers, table = out.shape[0], window_table(windows)
    out[:] = 0.0
    gaps, oldest = np.zeros((n_offers, 2)), np.full(n_offers, cutoff)
    met, touched = np.full((n_offers, 2), NEVER), np.empty(n_offers, np.int64)
    for b in range(customer.size):
        start, end = events.offsets[customer[b]], first_at(events, customer[b], cutoff)
        n_touched = add_purchases(events, sets, start, end, cutoff, horizon, table, met, touched, gaps, out)
        for t in range(n_touched):
            m = touched[t]
            add_buyer(out, m, cutoff, met[m, 0], met[m, 1], table, gaps)
            oldest[m] = min(oldest[m], met[m, 0])
            met[m, :] = NEVER
    for m in range(n_offers):
        finish(out[m], windows.size, gaps[m], cutoff - oldest[m])
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
    met: np.ndarray,
    touched: np.ndarray,
    gaps: np.ndarray,
    out: np.ndarray,
) -> int:
    """Adds one customer's days and spend; fills met (M, 2), first and last day, of the offers listed in touched (M,).

    Returns: number of offers met.
    """
    day, item, kind, revenue = events.day, events.item, events.kind, events.revenue
    set_of, offer = sets
    n_windows, n_touched = (out.shape[1] - len(LIFE)) // 3, 0
    for e in range(start, end):
        if kind[e] != PURCHASE or item[e] < 0:
            continue
        window = window_of(table, cutoff - day[e])
        for k in range(set_of[item[e]], set_of[item[e] + 1]):
            m = offer[k]
            if window >= 0:
                out[m, 2 * n_windows + window] += revenue[e]
            if day[e] == met[m, 1]:
                continue
            if met[m, 0] == NEVER:
                met[m, 0] = day[e]
                touched[n_touched] = m
                n_touched += 1
            met[m, 1] = day[e]
            gaps[m, 0] += 1
            if window >= 0:
                out[m, n_windows + window] += 1
            add_last_year(out, m, cutoff - day[e], horizon)
    return n_touched


@njit(cache=True, nogil=True)
def add_last_year(out: np.ndarray, m: int, age: int, horizon: int) -> None:
    """A purchase day in, or around, the weeks of last year that the horizon covers."""
    at = out.shape[1] - len(LIFE)
    if 364 - horizon < age <= 364:
        out[m, at + 4] += 1
    if 364 - horizon / 2 - 45.5 < age <= 364 - horizon / 2 + 45.5:
        out[m, at + 5] += horizon / 91


@njit(cache=True, nogil=True)
def add_buyer(out: np.ndarray, m: int, cutoff: int, first: int, last: int, table: np.ndarray, gaps: np.ndarray) -> None:
    """One customer who bought from day `first` to day `last`: one gap less than purchase days."""
    at = out.shape[1] - len(LIFE)
    window = window_of(table, cutoff - last)
    if window >= 0:
        out[m, window] += 1
    out[m, at] += last > first
    out[m, at + 1] += cutoff - first <= 28
    gaps[m, 0] -= 1
    gaps[m, 1] += last - first


@njit(cache=True, nogil=True)
def finish(row: np.ndarray, n_windows: int, gaps: np.ndarray, age: int) -> None:
    """Lets each window hold the smaller ones; gaps: their number and their days; age 0: never sold."""
    at = 3 * n_windows
    for w in range(1, n_windows):
        for block in range(0, at, n_windows):
            row[block + w] += row[block + w - 1]
    row[at + 2] = gaps[1] / gaps[0] if gaps[0] > 0 else np.nan
    row[at + 3] = age if age > 0 else np.nan
