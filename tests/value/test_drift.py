"""What forecasts of earlier cutoffs missed is corrected as far as more than chance is behind it."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.kernel.order_day import OrderDays, ahead, recency
from propensity.value import closed, trees
from propensity.value.choose import choose
from propensity.value.drift import OUTCOMES, PART, SHOCK, TOTAL, Closed, fit_drift, no_drift
from propensity.value.model import MODELS, fit
from propensity.value.trees import calibrated

AGE = np.repeat(np.arange(4), 5_000)


def window(seed: int, factor: np.ndarray) -> Closed:
    """20,000 customers whose orders follow `factor` times what was expected."""
    random = np.random.default_rng(seed)
    expected = np.exp(random.normal(-0.5, 0.5, AGE.size))
    orders = random.poisson(expected * factor).astype(float)
    return Closed(AGE, (-np.expm1(-expected), expected, 10 * expected), (orders > 0, orders, 10 * orders))


def test_without_a_drift_expectations_stay_as_they_are() -> None:
    values = np.random.default_rng(1).random(AGE.size)
    for i in range(len(OUTCOMES)):
        np.testing.assert_allclose(no_drift().applied(values, i, AGE, 52), values, rtol=1e-9)


@pytest.mark.parametrize("windows", [1, 3])
def test_a_total_that_was_missed_is_moved_by_its_posterior_mean(windows: int) -> None:
    drift = fit_drift([window(seed, np.full(AGE.size, 0.7)) for seed in range(windows)], 52)
    share = TOTAL**2 / (TOTAL**2 + SHOCK**2 / windows)
    assert drift.total[1] == pytest.approx(share * np.log(0.7), rel=0.05)
    values = np.random.default_rng(2).gamma(1.0, 1.0, AGE.size)
    moved = drift.applied(values, 1, AGE, 52)
    assert moved.sum() == pytest.approx(0.7**share * values.sum(), rel=0.02)
    assert drift.applied(values, 1, AGE, 26).sum() == pytest.approx(0.7 ** (share / 2) * values.sum(), rel=0.02)


def test_an_age_that_was_missed_is_moved_and_the_others_are_not() -> None:
    factor = np.where(AGE == 3, 1.6, 1.0)
    drift = fit_drift([window(seed, factor) for seed in range(2)], 52)
    gains = drift.total[1] + drift.age[1]
    share = PART**2 / (PART**2 + SHOCK**2 / 2)
    assert gains[3] - gains[0] == pytest.approx(share * np.log(1.6), rel=0.15)
    np.testing.assert_allclose(gains[1:3], gains[0], atol=0.05)


def test_what_chance_explains_is_left_alone() -> None:
    few = Closed(np.zeros(40, np.int64), (np.full(40, 0.02),) * 3, (np.arange(40) == 7,) + (np.eye(40)[7],) * 2)
    drift = fit_drift([few], 52)
    assert np.abs(drift.total).max() < 0.01 and np.abs(drift.tenth).max() < 0.05


def test_ages_and_tenths_without_customers_stay_as_they_are() -> None:
    age, expected, orders = np.array([1, 1, 3]), np.array([0.5, 1.0, 2.0]), np.array([1.0, 0.0, 3.0])
    drift = fit_drift([Closed(age, (-np.expm1(-expected), expected, expected), (orders > 0, orders, orders))], 52)
    assert all(np.isfinite(part).all() for part in drift[:3])
    assert (drift.age[:, [0, 2]] == 0).all() and (drift.age[1, [1, 3]] != 0).all()


def test_a_window_in_which_nothing_was_expected_says_nothing_of_that_outcome() -> None:
    first, last = (window(seed, np.full(AGE.size, 0.7)) for seed in (1, 2))
    unpriced = first._replace(expected=(*first.expected[:2], np.zeros(AGE.size)))
    drift, alone = fit_drift([last, unpriced], 52), fit_drift([last], 52)
    assert drift.total[2] == alone.total[2] and (drift.tenth[2] == alone.tenth[2]).all()
    np.testing.assert_array_equal(drift.total[:2], fit_drift([last, first], 52).total[:2])
    assert fit_drift([unpriced], 52).total[2] == 0


def test_probabilities_stay_probabilities() -> None:
    drift = fit_drift([window(1, np.full(AGE.size, 2.0))], 52)
    moved = drift.applied(np.linspace(0, 1, AGE.size), 0, AGE, 104)
    assert (moved >= 0).all() and (moved <= 1).all()


def test_a_bin_without_events_has_a_level_above_zero_and_a_curve_never_falls() -> None:
    random = np.random.default_rng(3)
    forecast = np.exp(random.normal(-3, 2, 5_000))
    curve = calibrated(forecast, random.poisson(forecast).astype(float), np.ones(5_000), 1.0)
    level = curve.log_level(np.geomspace(1e-8, 1e3, 200))
    assert np.isfinite(level).all() and (np.diff(level) >= 0).all()


def long_market(customers: int = 1_200, days: int = 1_500) -> OrderDays:
    """Gamma rates and exponential lifetimes: most customers left long ago."""
    random, offsets, day = np.random.default_rng(4), [0], []
    for _ in range(customers):
        clock, rate = random.uniform(0, 0.8 * days), random.gamma(1.0, 1 / 40) + 0.002
        end = clock + random.exponential(200)
        while clock < min(days, end):
            day.append(int(clock))
            clock += random.exponential(1 / rate) + 1
        offsets.append(len(day))
    return OrderDays(np.array(offsets), np.array(day, np.int32), np.full(len(day), 5.0))


def test_in_a_long_log_customers_who_left_long_ago_have_next_to_no_expected_orders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closed, "ROWS", 6_000)
    monkeypatch.setattr(trees, "ROUNDS", 15)
    orders, cutoff = long_market(), 1_400
    choice = choose(orders, 0, cutoff, [13], 1, MODELS)
    assert choice.drift is not None and set(choice.table["drift"]) == {*OUTCOMES}
    model = fit(orders, 0, cutoff, [13], choice.weights, 1, choice.name, choice.drift)
    state = recency(orders, cutoff)
    there = state.x >= 0
    expected = model.expect(orders, cutoff, [13]).orders[:, 0]
    assert expected.sum() == pytest.approx(ahead(orders, cutoff, cutoff + 91)[0][there].sum(), rel=0.35)
    gone = (state.t_end - state.t_x)[there] > 104
    assert gone.sum() > 200
    assert expected[gone].mean() < 0.1 * expected.mean()
