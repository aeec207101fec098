"""Heuristic campaign plans under the same caps and limits, and pinned campaigns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from propensity.decision.context import tie_break
from propensity.decision.plan.problem import Plan, Problem
from propensity.decision.plan.request import Request
from propensity.errors import InfeasibleError
from propensity.kernel.contact_cap import EDGE
from propensity.kernel.plan import demand, take_in_order


class Heuristic(NamedTuple):
    """A plan made by a heuristic.

    Attributes
    ----------
    name : str
        Of the heuristic.
    value : float
        Expected margin, money.
    contacts : int
        Messages.
    violations : int
        Contacts beyond a cap or limit.
    short : float
        Customers lacking in campaigns below their least.
    """

    name: str
    value: float
    contacts: int
    violations: int
    short: float


def heuristics(request: Request, customer: np.ndarray) -> list[Heuristic]:
    """Plans made by heuristics, for the campaigns that are not pinned.

    Parameters
    ----------
    request : Request
        Without pinned campaigns.
    customer : np.ndarray
        (N,) ids, which order customers of equal value.

    Returns
    -------
    list[Heuristic]
        Everybody (without caps), campaign queue, customer first with truncation, and global greedy.
    """
    order = tie_break(customer)
    return [everybody(request), queue(request, order), truncation(request, order), greedy(request, order)]


def pairs(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Customer, slot and net value of every eligible contact with a positive net value."""
    net = problem.value[:, problem.calendar.campaign] * problem.calendar.weight - problem.cost
    row, slot = np.nonzero(net > 0)
    return row, slot, net[row, slot]


def everybody(request: Request) -> Heuristic:
    """Each campaign on its first day to all eligible customers, without caps."""
    problem = request.problem
    column = problem.calendar.campaign
    first = [int(np.flatnonzero(column == c)[0]) for c in np.unique(column)]
    sent = np.zeros((problem.value.shape[0], column.size), bool)
    sent[:, first] = np.isfinite(problem.value[:, column[first]])
    net = problem.value[:, column].astype(np.float64) * problem.calendar.weight - problem.cost
    allowed = obeying(problem, *np.nonzero(sent))
    value = float(net[sent].sum())
    return Heuristic("everybody", value, int(sent.sum()), int(sent.sum()) - allowed.contacts, allowed.short)


def obeying(problem: Problem, row: np.ndarray, slot: np.ndarray) -> Heuristic:
    """The plan of the contacts in order, each made where caps and limits still allow it."""
    return of_picks("", problem, obeying_picks(problem, row, slot))


def obeying_picks(problem: Problem, row: np.ndarray, slot: np.ndarray) -> np.ndarray:
    """Makes contacts in order, each where caps and limits still allow it.

    Parameters
    ----------
    problem : Problem
        Caps and limits.
    row, slot : np.ndarray
        (n,) customer and slot of each contact.

    Returns
    -------
    np.ndarray
        (N, P) int16 slots of each customer, -1 after the last.
    """
    picks = np.full((problem.value.shape[0], max(problem.most_contacts, 1)), -1, np.int16)
    usage = np.zeros(problem.limits.most.size)
    arguments = row.astype(np.int64), slot.astype(np.int64), problem.used, problem.calendar, problem.limits
    take_in_order(*arguments, picks, usage)
    return picks


def of_picks(name: str, problem: Problem, picks: np.ndarray) -> Heuristic:
    """Value, contacts and lacking customers of picks (N, P)."""
    row, place = np.nonzero(picks >= 0)
    slot = picks[row, place].astype(np.int64)
    value = problem.value[row, problem.calendar.campaign[slot]] * problem.calendar.weight[slot] - problem.cost[slot]
    usage = problem.limits.coefficient @ np.bincount(slot, minlength=problem.cost.size)
    short = float(np.maximum(problem.limits.least - usage, 0.0).sum())
    return Heuristic(name, float(value.sum(dtype=np.float64)), slot.size, 0, short)


def queue(request: Request, order: np.ndarray) -> Heuristic:
    """Campaigns in order of priority (else as listed), each to its best customers as far as the caps allow."""
    row, slot, net = pairs(request.problem)
    sort = np.lexsort((order[row], -net, turns(request)[request.problem.calendar.campaign[slot]]))
    return obeying(request.problem, row[sort], slot[sort])._replace(name="campaign queue")


def turns(request: Request) -> np.ndarray:
    """(C,) rank of each campaign by priority; those without a priority follow as listed."""
    rank = [(c.priority is None, c.priority or 0, k) for k, c in enumerate(request.campaigns)]
    return np.array([sorted(rank).index(key) for key in rank])


