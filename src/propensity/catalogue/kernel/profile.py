"""Profiles: what a customer bought, as a vector, and the mean profile of the last buyers of each offer."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def co_occurrence(rows, customer, token, weight, out):  # type: ignore[no-untyped-def]
    """Add up products of the unit vectors of customers over tokens: fills (T, T).

    rows : (r,) ascending rows of customers; token : (R,) of each row, -1 for none; weight : (T,)
    """
    tokens = weight.size
    mark, held = np.full(tokens, -1, np.int64), np.empty(tokens, np.int64)
    out[:] = 0
    k = 0
    while k < rows.size:
        n, own, norm = 0, customer[rows[k]], 0.0
        while k < rows.size and customer[rows[k]] == own:
            t = token[rows[k]]
            if t >= 0 and mark[t] != own:
                mark[t] = own
                held[n] = t
                norm += weight[t] * weight[t]
                n += 1
            k += 1
        for i in range(n):
            for j in range(n):
                out[held[i], held[j]] += weight[held[i]] * weight[held[j]] / norm


@njit(cache=True, nogil=True)
def customer_profiles(offsets, end, customer, token, basis, out):  # type: ignore[no-untyped-def]
    """Fill the unit profile (B, D) of customers (B,) from their rows before `end` (B,); zero without one."""
    for b in range(customer.size):
        out[b] = 0
        for r in range(offsets[customer[b]], end[b]):
            if token[r] >= 0:
                out[b] += basis[token[r]]
        norm = np.sqrt((out[b] * out[b]).sum())
        if norm > 0:
            out[b] /= norm


@njit(cache=True, nogil=True)
def buyer_profiles(offsets, day, offer, token, basis, cutoff, days, total, count):  # type: ignore[no-untyped-def]
    """Add up the profiles of the buyers of the last days, each as of the day before the purchase.

    days : (W,) ascending; total : (W, M, D), count : (W, M), filled
    """
    total[:] = 0
    count[:] = 0
    dims = basis.shape[1]
    own = np.empty(dims)
    for n in range(offsets.size - 1):
        low, high = offsets[n], offsets[n + 1]
        while high > low and day[high - 1] >= cutoff:
            high -= 1
        if high == low or cutoff - day[high - 1] > days[-1]:
            continue
        own[:] = 0
        r = low
        while r < high:
            stop = r
            while stop < high and day[stop] == day[r]:
                stop += 1
            age = cutoff - day[r]
            if age <= days[-1]:
                norm = np.sqrt((own * own).sum())
                if norm > 0:
                    for k in range(r, stop):
                        for w in range(days.size):
                            if age <= days[w]:
                                count[w, offer[k]] += 1
                                for d in range(dims):
                                    total[w, offer[k], d] += own[d] / norm
            for k in range(r, stop):
                if token[k] >= 0:
                    own += basis[token[k]]
            r = stop
