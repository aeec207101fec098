"""One customer's calendar: which of the slots on offer to take under the contact caps.

A slot is a campaign on a day; S slots are numbered by day, D days. Values are net of prices and costs; a customer takes
the set of highest total value among those that keep the caps. By day and calendar week the caps are nested, so taking
the best first is exact (the sets form a laminar matroid; Edmonds, 1971). Rolling weeks are a recursion over days whose
state is what was taken in the six days before. Slots that exclude each other are settled by branch and bound.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

WEEK = 7
EDGE = WEEK - 1  # days before and after the plan whose promised contacts share a window with it
NODES = 64  # of branch and bound, per customer


class Calendar(NamedTuple):
    """campaign (S,) column of the values; weight (S,) factor on them; start (D+1,) slots of day d are [start[d],
    start[d+1]); week (EDGE+D+EDGE,) calendar week of each day, ascending; clash (S, S) bool, or (0, 0) where no two
    slots exclude each other; at most day_cap contacts a day and week_cap in any 7 days (rolling) or a calendar week."""

    campaign: np.ndarray
    weight: np.ndarray
    start: np.ndarray
    week: np.ndarray
    clash: np.ndarray
    day_cap: int
    week_cap: int
    rolling: bool


class Workspace(NamedTuple):
    """Working memory: values (S,), banned (S,), room (D,), top (D, day_cap+1) values and slots of each day, best first;
    take (D,) how many of a day are taken; best, next, lost: the recursion over rolling weeks; nodes: branch and bound.
    """

    value: np.ndarray
    banned: np.ndarray
    room: np.ndarray
    top: np.ndarray
    slot: np.ndarray
    take: np.ndarray
    best: np.ndarray
    next: np.ndarray
    lost: np.ndarray
    digits: np.ndarray
    nodes: np.ndarray
    bounds: np.ndarray
    found: np.ndarray


@njit(cache=True, nogil=True)
def desk(calendar: Calendar) -> Workspace:
    days, slots, base = calendar.start.size - 1, calendar.campaign.size, calendar.day_cap + 1
    states = base**EDGE if calendar.rolling else 1
    digits = np.zeros(states, np.int64)
    for state in range(states):
        rest = state
        while rest > 0:
            digits[state] += rest % base
            rest //= base
    nodes = NODES if calendar.clash.size else 1
    return Workspace(
        np.empty(slots),
        np.zeros(slots, np.bool_),
        np.empty(days, np.int64),
        np.empty((days, base)),
        np.empty((days, base), np.int64),
        np.empty(days, np.int64),
        np.empty(states),
        np.empty(states),
        np.empty((days + EDGE, states), np.int8),
        digits,
        np.zeros((nodes + 2, slots), np.bool_),
        np.empty(nodes + 2),
        np.empty(days, np.int64),
    )


@njit(cache=True, nogil=True)
def price_slots(calendar: Calendar, row: np.ndarray, price: np.ndarray, desk: Workspace, tie: float, n: int) -> None:
    """Values of the slots to one customer, from row (C,) of campaign values and price (S,), and up to `tie` more, drawn
    by lot from the customer's number n and the campaign."""
    for s in range(price.size):
        desk.value[s] = row[calendar.campaign[s]] * calendar.weight[s] - price[s]
    if tie > 0.0:
        for s in range(price.size):
            desk.value[s] += tie * lot_of(n, calendar.campaign[s])


