"""Campaign planning under contact caps and limits by dual decomposition, with an upper bound on the value of any plan.

Each limit over customers has a price; at given prices every customer is a small problem of its own (Everett, 1963;
Dantzig and Wolfe, 1960). Newton steps move the prices until demand meets the limits, first for a sample of customers,
then for all. A feasible plan is then made: customers choose in descending order of regret, free capacity is filled, and
where the plan is small enough, negative cycles of exchanges are cancelled (Klein, 1967). The dual value bounds every
plan from above, so that the optimality gap is certified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from propensity.kernel.contact_cap import EDGE, Calendar
from propensity.kernel.plan import (
    Limits,
    add_usage,
    apply_moves,
    best_moves,
    cheapest_cycle,
    demand,
    exchanges,
    serve,
)

LEVELS = (4096, 65_536, 262_144)  # customers of the samples on which prices are computed first
STEPS = 60  # Newton steps on a level, at most
TOLERANCE = 3e-5  # value of unmet limits at their prices, as a share of the bound, at which Newton steps stop
WARM = 0.1  # typical values by which prices of a similar plan may be off
FINEST, WIDEST, FAR = 1e-8, 0.2, 64.0  # typical values: smallest step and bandwidth, largest bandwidth, largest step
TIE = 1e-5  # typical values of the perturbation that breaks ties
ROUNDS = 12  # of filling free capacity
NEAR = 0.05  # typical values that a contact may lose at prices to use free capacity
FINE = 1e-9  # share of the bound below which a gain is rounding
WORK = 4e9  # customers x slots x contacts over all sweeps of exchanges
SMALL = 5e6  # customers x slots x contacts up to which exchanges always run
CLOSE = 9e-5  # optimality gap above which they run for a larger plan
NEGLIGIBLE = 3e-6  # value of idle capacity at prices, as a share of the bound, at which filling stops
REWARD = 1e5  # typical values for one contact more of a limit below its least


class Problem(NamedTuple):
    """A campaign planning problem of N customers, C campaigns, S slots (campaign and day), D days and R limits.

    Attributes
    ----------
    value : np.ndarray
        (N, C) float32 money of a contact before cost, -inf where the customer is not eligible.
    cost : np.ndarray
        (S,) money of a contact in each slot.
    used : np.ndarray
        (N or 1, EDGE+D+EDGE) uint8 promised contacts by day.
    calendar : Calendar
        Slots and contact caps; see `propensity.kernel.contact_cap`.
    limits : Limits
        Sums over all customers; see `propensity.kernel.plan`.
    tie_break : float
        Money; values are perturbed by up to so much. Without it, demand would jump at a price that many customers would
        just pay.
    order : np.ndarray, optional
        (N,) order of the rows in samples and ties, so that a plan does not depend on the order of a file.
    """

    value: np.ndarray
    cost: np.ndarray
    used: np.ndarray
    calendar: Calendar
    limits: Limits
    tie_break: float = 0.0
    order: np.ndarray | None = None

    @property
    def most_contacts(self) -> int:
        """Most contacts of one customer."""
        calendar, days = self.calendar, self.calendar.start.size - 1
        inside = calendar.week[EDGE : EDGE + days]
        weeks = -(-days // 7) if calendar.rolling else np.unique(inside).size
        return int(min(calendar.campaign.size, days * calendar.day_cap, weeks * calendar.week_cap))

    def take(self, rows: np.ndarray) -> Problem:
        """The same problem for a sample of the customers (rows), with limits in proportion."""
        share = rows.size / self.value.shape[0]
        limits = self.limits._replace(least=self.limits.least * share, most=self.limits.most * share)
        used = self.used if self.used.shape[0] == 1 else self.used[rows]
        return self._replace(value=self.value[rows], used=used, limits=limits, order=None)


@dataclass
class Plan:
    """A plan and the bound that certifies it.

    Attributes
    ----------
    picks : np.ndarray
        (N, P) int16 slots of each customer, -1 after the last.
    value : float
        Money.
    bound : float
        Upper bound on the value of any plan, money.
    price : np.ndarray
        (R,) shadow prices of the limits, money per contact.
    load : np.ndarray
        (S,) contacts by slot.
    short : np.ndarray
        (R,) by how much each limit is below its least.
    """

    picks: np.ndarray
    value: float
    bound: float
    price: np.ndarray
    load: np.ndarray
    short: np.ndarray

    @property
    def optimality_gap(self) -> float:
        """(bound - value) / bound: no plan is better by a larger share of the bound."""
        return max(self.bound - self.value, 0.0) / max(abs(self.bound), 1e-12)


class Point(NamedTuple):
    """The dual at prices (R,): its value, the demand (S,) and the slope (R, R) of demand."""

    price: np.ndarray
    bound: float
    load: np.ndarray
    slope: np.ndarray


@dataclass
class Demand:
    """Choices of all customers at `price`: picks (N, P) int16, and regret (N,) of giving up the least contact."""

    picks: np.ndarray
    regret: np.ndarray
    price: np.ndarray


def solve(problem: Problem, seed: int = 17, price: np.ndarray | None = None) -> Plan:
    """Solves a planning problem.

    Parameters
    ----------
    problem : Problem
        Values, caps and limits.
    seed : int
        Of the samples of customers.
    price : np.ndarray, optional
        (R,) prices of a similar plan, to start from.

    Returns
    -------
    Plan
        It keeps all caps and upper limits; `short` says where a least is not reached.
    """
    if problem.order is not None:
        plan = solve(problem.take(problem.order), seed, price)
        return replace(plan, picks=plan.picks[np.argsort(problem.order)])
    people, scale = problem.value.shape[0], typical(problem.value)
    reach = np.full(problem.limits.most.size, scale if price is None else WARM * scale)
    price = np.zeros(problem.limits.most.size) if price is None else price
    order, ties = np.random.default_rng(seed).permutation(people), tie_breaks(problem.value, scale)
    for part in [problem.take(np.sort(order[:level])) for level in LEVELS if level < people // 2] or [problem]:
        for tie in ties:
            sample = part._replace(tie_break=tie)
            point = settle(sample, price, TOLERANCE, reach, noise=0.5)
            price, reach = point.price, sampling_error(sample.limits, point, scale)
        ties = ties[-1:]
    perturbed = problem._replace(tie_break=ties[-1])
    demanded = Demand(np.full((people, problem.most_contacts), -1, np.int16), np.empty(people), np.empty(0))
    point = settle(perturbed, price, TOLERANCE, reach, demanded)
    picks, usage = serve_all(perturbed, point, demanded)
    enough = FINE if picks.size * problem.cost.size <= SMALL else CLOSE
    fill(perturbed, point, picks, usage)
    if perturbed.tie_break:
        point = evaluate(problem, point.price, FINE)
    plan = plan_of(problem, picks, point)
    return polish(problem, plan) if plan.optimality_gap > enough or plan.short.any() else plan


def tie_breaks(value: np.ndarray, scale: float) -> list[float]:
    """Perturbations in descending order; 0 alone where few values of a sample of the rows are equal."""
    part = value[:: max(1, value.shape[0] // 2000)]
    part = part[np.isfinite(part)]
    return [0.0] if np.unique(part).size > 0.9 * part.size else [TIE * scale * 10.0**k for k in (4, 3, 2, 1, 0)]


def evaluate(
    problem: Problem, price: np.ndarray, bandwidth: float | np.ndarray, demanded: Demand | None = None
) -> Point:
    """The dual at prices: its value, the demand by slot, and the slope of demand.

    Parameters
    ----------
    problem : Problem
        Values, caps and limits.
    price : np.ndarray
        (R,) prices of the limits.
    bandwidth : float or np.ndarray
        Money, of each slot (S,) or of all: the slope counts customers whose choice would change within it.
    demanded : Demand, optional
        Filled with the choices of all customers.

    Returns
    -------
    Point
        Its value is an upper bound on the value of any plan.
    """
    slots, limits = problem.cost.size, problem.limits
    load, slope = np.empty(slots), np.empty((slots + 1, slots + 1))
    demanded = Demand(np.empty((0, 0), np.int16), np.empty(0), price) if demanded is None else demanded
    demanded.price = price
    bandwidth = np.broadcast_to(bandwidth, slots).astype(np.float64)
    prices, out = slot_prices(problem, price), (load, slope, demanded.picks, demanded.regret)
    total = demand(problem.value, problem.used, problem.calendar, prices, bandwidth, *out, problem.tie_break)
    return Point(price, total + rent(limits, price), load, limits.coefficient @ slope[:-1, :-1] @ limits.coefficient.T)


def slot_prices(problem: Problem, price: np.ndarray) -> np.ndarray:
    """(S,) cost of a contact and the prices of the limits that it uses."""
    prices: np.ndarray = problem.cost + price @ problem.limits.coefficient
    return prices


def rent(limits: Limits, price: np.ndarray) -> float:
    """Value of the limits at their prices."""
    return float(np.maximum(price, 0.0) @ limits.most + np.minimum(price, 0.0) @ limits.least)


def excess(limits: Limits, price: np.ndarray, load: np.ndarray) -> np.ndarray:
    """(R,) demand minus the side of each limit that its price belongs to; 0 where the price may stay 0."""
    usage = limits.coefficient @ load
    over, under = usage - limits.most, usage - limits.least
    free = np.where(over > 0, over, np.where(under < 0, under, 0.0))
    return np.where(price > 0, over, np.where(price < 0, under, free))


def settle(
    problem: Problem,
    price: np.ndarray,
    tolerance: float,
    reach: np.ndarray,
    demanded: Demand | None = None,
    noise: float = 0.0,
) -> Point:
    """Newton steps from `price` (R,) until the limits are met at their prices; the point with the lowest bound.

    A step moves each price within its trust radius, and slopes are counted within a bandwidth as wide. Both grow while
    a price moves in one direction and shrink where demand overshoots. Stops where unmet limits are worth less than
    `tolerance` of the bound. reach (R,): radius of the first step. noise: standard deviations of a sample's demand
    within which a limit counts as met.
    """
    limits, scale = problem.limits, typical(problem.value)
    radius, finest = np.maximum(reach, FINEST * scale), FINEST * scale
    point = evaluate(problem, price, bandwidth_of(limits, 0.2 * radius, scale), demanded)
    for _ in range(STEPS):
        excess_demand = excess(limits, point.price, point.load)
        unit_value = np.where(point.price != 0, np.abs(point.price), scale)
        doubt = noise * np.sqrt(limits.coefficient @ point.load)
        if (
            unit_value @ np.maximum(np.abs(excess_demand) - doubt, 0.0) <= tolerance * abs(point.bound)
            or radius.max() <= finest
        ):
            break
        step = newton(point, excess_demand, radius)
        size = np.abs(step)
        bandwidth = bandwidth_of(limits, np.maximum(2 * size, 0.05 * radius), scale)
        trial = evaluate(problem, point.price + step, bandwidth, demanded)
        after = excess(limits, trial.price, trial.load)
        passed, part = (
            after * excess_demand < 0,
            np.abs(excess_demand) / np.maximum(np.abs(excess_demand) + np.abs(after), 1e-9),
        )
        if trial.bound < point.bound:
            point, further = trial, np.minimum(np.maximum(4 * size, radius), FAR * scale)
            radius = np.where(passed, 2 * size * part, further)
        else:
            stay = np.where(size > 0, size, radius / 2)
            radius = np.where(passed, size * np.minimum(part, 0.5), stay)
        radius = np.maximum(radius, finest)
    return point


def bandwidth_of(limits: Limits, width: np.ndarray, scale: float) -> np.ndarray:
    """(S,) largest width (R,) of a slot's limits, between the finest and the widest bandwidth."""
    widest: np.ndarray = np.where(limits.coefficient > 0, width[:, None], 0.0).max(axis=0, initial=0.0)
    return np.clip(widest, FINEST * scale, WIDEST * scale)


