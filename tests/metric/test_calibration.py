"""Log loss, calibration error and reliability."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss as scikit_log_loss

from propensity.errors import DataError
from propensity.metric.calibration import (
    calibration_error,
    equal_mass_bin,
    log_loss,
    reliability,
    resampled_calibration_error,
)


def random_pairs(seed: int, customers: int = 50, offers: int = 8, digits: int = 2):
    random = np.random.default_rng(seed)
    probability = np.round(random.beta(1.0, 4.0, (customers, offers)), digits)
    return probability, random.random((customers, offers)) < probability


def test_log_loss_is_scikit_learns_inside_the_clip():
    probability, bought = random_pairs(0)
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    assert log_loss(probability, bought) == pytest.approx(scikit_log_loss(bought.ravel(), clipped.ravel()))


def test_certainty_that_is_wrong_costs_the_clip():
    assert log_loss(np.array([0.0]), np.array([True])) == pytest.approx(-np.log(1e-6))
    assert log_loss(np.array([1.0], np.float32), np.array([False])) == pytest.approx(-np.log(1e-6))


@pytest.mark.parametrize("digits", [1, 2, 9])
def test_equal_probabilities_share_a_bin(digits):
    probability, _ = random_pairs(1, digits=digits)
    number = equal_mass_bin(probability)
    assert all(np.unique(number[probability == value]).size == 1 for value in np.unique(probability))
    assert number.max() < 15


def test_distinct_probabilities_fill_fifteen_bins_evenly():
    number = equal_mass_bin(np.random.default_rng(2).random(1500))
    assert np.bincount(number).tolist() == [100] * 15


def test_the_reliability_table_keeps_every_pair():
    probability, bought = random_pairs(3)
    table = reliability(probability, bought)
    assert table.pairs.sum() == probability.size
    assert (table.predicted * table.pairs).sum() == pytest.approx(probability.sum())
    assert (table.observed * table.pairs).sum() == pytest.approx(bought.sum())
    assert (np.diff(table.predicted) > 0).all()


def test_a_hand_computed_error():
    probability = np.array([0.2, 0.2, 0.6, 0.6])
    assert calibration_error(probability, np.array([0, 0, 1, 0]), bins=2) == pytest.approx((0.4 + 0.2) / 4)


def test_one_constant_at_the_base_rate_is_calibrated():
    bought = random_pairs(4)[1]
    assert calibration_error(np.full(bought.shape, bought.mean()), bought) == pytest.approx(0.0, abs=1e-12)


def test_resampling_keeps_the_edges_of_the_full_sample():
    probability, bought = random_pairs(5)
    weight = np.random.default_rng(5).integers(0, 3, (50, 4)).astype(np.uint8)
    weight[:, 0] = 1
    result = resampled_calibration_error(probability, bought, weight)
    assert result[0] == pytest.approx(calibration_error(probability, bought))
    number, again = equal_mass_bin(probability), np.repeat(np.arange(50), weight[:, 1])
    excess = np.bincount(number[again].ravel(), weights=(probability - bought)[again].ravel())
    assert result[1] == pytest.approx(np.abs(excess).sum() / (again.size * 8))


def test_what_is_no_probability_is_refused():
    with pytest.raises(DataError, match=r"probabilities reach from -0.5 to 0.5; calibrate them into \[0, 1\] first"):
        log_loss(np.array([-0.5, 0.5]), np.array([True, False]))
    with pytest.raises(DataError, match=r"probabilities \(2,\) and outcomes \(1,\) must share one shape"):
        calibration_error(np.array([0.5, 0.5]), np.array([True]))
