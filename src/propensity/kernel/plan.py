"""Passes over all customers of a campaign plan: demand at prices, serving in order, moves and exchanges.

N customers, C campaigns, S slots, R limits, P the most contacts of a customer. A plan is picks (N, P) int16,
-1 after the last; value (N, C) is -inf where a customer is not eligible. `used` (N or 1, EDGE+D+EDGE) uint8 counts
promised contacts; one row stands for all customers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from propensity.kernel.contact_cap import EDGE, Calendar, Workspace, choose, fits, make_workspace, price_slots
from propensity.kernel.daily_demand import add_pair, daily_demand, is_daily


class Limits(NamedTuple):
    """Limits on sums over all customers: least (R,) <= coefficient (R, S) @ contacts by slot (S,) <= most (R,)."""

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
    """The promised contacts of customer n."""
    return used[n if used.shape[0] > 1 else 0]


@njit(cache=True, nogil=True)
def demand(
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
    """Choices of all customers at prices.

    Parameters
    ----------
    value, used, calendar
        See the module; a row of `used` is promised contacts.
    price : np.ndarray
        (S,) of the slots.
    bandwidth : np.ndarray
        (S,) money; the slope counts customers whose choice would change within it, the wider of two slots'.
    load : np.ndarray
        (S,) filled with contacts by slot.
    slope : np.ndarray
        (S+1, S+1) filled with the customers whom a unit of price would move from one slot to another (S: to none), as a
        Laplacian.
    picks : np.ndarray
        (N, P) filled with the chosen slots; or of size 0.
    regret : np.ndarray
        (N,) filled with the smallest loss of giving up a contact; or of size 0.
    tie_break : float
        Money by which values are perturbed.

    Returns
    -------
    float
        Sum of upper bounds on the customers' values.
    """
    load[:] = 0.0
    slope[:] = 0.0
    if is_daily(calendar):
        return daily_demand(value, used, calendar, price, bandwidth, load, slope, picks, regret, tie_break)
    widest = bandwidth.max()
    workspace = make_workspace(calendar)
    own = np.empty(calendar.campaign.size, np.int64)
    total = 0.0
    for n in range(value.shape[0]):
        promised = own_row(used, n)
        price_slots(calendar, value[n], price, workspace, tie_break, n)
        count, bound = choose(calendar, promised, -widest, workspace, own)
        total += bound
        for k in range(count):
            load[own[k]] += 1.0
        least = couple(calendar, workspace, bandwidth, slope)
        if regret.size:
            regret[n] = least
        if picks.shape[0]:
            picks[n, :] = -1
            for k in range(count):
                picks[n, k] = own[k]
    return total


@njit(cache=True, nogil=True)
def couple(calendar: Calendar, workspace: Workspace, bandwidth: np.ndarray, slope: np.ndarray) -> float:
    """Adds one customer's near choices to slope; returns the smallest loss of giving up a contact (inf: has none).

    A day's last contact is replaced by the next best slot, and the next slot of a day replaces the day's last contact
    or, where the week is full, the week's. Every change counts half: at another price of either slot it would be seen
    from one side only. One loop, because a call per day would take longer than the sums.
    """
    rooms, takes, top, slot = workspace.room, workspace.take, workspace.top, workspace.slot
    nobody, days, least, first = bandwidth.size, rooms.size, np.inf, 0
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
                taken, taken_slot = top[d, take - 1], slot[d, take - 1]
                least = min(least, taken - max(following, high, 0.0))
                if following <= 0.0 and high <= 0.0:
                    add_pair(slope, taken_slot, nobody, taken, bandwidth)
                elif high >= following and taken_slot != low_slot:
                    add_pair(slope, taken_slot, high_slot, taken - high, bandwidth)
                if take == room and following > -np.inf:
                    add_pair(slope, next_slot, taken_slot, taken - following, bandwidth)
            if take < room and following > -np.inf:
                if high <= 0.0:
                    add_pair(slope, next_slot, nobody, -following, bandwidth)
                elif low_slot >= 0:
                    add_pair(slope, next_slot, low_slot, low - following, bandwidth)
        first = last + 1
    return least


@njit(cache=True, nogil=True)
def same_week(calendar: Calendar, d: int, e: int) -> bool:
    """Whether days d and e of the plan lie in one calendar week."""
    return calendar.week[EDGE + d] == calendar.week[EDGE + e]


@njit(cache=True, nogil=True)
def has_room(limits: Limits, usage: np.ndarray, s: int) -> bool:
    """Whether every limit allows one more contact in slot s, at usage (R,)."""
    for r in range(usage.size):
        a = limits.coefficient[r, s]
        if a > 0.0 and usage[r] + a > limits.most[r] * (1 + 1e-12) + 1e-9:
            return False
    return True


@njit(cache=True, nogil=True)
def add_usage(limits: Limits, usage: np.ndarray, s: int, sign: float) -> None:
    """Adds (sign 1) or removes (-1) a contact in slot s to usage (R,)."""
    for r in range(usage.size):
        usage[r] += sign * limits.coefficient[r, s]


@njit(cache=True, nogil=True)
def serve(
    value: np.ndarray,
    used: np.ndarray,
    calendar: Calendar,
    limits: Limits,
    price: np.ndarray,
    order: np.ndarray,
    picks: np.ndarray,
    usage: np.ndarray,
    tie_break: float,
) -> None:
    """In `order`, each customer takes the best set at `price` (S,) among the slots that still have capacity.

    Fills picks (N, P); adds the contacts to usage (R,).
    """
    workspace = make_workspace(calendar)
    own = np.empty(calendar.campaign.size, np.int64)
    closed = np.zeros(calendar.campaign.size, np.bool_)
    for s in range(closed.size):
        closed[s] = not has_room(limits, usage, s)
    for i in range(order.size):
        n = order[i]
        price_slots(calendar, value[n], price, workspace, tie_break, n)
        workspace.banned[:] = closed
        again = True
        while again:  # two slots of a set may be the last unit of one row
            count, _ = choose(calendar, own_row(used, n), 0.0, workspace, own)
            again = False
            for k in range(count):
                if not has_room(limits, usage, own[k]):
                    closed[own[k]] = workspace.banned[own[k]] = True
                    again = True
                    for j in range(k):
                        add_usage(limits, usage, own[j], -1.0)
                    break
                add_usage(limits, usage, own[k], 1.0)
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
    usage: np.ndarray,
) -> None:
    """Makes contacts in order, each where caps and limits still allow it.

    Parameters
    ----------
    customer, slot : np.ndarray
        (n,) of each contact.
    used, calendar, limits
        See the module.
    picks : np.ndarray
        (N, P) to which the slots are added.
    usage : np.ndarray
        (R,) to which the contacts are added.
    """
    day = day_of(calendar)
    for i in range(customer.size):
        n, s = customer[i], slot[i]
        count = picks_of(picks[n])
        room = count < picks.shape[1] and has_room(limits, usage, s)
        if room and fits(calendar, own_row(used, n), picks[n], count, -1, s, day):
            picks[n, count] = s
            add_usage(limits, usage, s, 1.0)


@njit(cache=True, nogil=True)
def picks_of(row: np.ndarray) -> int:
    """Number of contacts in a row of picks."""
    count = 0
    while count < row.size and row[count] >= 0:
        count += 1
    return count


@njit(cache=True, nogil=True)
def net(value: np.ndarray, calendar: Calendar, price: np.ndarray, n: int, s: int) -> float:
    """Value of slot s for customer n, less its price."""
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
    releasable: np.ndarray,
    near: float,
    picks: np.ndarray,
    move: np.ndarray,
    gain: np.ndarray,
) -> None:
    """For each customer the best move into a wanted slot: to add it, or to swap a contact for it.

    Parameters
    ----------
    value, used, calendar, picks
        See the module.
    price, cost : np.ndarray
        (S,) of the slots, and the part of the price that is money.
    wanted, needed : np.ndarray
        (S,) slots with free capacity that should fill, and those below their least.
    releasable : np.ndarray
        (S,) slots whose contacts may be swapped.
    near : float
        Money that a move into a slot which is not needed may lose at prices.
    move : np.ndarray
        (N, 2) filled with the position dropped (-1: none) and the slot.
    gain : np.ndarray
        (N,) filled with the gain at prices; -inf where no move improves the plan in money or fills a needed slot.
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
                    if not releasable[picks[n, k]] or picks[n, k] == s:
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
    usage: np.ndarray,
) -> int:
    """Makes moves where the limits allow them.

    Parameters
    ----------
    order : np.ndarray
        (n,) customers, in the order of their moves.
    move : np.ndarray
        (N, 2) from `best_moves`.
    limits : Limits
        Must hold after each move.
    needed : np.ndarray
        (S,) slots below their least.
    picks, usage : np.ndarray
        (N, P), (R,) changed in place.

    Returns
    -------
    int
        Number of moves.

    Notes
    -----
    A move into a needed slot is made only while one of its limits is below its least.
    """
    count = 0
    for i in range(order.size):
        n = order[i]
        k, s = move[n, 0], move[n, 1]
        if needed[s] and not lacks(limits, usage, s):
            continue
        if k >= 0:
            if not can_give(limits, usage, picks[n, k], s):
                continue
            add_usage(limits, usage, picks[n, k], -1.0)
        if not has_room(limits, usage, s):
            if k >= 0:
                add_usage(limits, usage, picks[n, k], 1.0)
            continue
        add_usage(limits, usage, s, 1.0)
        picks[n, k if k >= 0 else picks_of(picks[n])] = s
        count += 1
    return count


