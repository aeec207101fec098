"""The best set of slots of one customer under contact caps.

A slot is a campaign on a day; S slots are numbered by day, D days. Values are net of prices and costs; the chosen set
has the highest total value of those that keep the caps. By day and calendar week the caps are nested, so the greedy
choice is exact (the sets form a laminar matroid; Edmonds, 1971). Rolling weeks are a dynamic programme over days, whose
state is the contacts of the six days before. Exclusive slots are resolved by branch and bound.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

WEEK = 7
EDGE = WEEK - 1  # days before and after the plan whose promised contacts fall into a window with it
NODES = 64  # of branch and bound, per customer


class Calendar(NamedTuple):
    """Slots and contact caps of a plan.

    Attributes
    ----------
    campaign : np.ndarray
        (S,) column of the values.
    weight : np.ndarray
        (S,) factor on them.
    start : np.ndarray
        (D+1,) the slots of day d are [start[d], start[d+1]).
    week : np.ndarray
        (EDGE+D+EDGE,) calendar week of each day, ascending.
    clash : np.ndarray
        (S, S) bool, which slots exclude each other; (0, 0) where none do.
    day_cap, week_cap : int
        Most contacts in a day, and in any 7 days (rolling) or a calendar week.
    rolling : bool
        Whether a week is any 7 days.
    """

    campaign: np.ndarray
    weight: np.ndarray
    start: np.ndarray
    week: np.ndarray
    clash: np.ndarray
    day_cap: int
    week_cap: int
    rolling: bool


class Workspace(NamedTuple):
    """Working memory of one customer: values (S,), banned (S,) slots, room (D,), the top (D, day_cap+1) values and
    slots of each day, take (D,) how many of a day are taken; best, next, lost: the dynamic programme over rolling
    weeks; nodes, bounds: branch and bound.
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


@njit(cache=True, nogil=True)
def make_workspace(calendar: Calendar) -> Workspace:
    """Allocates the working memory."""
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
    )


@njit(cache=True, nogil=True)
def price_slots(
    calendar: Calendar, row: np.ndarray, price: np.ndarray, workspace: Workspace, tie_break: float, n: int
) -> None:
    """Values of the slots for one customer, from row (C,) of campaign values and price (S,), plus up to `tie_break`
    from a hash of the customer's row n and the campaign."""
    for s in range(price.size):
        workspace.value[s] = row[calendar.campaign[s]] * calendar.weight[s] - price[s]
    if tie_break > 0.0:
        for s in range(price.size):
            workspace.value[s] += tie_break * hash_of(n, calendar.campaign[s])


