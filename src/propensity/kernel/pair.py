"""What a customer did with each offer, in rolling windows: one pass over the customer's visible events.

All events of a day with an offer count as one purchase day. Windows are cumulative sums of a histogram of ages, and
decay weights are looked up by age. The kernel is single-threaded and `nogil`, so that loader threads overlap with
training.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

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

column = partial(FeatureColumn, block="pair", reason="frequency", definition=pair_reference)
of_buyers = partial(column, reason="recency", missing="never-bought", empty=np.nan)
price_of_buyers = partial(of_buyers, reason="price")
of_repeat_buyers = partial(column, reason="recency", missing="bought on fewer than two days", empty=np.nan)

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
    of_buyers(
        "order_share", "share of the orders since the first one with the offer that contain it", reason="frequency"
    ),
    price_of_buyers("spend_mean", "revenue per purchase day", money=True),
    price_of_buyers("spend_last", "revenue of the last purchase day", money=True),
    of_buyers("units_mean", "units per purchase day", reason="frequency"),
    price_of_buyers("discount_share", "discount over revenue plus discount"),
    column("returns", "returned lines"),
    column("views", "views of the last 28 days", reason="messages"),
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


class PairMemory(NamedTuple):
    """Tables by age, and working memory for one customer with M offers, as `accumulate_events` uses them."""

    table: np.ndarray
    decay: np.ndarray
    sums: np.ndarray
    totals: np.ndarray
    touched: np.ndarray
    empty: np.ndarray  # the columns of an offer without events


@njit(cache=True, nogil=True)
def pair_memory(n_offers: int, windows: np.ndarray, half_lives: np.ndarray) -> PairMemory:
    """Memory without an event."""
    at = 2 * windows.size + half_lives.size
    sums, totals = np.zeros((n_offers, at)), np.zeros((n_offers, TOUCHED + 1))
    for m in range(n_offers):
        clear(sums, totals, m)
    touched = np.empty(n_offers, np.int64)
    return PairMemory(window_table(windows), decay_table(half_lives), sums, totals, touched, empty_row(at))


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
    memory = pair_memory(out.shape[1], windows, half_lives)
    for b in range(customer.size):
        start, end = events.offsets[customer[b]], first_at(events, customer[b], cutoff - mask_days[b])
        write_pairs(events, sets, start, end, cutoff, mask_days[b], mask_offer[b], half_lives, memory, out[b])
    return out


@njit(cache=True, nogil=True)
def write_pairs(
    events: Events,
    sets: Sets,
    start: int,
    end: int,
    cutoff: int,
    mask_days: int,
    mask_offer: int,
    half_lives: np.ndarray,
    memory: PairMemory,
    out: np.ndarray,
) -> None:
    """The columns of one customer's pairs (M, P), from the events [start, end)."""
    table, decay, sums, totals, touched, empty = memory
    at = sums.shape[1]
    n_windows, masked = (at - half_lives.size) // 2, 1.0 if mask_days > 0 else 0.0
    n_touched, newest = accumulate_events(
        events, sets, start, end, cutoff, mask_offer, table, decay, half_lives, sums, totals, touched
    )
    empty[at + MASKED] = masked
    for m in range(out.shape[0]):
        if totals[m, TOUCHED] == 0.0:
            for p in range(empty.size):
                out[m, p] = empty[p]
    for t in range(n_touched):
        m = touched[t]
        write_sums(out[m], sums[m], n_windows)
        write_single(out[m], at, totals[m], cutoff, newest)
        out[m, at + MASKED] = masked
        clear(sums, totals, m)
    if mask_offer >= 0:
        out[mask_offer, at + MASKED] = 1.0


@njit(cache=True, nogil=True)
def empty_row(at: int) -> np.ndarray:
    """The columns of an offer without events of the customer, after `at` columns of families: (at + SINGLE,)."""
    row = np.zeros(at + SINGLE, np.float32)
    for p in range(SINGLE):
        row[at + p] = EMPTY[p]
    return row


@njit(cache=True, nogil=True)
def write_sums(row: np.ndarray, sums: np.ndarray, n_windows: int) -> None:
    """Days and spend of each window, the smaller ones included, and decays."""
    days, spend = 0.0, 0.0
    for w in range(n_windows):
        days += sums[w]
        spend += sums[n_windows + w]
        row[w] = days
        row[n_windows + w] = spend
    for p in range(2 * n_windows, sums.size):
        row[p] = sums[p]


@njit(cache=True, nogil=True)
def write_single(row: np.ndarray, at: int, totals: np.ndarray, cutoff: int, newest: int) -> None:
    """The single columns, from `at` on; `masked` is left to the caller."""
    days = totals[DAYS]
    if days < 2:  # with two purchase days, every column is written below
        for p in range(SINGLE):
            row[at + p] = EMPTY[p]
    row[at + PURCHASE_DAYS] = days
    row[at + RETURNED_LINES] = totals[RETURNS]
    row[at + VIEWS_28] = totals[VIEWS]
    if days == 0:
        return
    recency = cutoff - totals[LAST]
    row[at + RECENCY] = recency
    row[at + SINCE_FIRST] = cutoff - totals[FIRST]
    if days > 1:
        mean = (totals[LAST] - totals[FIRST]) / (days - 1)
        row[at + INTERPURCHASE_TIME] = mean
        row[at + INTERPURCHASE_STD] = np.sqrt(max(totals[INTERVAL_SQUARES] / (days - 1) - mean * mean, 0.0))
        row[at + INTERPURCHASE_LAST] = totals[INTERVAL_LAST]
        row[at + RECENCY_RATIO] = recency / mean
    row[at + ORDERS_SINCE] = newest - totals[ORDER_LAST]
    row[at + ORDER_SHARE] = totals[ORDERS] / max(newest - totals[ORDER_FIRST] + 1, 1.0)
    row[at + SPEND_MEAN] = totals[SPEND] / days
    row[at + SPEND_OF_LAST_DAY] = totals[SPEND_LAST]
    row[at + UNITS_MEAN] = totals[UNITS] / days
    gross = totals[SPEND] + totals[SAVED]
    row[at + DISCOUNT_SHARE] = totals[SAVED] / gross if gross > 0 else 0.0
