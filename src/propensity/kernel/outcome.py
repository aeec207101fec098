"""Labels: what happened in `cutoff <= day < cutoff + horizon`. No feature calls these kernels."""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import PURCHASE, RETURN, Events, Sets
from propensity.kernel.window import first_at


@njit(cache=True, nogil=True)
def outcomes(
    events: Events,
    sets: Sets,
    customer: np.ndarray,
    cutoff: int,
    horizon: int,
    bought: np.ndarray,
    revenue: np.ndarray,
    visit: np.ndarray,
) -> None:
    """Fills the labels of each customer and offer.

    Parameters
    ----------
    events, sets : Events, Sets
        The log and the offers of its items.
    customer : (B,) int
        Rows of the log.
    cutoff, horizon : int
        Day, and number of days.
    bought : (B, M) bool
        Overwritten: whether the customer bought the offer.
    revenue : (B, M) float32
        Overwritten: revenue net of returns, at least 0, and 0 where nothing was bought.
    visit : (B,) bool
        Overwritten: whether the customer bought anything.
    """
    total = np.zeros(bought.shape[1])
    for b in range(customer.size):
        bought[b, :] = False
        total[:] = 0.0
        start, end = first_at(events, customer[b], cutoff), first_at(events, customer[b], cutoff + horizon)
        visit[b] = add_future(events, sets, start, end, bought[b], total)
        for m in range(total.size):
            revenue[b, m] = max(total[m], 0.0) if bought[b, m] else 0.0


@njit(cache=True, nogil=True)
def purchase_channels(
    events: Events, customer: np.ndarray, cutoff: int, horizon: int, code: np.ndarray, count: np.ndarray
) -> None:
    """Counts purchase lines in the horizon by channel.

    Parameters
    ----------
    events : Events
        The log.
    customer : (B,) int
        Rows of the log.
    cutoff, horizon : int
        Day, and number of days.
    code : (C + 1,) int
        Column of `count` for each channel of the log, -1 for those that are not counted; the last is that of lines
        without a channel.
    count : (B, K) float32
        Overwritten: purchase lines through each of K channels.
    """
    kind, channel = events.kind, events.channel
    for b in range(customer.size):
        count[b, :] = 0.0
        for e in range(first_at(events, customer[b], cutoff), first_at(events, customer[b], cutoff + horizon)):
            k = code[channel[e]]
            if kind[e] == PURCHASE and k >= 0:
                count[b, k] += 1.0


@njit(cache=True, nogil=True)
def add_future(events: Events, sets: Sets, start: int, end: int, bought: np.ndarray, total: np.ndarray) -> bool:
    """Adds events [start, end) of one customer to bought (M,) and total (M,); returns whether anything was bought."""
    kind, item, revenue = events.kind, events.item, events.revenue
    set_of, offer = sets
    visit = False
    for e in range(start, end):
        if kind[e] != PURCHASE and kind[e] != RETURN:
            continue
        visit = visit or kind[e] == PURCHASE
        if item[e] < 0:
            continue
        for k in range(set_of[item[e]], set_of[item[e] + 1]):
            total[offer[k]] += revenue[e]
            if kind[e] == PURCHASE:
                bought[offer[k]] = True
    return visit
