"""Orders of one day merged into one, and what they say about a customer as of a cutoff."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from propensity.kernel.event import PURCHASE


class OrderDays(NamedTuple):
    """Days with an order. Customer n has `offsets[n]:offsets[n + 1]`, ascending in day.

    Parameters
    ----------
    offsets : (N + 1,) int64
    day : (D,) int32
    revenue : (D,) float64, in the currency of the log; below 0 counts as 0
    """

    offsets: np.ndarray
    day: np.ndarray
    revenue: np.ndarray


class Recency(NamedTuple):
    """The state of N customers at a cutoff, in weeks: what buy-till-you-die models know.

    Parameters
    ----------
    x : orders after the first day with an order
    t_x : weeks from the first order to the last one
    t_end : weeks from the first order to the day before the cutoff
    spend : revenue of all orders
    paid : orders with a revenue above 0
    """

    x: np.ndarray
    t_x: np.ndarray
    t_end: np.ndarray
    spend: np.ndarray
    paid: np.ndarray


@njit(cache=True, nogil=True)
def _order_days(offsets, day, kind, revenue, purchase):  # type: ignore[no-untyped-def]
    start, days, amount = np.zeros(offsets.size, np.int64), np.empty(day.size, np.int32), np.zeros(day.size)
    size = 0
    for n in range(offsets.size - 1):
        first = size
        for e in range(offsets[n], offsets[n + 1]):
            if kind[e] != purchase:
                continue
            if size == first or days[size - 1] != day[e]:
                days[size], amount[size] = day[e], 0.0
                size += 1
            amount[size - 1] += revenue[e]
        start[n + 1] = size
    for d in range(size):
        amount[d] = max(amount[d], 0.0)
    return start, days[:size].copy(), amount[:size].copy()


def order_days(offsets: np.ndarray, day: np.ndarray, kind: np.ndarray, revenue: np.ndarray) -> OrderDays:
    """Merge the purchase lines of a customer and a day: (N + 1,), (E,) x 3."""
    return OrderDays(*_order_days(offsets, day, kind, revenue, PURCHASE))


@njit(cache=True, nogil=True)
def _recency(offsets, day, revenue, cutoff):  # type: ignore[no-untyped-def]
    size = offsets.size - 1
    result = np.zeros((5, size))
    for n in range(size):
        first = offsets[n]
        e = first
        while e < offsets[n + 1] and day[e] < cutoff:
            result[3, n] += revenue[e]
            result[4, n] += revenue[e] > 0
            e += 1
        if e == first:
            result[0, n] = -1.0  # no order yet
            continue
        result[0, n] = e - first - 1
        result[1, n] = (day[e - 1] - day[first]) / 7.0
        result[2, n] = (cutoff - 1 - day[first]) / 7.0
    return result


def recency(orders: OrderDays, cutoff: int) -> Recency:
    """The state of every customer at a cutoff in days since 1970-01-01; x is -1 for a customer without an order."""
    return Recency(*_recency(*orders, cutoff))


@njit(cache=True, nogil=True)
def _ahead(offsets, day, revenue, cutoff, end):  # type: ignore[no-untyped-def]
    size = offsets.size - 1
    count, amount = np.zeros(size), np.zeros(size)
    for n in range(size):
        for e in range(offsets[n], offsets[n + 1]):
            if cutoff <= day[e] < end:
                count[n] += 1
                amount[n] += revenue[e]
    return count, amount


def ahead(orders: OrderDays, cutoff: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Orders and revenue of every customer with `cutoff <= day < end`: (N,) x 2."""
    return _ahead(*orders, cutoff, end)
