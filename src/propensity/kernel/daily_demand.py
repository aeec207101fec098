"""Demand at prices where a customer has at most one contact a day, caps are by calendar week and no slots clash.

Choices, sums and slopes are those of `propensity.kernel.plan.demand`, to the last bit; only the best two slots of a
day matter here, which saves most of its work.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.contact_cap import EDGE, Calendar, hash_of


@njit(cache=True, nogil=True)
def is_daily(calendar: Calendar) -> bool:
    """Whether the functions of this module apply to a calendar."""
    return calendar.day_cap == 1 and not calendar.rolling and calendar.clash.size == 0


@njit(cache=True, nogil=True)
def week_starts(calendar: Calendar) -> np.ndarray:
    """(weeks+1,) first day of each calendar week of the plan."""
    days = calendar.start.size - 1
    starts = np.zeros(days + 1, np.int64)
    weeks = 0
    for d in range(1, days + 1):
        if d == days or calendar.week[EDGE + d] != calendar.week[EDGE + d - 1]:
            weeks += 1
            starts[weeks] = d
    return starts[: weeks + 1]


@njit(cache=True, nogil=True)
def net_values(
    row: np.ndarray, calendar: Calendar, price: np.ndarray, plain: bool, tie_break: float, n: int, net: np.ndarray
) -> None:
    """Fills net (S,) with the values of the slots for customer n less their prices; plain: slots are the campaigns."""
    if plain:
        for s in range(price.size):
            net[s] = np.float64(row[s]) - price[s]
    else:
        for s in range(price.size):
            net[s] = row[calendar.campaign[s]] * calendar.weight[s] - price[s]
    if tie_break > 0.0:
        for s in range(price.size):
            net[s] += tie_break * hash_of(n, calendar.campaign[s])


@njit(cache=True, nogil=True)
def is_plain(calendar: Calendar) -> bool:
    """Whether slot s is campaign s, with weight 1."""
    plain = True
    for s in range(calendar.campaign.size):
        plain = plain and calendar.campaign[s] == s and calendar.weight[s] == 1.0
    return plain


@njit(cache=True, nogil=True)
def daily_demand(
    value: np.ndarray,
    used: np.ndarray,
    calendar: Calendar,
    price: np.ndarray,
    bandwidth: np.ndarray,
    load: np.ndarray,
    slope: np.ndarray,
    picks: np.ndarray,
    regret: np.ndarray,
    tie_break: float,
) -> float:
    """`propensity.kernel.plan.demand`, which documents the arguments; load and slope are 0 on entry."""
    days, starts, plain, floor = calendar.start.size - 1, week_starts(calendar), is_plain(calendar), -bandwidth.max()
    net = np.empty(price.size)
    best, second = np.empty(days), np.empty(days)
    best_slot, second_slot = np.empty(days, np.int64), np.empty(days, np.int64)
    room, taken = np.ones(days, np.bool_), np.empty(days, np.bool_)
    total = 0.0
    for n in range(value.shape[0]):
        promised = used[n if used.shape[0] > 1 else 0]
        busy = False
        for e in range(promised.size):
            busy = busy or promised[e] > 0
        net_values(value[n], calendar, price, plain, tie_break, n, net)
        for d in range(days):
            room[d] = not busy or promised[EDGE + d] == 0
            best_two(net, calendar.start[d], calendar.start[d + 1], floor, d, best, second, best_slot, second_slot)
        own, least = 0.0, np.inf
        for w in range(starts.size - 1):
            first, end = starts[w], starts[w + 1]
            most = week_room(calendar, promised, first) if busy else calendar.week_cap
            for d in range(first, end):
                taken[d] = False
            for _ in range(most):
                gain, day = 0.0, -1
                for d in range(first, end):
                    if best[d] > gain and room[d] and not taken[d]:
                        gain, day = best[d], d
                if day < 0:
                    break
                taken[day] = True
                own += gain
                load[best_slot[day]] += 1.0
            near = couple_week(first, end, best, second, best_slot, second_slot, room, taken, bandwidth, -floor, slope)
            least = near if near < least else least
        total += own
        if regret.size:
            regret[n] = least
        if picks.shape[0]:
            picks[n, :] = -1
            count = 0
            for d in range(days):
                if taken[d]:
                    picks[n, count] = best_slot[d]
                    count += 1
    return total


@njit(cache=True, nogil=True)
def best_two(
    net: np.ndarray,
    start: int,
    end: int,
    floor: float,
    d: int,
    best: np.ndarray,
    second: np.ndarray,
    best_slot: np.ndarray,
    second_slot: np.ndarray,
) -> None:
    """The best two of the slots [start, end) above `floor`, the first of equal ones first; -inf and -1: none."""
    high, next_high, high_slot, next_slot = -np.inf, -np.inf, -1, -1
    for s in range(start, end):
        x = net[s] if net[s] > floor else -np.inf
        above = x > high
        also = x > next_high
        next_slot = high_slot if above else (s if also else next_slot)
        next_high = high if above else (x if also else next_high)
        high_slot = s if above else high_slot
        high = x if above else high
    best[d], second[d], best_slot[d], second_slot[d] = high, next_high, high_slot, next_slot


@njit(cache=True, nogil=True)
def week_room(calendar: Calendar, promised: np.ndarray, day: int) -> int:
    """Contacts that the calendar week of a day allows beside promised ones."""
    room = calendar.week_cap
    for e in range(promised.size):
        if calendar.week[e] == calendar.week[EDGE + day]:
            room -= promised[e]
    return max(room, 0)


@njit(cache=True, nogil=True)
def couple_week(
    first: int,
    end: int,
    best: np.ndarray,
    second: np.ndarray,
    best_slot: np.ndarray,
    second_slot: np.ndarray,
    room: np.ndarray,
    taken: np.ndarray,
    bandwidth: np.ndarray,
    widest: float,
    slope: np.ndarray,
) -> float:
    """`propensity.kernel.plan.couple` of the days [first, end) of one week."""
    low, high = np.inf, -np.inf  # of what is taken, and of what there is room for
    for d in range(first, end):
        value, is_taken, is_open = best[d], taken[d], room[d]
        own = value if is_taken else np.inf
        other = value if is_open else -np.inf
        other = -np.inf if is_taken else other
        low = own if own < low else low
        high = other if other > high else high
    least, margin = np.inf, np.inf
    limit, rest = 0.0 if high <= 0.0 else high, 0.0 if high <= 0.0 else low
    for d in range(first, end):
        value, following, is_taken, is_open = best[d], second[d], taken[d], room[d]
        lost = value - (following if following > limit else limit)
        lost = lost if is_taken else np.inf
        missed = rest - value
        missed = missed if is_open else np.inf
        missed = np.inf if is_taken else missed
        least = lost if lost < least else least
        margin = missed if missed < margin else margin
    if (least if least < margin else margin) < widest:
        add_pairs(first, end, best, second, best_slot, second_slot, room, taken, bandwidth, slope)
    return least


@njit(cache=True, nogil=True)
def add_pairs(
    first: int,
    end: int,
    best: np.ndarray,
    second: np.ndarray,
    best_slot: np.ndarray,
    second_slot: np.ndarray,
    room: np.ndarray,
    taken: np.ndarray,
    bandwidth: np.ndarray,
    slope: np.ndarray,
) -> None:
    """Adds the near choices of the days [first, end) of one week to slope."""
    nobody = bandwidth.size
    low, low_slot, high, high_slot = np.inf, -1, -np.inf, -1
    for d in range(first, end):
        if taken[d]:
            if best[d] < low:
                low, low_slot = best[d], best_slot[d]
        elif room[d] and best[d] > high:
            high, high_slot = best[d], best_slot[d]
    for d in range(first, end):
        if taken[d]:
            own, own_slot, following = best[d], best_slot[d], second[d]
            if following <= 0.0 and high <= 0.0:
                add_pair(slope, own_slot, nobody, own, bandwidth)
            elif high >= following and own_slot != low_slot:
                add_pair(slope, own_slot, high_slot, own - high, bandwidth)
            if following > -np.inf:
                add_pair(slope, second_slot[d], own_slot, own - following, bandwidth)
        elif room[d] and best[d] > -np.inf:
            if high <= 0.0:
                add_pair(slope, best_slot[d], nobody, -best[d], bandwidth)
            elif low_slot >= 0:
                add_pair(slope, best_slot[d], low_slot, low - best[d], bandwidth)


@njit(cache=True, nogil=True)
def add_pair(slope: np.ndarray, a: int, b: int, margin: float, bandwidth: np.ndarray) -> None:
    """Half a customer who would move from slot a to slot b for `margin`, if that lies within the larger bandwidth."""
    width = bandwidth[a] if b == bandwidth.size else max(bandwidth[a], bandwidth[b])
    if 0.0 <= margin < width:  # in rolling weeks a dearer day may be blocked
        slope[a, a] += 0.5 / width
        slope[b, b] += 0.5 / width
        slope[a, b] -= 0.5 / width
        slope[b, a] -= 0.5 / width
