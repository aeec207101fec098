"""The dual of a planning problem: at given prices of the R limits, every customer chooses alone.

Newton steps move the prices until the demand (S,) of the slots meets the limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from propensity.decision.plan.problem import Plan, Problem, typical
from propensity.kernel.plan import Limits, demand

STEPS = 60  # Newton steps on a level, at most
FINEST, WIDEST, FAR = 1e-8, 0.2, 64.0  # typical values: smallest step and bandwidth, largest bandwidth, largest step


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
    stall: float = 0.0,
) -> Point:
    """Newton steps from `price` (R,) until the limits are met at their prices; the point with the lowest bound.

    A step moves each price within its trust radius, and slopes are counted within a bandwidth as wide. Both grow while
    a price moves in one direction and shrink where demand overshoots. Stops where unmet limits are worth less than
    `tolerance` of the bound. reach (R,): radius of the first step. noise: standard deviations of a sample's demand
    within which a limit counts as met. stall: share of the bound; stops where three steps lower it by less.
    """
    limits, scale = problem.limits, typical(problem.value)
    radius, finest = np.maximum(reach, FINEST * scale), FINEST * scale
    point = evaluate(problem, price, bandwidth_of(limits, 0.2 * radius, scale), demanded)
    bounds = [point.bound]
    for _ in range(STEPS):
        if len(bounds) > 3 and bounds[-4] - bounds[-1] < stall * abs(point.bound):
            break
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
        bounds.append(point.bound)
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
