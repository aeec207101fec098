"""Two logs put together customer by customer: what came later follows what was there."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def splice(
    old_at: np.ndarray,
    old_offsets: np.ndarray,
    new_at: np.ndarray,
    new_offsets: np.ndarray,
    old: np.ndarray,
    new: np.ndarray,
    out: np.ndarray,
) -> None:
    """One column (E,) of both logs: out of each customer first the old events, then the new.

    Args: old_at, new_at (N,) the customer's row in either log, -1 without one; old (O,), new (P,) values.
    """
    place = 0
    for n in range(old_at.size):
        if old_at[n] >= 0:
            for e in range(old_offsets[old_at[n]], old_offsets[old_at[n] + 1]):
                out[place] = old[e]
                place += 1
        if new_at[n] >= 0:
            for e in range(new_offsets[new_at[n]], new_offsets[new_at[n] + 1]):
                out[place] = new[e]
                place += 1


@njit(cache=True, nogil=True)
def orders_so_far(offsets: np.ndarray, order: np.ndarray, customer: np.ndarray) -> np.ndarray:
    """Number of orders of some customers (B,), rows of the log; 0 for row -1: (B,) int64."""
    count = np.zeros(customer.size, np.int64)
    for b in range(customer.size):
        if customer[b] >= 0:
            for e in range(offsets[customer[b]], offsets[customer[b] + 1]):
                count[b] = max(count[b], order[e] + 1)
    return count
