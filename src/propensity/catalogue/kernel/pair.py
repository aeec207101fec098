"""Columns of a request and an offer, from one pass over the rows of the customer before the cutoff."""

from __future__ import annotations

import numpy as np
from numba import njit

HALF_LIVES = (10.0, 30.0, 90.0)


@njit(cache=True, nogil=True)
def customer_columns(sales, customer, end, cutoff, out):  # type: ignore[no-untyped-def]
    """Fill the customer columns (B, C) of `propensity.catalogue.column.CUSTOMER`.

    sales : (offsets, day, offer, quantity, revenue, visit, basket, again, hot), see `Sales`
    """
    offsets, day, _, quantity, revenue, visit, basket, again, hot = sales
    for b in range(customer.size):
        low, high = offsets[customer[b]], end[b]
        row = out[b]
        row[:] = 0
        row[16] = (cutoff + 3) % 7  # 0 is Monday
        if low == high:
            row[1:4] = np.nan
            row[7:16] = np.nan
            continue
        visits = visit[high - 1] + 1
        rows = high - low
        recent, repeats, warm, warm_recent, units, money, weekend, squares = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        smoothed, total = 0.0, 0.0
        for r in range(low, high):
            age = cutoff - day[r]
            repeats += again[r]
            warm += hot[r]
            if age <= 28:
                recent += 1
                warm_recent += hot[r]
            units += quantity[r]
            money += revenue[r]
            if r == low or day[r] != day[r - 1]:
                row[4] += age <= 14
                row[5] += age <= 28
                row[6] += age <= 56
                weekend += (day[r] + 3) % 7 >= 5
                squares += basket[r] == 1
                decay = 0.5 ** (age / 30.0)
                smoothed += decay * basket[r]
                total += decay
        since, tenure = cutoff - day[high - 1], cutoff - day[low]
        gap = (day[high - 1] - day[low]) / (visits - 1) if visits > 1 else np.nan
        row[0], row[1], row[2], row[3] = visits, since, tenure, gap
        row[7] = since / gap if visits > 1 else np.nan
        row[8] = rows / visits
        row[9] = basket[high - 1]
        row[10] = repeats / rows
        row[11] = warm / rows
        row[12] = warm_recent / recent if recent > 0 else np.nan
        row[13] = money / max(units, 1.0)
        row[14] = weekend / visits
        row[15] = smoothed / total if total > 0 else np.nan  # the weights of centuries are 0
        row[17] = squares / visits


@njit(cache=True, nogil=True)
def pair_columns(  # type: ignore[no-untyped-def]
    sales, group, share, first_age, price, customer, end, cutoff, start, chosen, affinity, out
):  # fmt: skip
    """Fill the pair columns (P, K) of `propensity.catalogue.column.PAIR` for B requests of one day.

    Parameters
    ----------
    sales : see `customer_columns`
    group : (M,) int32, group of each offer, -1 without one
    share : (K, M) float32, see `daily_shares`
    first_age : (M,) days since the first sale of an offer
    price : (M,) price now, NaN without one
    start, chosen, affinity : see `retrieve`
    """
    offsets, day, offer, quantity, revenue, visit, basket, _, _ = sales
    offers, groups = group.size, max(group.max() + 1, 1)
    slot = np.full(offers, -1, np.int64)
    group_count, group_decayed, group_last = np.zeros(groups), np.zeros(groups), np.full(groups, np.inf)
    for b in range(customer.size):
        low, high = offsets[customer[b]], end[b]
        for p in range(start[b], start[b + 1]):
            slot[chosen[p]] = p
            out[p] = 0
            out[p, 5], out[p, 6] = np.nan, np.nan  # since_last, since_first
        visits = visit[high - 1] + 1 if high > low else 0
        units, money, rows = 0.0, 0.0, high - low
        for r in range(low, high):
            age = cutoff - day[r]
            m = offer[r]
            p = slot[m]
            units += quantity[r]
            money += revenue[r]
            g = group[m]
            if g >= 0:
                group_count[g] += 1
                group_decayed[g] += 0.5 ** (age / 30.0)
                group_last[g] = age
            if p >= 0:
                x = out[p]
                x[0] += 1
                x[2] += 0.5 ** (age / HALF_LIVES[0])
                x[3] += 0.5 ** (age / HALF_LIVES[1])
                x[4] += 0.5 ** (age / HALF_LIVES[2])
                x[5] = age
                if x[0] == 1:
                    x[6] = age
                x[9] += 0.8 ** (visits - 1 - visit[r])
                x[10] = visits - visit[r]
                x[11] += quantity[r]
                x[12] += revenue[r]
                x[13] += age <= 28
            if (r == low or day[r] != day[r - 1]) and age <= share.shape[0]:  # what the market bought on a visit's day
                for q in range(start[b], start[b + 1]):
                    out[q, 17] += share[age - 1, chosen[q]]
                    out[q, 18] += first_age[chosen[q]] >= age
        for p in range(start[b], start[b + 1]):
            x, m = out[p], chosen[p]
            n = x[0]
            if visits > 0:
                x[1] = n / visits
            x[7] = (x[6] - x[5]) / (n - 1) if n > 1 else np.nan  # own gap
            x[8] = x[5] / x[7] if n > 1 else np.nan
            if n > 0:
                x[11] /= n
                x[12] /= n
            else:
                x[10], x[11], x[12] = np.nan, np.nan, np.nan
            g = group[m]
            if g >= 0:
                x[14] = group_count[g] / max(rows, 1)
                x[15] = group_decayed[g]
                x[16] = group_last[g] if group_count[g] > 0 else np.nan
            else:
                x[16] = np.nan
            x[19] = x[13] - x[17]
            x[20], x[21] = affinity[p, 0], affinity[p, 1]
            x[22] = price[m] / (money / units) if units > 0 and money > 0 else np.nan
            x[23] = g >= 0 and group_count[g] or 0.0
            slot[m] = -1
        for r in range(low, high):
            g = group[offer[r]]
            if g >= 0:
                group_count[g], group_decayed[g], group_last[g] = 0.0, 0.0, np.inf
