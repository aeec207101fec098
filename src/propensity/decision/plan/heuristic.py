"""How campaigns are planned without a planner: the customs that a plan has to beat, under the same rules."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.decision.context import tie_break
from propensity.decision.plan.planner import Plan, Problem
from propensity.decision.plan.request import Request
from propensity.errors import InfeasibleError
from propensity.kernel.contact_cap import EDGE
from propensity.kernel.plan import demand, take_in_order


class Heuristic(NamedTuple):
    """value in money; contacts; broken: contacts beyond a cap or limit; short: what is lacking of least audiences."""

    name: str
    value: float
    contacts: int
    broken: int
    short: float


def heuristics(asked: Request, customer: np.ndarray) -> list[Heuristic]:
    """Everybody, campaign queue, customer-first truncation and global greedy, for the campaigns not pinned."""
    order = tie_break(customer)
    return [everybody(asked), queue(asked, order), truncation(asked, order), greedy(asked, order)]


def pairs(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Customer, slot and net value of every contact that may be made and earns something."""
    net = problem.value[:, problem.calendar.campaign] * problem.calendar.weight - problem.cost
    row, slot = np.nonzero(net > 0)
    return row, slot, net[row, slot]


def everybody(asked: Request) -> Heuristic:
    """Each campaign on its first day to all who may get it, caps or no caps."""
    problem = asked.problem
    column = problem.calendar.campaign
    first = [int(np.flatnonzero(column == c)[0]) for c in np.unique(column)]
    sent = np.zeros((problem.value.shape[0], column.size), bool)
    sent[:, first] = np.isfinite(problem.value[:, column[first]])
    net = problem.value[:, column].astype(np.float64) * problem.calendar.weight - problem.cost
    kept = obeying(problem, *np.nonzero(sent))
    money = float(net[sent].sum())
    return Heuristic("everybody", money, int(sent.sum()), int(sent.sum()) - kept.contacts, kept.short)


def obeying(problem: Problem, row: np.ndarray, slot: np.ndarray) -> Heuristic:
    """What comes of the contacts in order, each made where the rules still allow it."""
    return of_picks("", problem, obeying_picks(problem, row, slot))


def obeying_picks(problem: Problem, row: np.ndarray, slot: np.ndarray) -> np.ndarray:
    """The picks (N, P) of the contacts in order, each made where the rules still allow it."""
    picks = np.full((problem.value.shape[0], max(problem.most_contacts, 1)), -1, np.int16)
    held = np.zeros(problem.limits.most.size)
    arguments = row.astype(np.int64), slot.astype(np.int64), problem.used, problem.calendar, problem.limits
    take_in_order(*arguments, picks, held)
    return picks


def of_picks(name: str, problem: Problem, picks: np.ndarray) -> Heuristic:
    row, place = np.nonzero(picks >= 0)
    slot = picks[row, place].astype(np.int64)
    value = problem.value[row, problem.calendar.campaign[slot]] * problem.calendar.weight[slot] - problem.cost[slot]
    held = problem.limits.coefficient @ np.bincount(slot, minlength=problem.cost.size)
    short = float(np.maximum(problem.limits.least - held, 0.0).sum())
    return Heuristic(name, float(value.sum(dtype=np.float64)), slot.size, 0, short)


def queue(asked: Request, order: np.ndarray) -> Heuristic:
    """Campaigns in order of priority (else as listed), each with its best customers whom the caps still allow."""
    row, slot, net = pairs(asked.problem)
    sort = np.lexsort((order[row], -net, turns(asked)[asked.problem.calendar.campaign[slot]]))
    return obeying(asked.problem, row[sort], slot[sort])._replace(name="campaign queue")


def turns(asked: Request) -> np.ndarray:
    """(C,) when each campaign has its turn: by priority, those without one after them, as listed."""
    rank = [(c.priority is None, c.priority or 0, k) for k, c in enumerate(asked.campaigns)]
    return np.array([sorted(rank).index(key) for key in rank])


