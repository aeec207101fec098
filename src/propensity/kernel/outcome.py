"""Labels: what happened in `cutoff <= day < cutoff + horizon`. Never called from the model's side of the fence."""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import PURCHASE, RETURN
from propensity.kernel.pair import visible_end


@njit(cache=True, nogil=True)
def outcomes(
    offsets, day, item, kind, revenue, item_offsets, item_offer, customer, cutoff, horizon, bought, money, visit
):
    """Fills bought (B, M) bool, money (B, M) float32 net of returns and never below 0, visit (B,) bool: any purchase.

    Args: the log's columns, `item_offsets (I+1,)` and `item_offer` as in `pair_windows`; customer (B,), cutoff day,
    horizon in days.
    """
    n_offers = bought.shape[1]
    total = np.zeros(n_offers)
    for b in range(customer.size):
        bought[b, :] = False
        total[:] = 0.0
        visit[b] = False
        start, stop = offsets[customer[b]], offsets[customer[b] + 1]
        for e in range(visible_end(day, start, stop, cutoff), stop):
            if day[e] >= cutoff + horizon:
                break
            if kind[e] != PURCHASE and kind[e] != RETURN:
                continue
            visit[b] = visit[b] or kind[e] == PURCHASE
            if item[e] < 0:
                continue
            for k in range(item_offsets[item[e]], item_offsets[item[e] + 1]):
                total[item_offer[k]] += revenue[e]
                if kind[e] == PURCHASE:
                    bought[b, item_offer[k]] = True
        for m in range(n_offers):
            money[b, m] = max(total[m], 0.0) if bought[b, m] else 0.0
