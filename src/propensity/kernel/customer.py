"""What a customer did overall, in trailing windows: visits, money, rhythm, exploration, reaction to contacts."""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.activity import last_year_spend, write_basket, write_breadth, write_contacts
from propensity.kernel.event import PURCHASE, Events, Sets
from propensity.kernel.window import NEVER, decay_of, decay_table, first_at, window_of, window_table

TENURE_CAP = 364  # a column that grows with the calendar drifts: cap it

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
    events: Events,
    sets: Sets,
    n_offers: int,
    customer: np.ndarray,
    cutoff: int,
    horizon: int,
    hide_days: np.ndarray,
    windows: np.ndarray,
    half_lives: np.ndarray,
    out: np.ndarray,
) -> np.ndarray:
    """Trailing windows and behaviour of each customer at one cutoff.

    Args: customer (B,) rows of the log, cutoff day, horizon days; hide_days (B,) most recent days hidden; windows (W,)
    ascending, half_lives (H,) days; out (B, W + W + H + 21 or more) float32, whose columns `customer_columns` are
    overwritten. Missing values (no purchase, one shopping day only) are NaN.
    """
    at, table, decay = 2 * windows.size + half_lives.size, window_table(windows), decay_table(half_lives)
    sums = np.zeros(at)
    met = np.full((n_offers, 2), NEVER)
    touched = np.empty(n_offers, np.int64)
    for b in range(customer.size):
        start, end = events.offsets[customer[b]], first_at(events, customer[b], cutoff - hide_days[b])
        row = out[b]
        write_windows(events, start, end, cutoff, table, decay, half_lives, sums, row)
        write_rhythm(events, start, end, cutoff, row[at : at + 6])
        orders = write_basket(events, start, end, cutoff, row[at + 6 : at + 14])
        write_breadth(events, sets, start, end, cutoff, orders, met, touched, row[at + 8 : at + 11])
        write_contacts(events, start, end, cutoff, row[at + 14 : at + 19])
        row[at + 19] = last_year_spend(events, start, end, cutoff, horizon)
        row[at + 20] = hide_days[b]
    return out


@njit(cache=True, nogil=True)
def write_windows(
    events: Events,
    start: int,
    end: int,
    cutoff: int,
    table: np.ndarray,
    decay: np.ndarray,
    half_lives: np.ndarray,
    sums: np.ndarray,
    row: np.ndarray,
) -> None:
    """Orders and spend by window, and decayed orders; an order happens on the day of its first line."""
    day, kind, order, revenue = events.day, events.kind, events.order, events.revenue
    n_windows, newest = (sums.size - half_lives.size) // 2, NEVER
    sums[:] = 0.0
    for e in range(start, end):
        if kind[e] != PURCHASE:
            continue
        age = cutoff - day[e]
        window = window_of(table, age)
        if order[e] > newest:
            newest = order[e]
            for h in range(half_lives.size):
                sums[2 * n_windows + h] += decay_of(decay, half_lives, age, h)
            if window >= 0:
                sums[window] += 1
        if window >= 0:
            sums[n_windows + window] += revenue[e]
    orders, spend = 0.0, 0.0
    for w in range(n_windows):
        orders += sums[w]
        spend += sums[n_windows + w]
        row[w] = orders
        row[n_windows + w] = spend
    for p in range(2 * n_windows, sums.size):
        row[p] = sums[p]


@njit(cache=True, nogil=True)
def write_rhythm(events: Events, start: int, end: int, cutoff: int, row: np.ndarray) -> None:
    """recency, gap_mean, gap_std, gap_last, due and tenure."""
    day, kind = events.day, events.kind
    first, last, days, gap_sq, gap_last = NEVER, NEVER, 0, 0.0, 0.0
    for e in range(start, end):
        if kind[e] != PURCHASE or day[e] == last:
            continue
        if days == 0:
            first = day[e]
        else:
            gap_last = day[e] - last
            gap_sq += gap_last * gap_last
        last = day[e]
        days += 1
    row[:5] = np.nan
    row[5] = min(cutoff - first, TENURE_CAP) if days > 0 else 0.0
    if days > 0:
        row[0] = cutoff - last
    if days > 1:
        gap = (last - first) / (days - 1)
        row[1] = gap
        row[2] = np.sqrt(max(gap_sq / (days - 1) - gap * gap, 0.0))
        row[3] = gap_last
        row[4] = (cutoff - last) / gap
