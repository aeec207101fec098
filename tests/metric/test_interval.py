"""Bootstrap resamples, intervals and verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.errors import DataError
from propensity.metric.interval import (
    Interval,
    bootstrap_interval,
    minimum_detectable_effect,
    resample_weights,
    verdict,
)


def test_every_resample_has_as_many_customers_as_there_are():
    (weight,) = resample_weights([np.arange(50)], resamples=20, seed=1)
    assert weight.shape == (50, 21)
    assert (weight[:, 0] == 1).all() and (weight.sum(axis=0) == 50).all()


def test_a_customer_weighs_the_same_at_every_cutoff():
    early, late = np.array(["b", "a", "d"]), np.array(["d", "c", "b"])
    first, second = resample_weights([early, late], resamples=30, seed=2)
    np.testing.assert_array_equal(first[0], second[2])
    np.testing.assert_array_equal(first[2], second[0])


def test_a_seed_determines_the_resamples():
    draw = [resample_weights([np.arange(40)], 5, seed)[0] for seed in (3, 3, 4)]
    assert (draw[0] == draw[1]).all() and (draw[0] != draw[2]).any()


def test_an_interval_is_recentred_on_the_point():
    drawn = np.random.default_rng(5).normal(7.0, 1.0, 4000)  # biased by two
    value, low, high = bootstrap_interval(np.append(5.0, drawn))
    assert value == 5.0
    assert (low, high) == pytest.approx((5 - 1.96, 5 + 1.96), abs=0.12)


def test_the_interval_of_the_mean_has_the_width_of_its_standard_error():
    spend = np.random.default_rng(6).gamma(2.0, 3.0, 400)
    (weight,) = resample_weights([np.arange(400)], 1000, seed=6)
    _, low, high = bootstrap_interval(spend @ weight / 400)
    assert (high - low) / 3.92 == pytest.approx(spend.std() / 20, rel=0.1)


def test_undefined_resamples_are_left_out():
    assert bootstrap_interval(np.array([1.0, np.nan, 1.0, 1.0])) == Interval(1.0, 1.0, 1.0)
    assert np.isnan(bootstrap_interval(np.array([1.0]))[1:]).all()


@pytest.mark.parametrize(
    ("interval", "higher", "lower"),
    [
        (Interval(2, 1, 3), "win", "loss"),
        (Interval(-2, -3, -1), "loss", "win"),
        (Interval(1, 0, 2), "tie", "tie"),
        (Interval(1, -1, 3), "tie", "tie"),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(interval, higher, lower):
    assert verdict(interval) == higher
    assert verdict(interval, lower_is_better=True) == lower


def test_a_negative_number_of_resamples_is_refused():
    with pytest.raises(DataError, match="resamples is -1; ask for 0 or more"):
        resample_weights([np.arange(3)], -1, 0)


def test_the_minimum_detectable_effect_is_detected_in_four_of_five_samples():
    """Of samples whose true difference is that large, four in five have an interval above zero."""
    random = np.random.default_rng(8)
    error = minimum_detectable_effect(np.append(0.0, random.normal(0, 0.5, 50_000))) / 2.8
    assert error == pytest.approx(0.5, rel=0.02)
    estimates = random.normal(2.8 * error, error, 50_000)
    assert np.mean(estimates - 1.96 * error > 0) == pytest.approx(0.8, abs=0.01)
    assert np.isnan(minimum_detectable_effect(np.array([1.0])))
