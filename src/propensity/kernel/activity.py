"""Activity features of a customer: baskets, breadth, contacts; each is one pass over the events [start, end)."""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import MESSAGE, PURCHASE, REDEMPTION, RETURN, VIEW, Events, Sets
from propensity.kernel.window import NEVER

RECENT = 91  # days that "recent" shares and sizes look back
RESPONSE = 7  # days within which a purchase counts as a response to a message


@njit(cache=True, nogil=True)
def write_basket(events: Events, start: int, end: int, cutoff: int, row: np.ndarray) -> int:
    """Writes order_lines, order_spend, discount_share, return_rate and weekend_share to row[0, 1, 5, 6, 7].

    Returns the number of recent orders.
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
    row[0] = recent * per_order
    row[1] = spend * per_order
    row[5] = saved / (spend + saved) if spend + saved > 0 else 0.0
    row[6] = returns / max(lines, 1)
    row[7] = weekend * per_order
    return orders


@njit(cache=True, nogil=True)
def write_breadth(
    events: Events,
    sets: Sets,
    start: int,
    end: int,
    cutoff: int,
    orders: int,
    first_last: np.ndarray,
    touched: np.ndarray,
    row: np.ndarray,
) -> None:
    """Writes order_offers, penetration and exploration.

    first_last (M, 2), first and last purchase day of each offer, is NEVER on entry and on return.
    """
    day, item, kind = events.day, events.item, events.kind
    set_of, offer = sets
    n_touched = 0
    for e in range(start, end):
        if kind[e] != PURCHASE or item[e] < 0:
            continue
        for k in range(set_of[item[e]], set_of[item[e] + 1]):
            m = offer[k]
            if first_last[m, 0] == NEVER:
                first_last[m, 0] = day[e]
                touched[n_touched] = m
                n_touched += 1
            first_last[m, 1] = day[e]
    recent, explored = 0, 0
    for t in range(n_touched):
        m = touched[t]
        if cutoff - first_last[m, 1] <= RECENT:
            recent += 1
            explored += cutoff - first_last[m, 0] <= RECENT
        first_last[m, :] = NEVER
    row[0] = recent * (1.0 / max(orders, 1))
    row[1] = n_touched / max(touched.size, 1)
    row[2] = explored / max(recent, 1)


@njit(cache=True, nogil=True)
def write_contacts(events: Events, start: int, end: int, cutoff: int, row: np.ndarray) -> None:
    """Writes messages_28, messages_182, response, redemptions_91 and views_28."""
    day, kind = events.day, events.kind
    row[:] = 0.0
    responses = 0
    for e in range(start, end):
        age = cutoff - day[e]
        if kind[e] == PURCHASE:
            if e > start and kind[e - 1] != PURCHASE:
                responses += responded(events, start, e, cutoff)
        elif kind[e] == MESSAGE:
            row[0] += age <= 28
            row[1] += age <= 182
        elif kind[e] == REDEMPTION:
            row[3] += age <= RECENT
        elif kind[e] == VIEW:
            row[4] += age <= 28
    row[2] = responses / max(row[1], 1.0)


@njit(cache=True, nogil=True)
def responded(events: Events, start: int, purchase: int, cutoff: int) -> int:
    """Messages of the last 182 days that this purchase follows within a week and no earlier purchase does."""
    count, e = 0, purchase - 1
    while e >= start and events.kind[e] != PURCHASE and events.day[purchase] - events.day[e] <= RESPONSE:
        count += events.kind[e] == MESSAGE and cutoff - events.day[e] <= 182
        e -= 1
    return count


@njit(cache=True, nogil=True)
def last_year_spend(events: Events, start: int, end: int, cutoff: int, horizon: int) -> float:
    """Spend in the weeks of last year that the horizon covers."""
    day, kind, revenue = events.day, events.kind, events.revenue
    spend = 0.0
    for e in range(start, end):
        if kind[e] == PURCHASE and 364 - horizon < cutoff - day[e] <= 364:
            spend += revenue[e]
    return spend
