"""What a customer did with each offer, in rolling windows: one pass over the customer's visible events.

All events of a day with an offer count as one purchase day. Windows are cumulative sums of a histogram of ages, and
decay weights are looked up by age. The kernel is single-threaded and `nogil`, so that loader threads overlap with
training.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import njit

from propensity.kernel.accumulate import (
    DAYS,
    FIRST,
    INTERVAL_LAST,
    INTERVAL_SQUARES,
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
    accumulate_events,
    clear,
)
from propensity.kernel.column import FeatureColumn, names, positions
from propensity.kernel.event import Events, Sets
from propensity.kernel.reference import pair_reference
from propensity.kernel.window import decay_table, first_at, window_table

column = partial(FeatureColumn, block="pair", definition=pair_reference)
of_buyers = partial(column, missing="never-bought", empty=np.nan)
of_repeat_buyers = partial(column, missing="bought on fewer than two days", empty=np.nan)

# In the order that the kernel writes: families first, then the single columns.
PAIR = (
    column("days_{}", "purchase days in the last {} days", per="window"),
    column("spend_{}", "revenue of the last {} days", per="window", money=True),
    column("decayed_{}", "purchase days, each weighted by 0.5 ** (age / {} days)", per="half_life"),
    of_buyers("recency", "days since the last purchase day", optional=True, gate=2),
    of_buyers("since_first", "days since the first purchase day"),
    column("purchase_days", "distinct purchase days, all visible", gate=1),
    of_repeat_buyers("interpurchase_time", "mean days between purchase days", optional=True),
    of_repeat_buyers("interpurchase_std", "standard deviation of the days between purchase days"),
    of_repeat_buyers("interpurchase_last", "days between the last two purchase days"),
    of_repeat_buyers("recency_ratio", "recency over the interpurchase time"),
    of_buyers("orders_since", "orders of anything since the last one with the offer"),
    of_buyers("order_share", "share of the orders since the first one with the offer that contain it"),
    of_buyers("spend_mean", "revenue per purchase day", money=True),
    of_buyers("spend_last", "revenue of the last purchase day", money=True),
    of_buyers("units_mean", "units per purchase day"),
    of_buyers("discount_share", "discount over revenue plus discount"),
    column("returns", "returned lines"),
    column("views", "views of the last 28 days"),
    column("masked", "1 where the history mask of training hides something of the pair", gate=3),
)
# Constants of this file: Numba compiles them in, and an edited declaration recompiles the kernels below.
AT = positions(PAIR)
RECENCY, SINCE_FIRST, PURCHASE_DAYS = AT["recency"], AT["since_first"], AT["purchase_days"]
INTERPURCHASE_TIME, INTERPURCHASE_STD = AT["interpurchase_time"], AT["interpurchase_std"]
INTERPURCHASE_LAST, RECENCY_RATIO = AT["interpurchase_last"], AT["recency_ratio"]
ORDERS_SINCE, ORDER_SHARE, DISCOUNT_SHARE = AT["orders_since"], AT["order_share"], AT["discount_share"]
SPEND_MEAN, SPEND_OF_LAST_DAY, UNITS_MEAN = AT["spend_mean"], AT["spend_last"], AT["units_mean"]
RETURNED_LINES, VIEWS_28, MASKED = AT["returns"], AT["views"], AT["masked"]
SINGLE = len(AT)
EMPTY = np.array([each.empty for each in PAIR if each.per is None], np.float32)


def pair_columns(windows: tuple[int, ...], half_lives: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the columns that `pair_windows` writes, in order."""
    return names(PAIR, windows, half_lives)


