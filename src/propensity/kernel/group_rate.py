"""Buyers of each offer among customers of the same group: age, region, tier, source.

B customers, M offers, G groups.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import PURCHASE, Events, Sets
from propensity.kernel.window import first_at


@njit(cache=True, nogil=True)
def buyers_by_group(
    events: Events, sets: Sets, customer: np.ndarray, group: np.ndarray, cutoff: int, windows: np.ndarray,
    out: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Customers of each group with a purchase of each offer in the last days before a cutoff.

    Parameters
    ----------
    events, sets : Events, Sets
        The log and the offers of its items.
    customer : (B,) int
        Rows of the log.
    group : (B, A) int
        Groups that each customer is in, one for each of A attributes.
    cutoff : int
        Day; events of this day and later are not read.
    windows : (W,) int
        Days, ascending.
    out : (W, G, M) int64
        Overwritten.

    Returns
    -------
    (W, G, M) int64
        `out`.
    """
    out[:] = 0
    last, touched = np.full(out.shape[2], -1), np.empty(out.shape[2], np.int64)
    for b in range(customer.size):
        start, end = first_at(events, customer[b], cutoff - windows[-1]), first_at(events, customer[b], cutoff)
        n_touched = 0
        for e in range(start, end):
            if events.kind[e] != PURCHASE or events.item[e] < 0:
                continue
            for k in range(sets.offsets[events.item[e]], sets.offsets[events.item[e] + 1]):
                m = sets.offer[k]
                if last[m] < 0:
                    touched[n_touched] = m
                    n_touched += 1
                last[m] = cutoff - events.day[e]
        for t in range(n_touched):
            m = touched[t]
            for w in range(windows.size):
                if last[m] <= windows[w]:
                    for a in range(group.shape[1]):
                        out[w, group[b, a], m] += 1
            last[m] = -1
    return out


def buyers_by_group_reference(
    events: Events, sets: Sets, customer: np.ndarray, group: np.ndarray, cutoff: int, windows: np.ndarray,
    out: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """The plain definition of `buyers_by_group`."""
    out[:] = 0
    for (b, n), w in ((pair, w) for pair in enumerate(customer) for w in range(windows.size)):
        own = slice(events.offsets[n], events.offsets[n + 1])
        age = cutoff - events.day[own]
        bought = (events.kind[own] == PURCHASE) & (events.item[own] >= 0) & (age > 0) & (age <= windows[w])
        offers = {int(m) for i in events.item[own][bought] for m in sets.offer[sets.offsets[i] : sets.offsets[i + 1]]}
        for each in group[b]:
            out[w, each, sorted(offers)] += 1
    return out
