"""The planner: plans keep every limit, the bound is valid, and plans on networks are the optimum of a min-cost flow."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from propensity.decision.plan.dual import evaluate
from propensity.decision.plan.planner import solve
from propensity.decision.plan.problem import Plan, Problem
from propensity.kernel.contact_cap import EDGE, Calendar
from propensity.kernel.plan import Limits
from propensity.kernel.reference_contact_cap import keeps_caps


def random_problem(
    seed: int, customers: int, slots: int, days: int, rolling: bool = False, least: float = 0.0, **changes: Any
) -> Problem:
    """Values with customers and campaigns that are better than others; a tenth of the pairs are not eligible."""
    random = np.random.default_rng(seed)
    day = np.sort(random.integers(0, days, slots))
    value = (
        random.gamma(1, 1, (customers, 1)) * random.gamma(1, 1, (1, slots)) * random.gamma(0.5, 1, (customers, slots))
    )
    value[random.random(value.shape) < 0.1] = -np.inf
    calendar = Calendar(
        campaign=np.arange(slots),
        weight=np.ones(slots),
        start=np.searchsorted(day, np.arange(days + 1)).astype(np.int64),
        week=((np.arange(-EDGE, days + EDGE) + 70) // 7).astype(np.int64),
        clash=np.zeros((0, 0), bool),
        day_cap=1 + seed % 2,
        week_cap=1 + seed % 3,
        rolling=rolling,
    )
    most = np.floor(random.uniform(0.1, 0.6, slots) * customers) + 1
    limits = Limits(np.eye(slots), np.floor(least * most * random.random(slots)), most)
    used = np.zeros((1, days + 2 * EDGE), np.uint8)
    problem = Problem(value.astype(np.float32), np.full(slots, 0.05), used, calendar, limits)
    return problem._replace(**changes)


def with_rows(problem: Problem, rows: np.ndarray, most: np.ndarray) -> Problem:
    limits = problem.limits
    return problem._replace(
        limits=Limits(
            np.vstack([limits.coefficient, rows]),
            np.append(limits.least, np.zeros(len(most))),
            np.append(limits.most, most),
        )
    )


def check_rules(problem: Problem, plan: Plan) -> None:
    """Everything a plan must keep, one customer at a time."""
    load = np.zeros(problem.cost.size)
    money = 0.0
    for n, row in enumerate(plan.picks):
        chosen = tuple(row[row >= 0].tolist())
        assert len(set(chosen)) == len(chosen)
        assert keeps_caps(problem.calendar, problem.used[n if len(problem.used) > 1 else 0], chosen)
        for s in chosen:
            gain = float(problem.value[n, problem.calendar.campaign[s]]) * problem.calendar.weight[s] - problem.cost[s]
            assert np.isfinite(gain)
            money += gain
            load[s] += 1
    usage = problem.limits.coefficient @ load
    assert (usage <= problem.limits.most + 1e-6).all()
    np.testing.assert_allclose(plan.load, load)
    np.testing.assert_allclose(plan.short, np.maximum(problem.limits.least - usage, 0))
    assert plan.value == pytest.approx(money, rel=1e-9, abs=1e-9)


def flow_optimum(problem: Problem) -> float | None:
    """The optimum by OR-tools' min-cost flow: customer -> week -> day -> campaign; None if there is no plan."""
    flow_of = pytest.importorskip("ortools.graph.python.min_cost_flow")
    flow, scale = flow_of.SimpleMinCostFlow(), 1e7
    people, slots = problem.value.shape
    calendar, days = problem.calendar, problem.calendar.start.size - 1
    week = np.unique(calendar.week[EDGE : EDGE + days], return_inverse=True)[1]
    source, sink, weeks = 0, 1, int(week.max()) + 1
    per = 1 + weeks + days
    needed, total = 10_000_000 * int(scale) // 1000, people * slots
    for n in range(people):
        person = 2 + n * per
        flow.add_arc_with_capacity_and_unit_cost(source, person, slots, 0)
        for w in range(weeks):
            flow.add_arc_with_capacity_and_unit_cost(person, person + 1 + w, calendar.week_cap, 0)
        for d in range(days):
            flow.add_arc_with_capacity_and_unit_cost(
                person + 1 + int(week[d]), person + 1 + weeks + d, calendar.day_cap, 0
            )
            for s in range(calendar.start[d], calendar.start[d + 1]):
                gain = float(problem.value[n, s]) - problem.cost[s]
                if np.isfinite(gain):
                    campaign = 2 + people * per + s
                    flow.add_arc_with_capacity_and_unit_cost(person + 1 + weeks + d, campaign, 1, -round(gain * scale))
    for s in range(slots):
        least, most = int(problem.limits.least[s]), int(problem.limits.most[s])
        campaign = 2 + people * per + s
        flow.add_arc_with_capacity_and_unit_cost(campaign, sink, least, -needed)
        flow.add_arc_with_capacity_and_unit_cost(campaign, sink, most - least, 0)
    flow.add_arc_with_capacity_and_unit_cost(source, sink, total, 0)
    flow.set_node_supply(source, total)
    flow.set_node_supply(sink, -total)
    assert flow.solve() == flow.OPTIMAL
    satisfied = int(problem.limits.least.sum())
    value = -flow.optimal_cost()
    if value < satisfied * needed - needed // 2:
        return None
    return (value - satisfied * needed) / scale


