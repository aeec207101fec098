"""Which events are visible (`day < cutoff`), and lookup tables by age in days."""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import Events

NEVER = -(2**31)  # smaller than every day and every order number
DECAY_DAYS = 2048  # ages up to which a decay is looked up


@njit(cache=True, nogil=True)
def first_at(events: Events, customer: int, day: int) -> int:
    """The customer's first event dated at or after `day`, or one past the last; all before it are visible on `day`."""
    lo, hi = events.offsets[customer], events.offsets[customer + 1]
    while lo < hi:
        mid = (lo + hi) // 2
        if events.day[mid] < day:
            lo = mid + 1
        else:
            hi = mid
    return lo


@njit(cache=True, nogil=True)
def window_table(windows: np.ndarray) -> np.ndarray:
    """(W,) windows in days, ascending -> (largest + 1,) index of the smallest window that contains each age."""
    table = np.empty(windows[-1] + 1, np.int64)
    w = 0
    for age in range(table.size):
        while age > windows[w]:
            w += 1
        table[age] = w
    return table


@njit(cache=True, nogil=True)
def window_of(table: np.ndarray, age: int) -> int:
    """Index of the smallest window that contains an age of 1 day or more; -1 if none does."""
    return table[age] if age < table.size else -1


@njit(cache=True, nogil=True)
def decay_table(half_lives: np.ndarray) -> np.ndarray:
    """(H,) half-lives in days -> (DECAY_DAYS, H) weight of an age; ages past the table are computed."""
    table = np.empty((DECAY_DAYS, half_lives.size))
    for age in range(DECAY_DAYS):
        for h in range(half_lives.size):
            table[age, h] = 0.5 ** (age / half_lives[h])
    return table


@njit(cache=True, nogil=True)
def decay_of(table: np.ndarray, half_lives: np.ndarray, age: int, h: int) -> float:
    """Weight of an event of `age` days by the h-th half-life."""
    return table[age, h] if age < DECAY_DAYS else 0.5 ** (age / half_lives[h])
