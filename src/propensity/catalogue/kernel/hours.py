"""Columns of the hours before a request, from the events of its customer at their exact times."""

from __future__ import annotations

import numpy as np
from numba import njit

HOUR = 3_600_000
DAYS = 7 * 24 * HOUR  # how far back the time since a view or a cart is looked up


@njit(cache=True, nogil=True)
def hour_columns(  # type: ignore[no-untyped-def]
    offsets, time, kind, item, sets, offers, customer, moment, clock, windows, view, cart, purchase, start, chosen, out
):  # fmt: skip
    """Fill the hour columns (P, H) of `propensity.catalogue.column.HOUR_COLUMNS`.

    Parameters
    ----------
    offsets, time, kind, item : events of each customer, ascending in time (E,); kind is a place in `HOUR_KINDS`
    sets : (offsets (I + 1,), offers), the offers of each item
    offers : int, M
    customer, moment, clock : (B,), the moment in ms since 1970-01-01 UTC, and in ms since midnight of the shop
    windows : (W,) int64, hours, ascending
    view, cart, purchase : places of the kinds
    start, chosen : (B + 1,), (P,) see `retrieve`
    """
    set_offsets, set_offer = sets
    kinds, number = (out.shape[1] - 5) // (2 * windows.size), windows.size
    half = kinds * number + 2
    slot = np.full(offers, -1, np.int64)
    own = np.empty(half)
    bought = np.full(offers, -1, np.int64)
    for b in range(customer.size):
        own[:] = 0
        own[half - 2] = np.nan
        own[half - 1] = clock[b] / HOUR
        for p in range(start[b], start[b + 1]):
            slot[chosen[p]] = p
            out[p] = 0
            out[p, 2 * half - 2], out[p, 2 * half - 1] = np.nan, np.nan
        low, e = offsets[customer[b]], offsets[customer[b] + 1] - 1
        while e >= low and time[e] >= moment[b]:
            e -= 1
        if e >= low and moment[b] - time[e] <= DAYS:
            own[half - 2] = (moment[b] - time[e]) / HOUR
        while e >= low and moment[b] - time[e] <= DAYS:
            age = moment[b] - time[e]
            for w in range(number):
                own[kind[e] * number + w] += age <= windows[w] * HOUR
            if item[e] >= 0:
                for k in range(set_offsets[item[e]], set_offsets[item[e] + 1]):
                    p = slot[set_offer[k]]
                    if p < 0:
                        continue
                    x = out[p]
                    for w in range(number):
                        x[half + kind[e] * number + w] += age <= windows[w] * HOUR
                    if kind[e] == view and np.isnan(x[2 * half - 2]):
                        x[2 * half - 2] = age / HOUR
                    if kind[e] == cart:
                        if np.isnan(x[2 * half - 1]):
                            x[2 * half - 1] = age / HOUR
                        x[2 * half] += bought[chosen[p]] != b
                    if kind[e] == purchase:
                        bought[chosen[p]] = b
            e -= 1
        for p in range(start[b], start[b + 1]):
            out[p, :half] = own
            slot[chosen[p]] = -1


@njit(cache=True, nogil=True)
def recent_offers(offsets, time, item, sets, offers, customer, moment, length, owner, offer):  # type: ignore[no-untyped-def]
    """Offers of the events in the `length` ms before the moments (B,): fills `owner` and `offer`; their number."""
    set_offsets, set_offer = sets
    mark = np.full(offers, -1, np.int64)
    n = 0
    for b in range(customer.size):
        for e in range(offsets[customer[b] + 1] - 1, offsets[customer[b]] - 1, -1):
            if time[e] >= moment[b]:
                continue
            if moment[b] - time[e] > length:
                break
            if item[e] < 0:
                continue
            for k in range(set_offsets[item[e]], set_offsets[item[e] + 1]):
                m = set_offer[k]
                if mark[m] != b:
                    mark[m] = b
                    if n < owner.size:
                        owner[n], offer[n] = b, m
                    n += 1
    return n
