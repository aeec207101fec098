"""Which offers the same customers buy: the strongest few hundred for each offer, without a dense matrix."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def strongest(offsets, offer, buyer_offsets, buyer, shrink, most, size, partner, weight):  # type: ignore[no-untyped-def]
    """Fill the strongest partners of each offer by shrunk cosine of their sets of baskets or customers.

    Parameters
    ----------
    offsets, offer : sets in CSR form: set s holds the offers `offer[offsets[s]:offsets[s + 1]]`, each once
    buyer_offsets, buyer : the same from offers to sets
    shrink : float, added to the denominator, in sets
    most : int, a set of more offers is left out
    size, partner, weight : (M,) int32, (M, K) int32 and float32, filled in descending weight
    """
    offers, limit = partner.shape
    count, touched = np.zeros(offers, np.float64), np.empty(offers, np.int64)
    for m in range(offers):
        n = 0
        for k in range(buyer_offsets[m], buyer_offsets[m + 1]):
            s = buyer[k]
            if offsets[s + 1] - offsets[s] > most:
                continue
            for e in range(offsets[s], offsets[s + 1]):
                j = offer[e]
                if count[j] == 0:
                    touched[n] = j
                    n += 1
                count[j] += 1
        own = buyer_offsets[m + 1] - buyer_offsets[m]
        value = np.empty(n)
        for k in range(n):
            j = touched[k]
            both = 0.0 if j == m or count[j] < 2 else count[j]
            value[k] = both / (np.sqrt(own * (buyer_offsets[j + 1] - buyer_offsets[j])) + shrink)
            count[j] = 0
        order = np.argsort(-value, kind="mergesort")
        filled = 0
        for k in range(min(n, limit)):
            if value[order[k]] <= 0:
                break
            partner[m, k], weight[m, k] = touched[order[k]], value[order[k]]
            filled += 1
        size[m] = filled
