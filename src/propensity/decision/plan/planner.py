"""Campaign planning under contact caps and limits by dual decomposition, with an upper bound on the value of any plan.

Each limit over customers has a price; at given prices every customer is a small problem of its own (Everett, 1963;
Dantzig and Wolfe, 1960). Newton steps move the prices until demand meets the limits, first for a sample of customers,
then for all. A feasible plan is then made: customers choose in descending order of regret, free capacity is filled, and
where the plan is small enough, negative cycles of exchanges are cancelled (Klein, 1967). The dual value bounds every
plan from above, so that the optimality gap is certified.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from propensity.decision.plan.dual import Demand, Point, evaluate, plan_of, sampling_error, settle, slot_prices
from propensity.decision.plan.exchange import FINE, polish
from propensity.decision.plan.problem import Plan, Problem, typical
from propensity.kernel.plan import Limits, apply_moves, best_moves, serve

LEVELS = (4096, 65_536, 262_144)  # customers of the samples on which prices are computed first
TOLERANCE = 3e-5  # value of unmet limits at their prices, as a share of the bound, at which Newton steps stop
WARM = 0.1  # typical values by which prices of a similar plan may be off
DESCENT = 1  # sample on which perturbations become small
STALL = 1e-6  # share of the bound: with ties, three steps that lower it by less are the last
TIE = 1e-5  # typical values of the perturbation that breaks ties
ROUNDS = 12  # of filling free capacity
NEAR = 0.05  # typical values that a contact may lose at prices to use free capacity
SMALL = 5e6  # customers x slots x contacts up to which exchanges always run
CLOSE = 9e-5  # optimality gap above which they run for a larger plan
CLOSE_TIES = 3e-4  # the same where many values are equal
NEGLIGIBLE = 3e-6  # value of idle capacity at prices, as a share of the bound, at which filling stops


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
    samples = [problem.take(np.sort(order[:level])) for level in LEVELS if level < people // 2] or [problem]
    for level, sample in enumerate(samples):
        if level == min(DESCENT, len(samples) - 1):
            point, ties = descend(sample, price, reach, ties), ties[-1:]
        else:
            stall = STALL if ties[0] and level > DESCENT else 0.0
            point = settle(sample._replace(tie_break=ties[0]), price, TOLERANCE, reach, noise=0.5, stall=stall)
        price, reach = point.price, sampling_error(sample.limits, point, scale)
    perturbed = problem._replace(tie_break=ties[-1])
    demanded = Demand(np.full((people, problem.most_contacts), -1, np.int16), np.empty(people), np.empty(0))
    point = settle(perturbed, price, TOLERANCE, reach, demanded, stall=STALL if ties[-1] else 0.0)
    picks, usage = serve_all(perturbed, point, demanded)
    enough = FINE if picks.size * problem.cost.size <= SMALL else CLOSE_TIES if perturbed.tie_break else CLOSE
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


def descend(problem: Problem, price: np.ndarray, reach: np.ndarray, ties: list[float]) -> Point:
    """Settles at ever smaller perturbations (money, descending).

    Prices of a linear programme are linear in a small perturbation, so that from the third on they start where the line
    through the last two leads.
    """
    point = settle(problem._replace(tie_break=ties[0]), price, TOLERANCE, reach, noise=0.5)
    before, slope = point.price, np.zeros(price.size)
    for last, tie in pairwise(ties):
        start = before - slope * (last - tie)
        start = np.where(start * before < 0, 0.0, start)
        point = settle(problem._replace(tie_break=tie), start, TOLERANCE, np.full(price.size, tie), noise=0.5)
        slope, before = (before - point.price) / (last - tie), point.price
    return point


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
