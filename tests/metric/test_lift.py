"""Revenue capture and its curve."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.errors import DataError
from propensity.metric.lift import SHARES, mean_curves, oracle_capture, revenue_capture, revenue_curve, revenue_lift

EXPECTED = np.array([0.9, 0.8, 0.3, 0.1])
REALISED = np.array([40.0, 0.0, 10.0, 0.0])


def random_market(seed: int, customers: int = 40, offers: int = 6):
    random = np.random.default_rng(seed)
    realised = random.gamma(1.0, 5.0, (customers, offers)) * (random.random((customers, offers)) < 0.3)
    realised[:, 0] = 0.0  # an offer nobody bought
    return np.round(random.random((customers, offers)), 1), realised


def test_a_hand_computed_table():
    assert revenue_capture(EXPECTED, REALISED, 0.25) == 0.8
    assert revenue_capture(EXPECTED, REALISED, 0.625) == pytest.approx(0.9)  # half of the third customer
    assert revenue_lift(EXPECTED, REALISED, 0.25) == 3.2
    assert oracle_capture(REALISED, 0.5) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_no_ranking_captures_more_than_the_oracle(seed):
    expected, realised = random_market(seed)
    for m in range(1, expected.shape[1]):
        assert revenue_capture(expected[:, m], realised[:, m]) <= oracle_capture(realised[:, m]) + 1e-12


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.33, 1.0])
def test_the_curve_read_at_a_fraction_is_the_capture(fraction):
    expected, realised = (table[:, 2] for table in random_market(1))
    place = int(np.argmin(np.abs(SHARES - fraction)))
    assert revenue_curve(expected, realised)[place] == pytest.approx(revenue_capture(expected, realised, fraction))


def test_a_curve_rises_from_nothing_to_everything():
    curve = revenue_curve(*(table[:, 1] for table in random_market(2)))
    assert curve[0] == 0.0 and curve[-1] == pytest.approx(1.0) and (np.diff(curve) >= -1e-12).all()


def test_equal_expectations_draw_the_diagonal():
    np.testing.assert_allclose(revenue_curve(np.zeros(4), REALISED), SHARES, atol=1e-12)


def test_mean_curves_weigh_offers_by_revenue_or_equally():
    expected, realised = random_market(3)
    sold = realised.sum(axis=0)
    single = np.stack([revenue_curve(expected[:, m], realised[:, m]) for m in range(1, 6)])
    by_revenue, plain = mean_curves(expected, realised, evaluated=np.array([True, True, True, False, False, False]))
    np.testing.assert_allclose(by_revenue, np.average(single, axis=0, weights=sold[1:]))
    np.testing.assert_allclose(plain, single[:2].mean(axis=0))


def test_without_sales_there_is_no_capture_and_no_curve():
    with pytest.raises(DataError, match="capture is undefined: no revenue in 4 customers; raise data.horizon"):
        revenue_capture(EXPECTED, np.zeros(4))
    with pytest.raises(DataError, match="a revenue curve is undefined: no revenue in 4 customers"):
        revenue_curve(EXPECTED, np.zeros(4))
    assert np.isnan(mean_curves(EXPECTED[:, None], np.zeros((4, 1)), np.array([True]))).all()
