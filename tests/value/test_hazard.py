"""The network of weekly hazards: what it learns from, what moves it, and what becomes of input that says little."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from order_market import day, finite, log_of, market
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.kernel.order_day import OrderDays, recency
from propensity.kernel.order_week import order_weeks
from propensity.value import closed, hazard, trees, week
from propensity.value.choose import _best_learners
from propensity.value.closed import Customers
from propensity.value.hazard import Network, fit_network
from propensity.value.model import EVEN, NETWORK, TREES, Expectation, ValueModel, fit, fit_parametric, together
from propensity.value.valuation import value_customers

BOTH = (TREES, NETWORK)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Fewer rows and trees than by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closed, "ROWS", 2_000)
        patch.setattr(week, "ROWS", 2_000)
        patch.setattr(hazard, "STEPS", 16)
        patch.setattr(trees, "ROUNDS", 8)
        yield


@pytest.fixture
def longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many rows and steps as it takes to learn."""
    monkeypatch.setattr(week, "ROWS", 6_000)
    monkeypatch.setattr(hazard, "STEPS", 64)


def orders_of(days: list[np.ndarray], amount: float = 5.0) -> OrderDays:
    """Orders of customers with days each, of one amount."""
    own = [np.unique(each) for each in days]
    offsets = np.concatenate([[0], np.cumsum([each.size for each in own])])
    joined = np.concatenate(own).astype(np.int32)
    return OrderDays(offsets, joined, np.full(joined.size, amount))


def poisson_market(rate: np.ndarray, days: int, seed: int, busy: slice = slice(0, 0)) -> OrderDays:
    """Customers from the first day on, with a rate each; twice of it in `busy` days."""
    random, level = np.random.default_rng(seed), np.ones(days)
    level[busy] = 2.0
    return orders_of([np.append(0, np.flatnonzero(random.random(days) < own * level)) for own in rate])


def network_of(orders: OrderDays, cutoff: int, longest: int = 8, seed: int = 3) -> tuple[Network, Any]:
    model = fit_parametric(orders, 0, cutoff)
    network = fit_network(orders, 0, cutoff, longest, model, seed)
    assert network is not None
    return network, model


def expected(orders: OrderDays, cutoff: int, longest: int = 8, seed: int = 3) -> tuple[np.ndarray, ...]:
    """Of all customers and weeks."""
    network, model = network_of(orders, cutoff, longest, seed)
    row = np.flatnonzero(recency(orders, cutoff).x >= 0)
    customers = Customers.of(orders, 0, cutoff, row, model, [week.STATE_WEEKS])
    return network.expect(customers, list(range(1, longest + 1)))


RATES = np.repeat([0.01, 0.06], 300)


