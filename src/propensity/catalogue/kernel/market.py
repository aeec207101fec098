"""What the market buys before a day: counts of offers in windows, prices, and marks of single purchases."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def mark_rows(offsets, day, offer, by_day, day_start, offers, hot_days, hot_offers, visit, basket, again, hot):  # type: ignore[no-untyped-def]
    """Fill the marks (R,) of rows of sales, see `Sales`.

    `hot` compares the rows of an offer in the `hot_days` days before with the offer at rank `hot_offers` there.
    """
    last = np.full(offers, -1, np.int64)  # customer who was seen with the offer last
    for n in range(offsets.size - 1):
        begin, number = offsets[n], -1
        for r in range(offsets[n], offsets[n + 1]):
            if r == offsets[n] or day[r] != day[r - 1]:
                for k in range(begin, r):
                    basket[k] = r - begin
                begin = r
                number += 1
            visit[r] = number
            again[r] = last[offer[r]] == n
            last[offer[r]] = n
        for k in range(begin, offsets[n + 1]):
            basket[k] = offsets[n + 1] - begin
    count = np.zeros(offers, np.int64)
    for d in range(day_start.size - 1):
        if d > 0:
            for k in range(day_start[d - 1], day_start[d]):
                count[offer[by_day[k]]] += 1
        if d > hot_days:
            for k in range(day_start[d - hot_days - 1], day_start[d - hot_days]):
                count[offer[by_day[k]]] -= 1
        least = np.partition(count, offers - hot_offers)[offers - hot_offers] if offers > hot_offers else 1
        for k in range(day_start[d], day_start[d + 1]):
            hot[by_day[k]] = count[offer[by_day[k]]] >= max(least, 1)


@njit(cache=True, nogil=True)
def window_counts(rows, day, offer, visit_first, cutoff, windows, count, baskets):  # type: ignore[no-untyped-def]
    """Rows of each offer (M, W) and baskets (W,) in the last `windows` days before `cutoff`.

    Parameters
    ----------
    rows : (r,) int64, rows before the cutoff
    visit_first : (R,) bool, true for one row of each basket
    windows : (W,) int64, ascending
    """
    count[:] = 0
    baskets[:] = 0
    for k in range(rows.size):
        r = rows[k]
        age = cutoff - day[r]
        for w in range(windows.size - 1, -1, -1):
            if age > windows[w]:
                break
            count[offer[r], w] += 1
            if visit_first[r]:
                baskets[w] += 1


@njit(cache=True, nogil=True)
def daily_shares(rows, day, offer, visit_first, cutoff, share):  # type: ignore[no-untyped-def]
    """Share of the baskets of each of the last K days that held an offer: fills (K, M); row a - 1 is `a` days ago."""
    share[:] = 0
    baskets = np.zeros(share.shape[0])
    for k in range(rows.size):
        r = rows[k]
        age = cutoff - day[r]
        if age <= share.shape[0]:
            share[age - 1, offer[r]] += 1
            if visit_first[r]:
                baskets[age - 1] += 1
    for a in range(share.shape[0]):
        if baskets[a] > 0:
            share[a] /= baskets[a]


@njit(cache=True, nogil=True)
def offer_sums(rows, day, offer, quantity, revenue, basket, again, cutoff, recent, out):  # type: ignore[no-untyped-def]
    """Sums over the rows of each offer: fills (M, 12) float64, see `SUMS` in `propensity.catalogue.market`."""
    out[:] = 0
    out[:, 0] = np.inf
    out[:, 1] = np.inf
    for k in range(rows.size):
        r = rows[k]
        m, age = offer[r], cutoff - day[r]
        out[m, 0] = min(out[m, 0], -age)  # minus the age of the first row
        out[m, 1] = min(out[m, 1], age)
        out[m, 2] += 1
        out[m, 3] += again[r]
        out[m, 4] += quantity[r]
        out[m, 5] += revenue[r]
        if age <= recent:
            out[m, 6] += 1
            out[m, 7] += quantity[r]
            out[m, 8] += revenue[r]
            out[m, 9] += 1.0 / basket[r]
        if age <= 28:
            out[m, 10] += 1
            if age % 7 == 0:
                out[m, 11] += 1
