"""Exchanges of contacts along negative cycles (Klein, 1967), and the prices that certify what they lead to."""

from __future__ import annotations

import numpy as np

from propensity.decision.plan.dual import Point, evaluate, plan_of, rent
from propensity.decision.plan.problem import Plan, Problem, typical
from propensity.kernel.plan import add_usage, cheapest_cycle, exchanges

FINE = 1e-9  # share of the bound below which a gain is rounding
WORK = 4e9  # customers x slots x contacts over all sweeps of exchanges
REWARD = 1e5  # typical values for one contact more of a limit below its least


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