def truncation(asked: Request, order: np.ndarray) -> Heuristic:
    """Every customer's best set under the caps; lists that are too long are cut at the lower end, and left so."""
    problem, slots = asked.problem, asked.problem.cost.size
    wish = np.full((problem.value.shape[0], max(problem.most_contacts, 1)), -1, np.int16)
    load, slope, bootstrap_interval = np.empty(slots), np.empty((slots + 1, slots + 1)), np.full(slots, 1e-12)
    demand(
        problem.value,
        problem.used,
        problem.calendar,
        problem.cost,
        bootstrap_interval,
        load,
        slope,
        wish,
        np.empty(0),
        0.0,
    )
    row, place = np.nonzero(wish >= 0)
    slot = wish[row, place].astype(np.int64)
    net = problem.value[row, problem.calendar.campaign[slot]] * problem.calendar.weight[slot] - problem.cost[slot]
    sort = np.lexsort((order[row], -net))
    return obeying(problem, row[sort], slot[sort])._replace(name="customer first, lists cut")


def greedy(asked: Request, order: np.ndarray) -> Heuristic:
    """The most valuable contact of all first, then the next that the rules allow."""
    row, slot, net = pairs(asked.problem)
    sort = np.lexsort((slot, order[row], -net))
    return obeying(asked.problem, row[sort], slot[sort])._replace(name="global greedy")


class Pinned(NamedTuple):
    """What is left to plan once pinned campaigns took their customers: asked with fewer limits, and their picks."""

    asked: Request
    picks: np.ndarray
    value: float


def pin(asked: Request, customer: np.ndarray) -> Pinned:
    """Pinned campaigns by priority, each with its best customers; they use up caps, capacities and the budget.

    Raises: InfeasibleError for a pinned campaign whose least the earlier ones leave no room for.
    """
    problem = asked.problem
    picks = np.full((problem.value.shape[0], max(problem.most_contacts, 1)), -1, np.int16)
    held, order = np.zeros(problem.limits.most.size), tie_break(customer)
    chosen = sorted((c.priority or 0, k) for k, c in enumerate(asked.campaigns) if c.pinned)
    for place, (_, k) in enumerate(chosen):
        slots, campaign = np.flatnonzero(problem.calendar.campaign == k), asked.campaigns[k]
        ranked = np.lexsort((order, -problem.value[:, k]))
        earns = problem.value[ranked, k] * campaign.weight > problem.cost[slots].min()
        ranked = ranked[np.isfinite(problem.value[ranked, k]) & (earns | (campaign.least > 0))]
        limits = problem.limits
        if campaign.least and earns.sum() < campaign.least:
            limits = limits._replace(most=np.where(np.arange(limits.most.size) == k, campaign.least, limits.most))
        else:
            ranked = ranked[: int(earns.sum())]
        row, slot = np.repeat(ranked, slots.size), np.tile(slots, ranked.size)
        take_in_order(row, slot, problem.used, problem.calendar, limits, picks, held)
        if held[k] < campaign.least:
            before = " and ".join([*(asked.campaigns[j].name for _, j in chosen[:place]), "the caps"])
            raise InfeasibleError(
                f"pinned campaign {campaign.name} wants at least {campaign.least} customers and {before} leave it "
                f"{held[k]:.0f}; lower its least or unpin another"
            )
    return Pinned(without(asked, picks, held, {k for _, k in chosen}), picks, of_picks("", problem, picks).value)


def without(asked: Request, picks: np.ndarray, held: np.ndarray, columns: set[int]) -> Request:
    """What is still to be planned beside `picks`."""
    problem = asked.problem
    if not columns:
        return asked
    value, row = problem.value.copy(), np.nonzero(picks >= 0)[0]
    slot = picks[picks >= 0].astype(np.int64)
    used = np.broadcast_to(problem.used, (value.shape[0], problem.used.shape[1])).astype(np.int64)
    np.add.at(used, (row, EDGE + asked.slot_day[slot]), 1)
    if problem.calendar.clash.size:
        for n, s in zip(row, slot, strict=True):
            value[n, problem.calendar.campaign[problem.calendar.clash[s]]] = -np.inf
    value[:, sorted(columns)] = -np.inf
    least, most = np.maximum(problem.limits.least - held, 0.0), np.maximum(problem.limits.most - held, 0.0)
    least[sorted(columns)] = most[sorted(columns)] = 0.0
    left = problem._replace(
        value=value, used=np.minimum(used, 255).astype(np.uint8), limits=problem.limits._replace(least=least, most=most)
    )
    return asked._replace(problem=left)


def joined(plan: Plan, pinned: Pinned) -> np.ndarray:
    """(N, P) picks of the plan and of what was pinned."""
    both = np.concatenate([pinned.picks, plan.picks], axis=1)
    return np.take_along_axis(both, np.argsort(both < 0, axis=1, kind="stable"), axis=1)
