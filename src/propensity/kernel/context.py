"""What the market did with each offer before a cutoff: reach, volume, money, life cycle, season, over all customers."""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import PURCHASE
from propensity.kernel.pair import NEVER, age_table, visible_end

LIFE = (
    "repeat_buyers",  # customers with two purchase days or more
    "first_buyers_28",  # customers whose first purchase is at most 28 days old
    "gap_mean",  # days between purchase days, over all customers; NaN without one
    "age",  # days since the first sale; NaN without one
    "last_year_days",  # purchase days in the weeks of last year that the horizon covers
    "last_year_around",  # the same in the 91 days around them, scaled to the horizon
)


def context_columns(windows: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the columns that `offer_context` writes, in order."""
    return (
        *(f"buyers_{w}" for w in windows),
        *(f"days_{w}" for w in windows),
        *(f"spend_{w}" for w in windows),
        *LIFE,
    )


@njit(cache=True, nogil=True)
def offer_context(offsets, day, item, kind, revenue, item_offsets, item_offer, customer, cutoff, horizon, windows, out):
    """Totals over `customer (B,)` of what each offer saw before `cutoff`: out (M, 3 W + 6) float64, overwritten.

    buyers_w counts customers with a purchase in the window, days_w their purchase days, spend_w their spend.
    """
    n_windows, n_offers = windows.size, out.shape[0]
    bucket_of_age = age_table(windows)
    out[:] = 0.0
    at = 3 * n_windows
    gaps, gap_days = np.zeros(n_offers), np.zeros(n_offers)
    oldest = np.full(n_offers, cutoff)
    first, last = np.full(n_offers, NEVER), np.full(n_offers, NEVER)
    touched = np.empty(n_offers, np.int64)
    for b in range(customer.size):
        start, stop = offsets[customer[b]], offsets[customer[b] + 1]
        n_touched = 0
        for e in range(start, visible_end(day, start, stop, cutoff)):
            if kind[e] != PURCHASE or item[e] < 0:
                continue
            age = cutoff - day[e]
            bucket = bucket_of_age[age] if age < bucket_of_age.size else -1
            for k in range(item_offsets[item[e]], item_offsets[item[e] + 1]):
                m = item_offer[k]
                if bucket >= 0:
                    out[m, 2 * n_windows + bucket] += revenue[e]
                if day[e] == last[m]:
                    continue
                if first[m] == NEVER:
                    first[m] = day[e]
                    touched[n_touched] = m
                    n_touched += 1
                    oldest[m] = min(oldest[m], day[e])
                last[m] = day[e]
                gaps[m] += 1
                if bucket >= 0:
                    out[m, n_windows + bucket] += 1
                if 364 - horizon < age <= 364:
                    out[m, at + 4] += 1
                if 364 - horizon / 2 - 45.5 < age <= 364 - horizon / 2 + 45.5:
                    out[m, at + 5] += horizon / 91
        for t in range(n_touched):
            m = touched[t]
            age = cutoff - last[m]
            if age < bucket_of_age.size:
                out[m, bucket_of_age[age]] += 1
            out[m, at] += last[m] > first[m]
            out[m, at + 1] += cutoff - first[m] <= 28
            gaps[m] -= 1
            gap_days[m] += last[m] - first[m]
            first[m], last[m] = NEVER, NEVER
    for m in range(n_offers):
        for w in range(1, n_windows):
            for block in range(3):
                out[m, block * n_windows + w] += out[m, block * n_windows + w - 1]
        out[m, at + 2] = gap_days[m] / gaps[m] if gaps[m] > 0 else np.nan
        out[m, at + 3] = cutoff - oldest[m] if oldest[m] < cutoff else np.nan
    return out
