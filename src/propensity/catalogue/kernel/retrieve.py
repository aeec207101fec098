"""The offers that are scored for a request: the customer's own, and those that may be bought for the first time."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def own_ends(offsets, day, customer, cutoff, end):  # type: ignore[no-untyped-def]
    """Row after the last one before `cutoff` (B,) of each customer (B,): fills (B,) int64."""
    for b in range(customer.size):
        low, high = offsets[customer[b]], offsets[customer[b] + 1]
        while low < high:
            middle = (low + high) // 2
            if day[middle] < cutoff[b]:
                low = middle + 1
            else:
                high = middle
        end[b] = low


@njit(cache=True, nogil=True)
def add_partners(similarity, memory, start, end, day, offer, cutoff, half_life, score, touched):  # type: ignore[no-untyped-def]
    """Add the partners of the last `memory` different offers of a customer to `score` (M,); the number of touched ones.

    similarity : (size (M,), partner (M, K), weight (M, K)), see `strongest`
    """
    size, partner, weight = similarity
    n, seen, r = 0, 0, end - 1
    while r >= start and seen < memory:
        m = offer[r]
        later = False  # bought again afterwards: already added
        for k in range(r + 1, end):
            if offer[k] == m:
                later = True
                break
        if not later:
            seen += 1
            decay = 0.5 ** ((cutoff - day[r]) / half_life)
            for k in range(size[m]):
                j = partner[m, k]
                if score[j] == 0:
                    touched[n] = j
                    n += 1
                score[j] += decay * weight[m, k]
        r -= 1
    return n


@njit(cache=True, nogil=True)
def retrieve(  # type: ignore[no-untyped-def]
    offsets, day, offer, customer, end, cutoff, popular, group, group_best, customer_similarity, basket_similarity,
    memory, half_life, partners, sold, start, chosen, affinity,
):  # fmt: skip
    """Fill the offers of B requests of one day, and return their number P.

    Parameters
    ----------
    offsets, day, offer : sales by customer
    customer, end : (B,), and the row after the customer's last one before the cutoff
    popular : (K,) best sellers
    group, group_best : (M,) group of each offer, and (G, k) best sellers of each group, -1 where there are fewer
    customer_similarity, basket_similarity : see `add_partners`
    memory, half_life : offers of the customer whose partners are added, and days in which their weight halves
    partners : number of partners to take, by each similarity
    sold : (M,) bool, offers that may be scored
    start : (B + 1,), chosen : (limit,) int32, affinity : (limit, 2) float32
        Filled: request b has the entries `start[b]:start[b + 1]`, its own offers first.
    """
    offers = group.size
    mark = np.full(offers, -1, np.int64)
    group_mark = np.full(group_best.shape[0], -1, np.int64)
    first, second = np.zeros(offers), np.zeros(offers)
    touched_first, touched_second = np.empty(offers, np.int64), np.empty(offers, np.int64)
    p = 0
    start[0] = 0
    for b in range(customer.size):
        low, high = offsets[customer[b]], end[b]
        for r in range(low, high):
            m = offer[r]
            if mark[m] != b and sold[m]:
                mark[m] = b
                chosen[p] = m
                p += 1
        n1 = add_partners(customer_similarity, memory, low, high, day, offer, cutoff, half_life, first, touched_first)
        n2 = add_partners(basket_similarity, memory, low, high, day, offer, cutoff, half_life, second, touched_second)
        for k in range(popular.size):
            m = popular[k]
            if mark[m] != b and sold[m]:
                mark[m] = b
                chosen[p] = m
                p += 1
        p = take_best(first, touched_first, n1, partners, mark, b, sold, chosen, p)
        p = take_best(second, touched_second, n2, partners, mark, b, sold, chosen, p)
        seen = 0
        for r in range(high - 1, low - 1, -1):
            g = group[offer[r]]
            if g < 0 or group_mark[g] == b or seen >= memory:
                continue
            group_mark[g] = b
            seen += 1
            for k in range(group_best.shape[1]):
                m = group_best[g, k]
                if m >= 0 and mark[m] != b and sold[m]:
                    mark[m] = b
                    chosen[p] = m
                    p += 1
        for k in range(start[b], p):
            affinity[k, 0], affinity[k, 1] = first[chosen[k]], second[chosen[k]]
        for k in range(n1):
            first[touched_first[k]] = 0
        for k in range(n2):
            second[touched_second[k]] = 0
        start[b + 1] = p
    return p


@njit(cache=True, nogil=True)
def take_best(score, touched, n, partners, mark, b, sold, chosen, p):  # type: ignore[no-untyped-def]
    """Add the `partners` touched offers with the highest score; equal scores in ascending order of the offer."""
    candidates = np.sort(touched[:n])
    value = np.empty(n)
    for k in range(n):
        value[k] = -score[candidates[k]]
    order = np.argsort(value, kind="mergesort")
    for k in range(min(n, partners)):
        m = candidates[order[k]]
        if mark[m] != b and sold[m]:
            mark[m] = b
            chosen[p] = m
            p += 1
    return p


@njit(cache=True, nogil=True)
def affinities(  # type: ignore[no-untyped-def]
    offsets, day, offer, customer, end, cutoff, customer_similarity, basket_similarity, memory, half_life, start,
    chosen, affinity,
):  # fmt: skip
    """Fill the affinities (P, 2) of offers that were named, see `retrieve`."""
    offers = customer_similarity[0].size
    first, second = np.zeros(offers), np.zeros(offers)
    touched = np.empty(offers, np.int64)
    for b in range(customer.size):
        for which in range(2):
            score = first if which == 0 else second
            table = customer_similarity if which == 0 else basket_similarity
            n = add_partners(table, memory, offsets[customer[b]], end[b], day, offer, cutoff, half_life, score, touched)
            for k in range(start[b], start[b + 1]):
                affinity[k, which] = score[chosen[k]]
            for k in range(n):
                score[touched[k]] = 0