def truncation(request: Request, order: np.ndarray) -> Heuristic:
    """Every customer's best set under the caps; then each campaign keeps its best customers up to its largest size."""
    problem, slots = request.problem, request.problem.cost.size
    choice = np.full((problem.value.shape[0], max(problem.most_contacts, 1)), -1, np.int16)
    load, slope, bandwidth = np.empty(slots), np.empty((slots + 1, slots + 1)), np.full(slots, 1e-12)
    demand(
        problem.value,
        problem.used,
        problem.calendar,
        problem.cost,
        bandwidth,
        load,
        slope,
        choice,
        np.empty(0),
        0.0,
    )
    row, place = np.nonzero(choice >= 0)
    slot = choice[row, place].astype(np.int64)
    net = problem.value[row, problem.calendar.campaign[slot]] * problem.calendar.weight[slot] - problem.cost[slot]
    sort = np.lexsort((order[row], -net))
    return obeying(problem, row[sort], slot[sort])._replace(name="customer first, truncated")


def greedy(request: Request, order: np.ndarray) -> Heuristic:
    """The most valuable contact first, then the next that caps and limits allow."""
    row, slot, net = pairs(request.problem)
    sort = np.lexsort((slot, order[row], -net))
    return obeying(request.problem, row[sort], slot[sort])._replace(name="global greedy")


class Pinned(NamedTuple):
    """The contacts of pinned campaigns, and the request that remains.

    Attributes
    ----------
    remaining : Request
        Without the pinned campaigns, and with the caps, capacities and budget that they leave.
    picks : np.ndarray
        (N, P) int16 slots of the pinned campaigns, -1 after the last.
    value : float
        Their expected margin, money.
    """

    remaining: Request
    picks: np.ndarray
    value: float


def pin(request: Request, customer: np.ndarray, earlier: Sequence[str] = ()) -> Pinned:
    """Gives pinned campaigns their best customers, by priority.

    Parameters
    ----------
    request : Request
        The whole request.
    customer : np.ndarray
        (N,) ids, which order customers of equal value.
    earlier : sequence of str
        What has taken contacts before, for the error message.

    Returns
    -------
    Pinned
        Their contacts, and the request that remains.

    Raises
    ------
    InfeasibleError
        If a pinned campaign cannot reach its least beside the earlier ones.
    """
    problem = request.problem
    picks = np.full((problem.value.shape[0], max(problem.most_contacts, 1)), -1, np.int16)
    usage, order = np.zeros(problem.limits.most.size), tie_break(customer)
    chosen = sorted((c.priority or 0, k) for k, c in enumerate(request.campaigns) if c.pinned)
    for place, (_, k) in enumerate(chosen):
        slots, campaign = np.flatnonzero(problem.calendar.campaign == k), request.campaigns[k]
        ranked = np.lexsort((order, -problem.value[:, k]))
        earns = problem.value[ranked, k] * campaign.weight > problem.cost[slots].min()
        ranked = ranked[np.isfinite(problem.value[ranked, k]) & (earns | (campaign.least > 0))]
        limits = problem.limits
        if campaign.least and earns.sum() < campaign.least:
            limits = limits._replace(most=np.where(np.arange(limits.most.size) == k, campaign.least, limits.most))
        else:
            ranked = ranked[: int(earns.sum())]
        row, slot = np.repeat(ranked, slots.size), np.tile(slots, ranked.size)
        take_in_order(row, slot, problem.used, problem.calendar, limits, picks, usage)
        if usage[k] < campaign.least:
            before = " and ".join([*earlier, *(request.campaigns[j].name for _, j in chosen[:place]), "the caps"])
            raise InfeasibleError(
                f"pinned campaign {campaign.name} requires at least {campaign.least} customers and {before} leave it "
                f"{usage[k]:.0f}; lower its least or unpin another"
            )
    return Pinned(without(request, picks, usage, {k for _, k in chosen}), picks, of_picks("", problem, picks).value)


def without(request: Request, picks: np.ndarray, usage: np.ndarray, columns: set[int]) -> Request:
    """The request that remains beside `picks`."""
    problem = request.problem
    if not columns:
        return request
    value, row = problem.value.copy(), np.nonzero(picks >= 0)[0]
    slot = picks[picks >= 0].astype(np.int64)
    used = np.broadcast_to(problem.used, (value.shape[0], problem.used.shape[1])).astype(np.int64)
    np.add.at(used, (row, EDGE + request.slot_day[slot]), 1)
    if problem.calendar.clash.size:
        for n, s in zip(row, slot, strict=True):
            value[n, problem.calendar.campaign[problem.calendar.clash[s]]] = -np.inf
    value[:, sorted(columns)] = -np.inf
    least, most = np.maximum(problem.limits.least - usage, 0.0), np.maximum(problem.limits.most - usage, 0.0)
    least[sorted(columns)] = most[sorted(columns)] = 0.0
    left = problem._replace(
        value=value, used=np.minimum(used, 255).astype(np.uint8), limits=problem.limits._replace(least=least, most=most)
    )
    return request._replace(problem=left)


def joined(plan: Plan, pinned: Pinned) -> np.ndarray:
    """(N, P) picks of the plan and of pinned campaigns."""
    both = np.concatenate([pinned.picks, plan.picks], axis=1)
    return np.take_along_axis(both, np.argsort(both < 0, axis=1, kind="stable"), axis=1)
