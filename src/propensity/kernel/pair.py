"""What a customer did with each offer, in trailing windows: one pass over the customer's visible events.

Notable: a day's events of an offer count once (a purchase *day*), windows are prefix sums of a small age histogram, and
decays come from a table by age. Single-threaded and `nogil`, so that loader threads can overlap it with training.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.accumulate import (
    DAYS,
    FIRST,
    GAP_LAST,
    GAP_SQ,
    LAST,
    ORDER_FIRST,
    ORDER_LAST,
    ORDERS,
    RETURNS,
    SAVED,
    SPEND,
    SPEND_LAST,
    TOUCHED,
    UNITS,
    VIEWS,
    forget,
    tally_events,
)
from propensity.kernel.event import Events, Sets
from propensity.kernel.window import decay_table, first_at, window_table

RHYTHM = (
    "recency",  # days since the last purchase day
    "since_first",  # days since the first purchase day
    "days_bought",  # distinct purchase days, all visible
    "gap_mean",
    "gap_std",
    "gap_last",
    "due",  # recency over the mean gap
    "orders_since",  # orders of anything since the last one with the offer
    "order_share",  # share of the orders since the first one with the offer that hold it
    "spend_mean",  # per purchase day
    "spend_last",
    "units_mean",
    "discount_share",
    "returns",
    "views",
    "hidden",  # 1 where history dropout hides something of this pair
)


def pair_columns(windows: tuple[int, ...], half_lives: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the columns that `pair_windows` writes, in order."""
    return (
        *(f"days_{w}" for w in windows),
        *(f"spend_{w}" for w in windows),
        *(f"decayed_{h}" for h in half_lives),
        *RHYTHM,
    )


@njit(cache=True, nogil=True)
def pair_windows(
    events: Events,
    sets: Sets,
    customer: np.ndarray,
    cutoff: int,
    hide_days: np.ndarray,
    hide_offer: np.ndarray,
    windows: np.ndarray,
    half_lives: np.ndarray,
    out: np.ndarray,
) -> np.ndarray:
    """Trailing windows, rhythm and money of each (customer, offer) pair at one cutoff.

    Args: customer (B,) rows of the log; cutoff day; hide_days (B,) most recent days that history dropout hides
    (0: none); hide_offer (B,) offer it hides (-1: none); windows (W,) ascending days; half_lives (H,) days; out
    (B, M, W + W + H + 16 or more) float32, whose columns `pair_columns` are overwritten. Missing values are NaN.
    """
    n_offers, n_windows, at = out.shape[1], windows.size, 2 * windows.size + half_lives.size
    table, decay = window_table(windows), decay_table(half_lives)
    sums, accumulate = np.zeros((n_offers, at)), np.zeros((n_offers, TOUCHED + 1))
    touched, nothing = np.empty(n_offers, np.int64), row_of_nothing(at)
    for m in range(n_offers):
        forget(sums, accumulate, m)
    for b in range(customer.size):
        start, end = events.offsets[customer[b]], first_at(events, customer[b], cutoff - hide_days[b])
        n_touched, newest = tally_events(
            events, sets, start, end, cutoff, hide_offer[b], table, decay, half_lives, sums, accumulate, touched
        )
        hidden = 1.0 if hide_days[b] > 0 else 0.0
        nothing[-1] = hidden
        for m in range(n_offers):
            if accumulate[m, TOUCHED] == 0.0:
                for p in range(nothing.size):
                    out[b, m, p] = nothing[p]
        for t in range(n_touched):
            m = touched[t]
            write_sums(out, b, m, sums, n_windows)
            write_rhythm(out, b, m, at, accumulate, cutoff, newest)
            out[b, m, at + 15] = hidden
            forget(sums, accumulate, m)
        if hide_offer[b] >= 0:
            out[b, hide_offer[b], at + 15] = 1.0
    return out


@njit(cache=True, nogil=True)
def row_of_nothing(at: int) -> np.ndarray:
    """The row of an offer that the customer never met."""
    row = np.zeros(at + len(RHYTHM), np.float32)
    row[at : at + 13] = np.nan
    row[at + 2] = 0.0
    return row


@njit(cache=True, nogil=True)
def write_sums(out: np.ndarray, b: int, m: int, sums: np.ndarray, n_windows: int) -> None:
    """Days and spend of each window, the smaller ones included, and decays."""
    days, spend = 0.0, 0.0
    for w in range(n_windows):
        days += sums[m, w]
        spend += sums[m, n_windows + w]
        out[b, m, w] = days
        out[b, m, n_windows + w] = spend
    for p in range(2 * n_windows, sums.shape[1]):
        out[b, m, p] = sums[m, p]


@njit(cache=True, nogil=True)
def write_rhythm(out: np.ndarray, b: int, m: int, at: int, accumulate: np.ndarray, cutoff: int, newest: int) -> None:
    """The columns `RHYTHM` but the last, from `at` on."""
    for p in range(at, at + 13):
        out[b, m, p] = np.nan
    days = accumulate[m, DAYS]
    out[b, m, at + 2] = days
    out[b, m, at + 13] = accumulate[m, RETURNS]
    out[b, m, at + 14] = accumulate[m, VIEWS]
    if days == 0:
        return
    recency = cutoff - accumulate[m, LAST]
    out[b, m, at] = recency
    out[b, m, at + 1] = cutoff - accumulate[m, FIRST]
    if days > 1:
        gap = (accumulate[m, LAST] - accumulate[m, FIRST]) / (days - 1)
        out[b, m, at + 3] = gap
        out[b, m, at + 4] = np.sqrt(max(accumulate[m, GAP_SQ] / (days - 1) - gap * gap, 0.0))
        out[b, m, at + 5] = accumulate[m, GAP_LAST]
        out[b, m, at + 6] = recency / gap
    out[b, m, at + 7] = newest - accumulate[m, ORDER_LAST]
    out[b, m, at + 8] = accumulate[m, ORDERS] / max(newest - accumulate[m, ORDER_FIRST] + 1, 1.0)
    out[b, m, at + 9] = accumulate[m, SPEND] / days
    out[b, m, at + 10] = accumulate[m, SPEND_LAST]
    out[b, m, at + 11] = accumulate[m, UNITS] / days
    gross = accumulate[m, SPEND] + accumulate[m, SAVED]
    out[b, m, at + 12] = accumulate[m, SAVED] / gross if gross > 0 else 0.0