@pytest.mark.parametrize("least", [0.0, 0.9])
@pytest.mark.parametrize("seed", range(12))
def test_on_a_network_the_plan_is_the_optimum_of_a_min_cost_flow(seed: int, least: float) -> None:
    problem = random_problem(seed, customers=30 + 5 * seed, slots=3 + seed % 6, days=9, least=least)
    plan, optimum = solve(problem), flow_optimum(problem)
    check_rules(problem, plan)
    if optimum is None:
        assert plan.short.sum() > 0
        return
    assert not plan.short.any()
    assert plan.optimality_gap < 1e-4
    assert plan.bound >= optimum - 1e-4
    assert optimum * (1 - plan.optimality_gap) - 1e-4 <= plan.value <= optimum + 1e-4


@pytest.mark.parametrize("seed", range(12))
def test_capacities_budgets_clashes_and_promises_are_kept_and_the_bound_holds(seed: int) -> None:
    random = np.random.default_rng(seed)
    problem = random_problem(seed, customers=3, slots=4, days=9, rolling=seed % 2 == 0)
    clash = np.zeros((4, 4), bool)
    clash[0, 1] = clash[1, 0] = True
    problem = problem._replace(
        calendar=problem.calendar._replace(clash=clash),
        cost=random.uniform(0.01, 0.3, 4),
        used=(random.random((3, problem.used.shape[1])) < 0.1).astype(np.uint8),
    )
    rows = np.stack([np.array([1.0, 0.0, 1.0, 0.0]), problem.cost])
    problem = with_rows(problem, rows, np.array([2.0, 0.5]))
    plan = solve(problem)
    check_rules(problem, plan)
    best = best_of_all(problem)
    assert plan.value <= best + 1e-6 and plan.bound >= best - 1e-6
    assert plan.value >= plan.bound * (1 - plan.optimality_gap) - 1e-9


def best_of_all(problem: Problem) -> float:
    """Every set of slots for every customer, all together."""
    value = problem.value[:, problem.calendar.campaign] * problem.calendar.weight - problem.cost
    slots = value.shape[1]
    options = []
    for n in range(value.shape[0]):
        sets = [tuple(np.flatnonzero(bits).tolist()) for bits in product((0, 1), repeat=slots)]
        options.append(
            [s for s in sets if keeps_caps(problem.calendar, problem.used[n], s) and np.isfinite(value[n, s]).all()]
        )
    best = -np.inf
    for chosen in product(*options):
        load = np.bincount([s for part in chosen for s in part], minlength=slots)
        if (problem.limits.coefficient @ load <= problem.limits.most + 1e-9).all():
            best = max(best, sum(value[n, list(part)].sum() for n, part in enumerate(chosen)))
    return best


@pytest.mark.parametrize("rolling", [False, True])
def test_a_larger_plan_keeps_every_rule_and_says_how_good_it_is(rolling: bool) -> None:
    problem = random_problem(4, customers=9000, slots=24, days=14, rolling=rolling)
    pairs = np.zeros((2, 24))
    pairs[0, :5], pairs[1, 10:] = 1.0, 1.0
    problem = with_rows(problem, pairs, np.array([900.0, 3000.0]))
    plan = solve(problem)
    check_rules(problem, plan)
    assert 0 <= plan.optimality_gap < (1e-2 if rolling else 1e-4)


def test_any_prices_bound_any_plan() -> None:
    problem = random_problem(7, customers=40, slots=5, days=7)
    best = solve(problem)
    for seed in range(20):
        price = np.random.default_rng(seed).gamma(1.0, 0.5, 5)
        assert evaluate(problem, price, 0.1).bound >= best.value - 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_a_shadow_price_lies_between_what_one_more_and_one_less_change(seed: int) -> None:
    problem = random_problem(seed, customers=60, slots=5, days=7)
    plan = solve(problem)
    for r in range(5):
        change = []
        for step in (-1.0, 1.0):
            most = problem.limits.most.copy()
            most[r] += step
            change.append(solve(problem._replace(limits=problem.limits._replace(most=most))).value)
        assert change[1] - plan.value - 1e-6 <= max(plan.price[r], 0.0) <= plan.value - change[0] + 1e-6


def test_the_order_of_customers_does_not_change_what_a_plan_is_worth() -> None:
    problem = random_problem(3, customers=500, slots=6, days=7)
    mixed = np.random.default_rng(0).permutation(500)
    again = solve(problem._replace(value=problem.value[mixed]))
    assert again.value == pytest.approx(solve(problem).value, rel=1e-6)


def test_equal_values_everywhere_still_give_a_full_plan() -> None:
    problem = random_problem(2, customers=200, slots=6, days=7)
    problem = problem._replace(value=np.ones_like(problem.value))
    plan = solve(problem)
    check_rules(problem, plan)
    assert plan.optimality_gap < 1e-9
