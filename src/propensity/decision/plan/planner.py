"""Who is contacted about what and when: the best plan under contact caps and limits, with a bound on any plan.

Limits over customers get prices, and at given prices every customer is a small problem of its own (dual decomposition;
Everett, 1963; Dantzig and Wolfe, 1960). Prices go where demand meets the limits, by Newton steps on the demand curve:
first for a sample of customers, then for all. Customers are then served in the order of what they have to lose, rooms
that are left are filled, and where the plan is small enough, cycles of exchanges remove what is still lost (Klein,
1967). The value at the prices bounds every plan from above, which is what makes the gap a certificate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from propensity.kernel.contact_cap import EDGE, Calendar
from propensity.kernel.plan import (
    Limits,
    apply_moves,
    best_moves,
    cheapest_cycle,
    demand,
    exchanges,
    hold,
    serve,
)

LEVELS = (4096, 65_536, 262_144)  # customers of the samples on which prices are found first
STEPS = 60  # Newton steps on a level, at most
CALM = 3e-5  # share of the bound that limits not met at their prices may be worth
WARM = 0.1  # typical values by which prices of a similar plan may be wrong
FINEST, WIDEST, FAR = 1e-8, 0.2, 64.0  # typical values: the smallest step and band, the widest band, the largest step
TIE = 1e-5  # typical values by which ties are told apart
ROUNDS = 12  # of filling
NEAR = 0.05  # typical values that a contact which fills a room may lose at prices
FINE = 1e-9  # share of the bound below which a gain is rounding
WORK = 4e9  # customers x slots x contacts that the exchanges may cost in all
SMALL = 5e6  # up to which a plan is always brought to its proof
CLOSE = 9e-5  # the gap above which a larger one is
NOTHING = 3e-6  # share of the bound that idle rooms may cost
MUCH = 1e5  # typical values that meeting a least by one is worth


class Problem(NamedTuple):
    """value (N, C) float32 money of a contact, -inf where not eligible; cost (S,) money of a contact in each slot; used
    (N or 1, EDGE+D+EDGE) uint8 contacts promised; calendar, limits: see `propensity.kernel`; tie: money by which
    values are told apart, by lot: at a price that many would just pay, demand could not be led to a limit; order (N,)
    rows as they are drawn for samples and ties, so that a plan does not hang on how a file is sorted (None: as they
    are)."""

    value: np.ndarray
    cost: np.ndarray
    used: np.ndarray
    calendar: Calendar
    limits: Limits
    tie: float = 0.0
    order: np.ndarray | None = None

    @property
    def most_contacts(self) -> int:
        """Of one customer."""
        calendar, days = self.calendar, self.calendar.start.size - 1
        inside = calendar.week[EDGE : EDGE + days]
        weeks = -(-days // 7) if calendar.rolling else np.unique(inside).size
        return int(min(calendar.campaign.size, days * calendar.day_cap, weeks * calendar.week_cap))

    def take(self, rows: np.ndarray) -> Problem:
        """The same problem for some of the customers, with limits in proportion."""
        share = rows.size / self.value.shape[0]
        limits = self.limits._replace(least=self.limits.least * share, most=self.limits.most * share)
        used = self.used if self.used.shape[0] == 1 else self.used[rows]
        return self._replace(value=self.value[rows], used=used, limits=limits, order=None)


@dataclass
class Plan:
    """picks (N, P) int16 slots of each customer, -1 after the last; value in money; bound on the value of any plan;
    price (R,) of the limits; load (S,) contacts by slot; short (R,) what each limit lacks of its least."""

    picks: np.ndarray
    value: float
    bound: float
    price: np.ndarray
    load: np.ndarray
    short: np.ndarray

    @property
    def gap(self) -> float:
        """Share of the bound by which a better plan could be better, at most."""
        return max(self.bound - self.value, 0.0) / max(abs(self.bound), 1e-12)


class Point(NamedTuple):
    """The dual at a vector of prices (R,)."""

    price: np.ndarray
    bound: float
    load: np.ndarray
    slope: np.ndarray


@dataclass
class Wish:
    """What everybody would take at `price`, and stands to lose: picks (N, P) int16, regret (N,)."""

    picks: np.ndarray
    regret: np.ndarray
    price: np.ndarray


def solve(problem: Problem, seed: int = 17, price: np.ndarray | None = None) -> Plan:
    """The plan, from scratch or from the prices of a similar one."""
    if problem.order is not None:
        drawn = solve(problem.take(problem.order), seed, price)
        return replace(drawn, picks=drawn.picks[np.argsort(problem.order)])
    people, scale = problem.value.shape[0], typical(problem.value)
    reach = np.full(problem.limits.most.size, scale if price is None else WARM * scale)
    price = np.zeros(problem.limits.most.size) if price is None else price
    order, ties = np.random.default_rng(seed).permutation(people), ties_of(problem.value, scale)
    for part in [problem.take(np.sort(order[:level])) for level in LEVELS if level < people // 2] or [problem]:
        for tie in ties:
            few = part._replace(tie=tie)
            point = settle(few, price, CALM, reach, noise=0.5)
            price, reach = point.price, sampling(few.limits, point, scale)
        ties = ties[-1:]
    asked = problem._replace(tie=ties[-1])
    wish = Wish(np.full((people, problem.most_contacts), -1, np.int16), np.empty(people), np.empty(0))
    point = settle(asked, price, CALM, reach, wish)
    picks, held = serve_all(asked, point, wish)
    enough = FINE if picks.size * problem.cost.size <= SMALL else CLOSE
    fill(asked, point, picks, held)
    if asked.tie:
        point = evaluate(problem, point.price, FINE)
    plan = plan_of(problem, picks, point)
    return polish(problem, plan) if plan.gap > enough or plan.short.any() else plan


def ties_of(value: np.ndarray, scale: float) -> list[float]:
    """By how much values are told apart, coarsely at first: 0 where few of a sample of the rows are equal."""
    part = value[:: max(1, value.shape[0] // 2000)]
    part = part[np.isfinite(part)]
    return [0.0] if np.unique(part).size > 0.9 * part.size else [TIE * scale * 10.0**k for k in (4, 3, 2, 1, 0)]


def evaluate(
    problem: Problem, price: np.ndarray, bootstrap_interval: float | np.ndarray, wish: Wish | None = None
) -> Point:
    """The bound at prices, the contacts that customers want, and the slope of that within a band of values, of each
    slot (S,) or of all.

    Leaves in `wish` who wants what, if it is given.
    """
    slots, limits = problem.cost.size, problem.limits
    load, slope = np.empty(slots), np.empty((slots + 1, slots + 1))
    wish = Wish(np.empty((0, 0), np.int16), np.empty(0), price) if wish is None else wish
    wish.price = price
    bootstrap_interval = np.broadcast_to(bootstrap_interval, slots).astype(np.float64)
    prices, out = slot_prices(problem, price), (load, slope, wish.picks, wish.regret)
    total = demand(problem.value, problem.used, problem.calendar, prices, bootstrap_interval, *out, problem.tie)
    return Point(price, total + rent(limits, price), load, limits.coefficient @ slope[:-1, :-1] @ limits.coefficient.T)


def slot_prices(problem: Problem, price: np.ndarray) -> np.ndarray:
    """(S,) what a contact costs, in money and in limits."""
    prices: np.ndarray = problem.cost + price @ problem.limits.coefficient
    return prices


def rent(limits: Limits, price: np.ndarray) -> float:
    """What the limits are worth at their prices."""
    return float(np.maximum(price, 0.0) @ limits.most + np.minimum(price, 0.0) @ limits.least)


def excess(limits: Limits, price: np.ndarray, load: np.ndarray) -> np.ndarray:
    """(R,) demand beyond the side of each limit that its price stands for; 0 where it may stay free."""
    held = limits.coefficient @ load
    over, under = held - limits.most, held - limits.least
    free = np.where(over > 0, over, np.where(under < 0, under, 0.0))
    return np.where(price > 0, over, np.where(price < 0, under, free))


def settle(
    problem: Problem, price: np.ndarray, calm: float, reach: np.ndarray, wish: Wish | None = None, noise: float = 0.0
) -> Point:
    """Where Newton steps from `price` end: the lowest bound found, with limits that are met at their prices.

    A step moves each price within a radius of its own, and slopes are counted within a band as wide; both grow while a
    price goes one way and shrink where demand overshoots, which the trial that raised the bound tells as well.

    Args: calm: share of the bound that unmet limits may be worth at the end; reach (R,): by how much the first step may
    move a price; noise: standard deviations of a sample's demand within which limits count as met.
    """
    limits, scale = problem.limits, typical(problem.value)
    radius, finest = np.maximum(reach, FINEST * scale), FINEST * scale
    point = evaluate(problem, price, band_of(limits, 0.2 * radius, scale), wish)
    for _ in range(STEPS):
        gap = excess(limits, point.price, point.load)
        worth = np.where(point.price != 0, np.abs(point.price), scale)
        doubt = noise * np.sqrt(limits.coefficient @ point.load)
        if worth @ np.maximum(np.abs(gap) - doubt, 0.0) <= calm * abs(point.bound) or radius.max() <= finest:
            break
        step = newton(point, gap, radius)
        size = np.abs(step)
        bootstrap_interval = band_of(limits, np.maximum(2 * size, 0.05 * radius), scale)
        trial = evaluate(problem, point.price + step, bootstrap_interval, wish)
        after = excess(limits, trial.price, trial.load)
        passed, part = after * gap < 0, np.abs(gap) / np.maximum(np.abs(gap) + np.abs(after), 1e-9)
        if trial.bound < point.bound:
            point, further = trial, np.minimum(np.maximum(4 * size, radius), FAR * scale)
            radius = np.where(passed, 2 * size * part, further)
        else:
            stay = np.where(size > 0, size, radius / 2)
            radius = np.where(passed, size * np.minimum(part, 0.5), stay)
        radius = np.maximum(radius, finest)
    return point


def band_of(limits: Limits, width: np.ndarray, scale: float) -> np.ndarray:
    """(S,) the widest of the widths (R,) of a slot's limits, within reason."""
    widest: np.ndarray = np.where(limits.coefficient > 0, width[:, None], 0.0).max(axis=0, initial=0.0)
    return np.clip(widest, FINEST * scale, WIDEST * scale)


