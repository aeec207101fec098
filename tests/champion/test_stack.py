"""Laws of the stack and of the choice, on made-up log-odds."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.baseline.regression import log_losses, logistic
from propensity.champion.choose import STACK, choose
from propensity.champion.outcome import ValidationPairs
from propensity.champion.stack import cross_fitted_logit, fit_amounts, fit_stack, prior_weights, shrunk_power, single


def made_up(noises: dict[str, float], customers: int = 400, offers: int = 10, seed: int = 1) -> ValidationPairs:
    """Candidates that see the true log-odds with independent noise of these standard deviations."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1.5, 1.5, customers * offers)
    logit = np.stack([truth + noise * rng.normal(size=truth.size) for noise in noises.values()])
    bought = rng.random(truth.size) < logistic(truth)
    usual = np.exp(rng.normal(2.0, 0.7, truth.size))
    amount = np.stack([usual * np.exp(noise * rng.normal(size=truth.size)) for noise in noises.values()])
    revenue = np.where(bought, usual * np.exp(0.3 * rng.normal(size=truth.size)), 0.0)
    customer = np.repeat(np.arange(customers), offers)
    past = rng.random(truth.size) < 0.4
    return ValidationPairs(tuple(noises), logit, amount, bought, revenue, past, customer)


def test_the_stack_of_one_candidate_is_that_candidate() -> None:
    pairs = made_up({"network": 0.5})
    stack = fit_stack(pairs, 1.0)
    assert stack == single(("network",), "network", 1.0)
    np.testing.assert_array_equal(stack.logit(pairs.logit, pairs.past), pairs.logit[0])


@pytest.mark.parametrize("seed", range(8))
def test_the_stack_is_never_worse_than_the_best_candidate_on_the_pairs_of_its_fit(seed: int) -> None:
    pairs = made_up({"logistic": 0.9, "lightgbm": 0.5, "network": 0.4}, customers=60, seed=seed)
    stack = fit_stack(pairs, 1.0)
    losses = log_losses(pairs.logit, pairs.bought).sum(axis=1)
    assert log_losses(stack.logit(pairs.logit, pairs.past), pairs.bought).sum() <= losses.min() + 1e-9


def test_two_independent_candidates_are_better_together_and_become_champion() -> None:
    pairs = made_up({"lightgbm": 0.8, "network": 0.8}, customers=1500)
    stack = fit_stack(pairs, 1.0)
    choice = choose(pairs, cross_fitted_logit(pairs, stack, 3))
    assert choice.champion == STACK and choice.candidates["network"]["low"] > 0
    assert min(stack.past.weight) > 0.2 and choice.why.startswith("its log loss on 1 validation window is 0.")
    assert (
        f"of {min(choice.candidates.keys() - {STACK}, key=lambda name: choice.candidates[name]['log_loss'])},"
        in choice.why
    )


def test_a_useless_candidate_gets_hardly_any_weight() -> None:
    weights = []
    for seed in range(4):
        pairs = made_up({"frequency": 0.2, "network": 0.2}, customers=1500, seed=seed)
        useless = np.random.default_rng(100 + seed).normal(-1.5, 1.0, pairs.bought.size)
        stack = fit_stack(pairs._replace(logit=np.stack([useless, pairs.logit[1]])), 1.0)
        weights += [stack.past.weight[0], stack.never_bought.weight[0]]
    assert np.mean(weights) < 0.05


def test_a_single_candidate_is_served_where_it_is_better_than_the_stack() -> None:
    pairs = made_up({"lightgbm": 0.8, "network": 0.2})
    choice = choose(pairs, np.zeros(pairs.bought.size))
    assert choice.champion == "network" and "the stack's difference is +" in choice.why


def test_the_stack_is_served_where_nothing_tells_it_from_a_candidate() -> None:
    pairs = made_up({"network": 0.2})
    twice = pairs._replace(names=("lightgbm", "network"), logit=pairs.logit[[0, 0]], amount=pairs.amount[[0, 0]])
    assert choose(twice, twice.logit[0]).champion == STACK


def test_few_purchases_leave_the_mean_of_the_candidates_that_they_cannot_tell_apart() -> None:
    few = prior_weights(made_up({"lightgbm": 0.8, "network": 0.7}, customers=6))
    many = prior_weights(made_up({"lightgbm": 0.8, "network": 0.2}, customers=1500))
    assert few.min() > 0.2 and many.tolist() == [0.0, 1.0]
    assert few.sum() == pytest.approx(1)


def test_a_segment_without_purchases_takes_the_weights_of_all_pairs() -> None:
    pairs = made_up({"lightgbm": 0.8, "network": 0.6})
    pairs = pairs._replace(bought=pairs.bought & pairs.past)
    weights = fit_stack(pairs, 1.0).never_bought
    assert weights.weight == tuple(prior_weights(pairs).tolist()) and weights.intercept == 0


