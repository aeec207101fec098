"""Inputs of the models of value: the history of orders of a customer as of a cutoff, in weeks and currency."""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.order_day import OrderDays

NAMES = (
    "recency",  # weeks since the last order
    "tenure",  # weeks since the first order
    "orders",
    "orders_4",  # in the last weeks, this many
    "orders_13",
    "orders_26",
    "orders_52",
    "orders_104",
    "gap",  # mean weeks between two orders
    "gap_spread",  # standard deviation of the weeks between two orders
    "gap_last",
    "behind",  # recency over the mean gap
    "spend_13",
    "spend_52",
    "spend_order",  # mean amount of a paid order
    "spend_last",
    "spend_first",
    "spend_most",
    "year_ago",  # orders in the 13 weeks that begin a year before the cutoff
    "first_gap",  # weeks from the first order to the second
)
WINDOWS = (28, 91, 182, 364, 728)


@njit(cache=True, nogil=True)
def _states(offsets, day, revenue, cutoff, row):  # type: ignore[no-untyped-def]
    result = np.full((row.size, 20), np.nan)
    for i in range(row.size):
        start, stop = offsets[row[i]], offsets[row[i] + 1]
        last = start
        while last < stop and day[last] < cutoff:
            last += 1
        orders = last - start
        if orders == 0:
            continue
        out = result[i]
        out[0] = (cutoff - 1 - day[last - 1]) / 7.0
        out[1] = (cutoff - 1 - day[start]) / 7.0
        out[2] = orders
        for k in range(5):
            out[3 + k] = 0.0
        out[12] = out[13] = out[18] = 0.0
        total, paid, most = 0.0, 0, 0.0
        for e in range(start, last):
            age = cutoff - day[e]
            for k in range(5):
                out[3 + k] += age <= WINDOWS[k]
            out[12] += revenue[e] if age <= 91 else 0.0
            out[13] += revenue[e] if age <= 364 else 0.0
            out[18] += 273 < age <= 364
            total += revenue[e]
            paid += revenue[e] > 0
            most = max(most, revenue[e])
        if orders > 1:
            mean = (day[last - 1] - day[start]) / 7.0 / (orders - 1)
            square = 0.0
            for e in range(start + 1, last):
                gap = (day[e] - day[e - 1]) / 7.0
                square += (gap - mean) ** 2
            out[8], out[9] = mean, np.sqrt(square / (orders - 1))
            out[10] = (day[last - 1] - day[last - 2]) / 7.0
            out[11] = out[0] / max(mean, 1.0 / 7.0)
            out[19] = (day[start + 1] - day[start]) / 7.0
        out[14] = total / paid if paid else 0.0
        out[15], out[16], out[17] = revenue[last - 1], revenue[start], most
    return result


def order_states(orders: OrderDays, cutoff: int, row: np.ndarray) -> np.ndarray:
    """Inputs `NAMES` (R, 20) of customers `row` (R,) at a cutoff; NaN where a customer has too few orders."""
    return _states(*orders, cutoff, np.ascontiguousarray(row, np.int64))
