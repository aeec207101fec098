"""What a customer did overall, in trailing windows: visits, money, rhythm, exploration, reaction to contacts."""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.event import MESSAGE, PURCHASE, REDEMPTION, RETURN, VIEW
from propensity.kernel.pair import NEVER, age_table, visible_end

RECENT = 91  # days that "recent" shares and sizes look back
TENURE_CAP = 364  # a column that grows with the calendar drifts: cap it
RESPONSE = 7  # days within which a purchase counts as an answer to a message

BEHAVIOUR = (
    "recency",  # days since the last purchase
    "gap_mean",  # between shopping days
    "gap_std",
    "gap_last",
    "due",  # recency over the mean gap
    "tenure",  # days since the first purchase, capped
    "order_lines",  # lines per order, recent
    "order_spend",  # spend per order, recent
    "order_offers",  # distinct offers over orders, recent: basket diversity
    "penetration",  # share of all offers ever bought
    "exploration",  # share of the recent offers that were bought for the first time then
    "discount_share",  # of the recent gross spend
    "return_rate",  # returned lines per purchased line
    "weekend_share",  # of the recent orders
    "messages_28",
    "messages_182",
    "response",  # share of the messages of 182 days followed by a purchase within 7 days
    "redemptions_91",
    "views_28",
    "last_year_spend",  # in the same weeks of last year
    "hidden",  # days of history that dropout hides
)


def customer_columns(windows: tuple[int, ...], half_lives: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the columns that `customer_windows` writes, in order."""
    return (
        *(f"orders_{w}" for w in windows),
        *(f"spend_{w}" for w in windows),
        *(f"decayed_{h}" for h in half_lives),
        *BEHAVIOUR,
    )


@njit(cache=True, nogil=True)
def customer_windows(
    offsets,
    day,
    item,
    kind,
    order,
    revenue,
    discount,
    item_offsets,
    item_offer,
    n_offers,
    customer,
    cutoff,
    horizon,
    hide_days,
    windows,
    half_lives,
    out,
):
    """Trailing windows and behaviour of each customer at one cutoff.

    Args: the log's columns and `item_offsets`, `item_offer` as in `pair_windows`; customer (B,), cutoff day, horizon
    days; hide_days (B,) most recent days hidden; windows (W,), half_lives (H,) days; out (B, W + W + H + 21) float32,
    overwritten. Missing values (no purchase, one shopping day only) are NaN.
    """
    n_windows, n_decays = windows.size, half_lives.size
    bucket_of_age = age_table(windows)
    first_bought = np.full(n_offers, NEVER)
    last_bought = np.full(n_offers, NEVER)
    touched = np.empty(n_offers, np.int64)
    orders, spend = np.zeros(n_windows), np.zeros(n_windows)
    decayed = np.zeros(n_decays)
    for b in range(customer.size):
        start, stop = offsets[customer[b]], offsets[customer[b] + 1]
        end = visible_end(day, start, stop, cutoff - hide_days[b])
        orders[:] = 0.0
        spend[:] = 0.0
        decayed[:] = 0.0
        first, last, newest_order = NEVER, NEVER, NEVER
        shopping_days, gap_sq, gap_last = 0, 0.0, 0.0
        lines, lines_recent, orders_recent, weekend, n_touched = 0, 0, 0, 0, 0
        money_recent, saved_recent, last_year = 0.0, 0.0, 0.0
        n_returns, messages_28, messages_182, redemptions, views, answered = 0, 0, 0, 0, 0, 0
        for e in range(start, end):
            age = cutoff - day[e]
            if kind[e] != PURCHASE:
                if kind[e] == RETURN:
                    n_returns += 1
                elif kind[e] == MESSAGE:
                    messages_28 += age <= 28
                    messages_182 += age <= 182
                elif kind[e] == REDEMPTION:
                    redemptions += age <= RECENT
                elif kind[e] == VIEW:
                    views += age <= 28
                continue
            lines += 1
            asked = e - 1  # back to the purchase before, which answered everything older
            while asked >= start and kind[asked] != PURCHASE and day[e] - day[asked] <= RESPONSE:
                answered += kind[asked] == MESSAGE and cutoff - day[asked] <= 182
                asked -= 1
            bucket = bucket_of_age[age] if age < bucket_of_age.size else -1
            if day[e] != last:
                if last != NEVER:
                    gap_last = day[e] - last
                    gap_sq += gap_last * gap_last
                else:
                    first = day[e]
                last = day[e]
                shopping_days += 1
            if order[e] > newest_order:
                newest_order = order[e]
                if bucket >= 0:
                    orders[bucket] += 1
                for h in range(n_decays):
                    decayed[h] += 0.5 ** (age / half_lives[h])
                if age <= RECENT:
                    orders_recent += 1
                    weekend += (day[e] + 3) % 7 >= 5  # day 0 was a Thursday
            if bucket >= 0:
                spend[bucket] += revenue[e]
            if age <= RECENT:
                lines_recent += 1
                money_recent += revenue[e]
                saved_recent += discount[e]
            if 364 - horizon < age <= 364:
                last_year += revenue[e]
            if item[e] < 0:
                continue
            for k in range(item_offsets[item[e]], item_offsets[item[e] + 1]):
                m = item_offer[k]
                if first_bought[m] == NEVER:
                    first_bought[m] = day[e]
                    touched[n_touched] = m
                    n_touched += 1
                last_bought[m] = day[e]
        recent_offers, explored = 0, 0
        for t in range(n_touched):
            m = touched[t]
            if cutoff - last_bought[m] <= RECENT:
                recent_offers += 1
                explored += cutoff - first_bought[m] <= RECENT
            first_bought[m], last_bought[m] = NEVER, NEVER
        row = out[b]
        n, money = 0.0, 0.0
        for w in range(n_windows):
            n += orders[w]
            money += spend[w]
            row[w] = n
            row[n_windows + w] = money
        for h in range(n_decays):
            row[2 * n_windows + h] = decayed[h]
        at = 2 * n_windows + n_decays
        row[at : at + 5] = np.nan
        row[at + 5] = 0.0
        if shopping_days > 0:
            row[at] = cutoff - last
            row[at + 5] = min(cutoff - first, TENURE_CAP)
        if shopping_days > 1:
            mean = (last - first) / (shopping_days - 1)
            row[at + 1] = mean
            row[at + 2] = np.sqrt(max(gap_sq / (shopping_days - 1) - mean * mean, 0.0))
            row[at + 3] = gap_last
            row[at + 4] = (cutoff - last) / mean
        per_order = 1.0 / max(orders_recent, 1)
        row[at + 6] = lines_recent * per_order
        row[at + 7] = money_recent * per_order
        row[at + 8] = recent_offers * per_order
        row[at + 9] = n_touched / max(n_offers, 1)
        row[at + 10] = explored / max(recent_offers, 1)
        gross = money_recent + saved_recent
        row[at + 11] = saved_recent / gross if gross > 0 else 0.0
        row[at + 12] = n_returns / max(lines, 1)
        row[at + 13] = weekend * per_order
        row[at + 14] = messages_28
        row[at + 15] = messages_182
        row[at + 16] = answered / max(messages_182, 1)
        row[at + 17] = redemptions
        row[at + 18] = views
        row[at + 19] = last_year
        row[at + 20] = hide_days[b]
    return out
