"""Parts of a customer's columns, each one pass over the visible events [start, end): baskets, breadth, contacts."""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import MESSAGE, PURCHASE, REDEMPTION, RETURN, VIEW, Events, Sets
from propensity.kernel.window import NEVER

RECENT = 91  # days that "recent" shares and sizes look back
RESPONSE = 7  # days within which a purchase counts as a response to a message


@njit(cache=True, nogil=True)
def basket(events: Events, start: int, end: int, cutoff: int) -> tuple[int, float, float, float, float, float]:
    """Content of the recent orders, and returns.

    Returns
    -------
    tuple
        The number of recent orders; lines and revenue per recent order; discount over revenue plus discount; returned
        lines per purchased line; share of the recent orders on a weekend.
    """
    day, kind, order, revenue, discount = events.day, events.kind, events.order, events.revenue, events.discount
    newest, lines, returns, recent, orders, weekend, spend, saved = NEVER, 0, 0, 0, 0, 0, 0.0, 0.0
    for e in range(start, end):
        returns += kind[e] == RETURN
        if kind[e] != PURCHASE:
            continue
        lines += 1
        if cutoff - day[e] <= RECENT:
            recent += 1
            spend += revenue[e]
            saved += discount[e]
            if order[e] > newest:
                orders += 1
                weekend += (day[e] + 3) % 7 >= 5  # day 0 was a Thursday
        newest = max(newest, order[e])
    per_order = 1.0 / max(orders, 1)
    share = saved / (spend + saved) if spend + saved > 0 else 0.0
    return orders, recent * per_order, spend * per_order, share, returns / max(lines, 1), weekend * per_order


@njit(cache=True, nogil=True)
def breadth(
    events: Events,
    sets: Sets,
    start: int,
    end: int,
    cutoff: int,
    orders: int,
    first_and_last: np.ndarray,
    touched: np.ndarray,
) -> tuple[float, float, float]:
    """How many offers were bought, and how many of them recently for the first time.

    Parameters
    ----------
    orders : int
        The number of recent orders.
    first_and_last : (M, 2) int
        Working memory for the first and last day of each offer; NEVER before and after the call.
    touched : (M,) int
        Working memory.

    Returns
    -------
    tuple of float
        Distinct offers over recent orders; share of all offers ever bought; share of the recent offers that were
        bought for the first time then.
    """
    day, item, kind = events.day, events.item, events.kind
    set_of, offer = sets
    n_touched = 0
    for e in range(start, end):
        if kind[e] != PURCHASE or item[e] < 0:
            continue
        for k in range(set_of[item[e]], set_of[item[e] + 1]):
            m = offer[k]
            if first_and_last[m, 0] == NEVER:
                first_and_last[m, 0] = day[e]
                touched[n_touched] = m
                n_touched += 1
            first_and_last[m, 1] = day[e]
    recent, explored = 0, 0
    for t in range(n_touched):
        m = touched[t]
        if cutoff - first_and_last[m, 1] <= RECENT:
            recent += 1
            explored += cutoff - first_and_last[m, 0] <= RECENT
        first_and_last[m, :] = NEVER
    return recent * (1.0 / max(orders, 1)), n_touched / max(touched.size, 1), explored / max(recent, 1)


@njit(cache=True, nogil=True)
def contacts(events: Events, start: int, end: int, cutoff: int) -> tuple[int, int, float, int, int]:
    """Messages of 28 and of 182 days, the share of the latter with a response, redemptions of 91 days, views of 28."""
    day, kind = events.day, events.kind
    messages_28, messages_182, responses, redemptions, views = 0, 0, 0, 0, 0
    for e in range(start, end):
        age = cutoff - day[e]
        if kind[e] == PURCHASE:
            if e > start and kind[e - 1] != PURCHASE:
                responses += messages_before(events, start, e, cutoff)
        elif kind[e] == MESSAGE:
            messages_28 += age <= 28
            messages_182 += age <= 182
        elif kind[e] == REDEMPTION:
            redemptions += age <= RECENT
        elif kind[e] == VIEW:
            views += age <= 28
    return messages_28, messages_182, responses / max(messages_182, 1), redemptions, views


@njit(cache=True, nogil=True)
def messages_before(events: Events, start: int, purchase: int, cutoff: int) -> int:
    """Messages of the last 182 days within the week before a purchase and after the purchase before it."""
    count, e = 0, purchase - 1
    while e >= start and events.kind[e] != PURCHASE and events.day[purchase] - events.day[e] <= RESPONSE:
        count += events.kind[e] == MESSAGE and cutoff - events.day[e] <= 182
        e -= 1
    return count


@njit(cache=True, nogil=True)
def last_year_spend(events: Events, start: int, end: int, cutoff: int, horizon: int) -> float:
    """Revenue in the weeks of last year that the horizon covers."""
    day, kind, revenue = events.day, events.kind, events.revenue
    spend = 0.0
    for e in range(start, end):
        if kind[e] == PURCHASE and 364 - horizon < cutoff - day[e] <= 364:
            spend += revenue[e]
    return spend
