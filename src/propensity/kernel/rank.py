"""Exact, tie-aware ranking metrics of one offer for many customer weights at once: sorted once, swept once.

Legend: K customers ranked (a subset of N, best first), W weight columns (often one of ones, then resamples).
Customers with equal scores form one tie group; nothing depends on their order within it. Undefined values are NaN.
"""

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


@njit(cache=True, nogil=True)
def group_end(score: np.ndarray, order: np.ndarray, start: int) -> int:
    """One past the last position that shares the score at position `start`."""
    stop = start + 1
    while stop < order.size and score[order[stop]] == score[order[start]]:
        stop += 1
    return stop


@njit(cache=True, nogil=True)
def add_weights(total: np.ndarray, weight: np.ndarray, order: np.ndarray, start: int, stop: int) -> None:
    """Add the weight rows of the customers at positions [start, stop) to total (W,) in place."""
    for i in range(start, stop):
        row = weight[order[i]]
        for w in range(total.size):
            total[w] += row[w]


@njit(cache=True, nogil=True)
def add_held(
    held: np.ndarray, weight: np.ndarray, order: np.ndarray, amount: np.ndarray, start: int, stop: int
) -> None:
    """Add weight times amount of those customers to held (W,) in place; amount (N,) is money, or True for a buyer."""
    for i in range(start, stop):
        if amount[order[i]]:
            row, each = weight[order[i]], 1.0 * amount[order[i]]
            for w in range(held.size):
                held[w] += row[w] * each


@njit(cache=True, nogil=True)
def buyers(order: np.ndarray, amount: np.ndarray, start: int, stop: int) -> int:
    """How many of those customers hold any amount."""
    count = 0
    for i in range(start, stop):
        count += amount[order[i]] != 0
    return count


@njit(cache=True, nogil=True)
def kept_share(cut: float, above: float, tied: float) -> float:
    """Share of a tie group kept when the best `cut` of weight is kept and `above` of it ranks higher."""
    if tied <= 0.0:
        return 0.0
    return min(max((cut - above) / tied, 0.0), 1.0)


@njit(cache=True, nogil=True)
def ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else np.nan


@njit(cache=True, nogil=True)
def total_weight(order: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weight of all ranked customers, by column: (W,) int32."""
    total = np.zeros(weight.shape[1], np.int32)
    if order.size == weight.shape[0]:  # everybody: in the order of memory, not of rank
        for row in weight:
            for w in range(total.size):
                total[w] += row[w]
    else:
        add_weights(total, weight, order, 0, order.size)
    return total


@njit(cache=True, nogil=True)
def purchase_ranking(
    order: np.ndarray, score: np.ndarray, bought: np.ndarray, weight: np.ndarray, fraction: float
) -> np.ndarray:
    """AUC, average precision and lift of one ranking: (K,), (N,), (N,) bool, (N,W) unsigned, float -> (3,W) float64.

    `order` holds row numbers, best score first. Ties count one half in the AUC, form one threshold in the average
    precision, and are kept in part at the cut, which lies at exactly `fraction` of the total weight (below 2^31).
    """
    total = total_weight(order, weight)
    seen, tied = np.zeros_like(total), np.zeros_like(total)
    found, hits, result = np.zeros(total.size), np.zeros(total.size), np.zeros((3, total.size))
    start = 0
    while start < order.size:
        stop = group_end(score, order, start)
        if buyers(order, bought, start, stop):
            tied[:], hits[:] = 0, 0.0
            add_weights(tied, weight, order, start, stop)
            add_held(hits, weight, order, bought, start, stop)
            for w in range(total.size):
                beaten_by = seen[w] - found[w] + 0.5 * (tied[w] - hits[w])
                found[w] += hits[w]
                result[0, w] += hits[w] * beaten_by
                result[1, w] += hits[w] * found[w] / max(seen[w] + tied[w], 1)
                result[2, w] += hits[w] * kept_share(fraction * total[w], seen[w], tied[w])
                seen[w] += tied[w]
        else:
            add_weights(seen, weight, order, start, stop)
        start = stop
    for w in range(total.size):
        result[0, w] = 1.0 - ratio(result[0, w], found[w] * (total[w] - found[w]))
        result[1, w] = ratio(result[1, w], found[w])
        result[2, w] = ratio(result[2, w], found[w] * fraction)
    return result


@njit(cache=True, nogil=True)
def revenue_ranking(
    order: np.ndarray, score: np.ndarray, revenue: np.ndarray, weight: np.ndarray, fraction: float
) -> np.ndarray:
    """Share of the revenue held by the best `fraction` of weight: (K,), (N,), (N,), (N,W) unsigned, float -> (W,).

    Ranking by the revenue itself gives the most that any ranking can capture.
    """
    total = total_weight(order, weight)
    seen, tied = np.zeros_like(total), np.zeros_like(total)
    kept, whole, held = np.zeros(total.size), np.zeros(total.size), np.zeros(total.size)
    start = 0
    while start < order.size:
        stop = group_end(score, order, start)
        if buyers(order, revenue, start, stop):
            tied[:], held[:] = 0, 0.0
            add_weights(tied, weight, order, start, stop)
            add_held(held, weight, order, revenue, start, stop)
            for w in range(total.size):
                kept[w] += held[w] * kept_share(fraction * total[w], seen[w], tied[w])
                whole[w] += held[w]
                seen[w] += tied[w]
        else:
            add_weights(seen, weight, order, start, stop)
        start = stop
    for w in range(total.size):
        kept[w] = ratio(kept[w], whole[w])
    return kept
