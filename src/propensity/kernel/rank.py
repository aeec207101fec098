"""Exact, tie-aware ranking metrics of one offer for many customer weights in one pass over one sort.

Legend: K customers ranked (a subset of N, best first), W weight columns (often one of ones, then resamples).
Customers with equal scores form one tie group; nothing depends on their order within it. Undefined values are NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

DIGIT = 11  # bits of a pass of the radix sort


@njit(cache=True, nogil=True)
def by_falling_key(key: np.ndarray) -> np.ndarray:
    """Stable radix sort of unsigned keys (n,), the highest first: (n,) int64 row numbers."""
    order, other, mask = np.arange(key.size), np.empty(key.size, np.int64), (1 << DIGIT) - 1
    bits = 8 * key.itemsize
    for shift in range(0, bits, DIGIT):
        place = np.zeros(mask + 2, np.int64)
        for i in range(key.size):
            place[mask - (int(key[i] >> shift) & mask) + 1] += 1
        if place.max() == key.size:
            continue  # all rows share this digit
        for d in range(mask):
            place[d + 1] += place[d]
        for row in order:
            digit = mask - (int(key[row] >> shift) & mask)
            other[place[digit]] = row
            place[digit] += 1
        order, other = other, order
    return order


def falling(score: np.ndarray) -> np.ndarray:
    """Row numbers by descending score.

    Parameters
    ----------
    score : np.ndarray
        (n,) finite floats.

    Returns
    -------
    np.ndarray
        (n,) int64; ties, and the two zeros, stay in row order.

    Examples
    --------
    >>> falling(np.array([0.5, -1.0, 2.0, 0.5]))
    array([2, 0, 3, 1])
    """
    narrow = score.dtype == np.float32
    kind: Any = np.uint32 if narrow else np.uint64
    dtype: Any = np.float32 if narrow else np.float64
    floats: Any = np.ascontiguousarray(score, dtype)
    bits: Any = (floats + 0.0).view(kind)
    sign = kind(1) << kind(8 * bits.itemsize - 1)
    order: np.ndarray = by_falling_key(np.where(bits & sign, ~bits, bits | sign))  # in the order of the floats
    return order


@njit(cache=True, nogil=True)
def group_end(score: np.ndarray, order: np.ndarray, start: int) -> int:
    """One past the last position that shares the score at position `start`."""
    stop = start + 1
    while stop < order.size and score[order[stop]] == score[order[start]]:
        stop += 1
    return stop


@njit(cache=True, nogil=True)
def add_weights(total: np.ndarray, weight: np.ndarray, order: np.ndarray, start: int, stop: int) -> None:
    """Adds the weights of the customers at positions [start, stop) to total (W,)."""
    for i in range(start, stop):
        row = weight[order[i]]
        for w in range(total.size):
            total[w] += row[w]


@njit(cache=True, nogil=True)
def add_amounts(
    total: np.ndarray, weight: np.ndarray, order: np.ndarray, amount: np.ndarray, start: int, stop: int
) -> None:
    """Adds weight times amount of those customers to total (W,); amount (N,) is money, or True for a buyer."""
    for i in range(start, stop):
        if amount[order[i]]:
            row, each = weight[order[i]], 1.0 * amount[order[i]]
            for w in range(total.size):
                total[w] += row[w] * each


@njit(cache=True, nogil=True)
def buyers(order: np.ndarray, amount: np.ndarray, start: int, stop: int) -> int:
    """Number of those customers with an amount other than 0."""
    count = 0
    for i in range(start, stop):
        count += amount[order[i]] != 0
    return count


@njit(cache=True, nogil=True)
def top_share(cut: float, above: float, tied: float) -> float:
    """Share of a tie group within the best `cut` of weight, where `above` of weight ranks higher."""
    if tied <= 0.0:
        return 0.0
    return min(max((cut - above) / tied, 0.0), 1.0)


@njit(cache=True, nogil=True)
def ratio(part: float, whole: float) -> float:
    """part / whole, NaN where the whole is 0."""
    return part / whole if whole > 0.0 else np.nan


@njit(cache=True, nogil=True)
def total_weight(order: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weight of all ranked customers, by column: (W,) int32."""
    total = np.zeros(weight.shape[1], np.int32)
    if order.size == weight.shape[0]:  # all customers: in the order of memory, not of rank
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
    """AUC, average precision and lift of one ranking.

    Parameters
    ----------
    order : np.ndarray
        (K,) row numbers, best score first.
    score : np.ndarray
        (N,) scores.
    bought : np.ndarray
        (N,) bool.
    weight : np.ndarray
        (N, W) unsigned integers; their sum is below 2^31.
    fraction : float
        Share of the total weight at which lift is measured.

    Returns
    -------
    np.ndarray
        (3, W) float64. Ties count one half in the AUC, form one threshold in the average precision, and are included in
        part at the cut. NaN where a value is undefined.
    """
    total = total_weight(order, weight)
    seen, tied = np.zeros_like(total), np.zeros_like(total)
    hits_above, hits, result = np.zeros(total.size), np.zeros(total.size), np.zeros((3, total.size))
    start = 0
    while start < order.size:
        stop = group_end(score, order, start)
        if buyers(order, bought, start, stop):
            tied[:], hits[:] = 0, 0.0
            add_weights(tied, weight, order, start, stop)
            add_amounts(hits, weight, order, bought, start, stop)
            for w in range(total.size):
                beaten_by = seen[w] - hits_above[w] + 0.5 * (tied[w] - hits[w])
                hits_above[w] += hits[w]
                result[0, w] += hits[w] * beaten_by
                result[1, w] += hits[w] * hits_above[w] / max(seen[w] + tied[w], 1)
                result[2, w] += hits[w] * top_share(fraction * total[w], seen[w], tied[w])
                seen[w] += tied[w]
        else:
            add_weights(seen, weight, order, start, stop)
        start = stop
    for w in range(total.size):
        result[0, w] = 1.0 - ratio(result[0, w], hits_above[w] * (total[w] - hits_above[w]))
        result[1, w] = ratio(result[1, w], hits_above[w])
        result[2, w] = ratio(result[2, w], hits_above[w] * fraction)
    return result


@njit(cache=True, nogil=True)
def revenue_ranking(
    order: np.ndarray, score: np.ndarray, revenue: np.ndarray, weight: np.ndarray, fraction: float
) -> np.ndarray:
    """Revenue capture: share of the revenue of the best `fraction` of weight.

    Parameters
    ----------
    order, score, weight, fraction
        See `purchase_ranking`.
    revenue : np.ndarray
        (N,) money. Ranking by the revenue itself gives the highest capture of any ranking.

    Returns
    -------
    np.ndarray
        (W,) float64, NaN where there is no revenue.
    """
    total = total_weight(order, weight)
    seen, tied = np.zeros_like(total), np.zeros_like(total)
    captured, whole, tied_revenue = np.zeros(total.size), np.zeros(total.size), np.zeros(total.size)
    start = 0
    while start < order.size:
        stop = group_end(score, order, start)
        if buyers(order, revenue, start, stop):
            tied[:], tied_revenue[:] = 0, 0.0
            add_weights(tied, weight, order, start, stop)
            add_amounts(tied_revenue, weight, order, revenue, start, stop)
            for w in range(total.size):
                captured[w] += tied_revenue[w] * top_share(fraction * total[w], seen[w], tied[w])
                whole[w] += tied_revenue[w]
                seen[w] += tied[w]
        else:
            add_weights(seen, weight, order, start, stop)
        start = stop
    for w in range(total.size):
        captured[w] = ratio(captured[w], whole[w])
    return captured
