"""One customer's events added up by offer, as they go by: a sum for each window and decay, and a tally of the rest.

Legend: sums (M, W + W + H) purchase days and spend of each window, without the smaller ones, and decayed purchase
days; tally (M, TOUCHED + 1), the slots below. The functions called for every event take columns, not `Events`:
unpacking a tuple again and again would take longer than the sums.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import PURCHASE, RETURN, VIEW, Events, Sets
from propensity.kernel.history import belongs
from propensity.kernel.window import NEVER, decay_of, window_of

(FIRST, LAST, DAYS, GAP_SQ, GAP_LAST, ORDERS, ORDER_FIRST, ORDER_LAST) = range(8)
(SPEND, SPEND_LAST, UNITS, SAVED, RETURNS, VIEWS, TOUCHED) = range(8, 15)
VIEW_DAYS = 28


@njit(cache=True, nogil=True)
def tally_events(
    events: Events,
    sets: Sets,
    start: int,
    end: int,
    cutoff: int,
    hide_offer: int,
    table: np.ndarray,
    decay: np.ndarray,
    half_lives: np.ndarray,
    sums: np.ndarray,
    accumulate: np.ndarray,
    touched: np.ndarray,
) -> tuple[int, int]:
    """Adds events [start, end) of one customer; lists the offers met in touched (M,).

    Returns: number of offers met, newest order number of anything.
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
            if m == hide_offer:
                continue
            if accumulate[m, TOUCHED] == 0.0:
                accumulate[m, TOUCHED] = 1.0
                touched[n_touched] = m
                n_touched += 1
            if kind[e] != PURCHASE:
                accumulate[m, RETURNS] += kind[e] == RETURN
                accumulate[m, VIEWS] += kind[e] == VIEW and age <= VIEW_DAYS
                continue
            window = window_of(table, age)
            if day[e] != accumulate[m, LAST]:
                add_day(accumulate, m, day[e], order[e])
                if window >= 0:
                    sums[m, window] += 1
                for h in range(half_lives.size):
                    sums[m, 2 * n_windows + h] += decay_of(decay, half_lives, age, h)
            newer, older = order[e] > accumulate[m, ORDER_LAST], order[e] < accumulate[m, ORDER_LAST]
            if newer or (older and not held_before(events, sets, start, e, m)):
                add_order(accumulate, m, order[e])
            if window >= 0:
                sums[m, n_windows + window] += revenue[e]
            add_line(accumulate, m, revenue[e], quantity[e], discount[e])
    return n_touched, newest


@njit(cache=True, nogil=True)
def add_day(accumulate: np.ndarray, m: int, day: int, order: int) -> None:
    """A new purchase day of offer m."""
    if accumulate[m, DAYS] > 0:
        gap = day - accumulate[m, LAST]
        accumulate[m, GAP_SQ] += gap * gap
        accumulate[m, GAP_LAST] = gap
    else:
        accumulate[m, FIRST] = day
        accumulate[m, ORDER_FIRST] = order
    accumulate[m, LAST] = day
    accumulate[m, DAYS] += 1
    accumulate[m, SPEND_LAST] = 0.0


@njit(cache=True, nogil=True)
def add_order(accumulate: np.ndarray, m: int, order: int) -> None:
    """Another order with offer m; it may be older than the newest, where the lines of a day's orders interleave."""
    accumulate[m, ORDER_FIRST] = min(accumulate[m, ORDER_FIRST], order)
    accumulate[m, ORDER_LAST] = max(accumulate[m, ORDER_LAST], order)
    accumulate[m, ORDERS] += 1


@njit(cache=True, nogil=True)
def add_line(accumulate: np.ndarray, m: int, revenue: float, quantity: float, discount: float) -> None:
    """A line of an order."""
    accumulate[m, SPEND] += revenue
    accumulate[m, SPEND_LAST] += revenue
    accumulate[m, UNITS] += quantity
    accumulate[m, SAVED] += discount


@njit(cache=True, nogil=True)
def held_before(events: Events, sets: Sets, start: int, event: int, offer: int) -> bool:
    """Whether a line before `event` of the same order holds `offer`."""
    for e in range(event - 1, start - 1, -1):
        same = events.kind[e] == PURCHASE and events.order[e] == events.order[event]
        if same and belongs(sets, events.item[e], offer):
            return True
    return False


@njit(cache=True, nogil=True)
def forget(sums: np.ndarray, accumulate: np.ndarray, m: int) -> None:
    """Clears offer m for the next customer."""
    sums[m, :] = 0.0
    accumulate[m, :] = 0.0
    accumulate[m, LAST] = NEVER
    accumulate[m, ORDER_LAST] = NEVER