def sampling_error(limits: Limits, point: Point, scale: float) -> np.ndarray:
    """(R,) error of prices from a sample: three standard deviations of its demand over the slope."""
    spread = np.sqrt(limits.coefficient @ point.load + 1.0)
    off: np.ndarray = 3.0 * spread / np.maximum(np.diag(point.slope), 1e-9)
    return np.clip(off, FINEST * scale, scale)


def typical(value: np.ndarray) -> float:
    """Typical value: the mean of the positive ones in a systematic sample of about 2,000 rows."""
    part = value[:: max(1, value.shape[0] // 2000)]
    part = part[np.isfinite(part) & (part > 0)]
    return float(part.mean()) if part.size else 1.0


def newton(point: Point, excess_demand: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """(R,) change of prices after which demand would meet the active limits, if its slope were constant.

    Damped so that no price moves much further than its radius (R,) (Levenberg, 1944). A price that would change its
    sign stops at 0, and the step of the others is computed again.
    """
    step, free = np.zeros(excess_demand.size), (point.price != 0) | (excess_demand != 0)
    for _ in range(6):
        target = excess_demand - point.slope @ np.where(free, 0.0, step)
        damping = (np.abs(excess_demand[free]) + 1e-6) / radius[free]
        step[free] = np.linalg.solve(point.slope[np.ix_(free, free)] + np.diag(damping), target[free])
        side = np.where(point.price != 0, point.price, excess_demand)
        stuck = free & ((point.price + step) * side < 0)
        if not stuck.any():
            break
        free &= ~stuck
        step[stuck] = -point.price[stuck]
    return np.where((point.price + step) * point.price < 0, -point.price, step)


def serve_all(problem: Problem, point: Point, demanded: Demand) -> tuple[np.ndarray, np.ndarray]:
    """Picks (N, P) and usage of the limits (R,): all choices, but customers with the smallest regret
    choose last where a limit is exceeded."""
    slots, people, limits = problem.cost.size, problem.value.shape[0], problem.limits
    if demanded.price is not point.price:  # the last trial was rejected
        evaluate(problem, point.price, FINE, demanded)
    picks, regret, load = demanded.picks, demanded.regret, point.load
    prices, usage = slot_prices(problem, point.price), limits.coefficient @ point.load
    if not (usage > limits.most).any():
        return picks, usage
    last = min(people, max(1000, 20 * int(np.ceil((usage - limits.most).max()))))
    while True:
        late = np.argpartition(regret, last - 1)[:last]
        released = picks[late][picks[late] >= 0].astype(np.int64)
        rest = limits.coefficient @ (load - np.bincount(released, minlength=slots))
        if last == people or not (rest > limits.most).any():
            break
        last = min(people, 4 * last)
    late = late[np.argsort(-regret[late], kind="stable")]
    serve(problem.value, problem.used, problem.calendar, limits, prices, late, picks, rest, problem.tie_break)
    return picks, rest


def fill(problem: Problem, point: Point, picks: np.ndarray, usage: np.ndarray) -> None:
    """Moves customers into slots with free capacity at a price, or below their least; changes picks and usage in place.

    Stops when the free capacity is worth next to nothing at its price.
    """
    price = point.price
    limits, people = problem.limits, problem.value.shape[0]
    move, gain, near = np.empty((people, 2), np.int64), np.empty(people), NEAR * typical(problem.value)
    for _ in range(ROUNDS):
        needed = slots_of(limits, usage < limits.least - 1e-9)
        idle_rent = np.where(price > 0, price * (limits.most - usage), 0.0)
        if not needed.any() and idle_rent.sum() <= NEGLIGIBLE * abs(point.bound):
            return
        idle = slots_of(limits, (price > 0) & (usage < limits.most - 0.5))
        wanted = (needed | idle) & ~slots_of(limits, usage + 1e-9 >= limits.most)
        if not wanted.any():
            return
        releasable = ~needed
        arguments = problem.value, problem.used, problem.calendar, slot_prices(problem, price), problem.cost
        best_moves(*arguments, wanted, needed, releasable, near, picks, move, gain)
        order = np.flatnonzero(gain > -np.inf)
        order = order[np.argsort(-gain[order], kind="stable")]
        if not apply_moves(order, move, limits, needed, picks, usage):
            return


def slots_of(limits: Limits, rows: np.ndarray) -> np.ndarray:
    """(S,) slots that any of the rows (R,) counts."""
    counted: np.ndarray = np.any(limits.coefficient[rows] > 0, axis=0)
    return counted


def plan_of(problem: Problem, picks: np.ndarray, point: Point) -> Plan:
    """The plan of picks (N, P), with the bound of a point."""
    chosen = picks >= 0
    slot = picks[chosen].astype(np.int64)
    row = np.nonzero(chosen)[0]
    money = problem.value[row, problem.calendar.campaign[slot]] * problem.calendar.weight[slot] - problem.cost[slot]
    load = np.bincount(slot, minlength=problem.cost.size).astype(np.float64)
    short = np.maximum(problem.limits.least - problem.limits.coefficient @ load, 0.0)
    short[short < 1e-6] = 0.0
    return Plan(picks, float(money.sum(dtype=np.float64)), point.bound, point.price, load, short)


def polish(problem: Problem, plan: Plan) -> Plan:
    """Cancels negative cycles of exchanges until none is left, then computes the prices that certify the plan."""
    slots, people = problem.cost.size, problem.value.shape[0]
    sweeps = int(min(WORK / (people * slots * max(plan.picks.shape[1], 1)), 4000))
    limits, load = problem.limits, plan.load.copy()
    usage = limits.coefficient @ load
    slack = FINE * typical(problem.value)
    customers = np.arange(people)
    for _ in range(sweeps):
        loss, who = np.full((slots + 1, slots + 1), np.inf), np.full((slots + 1, slots + 1), -1)
        exchanges(
            *(problem.value, problem.used, problem.calendar, problem.cost, plan.picks),
            *(loss, who, customers),
        )
        count, distance = exchange_all(problem, plan.picks, loss, who, usage, slack)
        if not count:
            certificate = proof(problem, distance, plan.price)
            best = certificate if certificate.bound < plan.bound else Point(plan.price, plan.bound, load, load)
            return plan_of(problem, plan.picks, best)
    return plan_of(problem, plan.picks, Point(plan.price, plan.bound, load, load))


def exchange_all(
    problem: Problem, picks: np.ndarray, loss: np.ndarray, who: np.ndarray, usage: np.ndarray, slack: float
) -> tuple[int, np.ndarray]:
    """Cancels negative cycles until each one left would change a customer twice; their number, the last distances."""
    slots, count = problem.cost.size, 0
    before = np.empty(slots + 1, np.int64)
    touched = np.zeros(picks.shape[0], bool)
    while True:
        free = room_between(problem, usage)
        at, distance = cheapest_cycle(np.minimum(loss, free), slack, before)
        if at < 0:
            return count, distance
        cycle, node = [at], int(before[at])
        while node != at:
            cycle.append(node)
            node = int(before[node])
        cycle.reverse()
        arcs = list(zip(cycle, cycle[1:] + cycle[:1], strict=True))
        steps = [(int(who[a, b]), a, b) for a, b in arcs if loss[a, b] < free[a, b]]
        customers = [n for n, _, _ in steps]
        if len(set(customers)) < len(customers) or not follow(problem, picks, steps, usage):
            for _, a, b in steps[:1]:
                loss[a, b] = np.inf
            continue
        count += 1
        touched[customers] = True
        loss[(who >= 0) & touched[who]] = np.inf


def follow(problem: Problem, picks: np.ndarray, steps: list[tuple[int, int, int]], usage: np.ndarray) -> bool:
    """Makes the exchanges of a cycle if all limits allow them together; each keeps its customer's caps already."""
    nobody = problem.cost.size
    after = usage.copy()
    for _, a, b in steps:
        for s, sign in ((a, -1.0), (b, 1.0)):
            if s < nobody:
                add_usage(problem.limits, after, s, sign)
    over = after - problem.limits.most > np.maximum(usage - problem.limits.most, 0.0) + 1e-6
    under = problem.limits.least - after > np.maximum(problem.limits.least - usage, 0.0) + 1e-6
    if over.any() or under.any():
        return False
    for n, a, b in steps:
        row = picks[n]
        place = int(np.argmax(row < 0)) if a == nobody else int(np.flatnonzero(row == a)[0])
        row[place] = b if b < nobody else -1
        slots = row[row >= 0]
        row[:] = -1
        row[: slots.size] = slots
    usage[:] = after
    return True


def room_between(problem: Problem, usage: np.ndarray) -> np.ndarray:
    """(S+1, S+1) penalty of one contact more in slot a and one less in slot b: 0 where the limits allow it, inf where
    they do not, and a large negative one where a limit is below its least. Slot S stands for no contact."""
    limits, slots = problem.limits, problem.cost.size
    padded = np.concatenate([limits.coefficient, np.zeros((usage.size, 1))], axis=1)
    change = padded[:, :, None] - padded[:, None, :]
    after = usage[:, None, None] + change
    over = (after > limits.most[:, None, None] + 1e-6) & (change > 0)
    under = (after < limits.least[:, None, None] - 1e-6) & (change < 0)
    lacking = (usage < limits.least - 1e-6)[:, None, None]
    reward = -REWARD * typical(problem.value) * (lacking * np.sign(change)).sum(axis=0)
    free = np.where((over | under).any(axis=0), np.inf, np.minimum(reward, 0.0))
    free[np.arange(slots + 1), np.arange(slots + 1)] = np.inf
    return free


def proof(problem: Problem, distance: np.ndarray, price: np.ndarray) -> Point:
    """The dual at the slot prices given by the shortest distances of a plan without negative cycles."""
    slot_price = distance[-1] - distance[:-1]
    limits = problem.limits
    alone = ((limits.coefficient > 0).sum(axis=1) == 1) & np.isclose(limits.coefficient.max(axis=1, initial=0.0), 1.0)
    own = {int(limits.coefficient[r].argmax()): r for r in np.flatnonzero(alone)}
    if len(own) < problem.cost.size:
        return Point(price, np.inf, slot_price, slot_price)
    shared = [r for r in range(price.size) if r not in own.values()]
    best = np.array(price)
    rows = np.array([own[s] for s in range(problem.cost.size)])

    def with_shared(row: int | None, amount: float) -> np.ndarray:
        trial = best.copy()
        if row is not None:
            trial[row] = amount
        trial[rows] = slot_price - trial[shared] @ limits.coefficient[shared] if shared else slot_price
        return trial

    best = with_shared(None, 0.0)
    for _ in range(3):
        for r in shared:
            rest = slot_price - best[shared] @ limits.coefficient[shared] + best[r] * limits.coefficient[r]
            breaks = [0.0, *(rest[s] / limits.coefficient[r, s] for s in np.flatnonzero(limits.coefficient[r] > 0))]
            trials = [with_shared(r, max(amount, 0.0)) for amount in breaks]
            best = min([best, *trials], key=lambda trial: rent(limits, trial))
    return evaluate(problem, best, 1e-9 * typical(problem.value))
