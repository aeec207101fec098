"""What a customer did with each offer, in trailing windows: one pass over the customer's visible events.

Notable: a day's events of an offer count once (a purchase *day*), windows are prefix sums of a small age histogram, and
decays come from a table by age. The rows of offers never touched are written from a template. Single-threaded and
`nogil`, so that loader threads can overlap it with training.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import PURCHASE, RETURN, VIEW

NEVER = -(2**31)  # before every day and every order number
RHYTHM = (
    "recency",  # days since the last purchase day
    "since_first",  # days since the first purchase day
    "days_bought",  # distinct purchase days, all visible
    "gap_mean",
    "gap_std",
    "gap_last",
    "due",  # recency over the mean gap
    "orders_since",  # orders of anything since the last one with the offer
    "order_share",  # share of the orders since the first one with the offer that hold it
    "spend_mean",  # per purchase day
    "spend_last",
    "units_mean",
    "discount_share",
    "returns",
    "views",
    "hidden",  # 1 where history dropout hides something of this pair
)


def pair_columns(windows: tuple[int, ...], half_lives: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the columns that `pair_windows` writes, in order."""
    return (
        *(f"days_{w}" for w in windows),
        *(f"spend_{w}" for w in windows),
        *(f"decayed_{h}" for h in half_lives),
        *RHYTHM,
    )


@njit(cache=True, nogil=True)
def visible_end(day: np.ndarray, start: int, stop: int, bound: int) -> int:
    """First event in [start, stop) dated at or after `bound`; days ascend."""
    lo, hi = start, stop
    while lo < hi:
        mid = (lo + hi) // 2
        if day[mid] < bound:
            lo = mid + 1
        else:
            hi = mid
    return lo


@njit(cache=True, nogil=True)
def age_table(windows: np.ndarray) -> np.ndarray:
    """(W,) ascending windows in days -> (largest + 1,) index of the smallest window that holds an age of 1.. days."""
    table = np.empty(windows[-1] + 1, np.int64)
    w = 0
    for age in range(table.size):
        while age > windows[w]:
            w += 1
        table[age] = w
    return table


@njit(cache=True, nogil=True)
def held_before(start, event, offer, item, kind, order, item_offsets, item_offer):
    """Whether a line before `event` of the same order holds `offer`; asked only where orders interleave."""
    for e in range(event - 1, start - 1, -1):
        if kind[e] == PURCHASE and order[e] == order[event] and item[e] >= 0:
            for k in range(item_offsets[item[e]], item_offsets[item[e] + 1]):
                if item_offer[k] == offer:
                    return True
    return False