@njit(cache=True, nogil=True)
def pair_windows(
    events: Events,
    sets: Sets,
    customer: np.ndarray,
    cutoff: int,
    mask_days: np.ndarray,
    mask_offer: np.ndarray,
    windows: np.ndarray,
    half_lives: np.ndarray,
    out: np.ndarray,
) -> np.ndarray:
    """Rolling windows, recency, order and money columns of each (customer, offer) pair at one cutoff.

    Parameters
    ----------
    events, sets : Events, Sets
        The log and the offers of its items.
    customer : (B,) int
        Rows of the log.
    cutoff : int
        Day; events of this day and later are not read.
    mask_days : (B,) int
        The most recent days that the history mask hides; 0: none.
    mask_offer : (B,) int
        The offer whose events the history mask hides; -1: none.
    windows : (W,) int
        Days, ascending.
    half_lives : (H,) int
        Days.
    out : (B, M, P) float32
        The first columns, named by `pair_columns`, are overwritten; missing values are NaN.

    Returns
    -------
    (B, M, P) float32
        `out`.
    """
    n_offers, n_windows, at = out.shape[1], windows.size, 2 * windows.size + half_lives.size
    table, decay = window_table(windows), decay_table(half_lives)
    sums, totals = np.zeros((n_offers, at)), np.zeros((n_offers, TOUCHED + 1))
    touched, empty = np.empty(n_offers, np.int64), empty_row(at)
    for m in range(n_offers):
        clear(sums, totals, m)
    for b in range(customer.size):
        start, end = events.offsets[customer[b]], first_at(events, customer[b], cutoff - mask_days[b])
        n_touched, newest = accumulate_events(
            events, sets, start, end, cutoff, mask_offer[b], table, decay, half_lives, sums, totals, touched
        )
        masked = 1.0 if mask_days[b] > 0 else 0.0
        empty[at + MASKED] = masked
        for m in range(n_offers):
            if totals[m, TOUCHED] == 0.0:
                for p in range(empty.size):
                    out[b, m, p] = empty[p]
        for t in range(n_touched):
            m = touched[t]
            write_sums(out, b, m, sums, n_windows)
            write_single(out, b, m, at, totals, cutoff, newest)
            out[b, m, at + MASKED] = masked
            clear(sums, totals, m)
        if mask_offer[b] >= 0:
            out[b, mask_offer[b], at + MASKED] = 1.0
    return out


@njit(cache=True, nogil=True)
def empty_row(at: int) -> np.ndarray:
    """The columns of an offer without events of the customer, after `at` columns of families: (at + SINGLE,)."""
    row = np.zeros(at + SINGLE, np.float32)
    for p in range(SINGLE):
        row[at + p] = EMPTY[p]
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
def write_single(out: np.ndarray, b: int, m: int, at: int, totals: np.ndarray, cutoff: int, newest: int) -> None:
    """The single columns, from `at` on; `masked` is left to the caller."""
    days = totals[m, DAYS]
    if days < 2:  # with two purchase days, every column is written below
        for p in range(SINGLE):
            out[b, m, at + p] = EMPTY[p]
    out[b, m, at + PURCHASE_DAYS] = days
    out[b, m, at + RETURNED_LINES] = totals[m, RETURNS]
    out[b, m, at + VIEWS_28] = totals[m, VIEWS]
    if days == 0:
        return
    recency = cutoff - totals[m, LAST]
    out[b, m, at + RECENCY] = recency
    out[b, m, at + SINCE_FIRST] = cutoff - totals[m, FIRST]
    if days > 1:
        mean = (totals[m, LAST] - totals[m, FIRST]) / (days - 1)
        out[b, m, at + INTERPURCHASE_TIME] = mean
        out[b, m, at + INTERPURCHASE_STD] = np.sqrt(max(totals[m, INTERVAL_SQUARES] / (days - 1) - mean * mean, 0.0))
        out[b, m, at + INTERPURCHASE_LAST] = totals[m, INTERVAL_LAST]
        out[b, m, at + RECENCY_RATIO] = recency / mean
    out[b, m, at + ORDERS_SINCE] = newest - totals[m, ORDER_LAST]
    out[b, m, at + ORDER_SHARE] = totals[m, ORDERS] / max(newest - totals[m, ORDER_FIRST] + 1, 1.0)
    out[b, m, at + SPEND_MEAN] = totals[m, SPEND] / days
    out[b, m, at + SPEND_OF_LAST_DAY] = totals[m, SPEND_LAST]
    out[b, m, at + UNITS_MEAN] = totals[m, UNITS] / days
    gross = totals[m, SPEND] + totals[m, SAVED]
    out[b, m, at + DISCOUNT_SHARE] = totals[m, SAVED] / gross if gross > 0 else 0.0
