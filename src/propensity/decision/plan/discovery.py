"""A plan with a least share of messages to customers who never bought the offer or have lapsed.

The share is one more limit with a price: a message of discovery gains `price * (1 - share)`, another loses
`price * share`. The price is the smallest at which the plan has the share, and it certifies the plan as others do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.decision.plan.heuristic import Pinned, joined, of_picks
from propensity.decision.plan.planner import solve
from propensity.decision.plan.problem import Plan, Problem, typical
from propensity.errors import InfeasibleError

STEPS, DOUBLINGS = 10, 12


class Discovery(NamedTuple):
    """A plan with the share, its price, and what it costs.

    Attributes
    ----------
    plan : Plan
        With value and bound in money, without the price.
    price : float
        Money that a message of discovery may lose against another.
    problem : Problem
        The problem with that price, of which `plan` has the shadow prices.
    share, share_before : float
        Share of discovery among all messages, with and without the limit.
    cost : float
        Predicted margin that the limit costs.
    """

    plan: Plan
    price: float
    problem: Problem
    share: float
    share_before: float
    cost: float


def with_discovery(pinned: Pinned, mask: np.ndarray, least: float, seed: int) -> Discovery:
    """Plan with a least share of discovery.

    Parameters
    ----------
    pinned : Pinned
        Contacts that are fixed, which count too, and the request that remains.
    mask : np.ndarray
        (N, C) bool, whether a contact is discovery.
    least : float
        Least share of all messages, in [0, 1].
    seed : int
        Of samples.

    Raises
    ------
    InfeasibleError
        If no price reaches the share.
    """
    problem = pinned.remaining.problem

    def at(price: float) -> tuple[Plan, Problem, float]:
        shifted = priced(problem, mask, least, price)
        plan = solve(shifted, seed)
        return plan, shifted, share_of(joined(plan, pinned), problem, mask)

    first = at(0.0)
    if first[2] >= least or first[0].short.any():
        return Discovery(first[0], 0.0, first[1], first[2], first[2], 0.0)
    low, high = 0.0, typical(problem.value)
    best = at(high)
    for _ in range(DOUBLINGS):
        if best[2] >= least:
            break
        low, high = high, 2 * high
        best = at(high)
    if best[2] < least:
        raise InfeasibleError(
            f"at most {best[2]:.1%} of the messages of a plan go to customers who never bought the offer or have "
            f"lapsed, and discovery={least:g} is required; lower it, or a least or a pinned campaign"
        )
    for _ in range(STEPS):
        middle = (low + high) / 2
        tried = at(middle)
        low, high, best = (low, middle, tried) if tried[2] >= least else (middle, high, best)
    plan, shifted, share = best
    value = of_picks("", problem, plan.picks).value
    excess = excess_of(pinned.picks, problem, mask, least)
    certified = Plan(plan.picks, value, plan.bound + high * excess, plan.price, plan.load, plan.short)
    return Discovery(certified, high, shifted, share, first[2], first[0].value - value)


def priced(problem: Problem, mask: np.ndarray, least: float, price: float) -> Problem:
    """The problem whose contacts gain or lose the price of discovery."""
    if price == 0:
        return problem
    weight = np.ones(problem.value.shape[1])
    weight[problem.calendar.campaign] = problem.calendar.weight
    shift = (price * (mask - least) / weight).astype(np.float32)
    return problem._replace(value=problem.value + shift)


def share_of(picks: np.ndarray, problem: Problem, mask: np.ndarray) -> float:
    """Share of discovery among picks (N, P); 1 without any."""
    row, place = np.nonzero(picks >= 0)
    hit = mask[row, problem.calendar.campaign[picks[row, place].astype(np.int64)]]
    return float(hit.mean()) if hit.size else 1.0


def excess_of(picks: np.ndarray, problem: Problem, mask: np.ndarray, least: float) -> float:
    """Contacts of discovery among picks beyond the share."""
    row, place = np.nonzero(picks >= 0)
    hit = mask[row, problem.calendar.campaign[picks[row, place].astype(np.int64)]]
    return float(hit.sum() - least * hit.size)
