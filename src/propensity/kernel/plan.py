"""Passes over all customers of a campaign plan: demand at given prices, serving, filling up, exchanging.

N customers, C campaigns, S slots, R rows of limits, P the most contacts of a customer. A plan is picks (N, P) int16,
-1 after the last; value (N, C) is -inf where a customer is not eligible. `used` (N or 1, EDGE+D+EDGE) uint8 counts
promised contacts; one row stands for everybody.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from propensity.kernel.contact_cap import EDGE, Calendar, Workspace, choose, desk, fits, price_slots


class Limits(NamedTuple):
    """Sums over all customers: least (R,) <= coefficient (R, S) @ contacts by slot <= most (R,)."""

    coefficient: np.ndarray
    least: np.ndarray
    most: np.ndarray


@njit(cache=True, nogil=True)
def day_of(calendar: Calendar) -> np.ndarray:
    """(S,) day of each slot."""
    day = np.empty(calendar.campaign.size, np.int64)
    for d in range(calendar.start.size - 1):
        day[calendar.start[d] : calendar.start[d + 1]] = d
    return day


@njit(cache=True, nogil=True)
def own_row(used: np.ndarray, n: int) -> np.ndarray:
    return used[n if used.shape[0] > 1 else 0]


@njit(cache=True, nogil=True)
def demand(
    value: np.ndarray,
    used: np.ndarray,
    calendar: Calendar,
    price: np.ndarray,
    bootstrap_interval: np.ndarray,
    load: np.ndarray,
    slope: np.ndarray,
    picks: np.ndarray,
    regret: np.ndarray,
    tie: float,
) -> float:
    """What all customers take at prices (S,).

    Fills load (S,) contacts by slot; slope (S+1, S+1) how many customers a unit of price would move from one slot to
    another (S: to none), as a Laplacian, counted among those within band (S,) of it, the wider of the two slots';
    picks (N, P); regret (N,), what a customer stands to lose by giving up the contact that means least (both may be of
    size 0). tie: money by which values are told apart that may be equal.
    Returns: the sum of bounds on the customers' values.
    """
    load[:] = 0.0
    slope[:] = 0.0
    widest = bootstrap_interval.max()
    table = desk(calendar)
    own = np.empty(calendar.campaign.size, np.int64)
    total = 0.0
    for n in range(value.shape[0]):
        promised = own_row(used, n)
        price_slots(calendar, value[n], price, table, tie, n)
        count, bound = choose(calendar, promised, -widest, table, own)
        total += bound
        for k in range(count):
            load[own[k]] += 1.0
        least = couple(calendar, table, bootstrap_interval, slope)
        if regret.size:
            regret[n] = least
        if picks.shape[0]:
            picks[n, :] = -1
            for k in range(count):
                picks[n, k] = own[k]
    return total


@njit(cache=True, nogil=True)
def couple(calendar: Calendar, table: Workspace, bootstrap_interval: np.ndarray, slope: np.ndarray) -> float:
    """Adds one customer's near choices to slope; returns the smallest loss of giving up a contact (inf: has none).

    A day's last contact gives way to what is next best, and what is next on a day takes the place of the day's last
    contact or, where the week is full, of the week's. Every change of mind counts half: at another price of either slot
    it would be seen from one side only. One loop, for a call a day with the desk would take longer than the sums.
    """
    rooms, takes, top, slot = table.room, table.take, table.top, table.slot
    nobody, days, least, first = bootstrap_interval.size, rooms.size, np.inf, 0
    while first < days:
        last = first
        while last + 1 < days and (calendar.rolling or same_week(calendar, last + 1, first)):
            last += 1
        low, low_slot, high, high_slot = np.inf, -1, -np.inf, -1  # of what is taken, and of what there is room for
        for d in range(first, last + 1):
            take = takes[d]
            if take > 0 and top[d, take - 1] < low:
                low, low_slot = top[d, take - 1], slot[d, take - 1]
            if take < rooms[d] and top[d, take] > high:
                high, high_slot = top[d, take], slot[d, take]
        for d in range(first, last + 1):
            room, take = rooms[d], takes[d]
            if room == 0:
                continue
            following, next_slot = top[d, take], slot[d, take]
            if take > 0:
                held, held_slot = top[d, take - 1], slot[d, take - 1]
                least = min(least, held - max(following, high, 0.0))
                if following <= 0.0 and high <= 0.0:
                    add_pair(slope, held_slot, nobody, held, bootstrap_interval)
                elif high >= following and held_slot != low_slot:
                    add_pair(slope, held_slot, high_slot, held - high, bootstrap_interval)
                if take == room and following > -np.inf:
                    add_pair(slope, next_slot, held_slot, held - following, bootstrap_interval)
            if take < room and following > -np.inf:
                if high <= 0.0:
                    add_pair(slope, next_slot, nobody, -following, bootstrap_interval)
                elif low_slot >= 0:
                    add_pair(slope, next_slot, low_slot, low - following, bootstrap_interval)
        first = last + 1
    return least


@njit(cache=True, nogil=True)
def same_week(calendar: Calendar, d: int, e: int) -> bool:
    return calendar.week[EDGE + d] == calendar.week[EDGE + e]


@njit(cache=True, nogil=True)
def add_pair(slope: np.ndarray, a: int, b: int, margin: float, bootstrap_interval: np.ndarray) -> None:
    """Half a customer who would go from slot a to slot b for `margin`, if that lies within the band of either."""
    width = bootstrap_interval[a] if b == bootstrap_interval.size else max(bootstrap_interval[a], bootstrap_interval[b])
    if 0.0 <= margin < width:  # in rolling weeks a dearer day may be blocked
        slope[a, a] += 0.5 / width
        slope[b, b] += 0.5 / width
        slope[a, b] -= 0.5 / width
        slope[b, a] -= 0.5 / width


@njit(cache=True, nogil=True)
def has_room(limits: Limits, held: np.ndarray, s: int) -> bool:
    """Whether every row can bear one more contact in slot s; held (R,)."""
    for r in range(held.size):
        a = limits.coefficient[r, s]
        if a > 0.0 and held[r] + a > limits.most[r] * (1 + 1e-12) + 1e-9:
            return False
    return True


@njit(cache=True, nogil=True)
def hold(limits: Limits, held: np.ndarray, s: int, sign: float) -> None:
    for r in range(held.size):
        held[r] += sign * limits.coefficient[r, s]


@njit(cache=True, nogil=True)
def serve(
    value: np.ndarray,
    used: np.ndarray,
    calendar: Calendar,
    limits: Limits,
    price: np.ndarray,
    order: np.ndarray,
    picks: np.ndarray,
    held: np.ndarray,
    tie: float,
) -> None:
    """Customers come in `order`, and each takes the best set at `price` (S,) among the slots that still have room.

    Fills picks (N, P); adds what is taken to held (R,).
    """
    table = desk(calendar)
    own = np.empty(calendar.campaign.size, np.int64)
    closed = np.zeros(calendar.campaign.size, np.bool_)
    for s in range(closed.size):
        closed[s] = not has_room(limits, held, s)
    for i in range(order.size):
        n = order[i]
        price_slots(calendar, value[n], price, table, tie, n)
        table.banned[:] = closed
        again = True
        while again:  # two slots of a set may be the last unit of one row
            count, _ = choose(calendar, own_row(used, n), 0.0, table, own)
            again = False
            for k in range(count):
                if not has_room(limits, held, own[k]):
                    closed[own[k]] = table.banned[own[k]] = True
                    again = True
                    for j in range(k):
                        hold(limits, held, own[j], -1.0)
                    break
                hold(limits, held, own[k], 1.0)
        picks[n, :] = -1
        for k in range(count):
            picks[n, k] = own[k]


@njit(cache=True, nogil=True)
def take_in_order(
    customer: np.ndarray,
    slot: np.ndarray,
    used: np.ndarray,
    calendar: Calendar,
    limits: Limits,
    picks: np.ndarray,
    held: np.ndarray,
) -> None:
    """Contacts (n,) in the order given, each taken where the caps and limits still allow it."""
    day = day_of(calendar)
    for i in range(customer.size):
        n, s = customer[i], slot[i]
        count = picks_of(picks[n])
        room = count < picks.shape[1] and has_room(limits, held, s)
        if room and fits(calendar, own_row(used, n), picks[n], count, -1, s, day):
            picks[n, count] = s
            hold(limits, held, s, 1.0)


@njit(cache=True, nogil=True)
def picks_of(row: np.ndarray) -> int:
    count = 0
    while count < row.size and row[count] >= 0:
        count += 1
    return count


@njit(cache=True, nogil=True)
def net(value: np.ndarray, calendar: Calendar, price: np.ndarray, n: int, s: int) -> float:
    return value[n, calendar.campaign[s]] * calendar.weight[s] - price[s]


@njit(cache=True, nogil=True)
def best_moves(
    value: np.ndarray,
    used: np.ndarray,
    calendar: Calendar,
    price: np.ndarray,
    cost: np.ndarray,
    wanted: np.ndarray,
    needed: np.ndarray,
    given: np.ndarray,
    near: float,
    picks: np.ndarray,
    move: np.ndarray,
    gain: np.ndarray,
) -> None:
    """For each customer the best way into a wanted slot: to add it, or to swap a contact for it.

    Args: price (S,) of slots, cost (S,) the part of it that is money; wanted (S,) slots with room that should fill,
    needed (S,) those that must; given (S,) slots whose contacts may be given up; near: what a way into a slot that need
    not fill may lose at prices. Fills move (N, 2) with the position given up (-1: none) and the slot, and gain (N,), at
    prices; -inf where no way improves the plan in money or fills a needed slot.
    """
    day = day_of(calendar)
    for n in range(value.shape[0]):
        gain[n] = -np.inf
        count = picks_of(picks[n])
        for s in range(wanted.size):
            if not wanted[s]:
                continue
            into = net(value, calendar, price, n, s)
            if into <= gain[n] or (into < -near and not needed[s]) or into == -np.inf:
                continue
            true = net(value, calendar, cost, n, s)
            for k in range(-1, count):
                out, true_out = 0.0, 0.0
                if k >= 0:
                    if not given[picks[n, k]] or picks[n, k] == s:
                        continue
                    out = net(value, calendar, price, n, picks[n, k])
                    true_out = net(value, calendar, cost, n, picks[n, k])
                elif count == picks.shape[1]:
                    continue
                better = into - out > gain[n] and (needed[s] or true > true_out)
                if better and fits(calendar, own_row(used, n), picks[n], count, k, s, day):
                    gain[n] = into - out
                    move[n, 0] = k
                    move[n, 1] = s


@njit(cache=True, nogil=True)
def apply_moves(
    order: np.ndarray,
    move: np.ndarray,
    limits: Limits,
    needed: np.ndarray,
    picks: np.ndarray,
    held: np.ndarray,
) -> int:
    """Makes the moves of the customers in `order` while they keep the limits; returns how many were made.

    A move into a needed slot is made only while one of its rows is below its least.
    """
    made = 0
    for i in range(order.size):
        n = order[i]
        k, s = move[n, 0], move[n, 1]
        if needed[s] and not lacks(limits, held, s):
            continue
        if k >= 0:
            if not can_give(limits, held, picks[n, k], s):
                continue
            hold(limits, held, picks[n, k], -1.0)
        if not has_room(limits, held, s):
            if k >= 0:
                hold(limits, held, picks[n, k], 1.0)
            continue
        hold(limits, held, s, 1.0)
        picks[n, k if k >= 0 else picks_of(picks[n])] = s
        made += 1
    return made


@njit(cache=True, nogil=True)
def lacks(limits: Limits, held: np.ndarray, s: int) -> bool:
    """Whether a row of slot s is below its least."""
    short = False
    for r in range(held.size):
        short = short or (limits.coefficient[r, s] > 0.0 and held[r] < limits.least[r] - 1e-9)
    return short


@njit(cache=True, nogil=True)
def can_give(limits: Limits, held: np.ndarray, s: int, into: int) -> bool:
    """Whether slot s can give up a contact for one in slot `into`, and no row falls below its least, or further."""
    for r in range(held.size):
        a = limits.coefficient[r, s] - (limits.coefficient[r, into] if into >= 0 else 0.0)
        if a > 0.0 and held[r] - a < limits.least[r] - 1e-9:
            return False
    return True


@njit(cache=True, nogil=True)
def exchanges(
    value: np.ndarray,
    used: np.ndarray,
    calendar: Calendar,
    cost: np.ndarray,
    picks: np.ndarray,
    loss: np.ndarray,
    who: np.ndarray,
    asked: np.ndarray,
) -> None:
    """The cheapest way to move one contact from slot a to slot b, over the customers `asked` (n,).

    Lowers loss (S+1, S+1), value lost, and notes the customer in who (S+1, S+1); row S is a new contact, column S one
    given up.
    """
    day, nobody = day_of(calendar), calendar.campaign.size
    for i in range(asked.size):
        n = asked[i]
        count = picks_of(picks[n])
        for k in range(-1, count):
            a = nobody if k < 0 else picks[n, k]
            have = 0.0 if k < 0 else net(value, calendar, cost, n, a)
            if k < 0 and count == picks.shape[1]:
                continue
            if k >= 0 and have < loss[a, nobody]:
                loss[a, nobody] = have
                who[a, nobody] = n
            for b in range(nobody):
                lost = have - net(value, calendar, cost, n, b)
                if lost < loss[a, b] and b != a and fits(calendar, own_row(used, n), picks[n], count, k, b, day):
                    loss[a, b] = lost
                    who[a, b] = n


@njit(cache=True, nogil=True)
def cheapest_cycle(weight: np.ndarray, slack: float, before: np.ndarray) -> tuple[int, np.ndarray]:
    """A node on a cycle of negative weight (-1: there is none) and the shortest distances; before (V,) leads along it.

    Source: Bellman (1958) and Ford, from all nodes at once; a gain below `slack` is none.
    """
    nodes = weight.shape[0]
    distance = np.zeros(nodes)
    before[:] = -1
    changed = -1
    for _ in range(nodes + 1):
        changed = -1
        for a in range(nodes):
            for b in range(nodes):
                if distance[a] + weight[a, b] < distance[b] - slack:
                    distance[b] = distance[a] + weight[a, b]
                    before[b] = a
                    changed = b
        if changed < 0:
            return -1, distance
    for _ in range(nodes):
        changed = before[changed]
    return changed, distance