@njit(cache=True, nogil=True)
def pair_windows(
    offsets,
    day,
    item,
    kind,
    order,
    quantity,
    revenue,
    discount,
    item_offsets,
    item_offer,
    customer,
    cutoff,
    hide_days,
    hide_offer,
    windows,
    half_lives,
    out,
):
    """Trailing windows, rhythm and money of each (customer, offer) pair at one cutoff.

    Args: offsets (N+1,), day, item, kind, order, quantity, revenue, discount (E,) the log; item_offsets (I+1,),
    item_offer the offers of each item; customer (B,) rows of the log; cutoff day; hide_days (B,) most recent days that
    history dropout hides (0: none); hide_offer (B,) offer it hides (-1: none); windows (W,) ascending days;
    half_lives (H,) days; out (B, M, W + W + H + 16) float32, overwritten. Missing values are NaN.
    """
    n_windows, n_decays, n_offers = windows.size, half_lives.size, out.shape[1]
    bucket_of_age = age_table(windows)
    decay = np.empty((n_decays, 2048))
    for h in range(n_decays):
        for age in range(2048):
            decay[h, age] = 0.5 ** (age / half_lives[h])
    days = np.zeros((n_offers, n_windows))
    spend = np.zeros((n_offers, n_windows))
    decayed = np.zeros((n_offers, n_decays))
    first, last = np.full(n_offers, NEVER), np.full(n_offers, NEVER)
    seen = np.zeros(n_offers, np.int64)
    gap_sq, gap_last = np.zeros(n_offers), np.zeros(n_offers)
    total, total_last, units = np.zeros(n_offers), np.zeros(n_offers), np.zeros(n_offers)
    saved, returns, views = np.zeros(n_offers), np.zeros(n_offers), np.zeros(n_offers)
    orders_with = np.zeros(n_offers, np.int64)
    order_first, order_last = np.zeros(n_offers, np.int64), np.full(n_offers, NEVER)
    touched = np.zeros(n_offers, np.bool_)
    touched_list = np.empty(n_offers, np.int64)
    at = 2 * n_windows + n_decays
    for b in range(customer.size):
        start, stop = offsets[customer[b]], offsets[customer[b] + 1]
        end = visible_end(day, start, stop, cutoff - hide_days[b])
        n_touched, newest_order = 0, NEVER
        for e in range(start, end):
            is_purchase = kind[e] == PURCHASE
            if is_purchase and order[e] > newest_order:
                newest_order = order[e]
            if item[e] < 0:
                continue
            age = cutoff - day[e]
            for k in range(item_offsets[item[e]], item_offsets[item[e] + 1]):
                m = item_offer[k]
                if m == hide_offer[b]:
                    continue
                if not touched[m]:
                    touched[m] = True
                    touched_list[n_touched] = m
                    n_touched += 1
                if kind[e] == VIEW:
                    if age <= 28:
                        views[m] += 1
                    continue
                if kind[e] == RETURN:
                    returns[m] += 1
                    continue
                if not is_purchase:
                    continue
                bucket = bucket_of_age[age] if age < bucket_of_age.size else -1
                if day[e] != last[m]:
                    if seen[m] > 0:
                        gap = day[e] - last[m]
                        gap_sq[m] += gap * gap
                        gap_last[m] = gap
                    else:
                        first[m] = day[e]
                        order_first[m] = order[e]
                    last[m] = day[e]
                    seen[m] += 1
                    total_last[m] = 0.0
                    if bucket >= 0:
                        days[m, bucket] += 1
                    for h in range(n_decays):
                        decayed[m, h] += decay[h, age] if age < 2048 else 0.5 ** (age / half_lives[h])
                if order[e] > order_last[m]:
                    order_last[m] = order[e]
                    orders_with[m] += 1
                elif order[e] < order_last[m] and not held_before(
                    start, e, m, item, kind, order, item_offsets, item_offer
                ):
                    order_first[m] = min(order_first[m], order[e])
                    orders_with[m] += 1
                if bucket >= 0:
                    spend[m, bucket] += revenue[e]
                total[m] += revenue[e]
                total_last[m] += revenue[e]
                units[m] += quantity[e]
                saved[m] += discount[e]
        row = out[b]
        hidden_all = 1.0 if hide_days[b] > 0 else 0.0
        for m in range(n_offers):
            if not touched[m]:
                for p in range(row.shape[1]):
                    row[m, p] = 0.0
                for p in range(at, at + 13):
                    row[m, p] = np.nan
                row[m, at + 2] = 0.0
                row[m, at + 15] = hidden_all
        for t in range(n_touched):
            m = touched_list[t]
            n, money = 0.0, 0.0
            for w in range(n_windows):
                n += days[m, w]
                money += spend[m, w]
                row[m, w] = n
                row[m, n_windows + w] = money
            for h in range(n_decays):
                row[m, 2 * n_windows + h] = decayed[m, h]
            for p in range(at, at + 13):
                row[m, p] = np.nan
            row[m, at + 2] = seen[m]
            if seen[m] > 0:
                recency = cutoff - last[m]
                row[m, at] = recency
                row[m, at + 1] = cutoff - first[m]
                if seen[m] > 1:
                    mean = (last[m] - first[m]) / (seen[m] - 1)
                    row[m, at + 3] = mean
                    row[m, at + 4] = np.sqrt(max(gap_sq[m] / (seen[m] - 1) - mean * mean, 0.0))
                    row[m, at + 5] = gap_last[m]
                    row[m, at + 6] = recency / mean
                row[m, at + 7] = newest_order - order_last[m]
                row[m, at + 8] = orders_with[m] / max(newest_order - order_first[m] + 1, 1)
                row[m, at + 9] = total[m] / seen[m]
                row[m, at + 10] = total_last[m]
                row[m, at + 11] = units[m] / seen[m]
                gross = total[m] + saved[m]
                row[m, at + 12] = saved[m] / gross if gross > 0 else 0.0
            row[m, at + 13] = returns[m]
            row[m, at + 14] = views[m]
            row[m, at + 15] = hidden_all
            days[m, :] = 0.0
            spend[m, :] = 0.0
            decayed[m, :] = 0.0
            first[m], last[m], order_last[m] = NEVER, NEVER, NEVER
            seen[m], orders_with[m] = 0, 0
            gap_sq[m], gap_last[m], total[m], total_last[m] = 0.0, 0.0, 0.0, 0.0
            units[m], saved[m], returns[m], views[m] = 0.0, 0.0, 0.0, 0.0
            touched[m] = False
        if hide_offer[b] >= 0:
            row[hide_offer[b], at + 15] = 1.0
    return out