@njit(cache=True, nogil=True)
def lacks(limits: Limits, usage: np.ndarray, s: int) -> bool:
    """Whether a limit on slot s is below its least."""
    short = False
    for r in range(usage.size):
        short = short or (limits.coefficient[r, s] > 0.0 and usage[r] < limits.least[r] - 1e-9)
    return short


@njit(cache=True, nogil=True)
def can_give(limits: Limits, usage: np.ndarray, s: int, into: int) -> bool:
    """Whether slot s can lose a contact to slot `into` without a limit falling below its least."""
    for r in range(usage.size):
        a = limits.coefficient[r, s] - (limits.coefficient[r, into] if into >= 0 else 0.0)
        if a > 0.0 and usage[r] - a < limits.least[r] - 1e-9:
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
    customers: np.ndarray,
) -> None:
    """The cheapest move of one contact from slot a to slot b over some customers (n,).

    Lowers loss (S+1, S+1), the value lost, and writes the customer into who (S+1, S+1); row S is a new contact, column
    S one that is dropped.
    """
    day, nobody = day_of(calendar), calendar.campaign.size
    for i in range(customers.size):
        n = customers[i]
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
    """A cycle of negative weight, by the algorithm of Bellman (1958) and Ford from all nodes at once.

    Parameters
    ----------
    weight : np.ndarray
        (V, V) of the arcs, inf where there is none.
    slack : float
        Improvements below it do not count.
    before : np.ndarray
        (V,) filled with the node before each, which leads along the cycle.

    Returns
    -------
    tuple[int, np.ndarray]
        A node on the cycle, -1 if there is none, and the shortest distances (V,).
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
