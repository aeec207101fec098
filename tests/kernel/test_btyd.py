"""Likelihoods and forecasts of buy-till-you-die models against definitions, simulation and each other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng

from propensity.kernel.btyd import (
    bg_nbd_alive,
    bg_nbd_forecast,
    bg_nbd_log_likelihood,
    gamma_gamma_log_likelihood,
    log_hyp2f1_unit,
    pareto_nbd_alive,
    pareto_nbd_forecast,
    pareto_nbd_log_likelihood,
)

special, integrate = pytest.importorskip("scipy.special"), pytest.importorskip("scipy.integrate")
PARETO = np.array([0.6, 11.6, 0.52, 8.8])
STATES = [(0, 0.0, 30.0), (1, 5.0, 30.0), (7, 29.0, 38.0), (3, 38.0, 38.0), (40, 20.0, 38.0), (0, 0.0, 0.0)]


def columns(states: list[tuple[int, float, float]]) -> tuple[np.ndarray, ...]:
    return tuple(np.array(column, float) for column in zip(*states, strict=True))


def pareto_reference(parameters: np.ndarray, x: float, t_x: float, t: float) -> float:
    """Log likelihood with the drop-out integrated out numerically."""
    r, alpha, s, beta = parameters
    common = special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha)
    stays = (alpha + t) ** -(r + x) * (beta / (beta + t)) ** s
    leaves = integrate.quad(
        lambda u: s * beta**s * (beta + u) ** -(s + 1) * (alpha + u) ** -(r + x), t_x, t, epsabs=0, epsrel=1e-11
    )[0]
    return float(common + np.log(stays + leaves))


@pytest.mark.parametrize("b, c, z", [(1.2, 3.0, 0.3), (5.0, 7.5, 0.99), (0.3, 2.0, 0.9999), (300.0, 302.0, 0.8)])
def test_the_continued_fraction_is_the_hypergeometric_function(b: float, c: float, z: float) -> None:
    assert log_hyp2f1_unit(b, c, z) == pytest.approx(np.log(special.hyp2f1(1, b, c, z)), rel=1e-8)


@pytest.mark.parametrize("parameters", [PARETO, np.array([0.6, 2.0, 0.9, 20.0]), np.array([2.0, 5.0, 1.0, 5.0])])
def test_the_likelihood_of_pareto_nbd_integrates_over_the_day_of_the_drop_out(parameters: np.ndarray) -> None:
    x, t_x, t = columns(STATES)
    result = pareto_nbd_log_likelihood(parameters, x, t_x, t)
    np.testing.assert_allclose(result, [pareto_reference(parameters, *state) for state in STATES], rtol=1e-7, atol=1e-9)


def test_likelihoods_of_a_customer_with_a_hundred_thousand_orders_are_finite() -> None:
    x, t_x, t = columns([(100_000, 1000.0, 1000.0)])
    assert np.isfinite(pareto_nbd_log_likelihood(PARETO, x, t_x, t)).all()
    active, orders = pareto_nbd_forecast(PARETO, x, t_x, t, np.array([1.0, 10.0]))
    assert np.isfinite(orders).all() and orders[0, 1] > 500 and active[0, 0] > 0.9
    for modified in (False, True):
        active, orders = bg_nbd_forecast(np.array([0.25, 4.4, 0.8, 2.4]), x, t_x, t, modified, np.array([1.0, 10.0]))
        assert np.isfinite(orders).all() and 500 < orders[0, 1] < 1_500 and active[0, 1] > 0.9


def test_the_likelihood_of_bg_nbd_is_the_published_one() -> None:
    r, alpha, a, b = parameters = np.array([0.243, 4.414, 0.793, 2.426])
    x, t_x, t = columns(STATES)
    stays = special.betaln(a, b + x) - special.betaln(a, b) - (r + x) * np.log(alpha + t)
    leaves = special.betaln(a + 1, b + np.maximum(x, 1) - 1) - special.betaln(a, b) - (r + x) * np.log(alpha + t_x)
    both = np.where(x > 0, np.logaddexp(stays, leaves), stays)
    expected = special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha) + both
    np.testing.assert_allclose(bg_nbd_log_likelihood(parameters, x, t_x, t, False), expected, rtol=1e-10)


def test_the_forecast_of_pareto_nbd_is_that_of_simulated_customers_without_a_second_order() -> None:
    random, size, t, weeks = default_rng(3), 400_000, 30.0, np.array([13.0, 39.0])
    rate, leaving = random.gamma(PARETO[0], 1 / PARETO[1], size), random.gamma(PARETO[2], 1 / PARETO[3], size)
    life, first = random.exponential(1 / leaving), random.exponential(1 / rate)
    silent = first > np.minimum(life, t)
    following = np.where(life > t, t + random.exponential(1 / rate), np.inf)
    x, t_x, t_end = columns([(0, 0.0, t)])
    active, orders = pareto_nbd_forecast(PARETO, x, t_x, t_end, weeks)
    for k, w in enumerate(weeks):
        seen = (following < np.minimum(t + w, life))[silent].mean()
        assert active[0, k] == pytest.approx(seen, abs=4 * np.sqrt(seen / silent.sum()))
        expected = (rate * np.clip(np.minimum(life, t + w) - t, 0, None))[silent].mean()
        assert orders[0, k] == pytest.approx(expected, rel=0.03)
    alive = (life > t)[silent].mean()
    assert pareto_nbd_alive(PARETO, x, t_x, t_end)[0] == pytest.approx(alive, abs=0.005)


@pytest.mark.parametrize("modified", [False, True])
def test_the_forecast_of_bg_nbd_is_that_of_simulated_customers_without_a_second_order(modified: bool) -> None:
    parameters, random, size, t, w = np.array([0.6, 7.0, 0.8, 1.5]), default_rng(4), 300_000, 20.0, 30.0
    rate, leaving = random.gamma(parameters[0], 1 / parameters[1], size), random.beta(0.8, 1.5, size)
    here = random.random(size) >= leaving if modified else np.ones(size, bool)
    silent = ~(here & (random.exponential(1 / rate) < t))
    here &= silent
    orders = np.zeros(size)
    clock = random.exponential(1 / rate)
    while (more := here & (clock < w)).any():
        orders[more] += 1
        here = more & (random.random(size) >= leaving)
        clock = clock + random.exponential(1 / rate)
    x, t_x, t_end = columns([(0, 0.0, t)])
    active, expected = bg_nbd_forecast(parameters, x, t_x, t_end, modified, np.array([w]))
    assert expected[0, 0] == pytest.approx(orders[silent].mean(), rel=0.03)
    assert active[0, 0] == pytest.approx((orders[silent] > 0).mean(), rel=0.03)
    assert bg_nbd_alive(parameters, x, t_x, t_end, modified)[0] <= 1.0


def test_gamma_gamma_is_the_density_of_a_mean_of_gamma_amounts() -> None:
    parameters, x = np.array([2.0, 3.0, 10.0]), np.array([3.0])
    density = integrate.quad(
        lambda z: float(np.exp(gamma_gamma_log_likelihood(parameters, x, np.array([z]))[0])), 0, np.inf
    )[0]
    mean = integrate.quad(
        lambda z: z * float(np.exp(gamma_gamma_log_likelihood(parameters, x, np.array([z]))[0])), 0, np.inf
    )[0]
    assert density == pytest.approx(1.0, rel=1e-6)
    assert mean == pytest.approx(2.0 * 10.0 / (3.0 - 1.0), rel=1e-5)  # p gamma / (q - 1)
