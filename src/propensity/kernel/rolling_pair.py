"""Rolling windows of customers and offers at many cutoffs: one pass over the events, a row for each pair.

Most customers never buy most offers, so only pairs with a purchase are written, block by block into a buffer that the
caller uses again: allocating memory would cost more than the sums.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import PURCHASE, Events, Sets
from propensity.kernel.rolling_customer import WindowGrid


def rolling_pair_columns(windows: tuple[int, ...], half_lives: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the columns that `rolling_pair_windows` writes, in order."""
    return (
        *(f"days_{w}" for w in windows),
        *(f"spend_{w}" for w in windows),
        *(f"decayed_{h}" for h in half_lives),
        *("recency", "since_first", "purchase_days"),
    )


@njit(cache=True, nogil=True)
def rolling_pair_windows(
    events: Events,
    sets: Sets,
    n_offers: int,
    grid: WindowGrid,
    customer: np.ndarray,
    start: int,
    owner: np.ndarray,
    offer: np.ndarray,
    out: np.ndarray,
) -> tuple[int, int]:
    """Rolling windows of the pairs with a purchase before the last cutoff, from customer[start] on.

    Parameters
    ----------
    events, sets : Events, Sets
        The log and the offers of its items.
    n_offers : int
        Number of offers.
    grid : WindowGrid
        Cutoffs, windows and half-lives.
    customer : (B,) int
        Rows of the log.
    start : int
        First customer to write.
    owner, offer : (R,) int
        Overwritten with the place in `customer` and the offer of each pair. A customer's pairs stand together, in the
        order of their first purchase.
    out : (R, 2 W + H + 3, D) float32
        Overwritten with the columns `rolling_pair_columns`, equal to those of `pair_windows`.

    Returns
    -------
    tuple of int
        The first customer that was not written, because `out` is full or all are done, and the number of pairs written.
    """
    offsets, day, item, kind, revenue = events.offsets, events.day, events.item, events.kind, events.revenue
    set_of, offer_of = sets
    cutoff, origin, inside, weight = grid.cutoff, grid.origin, grid.inside, grid.weight
    flat = out.reshape(out.shape[0], -1)
    slot, head, tail = np.full(n_offers, -1), np.empty(n_offers, np.int64), np.empty(n_offers, np.int64)
    room = 64
    record_day, record_next = np.empty(room, np.int64), np.empty(room, np.int64)
    record_spend = np.empty(room)
    pair_day, pair_spend = np.empty(room, np.int64), np.empty(room)
    days, spend, decayed = np.zeros(inside.shape[1]), np.zeros(inside.shape[1]), np.zeros(weight.shape[1])
    written = 0
    for b in range(start, customer.size):
        first, end = offsets[customer[b]], offsets[customer[b] + 1]
        need = 0
        for e in range(first, end):
            if item[e] >= 0:
                need += set_of[item[e] + 1] - set_of[item[e]]
        if need > room:
            room = 2 * need
            record_day, record_next = np.empty(room, np.int64), np.empty(room, np.int64)
            record_spend = np.empty(room)
            pair_day, pair_spend = np.empty(room, np.int64), np.empty(room)
        records, n_own = 0, 0
        for e in range(first, end):
            if day[e] >= cutoff[-1]:
                break
            if kind[e] != PURCHASE or item[e] < 0:
                continue
            for k in range(set_of[item[e]], set_of[item[e] + 1]):
                m = offer_of[k]
                if slot[m] < 0:
                    if written + n_own == owner.size:  # full: this customer comes first in the next block
                        for t in range(written, written + n_own):
                            slot[offer[t]] = -1
                        return b, written
                    slot[m] = n_own
                    offer[written + n_own], owner[written + n_own] = m, b
                    head[n_own] = tail[n_own] = -1
                    n_own += 1
                t = slot[m]
                if tail[t] >= 0 and record_day[tail[t]] == day[e]:
                    record_spend[tail[t]] += revenue[e]
                    continue
                record_day[records], record_spend[records], record_next[records] = day[e], revenue[e], -1
                if tail[t] >= 0:
                    record_next[tail[t]] = records
                else:
                    head[t] = records
                tail[t] = records
                records += 1
        for t in range(n_own):
            slot[offer[written]] = -1
            count, r = 0, head[t]
            while r >= 0:
                pair_day[count], pair_spend[count] = record_day[r], record_spend[r]
                count, r = count + 1, record_next[r]
            write_pair(cutoff, origin, inside, weight, count, pair_day, pair_spend, days, spend, decayed, flat[written])
            written += 1
    return customer.size, written


@njit(cache=True, nogil=True, inline="always")
def write_pair(
    cutoff: np.ndarray,
    origin: int,
    inside: np.ndarray,
    weight: np.ndarray,
    count: int,
    pair_day: np.ndarray,
    pair_spend: np.ndarray,
    days: np.ndarray,
    spend: np.ndarray,
    decayed: np.ndarray,
    out: np.ndarray,
) -> None:
    """One pair's rows ((2 W + H + 3) D,) from its `count` purchase days, ascending, and the revenue of each."""
    n, cutoffs, seen = days.size, cutoff.size, 0
    at = 2 * n + decayed.size
    days[:], spend[:], decayed[:] = 0.0, 0.0, 0.0
    for i in range(count):
        t, paid = pair_day[i] - origin, pair_spend[i]
        for p in range(n):
            days[p] += inside[t, p]
            spend[p] += inside[t, p] * paid
        for p in range(decayed.size):
            decayed[p] += weight[t, p]
    for p in range(n):
        out[p] = days[p]
        out[n + p] = spend[p]
    for p in range(decayed.size):
        out[2 * n + p] = decayed[p]
    for d in range(cutoffs):
        while seen < count and pair_day[seen] < cutoff[d]:
            seen += 1
        out[at + d] = cutoff[d] - pair_day[seen - 1] if seen else np.nan
        out[at + cutoffs + d] = cutoff[d] - pair_day[0] if seen else np.nan
        out[at + 2 * cutoffs + d] = seen
