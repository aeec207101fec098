"""A customer's purchase days of each offer, as lists that columns of several kinds are computed from in one pass.

A shopping day is a day with a purchase of anything. A purchase day of an offer is a shopping day on which the offer was
bought; what was bought of it on that day is added up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from propensity.kernel.event import PURCHASE, Events, Sets
from propensity.kernel.window import NEVER, decay_of, first_at


class DayLists(NamedTuple):
    """Working memory for one customer: R purchase days in linked lists by offer, and the shopping days.

    Parameters
    ----------
    head, tail : (M,) int64
        First and last purchase day of each offer, places in the arrays of length R; -1: none.
    touched : (M,) int64
        The offers with a purchase day.
    following : (R,) int64
        The next purchase day of the same offer; -1: none.
    day, trip : (R,) int64
        The day, and its place among the shopping days.
    units, spend, products : (R,) float64
        Units, revenue and distinct items of the offer on that day.
    shopping : (R,) int64
        Shopping days, ascending.
    stamp : (I,) int64
        The last customer and day that an item was bought by and on.
    """

    head: np.ndarray
    tail: np.ndarray
    touched: np.ndarray
    following: np.ndarray
    day: np.ndarray
    trip: np.ndarray
    units: np.ndarray
    spend: np.ndarray
    products: np.ndarray
    shopping: np.ndarray
    stamp: np.ndarray


@njit(cache=True, nogil=True)
def day_lists(events: Events, sets: Sets, n_offers: int, customer: np.ndarray, cutoff: int) -> DayLists:
    """Memory that is large enough for each of `customer (B,)` before a cutoff, and has no entry."""
    room = 1
    for b in range(customer.size):
        start, end = events.offsets[customer[b]], first_at(events, customer[b], cutoff)
        entries = end - start
        for e in range(start, end):
            if events.item[e] >= 0:
                entries += sets.offsets[events.item[e] + 1] - sets.offsets[events.item[e]]
        room = max(room, entries)
    return DayLists(
        np.full(n_offers, -1),
        np.full(n_offers, -1),
        np.empty(n_offers, np.int64),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.empty(room),
        np.empty(room),
        np.empty(room),
        np.empty(room, np.int64),
        np.zeros(sets.offsets.size - 1, np.int64),
    )


@njit(cache=True, nogil=True)
def collect(events: Events, sets: Sets, b: int, start: int, end: int, lists: DayLists) -> tuple[int, int, float]:
    """Fills the lists with the purchases among the events [start, end) of the b-th customer of a call.

    Returns
    -------
    tuple
        The number of offers in `touched`; the number of shopping days; revenue of everything.
    """
    head, tail, touched, following, of_day, of_trip, units, spend, products, shopping, stamp = lists
    day, item, kind, quantity, revenue = events.day, events.item, events.kind, events.quantity, events.revenue
    set_of, offer = sets
    n_touched, trips, entries, total, today = 0, 0, 0, 0.0, NEVER
    for e in range(start, end):
        if kind[e] != PURCHASE:
            continue
        if day[e] != today:
            today = day[e]
            shopping[trips] = today
            trips += 1
        total += revenue[e]
        if item[e] < 0:
            continue
        mark = ((b + 1) << 32) + (today - NEVER)
        another = 1.0 if stamp[item[e]] != mark else 0.0
        stamp[item[e]] = mark
        for k in range(set_of[item[e]], set_of[item[e] + 1]):
            m = offer[k]
            r = tail[m]
            if r < 0 or of_day[r] != today:
                if r < 0:
                    head[m] = entries
                    touched[n_touched] = m
                    n_touched += 1
                else:
                    following[r] = entries
                r = tail[m] = entries
                entries += 1
                following[r], of_day[r], of_trip[r] = -1, today, trips - 1
                units[r] = spend[r] = products[r] = 0.0
            units[r] += quantity[e]
            spend[r] += revenue[e]
            products[r] += another
    return n_touched, trips, total


@njit(cache=True, nogil=True)
def forget(lists: DayLists, n_touched: int) -> None:
    """Empties the lists for the next customer."""
    for t in range(n_touched):
        lists.head[lists.touched[t]] = -1
        lists.tail[lists.touched[t]] = -1


@njit(cache=True, nogil=True)
def shopping_days(events: Events, customer: np.ndarray, cutoff: int, window: int) -> int:
    """Shopping days of all of `customer (B,)` in the last `window` days before a cutoff."""
    count = 0
    for b in range(customer.size):
        today = NEVER
        for e in range(first_at(events, customer[b], cutoff - window), first_at(events, customer[b], cutoff)):
            if events.kind[e] == PURCHASE and events.day[e] != today:
                today = events.day[e]
                count += 1
    return count


@njit(cache=True, nogil=True)
def revenue_since(events: Events, start: int, end: int, day: int) -> float:
    """Revenue of the purchases among the events [start, end) at or after a day."""
    revenue, e = 0.0, end - 1
    while e >= start and events.day[e] >= day:
        if events.kind[e] == PURCHASE:
            revenue += events.revenue[e]
        e -= 1
    return revenue


@njit(cache=True, nogil=True)
def decay_days(
    day: np.ndarray, count: int, cutoff: int, decay: np.ndarray, half_lives: np.ndarray, out: np.ndarray
) -> None:
    """Fills out (H,) with the first `count` days, decayed by each half-life."""
    out[:] = 0.0
    for t in range(count):
        for h in range(half_lives.size):
            out[h] += decay_of(decay, half_lives, cutoff - day[t], h)