@pytest.fixture(scope="module")
def poisson() -> OrderDays:
    return poisson_market(RATES, 260, 1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> EventLog:
    return log_of(market(150, 340), tmp_path_factory.mktemp("shop") / "log")


def test_orders_of_weeks_are_those_of_their_days(poisson: OrderDays) -> None:
    row, cutoff, amounts = np.array([3, 0, 500]), 100, np.random.default_rng(2).lognormal(2, 1, poisson.day.size)
    orders = poisson._replace(revenue=np.where(amounts < 4, 0.0, amounts))
    count, amount = order_weeks(orders, cutoff, row, width=9, closed=6, bound=20.0)
    for k, n in enumerate(row):
        own = slice(orders.offsets[n], orders.offsets[n + 1])
        place = (orders.day[own] - cutoff) // 7
        seen = (orders.day[own] >= cutoff) & (place < 6)
        np.testing.assert_array_equal(count[k], np.bincount(place[seen], minlength=9))
        paid = np.log(np.minimum(orders.revenue[own][seen & (orders.revenue[own] > 0)], 20.0))
        np.testing.assert_allclose(amount[k], [paid.size, paid.sum(), (paid**2).sum()])


@pytest.mark.usefixtures("longer")
def test_rates_of_customers_are_told_apart_and_the_hazard_is_that_of_the_first_order(poisson: OrderDays) -> None:
    active, orders, revenue = expected(poisson, 200)
    weeks = np.arange(1, 9)
    np.testing.assert_allclose(orders.mean(axis=0), 7 * RATES.mean() * weeks, rtol=0.15)
    np.testing.assert_allclose(active.mean(axis=0), [(1 - (1 - RATES) ** (7 * w)).mean() for w in weeks], rtol=0.15)
    assert (orders[300:].mean(axis=0) > 3 * orders[:300].mean(axis=0)).all()
    np.testing.assert_allclose(revenue, 5 * orders, rtol=0.05)


def test_no_survival_curve_rises_and_orders_do_not_fall(shop: EventLog, poisson: OrderDays) -> None:
    active, orders, revenue = expected(poisson, 200)
    assert (np.diff(active, axis=1) > 0).all() and active.max() < 1
    assert (np.diff(orders, axis=1) > 0).all() and (np.diff(revenue, axis=1) > 0).all()
    far = value_customers(shop, day(300), [4, 13, 26, 104], models=[NETWORK]).table
    steps = far.group_by("customer_id", maintain_order=True).agg("p_active")["p_active"]
    assert all((np.diff(own.to_numpy()) >= 0).all() for own in steps)


def test_orders_from_the_cutoff_on_change_no_weight(poisson: OrderDays) -> None:
    past, random = poisson.day < 200, np.random.default_rng(5)
    other = poisson._replace(revenue=np.where(past, poisson.revenue, random.lognormal(9, 2, past.size)))
    other = other._replace(day=np.where(past, poisson.day, 200 + (poisson.day - 200) // 3).astype(np.int32))
    for one, two in zip(network_of(poisson, 200), network_of(other, 200), strict=True):
        assert str(one) == str(two)
    weights, same = network_of(poisson, 200)[0].weights, network_of(other, 200)[0].weights
    assert all((weights[name] == same[name]).all() for name in weights)


def test_the_same_seed_gives_the_same_bytes_and_leaves_torch_as_it_was(poisson: OrderDays) -> None:
    torch.manual_seed(8)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    one, two = (network_of(poisson, 150)[0].weights for _ in range(2))
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)
    other = network_of(poisson, 150, seed=4)[0].weights
    assert any((one[name] != other[name]).any() for name in one)


def test_amounts_in_another_currency_scale_revenue_and_nothing_else(poisson: OrderDays) -> None:
    amounts = np.random.default_rng(2).lognormal(2, 1, poisson.day.size)
    one, two = (expected(poisson._replace(revenue=scale * amounts), 200) for scale in (1.0, 64.0))
    for i in range(2):
        np.testing.assert_allclose(two[i], one[i], rtol=2e-3)
    np.testing.assert_allclose(two[2], 64 * one[2], rtol=1e-2)


def test_the_order_of_customers_and_of_lines_changes_no_value(poisson: OrderDays, tmp_path: Path) -> None:
    network, model = network_of(poisson, 200)
    row = np.random.default_rng(3).permutation(600)
    forward, shuffled = (
        network.expect(Customers.of(poisson, 0, 200, rows, model, [week.STATE_WEEKS]), [4, 8])
        for rows in (np.arange(600), row)
    )
    for one, two in zip(forward, shuffled, strict=True):
        np.testing.assert_allclose(two, one[row], rtol=1e-5)
    lines = market(60, 200)
    tables = [
        value_customers(log_of(own, tmp_path / str(k)), day(200), [4], models=[NETWORK]).table
        for k, own in enumerate((lines, lines[::-1]))
    ]
    assert tables[0].equals(tables[1])


@pytest.mark.usefixtures("longer")
def test_busy_weeks_of_the_calendar_are_no_trend(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = poisson_market(RATES, 200, 1, slice(186, 200))
    level = expected(orders, 200)[1].sum(axis=0)[3]
    monkeypatch.setattr(hazard, "SHOCK", 1e-3)
    assert level < 0.9 * expected(orders, 200)[1].sum(axis=0)[3]


@pytest.mark.usefixtures("longer")
def test_a_season_that_the_log_tells_is_in_the_hazard() -> None:
    random, day_of_year = np.random.default_rng(4), np.arange(1_500) % 365.2425
    level = np.where(day_of_year > 330, 4.0, 1.0)
    orders = orders_of([np.append(0, np.flatnonzero(random.random(1_500) < 0.02 * level)) for _ in range(300)])
    cutoff = int(3 * 365.2425 + 295)
    of_week = np.diff(expected(orders, cutoff)[1].sum(axis=0), prepend=0)
    assert of_week[6:].mean() > 2 * of_week[:4].mean()


def test_a_huge_amount_does_not_set_the_amount_of_an_order(poisson: OrderDays) -> None:
    amounts = np.random.default_rng(2).lognormal(2, 0.5, poisson.day.size)
    amounts[7] = 1e12
    active, orders, revenue = expected(poisson._replace(revenue=amounts), 200)
    assert (revenue / orders).max() <= np.sort(amounts)[-2]


@pytest.mark.parametrize("models", [[NETWORK], [TREES, NETWORK]])
@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([("a", 0, 10.0)], id="one order"),
        pytest.param([("a", 0, 10.0), ("a", 30, 12.0)], id="one customer"),
        pytest.param([(f"c{n}", 5, 3.0 + n) for n in range(40)], id="one day"),
        pytest.param([(name, number, 0.0) for name, number, _ in market(60, 200)], id="no amount above 0"),
        pytest.param([*market(60, 200), ("z", 3, 1e9)], id="an amount of a billion"),
        pytest.param([*market(60, 120), *((f"d{n}", 500 + n, 5.0) for n in range(40))], id="a gap of a year"),
        pytest.param([*market(60, 200), *(("busy", n % 200, 2.0) for n in range(100_000))], id="100,000 orders"),
        pytest.param(market(60, 5), id="a log shorter than a week"),
        pytest.param([(f"c{n}", n % 90, 2.0) for n in range(200)], id="nobody returns"),
    ],
)
def test_input_that_says_little_gives_finite_values(
    lines: list[tuple[str, int, float]], models: list[str], tmp_path: Path
) -> None:
    log = log_of(lines, tmp_path / "log")
    result = value_customers(log, log.last_day + 1, [13, 520], models=models)
    assert finite(result.table)
    assert result.table["p_active"].is_between(0, 1).all()
    assert (result.table["expected_revenue"] < 1e12).all()


def candidate(random: np.random.Generator, mean: np.ndarray, noise: float) -> Expectation:
    orders = (mean * np.exp(random.normal(0, noise, mean.size)))[:, None]
    return Expectation(-np.expm1(-orders), orders, 10 * orders)


@pytest.mark.parametrize(
    ("noise", "chosen"),
    [((0.01, 1.5), (TREES,)), ((1.5, 0.01), (NETWORK,)), ((1.0, 1.0), BOTH), ((0.01, 0.0), (TREES,))],
)
def test_learners_are_chosen_by_the_window_and_the_first_stays_within_the_noise(
    noise: tuple[float, float], chosen: tuple[str, ...]
) -> None:
    random = np.random.default_rng(6)
    mean = np.exp(random.normal(-1, 1, 6_000))
    count = random.poisson(mean).astype(float)
    by_learner = {name: candidate(random, mean, own) for name, own in zip(BOTH, noise, strict=True)}
    if noise[1] == 0:
        by_learner[NETWORK] = by_learner[TREES]
    model = ValueModel(None, {}, (), 10.0, EVEN, None, 0, None)  # type: ignore[arg-type]
    assert _best_learners(candidate(random, mean, 1.5), by_learner, model, count, 10 * count) == chosen


def test_the_mean_of_learners_has_the_totals_of_the_first() -> None:
    random = np.random.default_rng(7)
    mean = np.exp(random.normal(-1, 1, 500))
    one, two = (candidate(random, mean * level, 0.5) for level in (1.0, 3.0))
    for own, first in zip(together([one, two]), one, strict=True):
        np.testing.assert_allclose(own.sum(axis=0), first.sum(axis=0), rtol=1e-6)


def test_trees_alone_are_what_they_are_without_a_network(shop: EventLog) -> None:
    orders = log_orders(shop)
    alone, both = (fit(orders, day(0), day(300), [13], EVEN, 1, models=models) for models in ((TREES,), BOTH))
    one, two = (model.candidates(orders, day(300), [13])[1][TREES] for model in (alone, both))
    assert all((first == second).all() for first, second in zip(one, two, strict=True))
    assert set(both.learners) == {*BOTH}


@pytest.mark.parametrize("models", [BOTH, BOTH[::-1]])
def test_learners_stand_in_the_order_of_the_setting_whose_first_gives_the_totals(
    shop: EventLog, models: tuple[str, ...]
) -> None:
    orders = log_orders(shop)
    model = fit(orders, day(0), day(300), [13], EVEN, 1, models=models)
    assert tuple(model.learners) == models
    mean, each = model.components(orders, day(300), [13])[1], model.candidates(orders, day(300), [13])[1]
    assert mean is not None
    np.testing.assert_allclose(mean.orders.sum(), each[models[0]].orders.sum())


def log_orders(log: EventLog) -> OrderDays:
    from propensity.value.question import question

    return question(log, day(300), [13]).orders


def test_a_learner_that_does_not_exist_is_refused(shop: EventLog) -> None:
    import propensity as pp

    with pytest.raises(ConfigurationError, match="models"):
        pp.clv(shop, "2022-10-30", [4], models=["forest"])


def test_a_log_in_another_currency_has_the_same_probabilities(shop: EventLog) -> None:
    scaled = replace(shop, revenue=np.asarray(shop.revenue) * np.float32(64))
    one, two = (value_customers(log, day(300), [13], models=[NETWORK]).table for log in (shop, scaled))
    np.testing.assert_allclose(two["p_active"], one["p_active"], rtol=0.01)
    np.testing.assert_allclose(two["expected_revenue"], 64 * one["expected_revenue"], rtol=0.05)
