"""Orders in each of the weeks after a cutoff, and the logarithms of their amounts."""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.order_day import OrderDays


@njit(cache=True, nogil=True)
def _order_weeks(offsets, day, revenue, cutoff, row, width, closed, bound):  # type: ignore[no-untyped-def]
    count, amount = np.zeros((row.size, width), np.uint8), np.zeros((row.size, 3))
    for i in range(row.size):
        for e in range(offsets[row[i]], offsets[row[i] + 1]):
            if day[e] < cutoff:
                continue
            week = (day[e] - cutoff) // 7
            if week >= closed:
                break
            count[i, week] += 1
            if revenue[e] > 0.0:
                logarithm = np.log(min(revenue[e], bound))
                amount[i, 0] += 1.0
                amount[i, 1] += logarithm
                amount[i, 2] += logarithm * logarithm
    return count, amount


def order_weeks(
    orders: OrderDays, cutoff: int, row: np.ndarray, width: int, closed: int, bound: float
) -> tuple[np.ndarray, np.ndarray]:
    """Orders of customers `row` (R,) in the weeks after a cutoff, of which `closed` have been seen.

    Parameters
    ----------
    orders : OrderDays
        Orders; those after the closed weeks are not read.
    cutoff : int
        Days since 1970-01-01.
    row : numpy.ndarray of shape (R,), int
        Customers.
    width, closed : int
        Columns of the result, and how many of them may be filled.
    bound : float
        Amount that larger ones count as, in currency.

    Returns
    -------
    count : numpy.ndarray of shape (R, width), uint8
        Orders of each week, at most 7; 0 in weeks that have not closed.
    amount : numpy.ndarray of shape (R, 3)
        Number of paid orders in those weeks, sum of the logarithms of their amounts, and of the squares of these.
    """
    return _order_weeks(*orders, cutoff, np.ascontiguousarray(row, np.int64), width, min(closed, width), bound)
