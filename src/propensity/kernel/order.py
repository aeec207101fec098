"""Rows from the highest score to the lowest, by a radix sort."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

DIGIT = 11  # bits sorted at a time


@njit(cache=True, nogil=True)
def by_falling_key(key: np.ndarray) -> np.ndarray:
    """Order of unsigned keys (n,), the highest first, rows with equal keys as they came: (n,) int64."""
    order, other, mask = np.arange(key.size), np.empty(key.size, np.int64), (1 << DIGIT) - 1
    bits = 8 * key.itemsize
    for shift in range(0, bits, DIGIT):
        place = np.zeros(mask + 2, np.int64)
        for i in range(key.size):
            place[mask - (int(key[i] >> shift) & mask) + 1] += 1
        if place.max() == key.size:
            continue  # all share this digit
        for d in range(mask):
            place[d + 1] += place[d]
        for row in order:
            digit = mask - (int(key[row] >> shift) & mask)
            other[place[digit]] = row
            place[digit] += 1
        order, other = other, order
    return order


def falling(score: np.ndarray) -> np.ndarray:
    """Row numbers of finite float scores (n,), the highest first; ties, and the two zeros, stay in row order.

    >>> falling(np.array([0.5, -1.0, 2.0, 0.5]))
    array([2, 0, 3, 1])
    """
    narrow = score.dtype == np.float32
    kind: Any = np.uint32 if narrow else np.uint64
    dtype: Any = np.float32 if narrow else np.float64
    floats: Any = np.ascontiguousarray(score, dtype)
    bits: Any = (floats + 0.0).view(kind)
    sign = kind(1) << kind(8 * bits.itemsize - 1)
    made: np.ndarray = by_falling_key(np.where(bits & sign, ~bits, bits | sign))  # in the order of the floats
    return made
