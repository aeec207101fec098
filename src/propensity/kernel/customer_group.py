"""Groups of customer columns that are computed from lists of purchase days: shopping days and behaviour."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numba import njit

from propensity.kernel.column import FeatureColumn, positions
from propensity.kernel.event import PURCHASE, Events
from propensity.kernel.growing import resized
from propensity.kernel.purchase_day import DayLists, revenue_since
from propensity.kernel.reference import customer_group_reference
from propensity.kernel.window import NEVER, first_at

RECENT = 91  # days of orders whose size counts, and in which an offer was tried
CLOSED = 3  # label windows, closed by the cutoff, that the repeat rate looks at
TWICE: dict[str, Any] = {"missing": "bought on fewer than two days", "empty": np.nan}

behaviour = partial(
    FeatureColumn, block="customer", group="behaviour", reason="shopping", definition=customer_group_reference
)

# In the order that the kernel writes.
SHOPPING = (
    FeatureColumn(
        "shopping_decayed_{}",
        "shopping days, each weighted by 0.5 ** (age / {} days)",
        "customer",
        group="expect",
        reason="shopping",
        per="half_life",
        definition=customer_group_reference,
    ),
)
BEHAVIOUR = (
    behaviour("offers_short", "distinct offers of the last horizon"),
    behaviour("offers_28", "distinct offers of the last 28 days"),
    behaviour("offers_91", "distinct offers of the last 91 days"),
    behaviour("offers_ever", "distinct offers, all visible"),
    behaviour("new_offers_short", "offers bought for the first time in the last horizon"),
    behaviour("new_offers_28", "offers bought for the first time in the last 28 days"),
    behaviour("new_offers_56", "offers bought for the first time in the last 56 days"),
    behaviour("new_share_short", "new_offers_short over the purchase days of all offers in that time"),
    behaviour("new_share_28", "new_offers_28 over the purchase days of all offers in that time"),
    behaviour("new_share_56", "new_offers_56 over the purchase days of all offers in that time"),
    behaviour("interval_longest", "longest interval between shopping days, in days", **TWICE),
    behaviour("recency_longest", "recency over the longest interval", **TWICE),
    behaviour("trips_trend", "shopping days of 28 days over those of 91 days, per day"),
    behaviour("trips_trend_short", "shopping days of a horizon over those of four horizons, per day"),
    behaviour("spend_trend", "revenue of 28 days over that of 91 days, per day"),
    behaviour("spend_trend_short", "revenue of a horizon over that of four horizons, per day"),
    behaviour("trip_offers", "purchase days of all offers over shopping days, of the last 91 days"),
    behaviour("large_orders", "share of the orders of 91 days above the median order of everybody"),
    behaviour("channels", "known channels with a purchase"),
    behaviour("channel_main", "share of the most frequent channel among the days with a known channel"),
    behaviour(
        "repeat_rate",
        "share of the offers of 91 days bought again in a horizon, in the last three",
        empty=float(np.float32(0.1)),
    ),
)
# Constants of this file: Numba compiles them in, and an edited declaration recompiles the kernels below.
AT = positions(BEHAVIOUR)
OFFERS_SHORT, OFFERS_28, OFFERS_91, OFFERS_EVER = (AT[f"offers_{w}"] for w in ("short", 28, 91, "ever"))
NEW_SHORT, NEW_28, NEW_56 = (AT[f"new_offers_{w}"] for w in ("short", 28, 56))
SHARE_SHORT, SHARE_28, SHARE_56 = (AT[f"new_share_{w}"] for w in ("short", 28, 56))
LONGEST, RECENCY_LONGEST = AT["interval_longest"], AT["recency_longest"]
TRIPS_TREND, TRIPS_TREND_SHORT = AT["trips_trend"], AT["trips_trend_short"]
SPEND_TREND, SPEND_TREND_SHORT = AT["spend_trend"], AT["spend_trend_short"]
TRIP_OFFERS, LARGE_ORDERS = AT["trip_offers"], AT["large_orders"]
CHANNELS, CHANNEL_MAIN, REPEAT_RATE = AT["channels"], AT["channel_main"], AT["repeat_rate"]
SINGLE = len(AT)


@njit(cache=True, nogil=True)
def write_customer(
    row: np.ndarray,
    at: np.ndarray,
    events: Events,
    start: int,
    end: int,
    lists: DayLists,
    touched: int,
    count: int,
    decayed: np.ndarray,
    cutoff: int,
    horizon: int,
    order_size: float,
    channel_code: np.ndarray,
) -> None:
    """The groups' columns of one customer, row (F,), from the events [start, end) and their lists.

    at (2,) holds the first column of the groups expect and behaviour, -1 for a group that is off; decayed (H,) the
    decayed shopping days, of which there are `count`.
    """
    if at[0] >= 0:
        for h in range(decayed.size):
            row[at[0] + h] = decayed[h]
    if at[1] >= 0:
        single = row[at[1] : at[1] + SINGLE]
        trips_91 = write_trips(single, lists.shopping, count, cutoff, horizon)
        write_offers(single, lists, touched, trips_91, cutoff, horizon)
        write_spend(single, events, start, end, cutoff, horizon)
        single[LARGE_ORDERS] = large_orders(events, start, end, cutoff - RECENT, order_size)
        single[CHANNELS], single[CHANNEL_MAIN] = channels(events, start, end, channel_code)


@njit(cache=True, nogil=True)
def write_trips(row: np.ndarray, shopping: np.ndarray, trips: int, cutoff: int, horizon: int) -> int:
    """Columns of the shopping days, of which there are `trips`; returns the number of those of the last 91 days."""
    longest, month, quarter, short, middle = 0, 0, 0, 0, 0
    for t in range(trips):
        age = cutoff - shopping[t]
        month += age <= 28
        quarter += age <= 91
        short += age <= horizon
        middle += age <= 4 * horizon
        if t > 0:
            longest = max(longest, shopping[t] - shopping[t - 1])
    row[LONGEST] = longest if trips > 1 else np.nan
    row[RECENCY_LONGEST] = (cutoff - shopping[trips - 1]) / longest if trips > 1 else np.nan
    row[TRIPS_TREND] = 3.25 * month / max(quarter, 1)
    row[TRIPS_TREND_SHORT] = 4.0 * short / max(middle, 1)
    return quarter


@njit(cache=True, nogil=True)
def write_offers(row: np.ndarray, lists: DayLists, touched: int, trips_91: int, cutoff: int, horizon: int) -> None:
    """Columns of the purchase days of all offers; trips_91: the shopping days of the last 91 days."""
    offers_short, offers_28, offers_91, new_short, new_28, new_56 = 0, 0, 0, 0, 0, 0
    days_short, days_28, days_56, days_91, tried, again = 0, 0, 0, 0, 0, 0
    for t in range(touched):
        r, last = lists.head[lists.touched[t]], cutoff - lists.day[lists.tail[lists.touched[t]]]
        first = cutoff - lists.day[r]
        offers_short += last <= horizon
        offers_28 += last <= 28
        offers_91 += last <= 91
        new_short += first <= horizon
        new_28 += first <= 28
        new_56 += first <= 56
        before, within = np.zeros(CLOSED, np.bool_), np.zeros(CLOSED, np.bool_)
        while r >= 0:
            age = cutoff - lists.day[r]
            days_short += age <= horizon
            days_28 += age <= 28
            days_56 += age <= 56
            days_91 += age <= 91
            for k in range(CLOSED):
                before[k] |= (k + 1) * horizon < age <= (k + 1) * horizon + RECENT
                within[k] |= k * horizon < age <= (k + 1) * horizon
            r = lists.following[r]
        for k in range(CLOSED):
            tried += before[k]
            again += before[k] and within[k]
    row[OFFERS_SHORT], row[OFFERS_28], row[OFFERS_91], row[OFFERS_EVER] = offers_short, offers_28, offers_91, touched
    row[NEW_SHORT], row[NEW_28], row[NEW_56] = new_short, new_28, new_56
    row[SHARE_SHORT] = new_short / max(days_short, 1)
    row[SHARE_28] = new_28 / max(days_28, 1)
    row[SHARE_56] = new_56 / max(days_56, 1)
    row[TRIP_OFFERS] = days_91 / max(trips_91, 1)
    row[REPEAT_RATE] = (again + 1.0) / (tried + 10.0)


@njit(cache=True, nogil=True)
def write_spend(row: np.ndarray, events: Events, start: int, end: int, cutoff: int, horizon: int) -> None:
    """Ratios of the revenue of windows; 0 without revenue in the longer one."""
    month, quarter = revenue_since(events, start, end, cutoff - 28), revenue_since(events, start, end, cutoff - 91)
    short = revenue_since(events, start, end, cutoff - horizon)
    middle = revenue_since(events, start, end, cutoff - 4 * horizon)
    row[SPEND_TREND] = 3.25 * month / quarter if quarter > 0.0 else 0.0
    row[SPEND_TREND_SHORT] = 4.0 * short / middle if middle > 0.0 else 0.0


@njit(cache=True, nogil=True)
def order_revenues(events: Events, start: int, end: int, day: int) -> np.ndarray:
    """Revenue of each order, from its lines among the events [start, end) at or after a day."""
    kind, order = events.kind, events.order
    begin, low, high = end, -NEVER, NEVER
    while begin > start and events.day[begin - 1] >= day:
        begin -= 1
        if kind[begin] == PURCHASE:
            low, high = min(low, order[begin]), max(high, order[begin])
    size = max(high - low + 1, 0)
    revenue, lines = np.zeros(size), np.zeros(size, np.int64)
    for e in range(begin, end):
        if kind[e] == PURCHASE:
            revenue[order[e] - low] += events.revenue[e]
            lines[order[e] - low] += 1
    return revenue[lines > 0]


@njit(cache=True, nogil=True)
def large_orders(events: Events, start: int, end: int, day: int, order_size: float) -> float:
    """Share of the orders at or after a day with more than `order_size`."""
    revenue = order_revenues(events, start, end, day)
    return (revenue > order_size).sum() / max(revenue.size, 1)


@njit(cache=True, nogil=True)
def median_order(events: Events, customer: np.ndarray, cutoff: int) -> float:
    """Median revenue of the orders of all of `customer (B,)` in the last `RECENT` days; 0 without any."""
    room, size = np.empty(1024), 0
    for b in range(customer.size):
        start, end = events.offsets[customer[b]], first_at(events, customer[b], cutoff)
        revenue = order_revenues(events, start, end, cutoff - RECENT)
        if size + revenue.size > room.size:
            room = resized(room, 2 * (size + revenue.size))
        room[size : size + revenue.size] = revenue
        size += revenue.size
    return np.median(room[:size]) if size > 0 else 0.0


@njit(cache=True, nogil=True)
def channels(events: Events, start: int, end: int, channel_code: np.ndarray) -> tuple[int, float]:
    """Known channels with a purchase, and the share of days of the most frequent, among the events [start, end)."""
    last, days = np.full(channel_code.size, NEVER), np.zeros(channel_code.size, np.int64)
    for e in range(start, end):
        channel = events.channel[e]
        if events.kind[e] == PURCHASE and channel_code[channel] > 0 and last[channel] != events.day[e]:
            last[channel] = events.day[e]
            days[channel] += 1
    return (days > 0).sum(), days.max() / max(days.sum(), 1)
