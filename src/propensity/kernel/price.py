"""Prices of a unit and discounts: of each offer over all customers, and of each pair. B customers, M offers."""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import PURCHASE, Events, Sets
from propensity.kernel.history import belongs
from propensity.kernel.window import first_at

PRICE_DAYS, NOW_DAYS = 364, 28  # days that say what is usual, and what is asked now
REVENUE, UNITS, LINES, DISCOUNTED, RATIO = range(5)  # of `price_sums`


@njit(cache=True, nogil=True)
def offer_prices(events: Events, sets: Sets, customer: np.ndarray, cutoff: int, out: np.ndarray) -> np.ndarray:
    """Sums over the purchased lines of the last `PRICE_DAYS` and `NOW_DAYS` days before a cutoff.

    Parameters
    ----------
    events, sets : Events, Sets
        The log and the offers of its items.
    customer : (B,) int
        Rows of the log.
    cutoff : int
        Day; events of this day and later are not read.
    out : (2, M, 4) float64
        Overwritten: revenue, units, lines and discounted lines, of the longer window first. A line counts if its
        revenue and its units are above 0.

    Returns
    -------
    (2, M, 4) float64
        `out`.
    """
    out[:] = 0.0
    for b in range(customer.size):
        for e in range(first_at(events, customer[b], cutoff - PRICE_DAYS), first_at(events, customer[b], cutoff)):
            if not is_priced(events, e):
                continue
            for k in range(sets.offsets[events.item[e]], sets.offsets[events.item[e] + 1]):
                for w in range(2 if cutoff - events.day[e] <= NOW_DAYS else 1):
                    row = out[w, sets.offer[k]]
                    row[REVENUE] += events.revenue[e]
                    row[UNITS] += events.quantity[e]
                    row[LINES] += 1
                    row[DISCOUNTED] += events.discount[e] > 0
    return out


@njit(cache=True, nogil=True)
def price_sums(
    events: Events,
    sets: Sets,
    customer: np.ndarray,
    cutoff: int,
    mask_days: np.ndarray,
    mask_offer: np.ndarray,
    usual: np.ndarray,
    out: np.ndarray,
) -> np.ndarray:
    """Sums over the purchased lines of each pair in the last `PRICE_DAYS` days before a cutoff.

    Parameters
    ----------
    events, sets : Events, Sets
        The log and the offers of its items.
    customer : (B,) int
        Rows of the log.
    cutoff : int
        Day; events of this day and later are not read.
    mask_days, mask_offer : (B,) int
        The most recent days, and the offer, that the history mask hides; 0 and -1: nothing.
    usual : (M,) float64
        Revenue of a unit over all customers.
    out : (B, M, 5) float32
        Overwritten: revenue, units, lines, discounted lines, and the sum of log(price of a unit / usual).

    Returns
    -------
    (B, M, 5) float32
        `out`.
    """
    out[:] = 0.0
    for b in range(customer.size):
        start = first_at(events, customer[b], cutoff - PRICE_DAYS)
        for e in range(start, first_at(events, customer[b], cutoff - mask_days[b])):
            if not is_priced(events, e) or belongs(sets, events.item[e], mask_offer[b]):
                continue
            for k in range(sets.offsets[events.item[e]], sets.offsets[events.item[e] + 1]):
                row = out[b, sets.offer[k]]
                row[REVENUE] += events.revenue[e]
                row[UNITS] += events.quantity[e]
                row[LINES] += 1
                row[DISCOUNTED] += events.discount[e] > 0
                row[RATIO] += np.log(events.revenue[e] / events.quantity[e] / usual[sets.offer[k]])
    return out


@njit(cache=True, nogil=True)
def is_priced(events: Events, e: int) -> bool:
    """Whether event e is a purchased line of an item with a price of a unit."""
    return events.kind[e] == PURCHASE and events.item[e] >= 0 and events.revenue[e] > 0 and events.quantity[e] > 0