@pytest.mark.parametrize("shift", [0.7, -0.7])
def test_a_window_with_another_level_moves_the_total_by_a_quarter_whatever_the_slopes(shift: float) -> None:
    rng = np.random.default_rng(6)
    truth = rng.normal(-6.0, 1.5, 200_000)  # purchases are rare: few pairs have most of them
    logit = np.stack([truth + shift + 0.2 * rng.normal(size=truth.size) for _ in range(2)])
    bought = rng.random(truth.size) < logistic(truth)
    rows, amount = np.arange(truth.size), np.ones_like(logit)
    pairs = ValidationPairs(("lightgbm", "network"), logit, amount, bought, bought * 1.0, rows % 2 == 0, rows)
    stack = fit_stack(pairs, 1.0)
    expected = logistic(stack.logit(logit, pairs.past)).sum()
    moved = np.log(logistic(logit.mean(axis=0)).sum() / expected) / shift
    assert 0.15 < moved < 0.4
    assert sum(stack.past.weight) == pytest.approx(1, abs=0.1)


def test_amounts_are_weighed_by_how_well_they_match() -> None:
    pairs = made_up({"lightgbm": 0.1, "network": 0.6}, customers=1000)
    weights = fit_amounts(pairs, 1.0, "network")
    assert weights.weight[0] > 0.9 and sum(weights.weight) == pytest.approx(1, abs=0.05)
    bought = pairs.bought
    assert weights.amount(pairs.amount)[bought].sum() == pytest.approx(pairs.revenue[bought].sum(), rel=0.03)


def test_the_largest_expected_amounts_are_not_overstated() -> None:
    pairs = made_up({"lightgbm": 0.4, "network": 0.5}, customers=2000)
    pairs = pairs._replace(amount=pairs.amount.mean() * (pairs.amount / pairs.amount.mean()) ** 1.3)
    earlier, later = pairs.only(pairs.customer < 1000), pairs.only(pairs.customer >= 1000)
    amount = fit_amounts(earlier, 1.0).amount(later.amount)
    top = later.bought & (amount >= np.quantile(amount, 0.9))
    assert amount[top].sum() == pytest.approx(later.revenue[top].sum(), rel=0.06)
    assert sum(fit_amounts(earlier, 1.0).weight) < 0.85


@pytest.mark.parametrize("buyers", [2, 3, 5])
def test_a_few_buyers_hardly_move_the_power_of_the_amounts(buyers: int) -> None:
    rng = np.random.default_rng(buyers)
    for _ in range(50):
        expected = np.exp(0.5 * rng.normal(size=buyers))
        paid = expected * np.exp(0.7 * rng.normal(size=buyers))
        assert shrunk_power(paid, expected) == pytest.approx(1.0, abs=0.1)


def test_equal_amounts_are_counted_once() -> None:
    pairs = made_up({"logistic": 0.2, "network": 0.2})
    pairs = pairs._replace(
        names=("frequency", "logistic", "network"), logit=pairs.logit[[0, 0, 1]], amount=pairs.amount[[0, 0, 1]]
    )
    assert sum(weight > 0 for weight in fit_amounts(pairs, 1.0).weight[:2]) == 1


def test_a_market_without_revenue_has_no_amounts() -> None:
    pairs = made_up({"lightgbm": 0.1, "network": 0.6})
    none = pairs._replace(amount=np.zeros_like(pairs.amount), revenue=np.zeros_like(pairs.revenue))
    assert (fit_stack(none, 1.0).amount.amount(none.amount) == 0).all()


@pytest.mark.parametrize("factor", [0.01, 4.0, 16_000.0])
def test_the_currency_changes_no_weight(factor: float) -> None:
    pairs = made_up({"lightgbm": 0.3, "network": 0.6})
    scaled = pairs._replace(amount=pairs.amount * factor, revenue=pairs.revenue * factor)
    ours, theirs = fit_stack(pairs, 2.0), fit_stack(scaled, 2.0 * factor)
    assert (ours.past, ours.never_bought) == (theirs.past, theirs.never_bought)
    np.testing.assert_allclose(
        theirs.amount.amount(scaled.amount), factor * ours.amount.amount(pairs.amount), rtol=1e-9
    )


def test_one_large_purchase_hardly_moves_the_amounts() -> None:
    pairs = made_up({"lightgbm": 0.2, "network": 0.4}, customers=300)
    revenue = pairs.revenue.copy()
    revenue[np.flatnonzero(pairs.bought)[0]] = 38_970.0
    ours, theirs = (fit_amounts(each, 1.0).amount(pairs.amount) for each in (pairs, pairs._replace(revenue=revenue)))
    np.testing.assert_allclose(theirs, ours, rtol=0.05)


def test_a_stack_with_a_higher_log_loss_says_that_the_interval_contains_0() -> None:
    pairs = made_up({"lightgbm": 0.8, "network": 0.2}, customers=300)
    noise = np.random.default_rng(5).normal(0.0, 0.05, pairs.bought.size)
    choice = choose(pairs, pairs.logit[1] + noise)
    losses = {name: choice.candidates[name]["log_loss"] for name in ("network", STACK)}
    assert choice.champion == STACK and losses[STACK] > losses["network"]
    assert (
        f"is {losses[STACK]:.4f} and that of network, the best single candidate, {losses['network']:.4f}" in choice.why
    )
    assert "the interval of the difference contains 0" in choice.why