def sampling(limits: Limits, point: Point, scale: float) -> np.ndarray:
    """(R,) by how much prices of a sample may be wrong: a few standard deviations of its demand, over the slope."""
    spread = np.sqrt(limits.coefficient @ point.load + 1.0)
    off: np.ndarray = 3.0 * spread / np.maximum(np.diag(point.slope), 1e-9)
    return np.clip(off, FINEST * scale, scale)


def typical(value: np.ndarray) -> float:
    """A value that counts: the mean of the positive ones in every so many rows."""
    part = value[:: max(1, value.shape[0] // 2000)]
    part = part[np.isfinite(part) & (part > 0)]
    return float(part.mean()) if part.size else 1.0


def newton(point: Point, gap: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """(R,) the change of prices after which demand would meet the active limits, were its slope to stay.

    Damped so that no price moves much further than its radius (R,) (Levenberg, 1944). A price that would change its
    sign stops at 0, and the others are found anew.
    """
    step, free = np.zeros(gap.size), (point.price != 0) | (gap != 0)
    for _ in range(6):
        target = gap - point.slope @ np.where(free, 0.0, step)
        damping = (np.abs(gap[free]) + 1e-6) / radius[free]
        step[free] = np.linalg.solve(point.slope[np.ix_(free, free)] + np.diag(damping), target[free])
        side = np.where(point.price != 0, point.price, gap)
        stuck = free & ((point.price + step) * side < 0)
        if not stuck.any():
            break
        free &= ~stuck
        step[stuck] = -point.price[stuck]
    return np.where((point.price + step) * point.price < 0, -point.price, step)


def serve_all(problem: Problem, point: Point, wish: Wish) -> tuple[np.ndarray, np.ndarray]:
    """Picks (N, P) and held (R,): everybody's wish, but where a limit is passed those with least to lose come last."""
    slots, people, limits = problem.cost.size, problem.value.shape[0], problem.limits
    if wish.price is not point.price:  # the last step was one too many
        evaluate(problem, point.price, FINE, wish)
    picks, regret, load = wish.picks, wish.regret, point.load
    prices, held = slot_prices(problem, point.price), limits.coefficient @ point.load
    if not (held > limits.most).any():
        return picks, held
    last = min(people, max(1000, 20 * int(np.ceil((held - limits.most).max()))))
    while True:
        late = np.argpartition(regret, last - 1)[:last]
        given = picks[late][picks[late] >= 0].astype(np.int64)
        left = limits.coefficient @ (load - np.bincount(given, minlength=slots))
        if last == people or not (left > limits.most).any():
            break
        last = min(people, 4 * last)
    late = late[np.argsort(-regret[late], kind="stable")]
    serve(problem.value, problem.used, problem.calendar, limits, prices, late, picks, left, problem.tie)
    return picks, left


def fill(problem: Problem, point: Point, picks: np.ndarray, held: np.ndarray) -> None:
    """Lets customers into slots that have room though they have a price, or that lack their least; in place.

    Stops when the rent of the rooms is next to nothing.
    """
    price = point.price
    limits, people = problem.limits, problem.value.shape[0]
    move, gain, near = np.empty((people, 2), np.int64), np.empty(people), NEAR * typical(problem.value)
    for _ in range(ROUNDS):
        needed = slots_of(limits, held < limits.least - 1e-9)
        idle_rent = np.where(price > 0, price * (limits.most - held), 0.0)
        if not needed.any() and idle_rent.sum() <= NOTHING * abs(point.bound):
            return
        idle = slots_of(limits, (price > 0) & (held < limits.most - 0.5))
        wanted = (needed | idle) & ~slots_of(limits, held + 1e-9 >= limits.most)
        if not wanted.any():
            return
        given = ~needed
        arguments = problem.value, problem.used, problem.calendar, slot_prices(problem, price), problem.cost
        best_moves(*arguments, wanted, needed, given, near, picks, move, gain)
        order = np.flatnonzero(gain > -np.inf)
        order = order[np.argsort(-gain[order], kind="stable")]
        if not apply_moves(order, move, limits, needed, picks, held):
            return


def slots_of(limits: Limits, rows: np.ndarray) -> np.ndarray:
    """(S,) slots that any of the rows (R,) counts."""
    counted: np.ndarray = np.any(limits.coefficient[rows] > 0, axis=0)
    return counted


def plan_of(problem: Problem, picks: np.ndarray, point: Point) -> Plan:
    """What a plan is worth, beside the bound at a point."""
    chosen = picks >= 0
    slot = picks[chosen].astype(np.int64)
    row = np.nonzero(chosen)[0]
    money = problem.value[row, problem.calendar.campaign[slot]] * problem.calendar.weight[slot] - problem.cost[slot]
    load = np.bincount(slot, minlength=problem.cost.size).astype(np.float64)
    short = np.maximum(problem.limits.least - problem.limits.coefficient @ load, 0.0)
    short[short < 1e-6] = 0.0
    return Plan(picks, float(money.sum(dtype=np.float64)), point.bound, point.price, load, short)


def polish(problem: Problem, plan: Plan) -> Plan:
    """Exchanges along negative cycles until none is left, then the prices that prove it; while the work is small."""
    slots, people = problem.cost.size, problem.value.shape[0]
    sweeps = int(min(WORK / (people * slots * max(plan.picks.shape[1], 1)), 4000))
    limits, load = problem.limits, plan.load.copy()
    held = limits.coefficient @ load
    slack = FINE * typical(problem.value)
    everybody = np.arange(people)
    for _ in range(sweeps):
        loss, who = np.full((slots + 1, slots + 1), np.inf), np.full((slots + 1, slots + 1), -1)
        exchanges(
            *(problem.value, problem.used, problem.calendar, problem.cost, plan.picks),
            *(loss, who, everybody),
        )
        made, distance = exchange_all(problem, plan.picks, loss, who, held, slack)
        if not made:
            found = proof(problem, distance, plan.price)
            best = found if found.bound < plan.bound else Point(plan.price, plan.bound, load, load)
            return plan_of(problem, plan.picks, best)
    return plan_of(problem, plan.picks, Point(plan.price, plan.bound, load, load))


def exchange_all(
    problem: Problem, picks: np.ndarray, loss: np.ndarray, who: np.ndarray, held: np.ndarray, slack: float
) -> tuple[int, np.ndarray]:
    """Follows negative cycles until every one left would touch a customer again; how many, and the last distances."""
    slots, made = problem.cost.size, 0
    before = np.empty(slots + 1, np.int64)
    touched = np.zeros(picks.shape[0], bool)
    while True:
        free = room_between(problem, held)
        at, distance = cheapest_cycle(np.minimum(loss, free), slack, before)
        if at < 0:
            return made, distance
        cycle, node = [at], int(before[at])
        while node != at:
            cycle.append(node)
            node = int(before[node])
        cycle.reverse()
        arcs = list(zip(cycle, cycle[1:] + cycle[:1], strict=True))
        steps = [(int(who[a, b]), a, b) for a, b in arcs if loss[a, b] < free[a, b]]
        customers = [n for n, _, _ in steps]
        if len(set(customers)) < len(customers) or not follow(problem, picks, steps, held):
            for _, a, b in steps[:1]:
                loss[a, b] = np.inf
            continue
        made += 1
        touched[customers] = True
        loss[(who >= 0) & touched[who]] = np.inf


def follow(problem: Problem, picks: np.ndarray, steps: list[tuple[int, int, int]], held: np.ndarray) -> bool:
    """Makes the exchanges of a cycle, if all limits bear them together; each keeps its customer's caps already."""
    nobody = problem.cost.size
    after = held.copy()
    for _, a, b in steps:
        for s, sign in ((a, -1.0), (b, 1.0)):
            if s < nobody:
                hold(problem.limits, after, s, sign)
    over = after - problem.limits.most > np.maximum(held - problem.limits.most, 0.0) + 1e-6
    under = problem.limits.least - after > np.maximum(problem.limits.least - held, 0.0) + 1e-6
    if over.any() or under.any():
        return False
    for n, a, b in steps:
        row = picks[n]
        place = int(np.argmax(row < 0)) if a == nobody else int(np.flatnonzero(row == a)[0])
        row[place] = b if b < nobody else -1
        kept = row[row >= 0]
        row[:] = -1
        row[: kept.size] = kept
    held[:] = after
    return True


def room_between(problem: Problem, held: np.ndarray) -> np.ndarray:
    """(S+1, S+1) what the limits say to one contact more in slot a and one less in slot b: 0 fine, inf no, and a great
    reward where a least is still lacking. Slot S is nowhere."""
    limits, slots = problem.limits, problem.cost.size
    padded = np.concatenate([limits.coefficient, np.zeros((held.size, 1))], axis=1)
    change = padded[:, :, None] - padded[:, None, :]
    after = held[:, None, None] + change
    over = (after > limits.most[:, None, None] + 1e-6) & (change > 0)
    under = (after < limits.least[:, None, None] - 1e-6) & (change < 0)
    lacking = (held < limits.least - 1e-6)[:, None, None]
    reward = -MUCH * typical(problem.value) * (lacking * np.sign(change)).sum(axis=0)
    free = np.where((over | under).any(axis=0), np.inf, np.minimum(reward, 0.0))
    free[np.arange(slots + 1), np.arange(slots + 1)] = np.inf
    return free


def proof(problem: Problem, distance: np.ndarray, price: np.ndarray) -> Point:
    """The dual at the slot prices that the distances of a plan without negative cycles amount to."""
    wanted = distance[-1] - distance[:-1]
    limits = problem.limits
    alone = ((limits.coefficient > 0).sum(axis=1) == 1) & np.isclose(limits.coefficient.max(axis=1, initial=0.0), 1.0)
    own = {int(limits.coefficient[r].argmax()): r for r in np.flatnonzero(alone)}
    if len(own) < problem.cost.size:
        return Point(price, np.inf, wanted, wanted)
    shared = [r for r in range(price.size) if r not in own.values()]
    best = np.array(price)
    rows = np.array([own[s] for s in range(problem.cost.size)])

    def with_shared(row: int | None, amount: float) -> np.ndarray:
        trial = best.copy()
        if row is not None:
            trial[row] = amount
        trial[rows] = wanted - trial[shared] @ limits.coefficient[shared] if shared else wanted
        return trial

    best = with_shared(None, 0.0)
    for _ in range(3):
        for r in shared:
            left = wanted - best[shared] @ limits.coefficient[shared] + best[r] * limits.coefficient[r]
            breaks = [0.0, *(left[s] / limits.coefficient[r, s] for s in np.flatnonzero(limits.coefficient[r] > 0))]
            trials = [with_shared(r, max(amount, 0.0)) for amount in breaks]
            best = min([best, *trials], key=lambda trial: rent(limits, trial))
    return evaluate(problem, best, 1e-9 * typical(problem.value))