@njit(cache=True, nogil=True)
def lot_of(n: int, c: int) -> float:
    """A number in [0, 1) that stands for the pair: the mixed bits of both (Steele, Lea and Flood, 2014)."""
    bits = np.uint64(n) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(c + 1) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return float((bits ^ (bits >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def rank_days(calendar: Calendar, used: np.ndarray, floor: float, desk: Workspace) -> None:
    """Room of each day, and its best slots above `floor`, one more than there is room for: `desk.top`, `desk.slot`."""
    start, value, banned, top, slot = calendar.start, desk.value, desk.banned, desk.top, desk.slot
    for d in range(desk.room.size):
        room = max(calendar.day_cap - used[EDGE + d], 0)
        desk.room[d] = room
        for k in range(room + 1):
            top[d, k] = -np.inf
            slot[d, k] = -1
        least = floor
        for s in range(start[d], start[d + 1]):
            x = value[s]
            if x > least and not banned[s]:
                k = room
                while k > 0 and top[d, k - 1] < x:
                    top[d, k] = top[d, k - 1]
                    slot[d, k] = slot[d, k - 1]
                    k -= 1
                top[d, k] = x
                slot[d, k] = s
                least = max(floor, top[d, room])


@njit(cache=True, nogil=True)
def choose_days(calendar: Calendar, used: np.ndarray, floor: float, desk: Workspace) -> float:
    """Fills `desk.take` with the best numbers of contacts by day, without regard to clashes; returns their value."""
    rank_days(calendar, used, floor, desk)
    if calendar.rolling:
        return take_rolling(calendar, used, desk)
    total, days, first, promised = 0.0, desk.room.size, 0, 0
    for e in range(used.size):
        promised += used[e]
    while first < days:
        last = first
        while last + 1 < days and calendar.week[EDGE + last + 1] == calendar.week[EDGE + first]:
            last += 1
        for d in range(first, last + 1):
            desk.take[d] = 0
        for _ in range(week_room(calendar, used, first) if promised else calendar.week_cap):
            best, day = 0.0, -1
            for d in range(first, last + 1):
                x = desk.top[d, desk.take[d]]
                if x > best and desk.take[d] < desk.room[d]:
                    best, day = x, d
            if day < 0:
                break
            desk.take[day] += 1
            total += best
        first = last + 1
    return total


@njit(cache=True, nogil=True)
def week_room(calendar: Calendar, used: np.ndarray, day: int) -> int:
    """What the calendar week of a day has left beside promised contacts."""
    room = calendar.week_cap
    for e in range(used.size):
        if used[e] and calendar.week[e] == calendar.week[EDGE + day]:
            room -= used[e]
    return max(room, 0)


@njit(cache=True, nogil=True)
def take_rolling(calendar: Calendar, used: np.ndarray, desk: Workspace) -> float:
    """All that has value where it keeps every window of 7 days; else the recursion."""
    total, days = 0.0, desk.room.size
    for d in range(days):
        desk.take[d] = 0
        while desk.take[d] < desk.room[d] and desk.top[d, desk.take[d]] > 0:
            total += desk.top[d, desk.take[d]]
            desk.take[d] += 1
    if keeps_windows(calendar.week_cap, used, desk.take):
        return total
    return recur(calendar.day_cap + 1, calendar.week_cap, used, desk)


@njit(cache=True, nogil=True)
def keeps_windows(week_cap: int, used: np.ndarray, take: np.ndarray) -> bool:
    """Whether no window of 7 days that holds a contact of the plan holds more than `week_cap`."""
    planned, promised = 0, 0
    for e in range(take.size + EDGE):
        promised += used[EDGE + e]
        planned += take[e] if e < take.size else 0
        if e == 0:
            for k in range(EDGE):
                promised += used[k]
        else:
            promised -= used[e - 1]
            planned -= take[e - WEEK] if e >= WEEK else 0
        if planned > 0 and planned + promised > week_cap:
            return False
    return True


@njit(cache=True, nogil=True)
def recur(base: int, week_cap: int, used: np.ndarray, desk: Workspace) -> float:
    """The best `desk.take` under windows of 7 days; desk.take holds the most of each day to begin with.

    A state is the number taken on each of the last six days, as digits of `base`, the newest lowest.
    """
    days, oldest = desk.room.size, base ** (EDGE - 1)
    best, coming = desk.best, desk.next
    best[:] = -np.inf
    best[0] = 0.0
    for e in range(days + EDGE):
        promised = 0
        for k in range(WEEK):
            promised += used[e + k]
        most = desk.take[e] if e < days else 0
        coming[:] = -np.inf
        for state in range(best.size):
            if best[state] == -np.inf:
                continue
            value = best[state]
            for j in range(most + 1):
                if j > 0:
                    value += desk.top[e, j - 1]
                held = desk.digits[state] + j
                if held > 0 and held + promised > week_cap:
                    break
                target = (state % oldest) * base + j
                if value > coming[target]:
                    coming[target] = value
                    desk.lost[e, target] = state // oldest
        best, coming = coming, best
    total, state = best[0], 0
    for e in range(days + EDGE - 1, -1, -1):
        if e < days:
            desk.take[e] = state % base
        state = state // base + desk.lost[e, state] * oldest
    return total


@njit(cache=True, nogil=True)
def clashing(calendar: Calendar, desk: Workspace) -> tuple[int, int]:
    """Two taken slots that exclude each other, or (-1, -1)."""
    for d in range(desk.take.size):
        for j in range(desk.take[d]):
            for e in range(d, desk.take.size):
                for k in range(desk.take[e]):
                    if calendar.clash[desk.slot[d, j], desk.slot[e, k]]:
                        return desk.slot[d, j], desk.slot[e, k]
    return -1, -1


@njit(cache=True, nogil=True)
def choose(calendar: Calendar, used: np.ndarray, floor: float, desk: Workspace, picks: np.ndarray) -> tuple[int, float]:
    """The best set of slots of one customer, whose values stand in `desk.value`.

    Args: used (EDGE+D+EDGE,) contacts promised by day; floor, at most 0: how far below zero `desk.top` looks; picks,
    filled with the slots taken.
    Returns: how many were taken, and a bound on the value of any set: its own value, unless branch and bound ran out of
    nodes.
    """
    total = choose_days(calendar, used, floor, desk)
    if calendar.clash.size:
        first, second = clashing(calendar, desk)
        if first >= 0:
            return branch(calendar, used, floor, desk, picks)
    return write_picks(desk, picks), total


@njit(cache=True, nogil=True)
def write_picks(desk: Workspace, picks: np.ndarray) -> int:
    count = 0
    for d in range(desk.take.size):
        for j in range(desk.take[d]):
            picks[count] = desk.slot[d, j]
            count += 1
    return count


@njit(cache=True, nogil=True)
def branch(calendar: Calendar, used: np.ndarray, floor: float, desk: Workspace, picks: np.ndarray) -> tuple[int, float]:
    """`choose` where taken slots exclude each other: the better of two that clash stays alone, or it goes.

    Depth first, so that the first leaf is a good set. Restores `desk.banned`.
    """
    before = desk.banned.copy()
    desk.nodes[0] = before
    desk.bounds[0] = np.inf
    open_nodes, solved, count, best, best_node = 1, 0, 0, 0.0, before.copy()
    while open_nodes > 0 and solved < NODES:
        open_nodes -= 1
        if desk.bounds[open_nodes] <= best:
            continue
        solved += 1
        desk.banned[:] = desk.nodes[open_nodes]
        total = min(choose_days(calendar, used, floor, desk), one_of_each(calendar, desk))
        if total <= best:
            continue
        first, second = clashing(calendar, desk)
        if first < 0:
            best, count = total, write_picks(desk, picks)
            best_node[:] = desk.banned
            continue
        stays = first if desk.value[first] >= desk.value[second] else second
        for alone in (False, True):  # the last one in is looked at first
            node = desk.nodes[open_nodes]
            node[:] = desk.banned
            for s in range(node.size):
                node[s] = node[s] or (calendar.clash[stays, s] if alone else s == stays)
            desk.bounds[open_nodes] = total
            open_nodes += 1
    bound = best
    for k in range(open_nodes):
        bound = max(bound, desk.bounds[k])
    if count == 0:
        best_node[:] = True
    desk.banned[:] = best_node
    choose_days(calendar, used, floor, desk)
    desk.banned[:] = before
    return count, bound


@njit(cache=True, nogil=True)
def one_of_each(calendar: Calendar, desk: Workspace) -> float:
    """A bound for campaigns on several days: the best slots of the best campaigns, as many as the weeks can hold."""
    days, slots = desk.room.size, desk.value.size
    weeks = -(-days // WEEK) if calendar.rolling else 1 + calendar.week[EDGE + days - 1] - calendar.week[EDGE]
    best = np.full(calendar.campaign.max() + 1, 0.0)
    for s in range(slots):
        if not desk.banned[s] and alone_in_campaign(calendar, s):
            best[calendar.campaign[s]] = max(best[calendar.campaign[s]], desk.value[s])
        elif not desk.banned[s]:
            return np.inf
    best.sort()
    total = 0.0
    for k in range(min(best.size, weeks * calendar.week_cap)):
        total += best[best.size - 1 - k]
    return total


@njit(cache=True, nogil=True)
def alone_in_campaign(calendar: Calendar, s: int) -> bool:
    """Whether a slot excludes all others of its campaign."""
    alone = True
    for t in range(calendar.campaign.size):
        alone = alone and (t == s or calendar.campaign[t] != calendar.campaign[s] or calendar.clash[s, t])
    return alone


@njit(cache=True, nogil=True)
def fits(
    calendar: Calendar, used: np.ndarray, picks: np.ndarray, count: int, without: int, slot: int, day_of: np.ndarray
) -> bool:
    """Whether `slot` keeps all caps beside picks[:count], of which position `without` (-1: none) is given up."""
    day = day_of[slot]
    same = int(used[EDGE + day])
    for k in range(count):
        if k == without:
            continue
        if picks[k] == slot or (calendar.clash.size and calendar.clash[slot, picks[k]]):
            return False
        same += day_of[picks[k]] == day
    if same >= calendar.day_cap:
        return False
    if not calendar.rolling:
        room = week_room(calendar, used, day)
        for k in range(count):
            if k != without and calendar.week[EDGE + day_of[picks[k]]] == calendar.week[EDGE + day]:
                room -= 1
        return room > 0
    for end in range(day, day + WEEK):
        held = 1
        for e in range(end - EDGE, end + 1):
            held += used[EDGE + e] if 0 <= EDGE + e < used.size else 0
        for k in range(count):
            if k != without and end - EDGE <= day_of[picks[k]] <= end:
                held += 1
        if held > calendar.week_cap:
            return False
    return True
