"""What a customer did overall, in rolling windows: orders, revenue, purchase days, exploration, contacts."""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import njit

from propensity.kernel.activity import basket, breadth, contacts, last_year_spend
from propensity.kernel.column import FeatureColumn, names, positions
from propensity.kernel.event import PURCHASE, Events, Sets
from propensity.kernel.reference import customer_reference
from propensity.kernel.window import NEVER, decay_of, decay_table, first_at, window_of, window_table

TENURE_CAP = 364  # a column that grows with the calendar drifts: cap it

column = partial(FeatureColumn, block="customer", reason="shopping", definition=customer_reference)
message = partial(column, reason="messages")
of_repeat_buyers = partial(column, missing="bought on fewer than two days", empty=np.nan)

# In the order that the kernel writes: families first, then the single columns. Recent means the last 91 days.
CUSTOMER = (
    column("orders_{}", "orders of the last {} days", per="window"),
    column("spend_{}", "revenue of the last {} days", per="window", money=True),
    column("decayed_{}", "orders, each weighted by 0.5 ** (age / {} days)", per="half_life"),
    column("recency", "days since the last purchase day", missing="no purchase", empty=np.nan, optional=True),
    of_repeat_buyers("interpurchase_time", "mean days between purchase days", optional=True),
    of_repeat_buyers("interpurchase_std", "standard deviation of the days between purchase days"),
    of_repeat_buyers("interpurchase_last", "days between the last two purchase days"),
    of_repeat_buyers("recency_ratio", "recency over the interpurchase time"),
    column("tenure", f"days since the first purchase, at most {TENURE_CAP}"),
    column("order_lines", "lines per recent order"),
    column("order_spend", "revenue per recent order", money=True),
    column("order_offers", "distinct offers over recent orders"),
    column("penetration", "share of all offers ever bought"),
    column("exploration", "share of the offers of recent orders that were bought for the first time then"),
    column("discount_share", "discount over revenue plus discount, recent", reason="price"),
    column("return_rate", "returned lines per purchased line"),
    column("weekend_share", "share of the recent orders on Saturday or Sunday"),
    message("messages_28", "messages of the last 28 days"),
    message("messages_182", "messages of the last 182 days"),
    message("response", "share of the messages of the last 182 days followed by a purchase within 7 days"),
    message("redemptions_91", "coupon redemptions of the last 91 days"),
    message("views_28", "views of the last 28 days"),
    column("last_year_spend", "revenue in the weeks of last year that the horizon covers", reason="season", money=True),
    column("masked", "days that the history mask of training hides"),
)
# Constants of this file: Numba compiles them in, and an edited declaration recompiles the kernels below.
AT = positions(CUSTOMER)
RECENCY, RECENCY_RATIO, TENURE = AT["recency"], AT["recency_ratio"], AT["tenure"]
INTERPURCHASE_TIME, INTERPURCHASE_STD = AT["interpurchase_time"], AT["interpurchase_std"]
INTERPURCHASE_LAST = AT["interpurchase_last"]
ORDER_LINES, ORDER_SPEND, ORDER_OFFERS = AT["order_lines"], AT["order_spend"], AT["order_offers"]
PENETRATION, EXPLORATION, DISCOUNT_SHARE = AT["penetration"], AT["exploration"], AT["discount_share"]
RETURN_RATE, WEEKEND_SHARE, RESPONSE = AT["return_rate"], AT["weekend_share"], AT["response"]
MESSAGES_28, MESSAGES_182 = AT["messages_28"], AT["messages_182"]
REDEMPTIONS_91, VIEWS_28 = AT["redemptions_91"], AT["views_28"]
LAST_YEAR_SPEND, MASKED = AT["last_year_spend"], AT["masked"]
SINGLE = len(AT)
EMPTY = np.array([each.empty for each in CUSTOMER if each.per is None], np.float32)


def customer_columns(windows: tuple[int, ...], half_lives: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the columns that `customer_windows` writes, in order."""
    return names(CUSTOMER, windows, half_lives)


@njit(cache=True, nogil=True)
def customer_windows(
    events: Events,
    sets: Sets,
    n_offers: int,
    customer: np.ndarray,
    cutoff: int,
    horizon: int,
    mask_days: np.ndarray,
    windows: np.ndarray,
    half_lives: np.ndarray,
    out: np.ndarray,
) -> np.ndarray:
    """Rolling windows and behaviour of each customer at one cutoff.

    Parameters
    ----------
    events, sets : Events, Sets
        The log and the offers of its items.
    n_offers : int
        Number of offers M.
    customer : (B,) int
        Rows of the log.
    cutoff : int
        Day; events of this day and later are not read.
    horizon : int
        Days that are predicted; `last_year_spend` covers as many.
    mask_days : (B,) int
        The most recent days that the history mask hides; 0: none.
    windows : (W,) int
        Days, ascending.
    half_lives : (H,) int
        Days.
    out : (B, F) float32
        The first columns, named by `customer_columns`, are overwritten; missing values are NaN.

    Returns
    -------
    (B, F) float32
        `out`.
    """
    at, table, decay = 2 * windows.size + half_lives.size, window_table(windows), decay_table(half_lives)
    sums = np.zeros(at)
    first_and_last = np.full((n_offers, 2), NEVER)
    touched = np.empty(n_offers, np.int64)
    for b in range(customer.size):
        start, end = events.offsets[customer[b]], first_at(events, customer[b], cutoff - mask_days[b])
        whole = out[b]
        write_windows(events, start, end, cutoff, table, decay, half_lives, sums, whole)
        row = whole[at:]
        for p in range(SINGLE):
            row[p] = EMPTY[p]
        write_purchase_days(events, start, end, cutoff, row)
        orders, row[ORDER_LINES], row[ORDER_SPEND], row[DISCOUNT_SHARE], row[RETURN_RATE], row[WEEKEND_SHARE] = basket(
            events, start, end, cutoff
        )
        row[ORDER_OFFERS], row[PENETRATION], row[EXPLORATION] = breadth(
            events, sets, start, end, cutoff, orders, first_and_last, touched
        )
        row[MESSAGES_28], row[MESSAGES_182], row[RESPONSE], row[REDEMPTIONS_91], row[VIEWS_28] = contacts(
            events, start, end, cutoff
        )
        row[LAST_YEAR_SPEND] = last_year_spend(events, start, end, cutoff, horizon)
        row[MASKED] = mask_days[b]
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
    """Orders and revenue by window, and decayed orders; an order happens on the day of its first line."""
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
def write_purchase_days(events: Events, start: int, end: int, cutoff: int, row: np.ndarray) -> None:
    """Recency, interpurchase times and tenure."""
    day, kind = events.day, events.kind
    first, last, days, squares, interval = NEVER, NEVER, 0, 0.0, 0.0
    for e in range(start, end):
        if kind[e] != PURCHASE or day[e] == last:
            continue
        if days == 0:
            first = day[e]
        else:
            interval = day[e] - last
            squares += interval * interval
        last = day[e]
        days += 1
    if days > 0:
        row[TENURE] = min(cutoff - first, TENURE_CAP)
        row[RECENCY] = cutoff - last
    if days > 1:
        mean = (last - first) / (days - 1)
        row[INTERPURCHASE_TIME] = mean
        row[INTERPURCHASE_STD] = np.sqrt(max(squares / (days - 1) - mean * mean, 0.0))
        row[INTERPURCHASE_LAST] = interval
        row[RECENCY_RATIO] = (cutoff - last) / mean
