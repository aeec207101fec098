"""One customer's events added up by offer as they are read: sums by window and decay, and totals of the rest.

sums (M, W + W + H): purchase days and spend of each window, without those of smaller windows, and decayed purchase
days. totals (M, TOUCHED + 1): the slots below. Functions that are called for every event take columns instead of
`Events`, because unpacking a tuple at each call takes longer than the sums.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import PURCHASE, RETURN, VIEW, Events, Sets
from propensity.kernel.history import belongs
from propensity.kernel.window import NEVER, decay_of, window_of

(FIRST, LAST, DAYS, INTERVAL_SQUARES, INTERVAL_LAST, ORDERS, ORDER_FIRST, ORDER_LAST) = range(8)
(SPEND, SPEND_LAST, UNITS, SAVED, RETURNS, VIEWS, TOUCHED) = range(8, 15)
VIEW_DAYS = 28


@njit(cache=True, nogil=True)
def accumulate_events(
    events: Events,
    sets: Sets,
    start: int,
    end: int,
    cutoff: int,
    mask_offer: int,
    table: np.ndarray,
    decay: np.ndarray,
    half_lives: np.ndarray,
    sums: np.ndarray,
    totals: np.ndarray,
    touched: np.ndarray,
) -> tuple[int, int]:
    """Adds events [start, end) of one customer and lists their offers in touched (M,).

    Returns
    -------
    tuple of int
        The number of offers in `touched`, and the newest order number of anything.
    """
    _, day, item, kind, _, order, quantity, revenue, discount = events
    set_of, offer = sets
    n_windows = (sums.shape[1] - half_lives.size) // 2
    n_touched, newest = 0, NEVER
    for e in range(start, end):
        if kind[e] == PURCHASE and order[e] > newest:
            newest = order[e]
        if item[e] < 0:
            continue
        age = cutoff - day[e]
        for k in range(set_of[item[e]], set_of[item[e] + 1]):
            m = offer[k]
            if m == mask_offer:
                continue
            if totals[m, TOUCHED] == 0.0:
                totals[m, TOUCHED] = 1.0
                touched[n_touched] = m
                n_touched += 1
            if kind[e] != PURCHASE:
                totals[m, RETURNS] += kind[e] == RETURN
                totals[m, VIEWS] += kind[e] == VIEW and age <= VIEW_DAYS
                continue
            window = window_of(table, age)
            if day[e] != totals[m, LAST]:
                add_day(totals, m, day[e], order[e])
                if window >= 0:
                    sums[m, window] += 1
                for h in range(half_lives.size):
                    sums[m, 2 * n_windows + h] += decay_of(decay, half_lives, age, h)
            newer, older = order[e] > totals[m, ORDER_LAST], order[e] < totals[m, ORDER_LAST]
            if newer or (older and not in_earlier_line(events, sets, start, e, m)):
                add_order(totals, m, order[e])
            if window >= 0:
                sums[m, n_windows + window] += revenue[e]
            add_line(totals, m, revenue[e], quantity[e], discount[e])
    return n_touched, newest


@njit(cache=True, nogil=True)
def add_day(totals: np.ndarray, m: int, day: int, order: int) -> None:
    """Adds a new purchase day of offer m."""
    if totals[m, DAYS] > 0:
        interval = day - totals[m, LAST]
        totals[m, INTERVAL_SQUARES] += interval * interval
        totals[m, INTERVAL_LAST] = interval
    else:
        totals[m, FIRST] = day
        totals[m, ORDER_FIRST] = order
    totals[m, LAST] = day
    totals[m, DAYS] += 1
    totals[m, SPEND_LAST] = 0.0


@njit(cache=True, nogil=True)
def add_order(totals: np.ndarray, m: int, order: int) -> None:
    """Adds an order with offer m. It may be older than the newest where the lines of a day's orders interleave."""
    totals[m, ORDER_FIRST] = min(totals[m, ORDER_FIRST], order)
    totals[m, ORDER_LAST] = max(totals[m, ORDER_LAST], order)
    totals[m, ORDERS] += 1


@njit(cache=True, nogil=True)
def add_line(totals: np.ndarray, m: int, revenue: float, quantity: float, discount: float) -> None:
    """Adds a line of an order."""
    totals[m, SPEND] += revenue
    totals[m, SPEND_LAST] += revenue
    totals[m, UNITS] += quantity
    totals[m, SAVED] += discount


@njit(cache=True, nogil=True)
def in_earlier_line(events: Events, sets: Sets, start: int, event: int, offer: int) -> bool:
    """Whether a line before `event` of the same order contains `offer`."""
    for e in range(event - 1, start - 1, -1):
        same = events.kind[e] == PURCHASE and events.order[e] == events.order[event]
        if same and belongs(sets, events.item[e], offer):
            return True
    return False


@njit(cache=True, nogil=True)
def clear(sums: np.ndarray, totals: np.ndarray, m: int) -> None:
    """Clears offer m for the next customer."""
    sums[m, :] = 0.0
    totals[m, :] = 0.0
    totals[m, LAST] = NEVER
    totals[m, ORDER_LAST] = NEVER
