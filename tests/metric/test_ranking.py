"""Rankings of one offer, by tables small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.errors import DataError
from propensity.metric.ranking import auc, average_precision, lift

SCORE = np.array([0.9, 0.8, 0.8, 0.4, 0.2])
BOUGHT = np.array([True, False, True, False, False])


def test_a_hand_computed_table():
    assert auc(SCORE, BOUGHT) == pytest.approx(5.5 / 6)  # five of six pairs are in order, one is tied
    assert average_precision(SCORE, BOUGHT) == pytest.approx(0.5 * 1.0 + 0.5 * 2 / 3)
    assert lift(SCORE, BOUGHT, fraction=0.4) == pytest.approx((1 + 0.5) / 2 / 0.4)  # the cut takes half of the tied two


@pytest.mark.parametrize("fraction", [0.05, 0.1, 1.0])
def test_equal_scores_are_a_random_ranking(fraction):
    flat = np.full(5, 0.3)
    assert auc(flat, BOUGHT) == 0.5
    assert average_precision(flat, BOUGHT) == pytest.approx(0.4)
    assert lift(flat, BOUGHT, fraction) == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8, bool])
def test_any_numbers_can_rank(dtype):
    score = np.array([1, 0, 1, 0, 0]).astype(dtype)
    assert auc(score, BOUGHT) == average_precision(score, BOUGHT) == 1.0


def test_a_monotone_change_of_scale_changes_nothing():
    assert auc(np.log(SCORE), BOUGHT) == auc(SCORE, BOUGHT)
    assert lift(SCORE * 1e3 - 7, BOUGHT) == lift(SCORE, BOUGHT)


def test_whole_weights_stand_for_rows():
    weight = np.array([2, 1, 0, 3, 1])
    again = np.repeat(np.arange(5), weight)
    assert auc(SCORE, BOUGHT, weight) == auc(SCORE[again], BOUGHT[again])
    assert lift(SCORE, BOUGHT, 0.2, weight) == lift(SCORE[again], BOUGHT[again], 0.2)


@pytest.mark.parametrize(
    ("score", "bought", "words"),
    [
        (SCORE[:4], BOUGHT, r"scores \(4,\) and outcomes \(5,\) must be two lists of equal length"),
        (np.where(BOUGHT, np.nan, SCORE), BOUGHT, "not finite"),
        (SCORE, BOUGHT & False, "0 did, 5 did not; widen data.horizon"),
        (SCORE, BOUGHT | True, "5 did, 0 did not"),
    ],
)
def test_what_cannot_be_ranked_is_refused(score, bought, words):
    with pytest.raises(DataError, match=words):
        auc(score, bought)


def test_fractions_and_weights_are_checked():
    with pytest.raises(DataError, match=r"fraction is 0.0; keep a share of the customers in \(0, 1\]"):
        lift(SCORE, BOUGHT, fraction=0.0)
    with pytest.raises(DataError, match="must be 5 whole numbers"):
        average_precision(SCORE, BOUGHT, np.full(5, 0.5))
