"""Labels: what happened in `cutoff <= day < cutoff + horizon`. Never called from the model's side of the fence."""

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
    money: np.ndarray,
    visit: np.ndarray,
) -> None:
    """Fills bought (B, M) bool, money (B, M) float32 net of returns and never below 0, visit (B,) bool: any purchase.

    Args: customer (B,) rows of the log, cutoff day, horizon in days.
    """
    total = np.zeros(bought.shape[1])
    for b in range(customer.size):
        bought[b, :] = False
        total[:] = 0.0
        start, end = first_at(events, customer[b], cutoff), first_at(events, customer[b], cutoff + horizon)
        visit[b] = add_future(events, sets, start, end, bought[b], total)
        for m in range(total.size):
            money[b, m] = max(total[m], 0.0) if bought[b, m] else 0.0


@njit(cache=True, nogil=True)
def purchase_channels(
    events: Events, customer: np.ndarray, cutoff: int, horizon: int, code: np.ndarray, count: np.ndarray
) -> None:
    """Fills count (B, K) float32: purchase lines in the horizon through each of K channels.

    Args: customer (B,) rows of the log, cutoff day, horizon in days; code (C + 1,) the place in K of each channel of
    the log, -1 for those that do not count; the last is that of lines without a channel.
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
    """Adds events [start, end) of one customer to bought (M,) and total (M,); whether anything was bought."""
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