@njit(cache=True, nogil=True)
def hash_of(n: int, c: int) -> float:
    """A hash of the pair in [0, 1), by the mixing function of SplitMix64 (Steele, Lea and Flood, 2014)."""
    bits = np.uint64(n) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(c + 1) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return float((bits ^ (bits >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def rank_days(calendar: Calendar, used: np.ndarray, floor: float, workspace: Workspace) -> None:
    """Fills room, and top and slot with the best slots of each day above `floor`, one more than there is room for."""
    start, value, banned, top, slot = calendar.start, workspace.value, workspace.banned, workspace.top, workspace.slot
    for d in range(workspace.room.size):
        room = max(calendar.day_cap - used[EDGE + d], 0)
        workspace.room[d] = room
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
def choose_days(calendar: Calendar, used: np.ndarray, floor: float, workspace: Workspace) -> float:
    """Fills take with the best numbers of contacts by day, ignoring exclusive slots; returns their value."""
    rank_days(calendar, used, floor, workspace)
    if calendar.rolling:
        return take_rolling(calendar, used, workspace)
    total, days, first, promised = 0.0, workspace.room.size, 0, 0
    for e in range(used.size):
        promised += used[e]
    while first < days:
        last = first
        while last + 1 < days and calendar.week[EDGE + last + 1] == calendar.week[EDGE + first]:
            last += 1
        for d in range(first, last + 1):
            workspace.take[d] = 0
        for _ in range(week_room(calendar, used, first) if promised else calendar.week_cap):
            best, day = 0.0, -1
            for d in range(first, last + 1):
                x = workspace.top[d, workspace.take[d]]
                if x > best and workspace.take[d] < workspace.room[d]:
                    best, day = x, d
            if day < 0:
                break
            workspace.take[day] += 1
            total += best
        first = last + 1
    return total


@njit(cache=True, nogil=True)
def week_room(calendar: Calendar, used: np.ndarray, day: int) -> int:
    """Contacts that the calendar week of a day allows beside promised ones."""
    room = calendar.week_cap
    for e in range(used.size):
        if used[e] and calendar.week[e] == calendar.week[EDGE + day]:
            room -= used[e]
    return max(room, 0)


@njit(cache=True, nogil=True)
def take_rolling(calendar: Calendar, used: np.ndarray, workspace: Workspace) -> float:
    """All slots of positive value where they keep every window of 7 days; else the dynamic programme."""
    total, days = 0.0, workspace.room.size
    for d in range(days):
        workspace.take[d] = 0
        while workspace.take[d] < workspace.room[d] and workspace.top[d, workspace.take[d]] > 0:
            total += workspace.top[d, workspace.take[d]]
            workspace.take[d] += 1
    if keeps_windows(calendar.week_cap, used, workspace.take):
        return total
    return solve_rolling(calendar.day_cap + 1, calendar.week_cap, used, workspace)


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
def solve_rolling(base: int, week_cap: int, used: np.ndarray, workspace: Workspace) -> float:
    """The best take under windows of 7 days; on entry, take holds the most contacts of each day.

    A state is the number of contacts on each of the last six days, as digits of `base`, the newest lowest.
    """
    days, oldest = workspace.room.size, base ** (EDGE - 1)
    best, coming = workspace.best, workspace.next
    best[:] = -np.inf
    best[0] = 0.0
    for e in range(days + EDGE):
        promised = 0
        for k in range(WEEK):
            promised += used[e + k]
        most = workspace.take[e] if e < days else 0
        coming[:] = -np.inf
        for state in range(best.size):
            if best[state] == -np.inf:
                continue
            value = best[state]
            for j in range(most + 1):
                if j > 0:
                    value += workspace.top[e, j - 1]
                contacts = workspace.digits[state] + j
                if contacts > 0 and contacts + promised > week_cap:
                    break
                target = (state % oldest) * base + j
                if value > coming[target]:
                    coming[target] = value
                    workspace.lost[e, target] = state // oldest
        best, coming = coming, best
    total, state = best[0], 0
    for e in range(days + EDGE - 1, -1, -1):
        if e < days:
            workspace.take[e] = state % base
        state = state // base + workspace.lost[e, state] * oldest
    return total


@njit(cache=True, nogil=True)
def clashing(calendar: Calendar, workspace: Workspace) -> tuple[int, int]:
    """Two taken slots that exclude each other, or (-1, -1)."""
    for d in range(workspace.take.size):
        for j in range(workspace.take[d]):
            for e in range(d, workspace.take.size):
                for k in range(workspace.take[e]):
                    if calendar.clash[workspace.slot[d, j], workspace.slot[e, k]]:
                        return workspace.slot[d, j], workspace.slot[e, k]
    return -1, -1


@njit(cache=True, nogil=True)
def choose(
    calendar: Calendar, used: np.ndarray, floor: float, workspace: Workspace, picks: np.ndarray
) -> tuple[int, float]:
    """The best set of slots of one customer.

    Parameters
    ----------
    calendar : Calendar
        Slots and caps.
    used : np.ndarray
        (EDGE+D+EDGE,) promised contacts by day.
    floor : float
        At most 0; slots of a value above it are ranked in `workspace.top`.
    workspace : Workspace
        Its `value` (S,) holds the values of the slots.
    picks : np.ndarray
        Filled with the chosen slots.

    Returns
    -------
    tuple[int, float]
        Number of slots, and an upper bound on the value of any set; it is the value of the set, unless branch and bound
        stopped at `NODES`.
    """
    total = choose_days(calendar, used, floor, workspace)
    if calendar.clash.size:
        first, second = clashing(calendar, workspace)
        if first >= 0:
            return branch(calendar, used, floor, workspace, picks)
    return write_picks(workspace, picks), total


@njit(cache=True, nogil=True)
def write_picks(workspace: Workspace, picks: np.ndarray) -> int:
    """Writes the taken slots; returns their number."""
    count = 0
    for d in range(workspace.take.size):
        for j in range(workspace.take[d]):
            picks[count] = workspace.slot[d, j]
            count += 1
    return count


@njit(cache=True, nogil=True)
def branch(
    calendar: Calendar, used: np.ndarray, floor: float, workspace: Workspace, picks: np.ndarray
) -> tuple[int, float]:
    """`choose` where taken slots exclude each other: branches on keeping or banning the better of two that clash.

    Depth first, so that the first leaf is a good set. Restores banned.
    """
    before = workspace.banned.copy()
    workspace.nodes[0] = before
    workspace.bounds[0] = np.inf
    open_nodes, solved, count, best, best_node = 1, 0, 0, 0.0, before.copy()
    while open_nodes > 0 and solved < NODES:
        open_nodes -= 1
        if workspace.bounds[open_nodes] <= best:
            continue
        solved += 1
        workspace.banned[:] = workspace.nodes[open_nodes]
        total = min(choose_days(calendar, used, floor, workspace), one_of_each(calendar, workspace))
        if total <= best:
            continue
        first, second = clashing(calendar, workspace)
        if first < 0:
            best, count = total, write_picks(workspace, picks)
            best_node[:] = workspace.banned
            continue
        better = first if workspace.value[first] >= workspace.value[second] else second
        for alone in (False, True):  # the last node is explored first
            node = workspace.nodes[open_nodes]
            node[:] = workspace.banned
            for s in range(node.size):
                node[s] = node[s] or (calendar.clash[better, s] if alone else s == better)
            workspace.bounds[open_nodes] = total
            open_nodes += 1
    bound = best
    for k in range(open_nodes):
        bound = max(bound, workspace.bounds[k])
    if count == 0:
        best_node[:] = True
    workspace.banned[:] = best_node
    choose_days(calendar, used, floor, workspace)
    workspace.banned[:] = before
    return count, bound


@njit(cache=True, nogil=True)
def one_of_each(calendar: Calendar, workspace: Workspace) -> float:
    """A bound for campaigns on several days: the best slots of the best campaigns, as many as the weeks allow."""
    days, slots = workspace.room.size, workspace.value.size
    weeks = -(-days // WEEK) if calendar.rolling else 1 + calendar.week[EDGE + days - 1] - calendar.week[EDGE]
    best = np.full(calendar.campaign.max() + 1, 0.0)
    for s in range(slots):
        if not workspace.banned[s] and alone_in_campaign(calendar, s):
            best[calendar.campaign[s]] = max(best[calendar.campaign[s]], workspace.value[s])
        elif not workspace.banned[s]:
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
    """Whether a customer may have a slot beside others.

    Parameters
    ----------
    calendar : Calendar
        Slots and caps.
    used : np.ndarray
        (EDGE+D+EDGE,) promised contacts by day.
    picks : np.ndarray
        (P,) slots of the customer, of which the first `count` count.
    count : int
        Number of slots.
    without : int
        Position in `picks` that is dropped; -1: none.
    slot : int
        The slot to add.
    day_of : np.ndarray
        (S,) day of each slot.

    Returns
    -------
    bool
        Whether all caps hold, and no exclusive slot is among the others.
    """
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
        contacts = 1
        for e in range(end - EDGE, end + 1):
            contacts += used[EDGE + e] if 0 <= EDGE + e < used.size else 0
        for k in range(count):
            if k != without and end - EDGE <= day_of[picks[k]] <= end:
                contacts += 1
        if contacts > calendar.week_cap:
            return False
    return True
