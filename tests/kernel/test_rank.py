"""The ranking kernels agree with their definitions, with scikit-learn, and with customers counted twice."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from propensity.kernel.rank import falling, purchase_ranking, revenue_ranking
from propensity.kernel.reference_rank import (
    auc_reference,
    average_precision_reference,
    capture_reference,
    lift_reference,
)

FRACTIONS = [0.01, 0.1, 0.37, 1.0]


def random_offer(seed: int, customers: int = 60):
    """Scores with ties, some customers drawn never or often, and one column that holds no customer at all."""
    random = np.random.default_rng(seed)
    score = np.round(random.random(customers), seed % 3).astype([np.float32, np.float64][seed % 2])
    bought = random.random(customers) < [0.0, 0.1, 0.6, 1.0][seed % 4]
    revenue = np.where(bought, np.round(random.gamma(2.0, 3.0, customers), 1), 0.0)
    weight = random.integers(0, 4, (customers, 7)).astype([np.uint8, np.uint16][seed % 2])
    weight[:, 0], weight[:, 6] = 1, 0
    return score, bought, revenue, weight


def ordered(score, among=None):
    order = np.argsort(-score, kind="stable")
    return order if among is None else order[among[order]]


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("seed", range(12))
def test_purchase_ranking_matches_its_definition(seed, fraction):
    score, bought, _, weight = random_offer(seed)
    result = purchase_ranking(ordered(score), score, bought, weight, fraction)
    for column, drawn in enumerate(weight.T.astype(float)):
        expected = [
            auc_reference(score, bought, drawn),
            average_precision_reference(score, bought, drawn),
            lift_reference(score, bought, drawn, fraction),
        ]
        np.testing.assert_allclose(result[:, column], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("seed", range(12))
def test_revenue_ranking_matches_its_definition(seed, fraction):
    score, _, revenue, weight = random_offer(seed)
    for ranking in (score, revenue):
        result = revenue_ranking(ordered(ranking), ranking, revenue, weight, fraction)
        expected = [capture_reference(ranking, revenue, drawn, fraction) for drawn in weight.T.astype(float)]
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", [1, 2, 5, 6])
def test_auc_and_precision_are_scikit_learns_on_replicated_rows(seed):
    score, bought, _, weight = random_offer(seed)
    result = purchase_ranking(ordered(score), score, bought, weight, 0.1)
    for column in range(weight.shape[1] - 1):
        again = np.repeat(np.arange(score.size), weight[:, column])
        assert result[0, column] == pytest.approx(roc_auc_score(bought[again], score[again]), abs=1e-12)
        assert result[1, column] == pytest.approx(average_precision_score(bought[again], score[again]), abs=1e-12)


@pytest.mark.parametrize("seed", range(1, 8))
def test_a_weight_is_that_many_rows(seed):
    score, bought, revenue, weight = random_offer(seed)
    again = np.repeat(np.arange(score.size), weight[:, 1])
    ones = np.ones((again.size, 1), np.uint8)
    weighted = purchase_ranking(ordered(score), score, bought, weight[:, 1:2], 0.1)
    repeated = purchase_ranking(ordered(score[again]), score[again], bought[again], ones, 0.1)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-12)
    weighted = revenue_ranking(ordered(score), score, revenue, weight[:, 1:2], 0.1)
    repeated = revenue_ranking(ordered(score[again]), score[again], revenue[again], ones, 0.1)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-12)


@pytest.mark.parametrize("seed", range(1, 8))
def test_the_order_of_customers_does_not_matter(seed):
    score, bought, revenue, weight = random_offer(seed)
    mixed = np.random.default_rng(seed).permutation(score.size)
    before = purchase_ranking(ordered(score), score, bought, weight, 0.1)
    after = purchase_ranking(ordered(score[mixed]), score[mixed], bought[mixed], weight[mixed], 0.1)
    np.testing.assert_allclose(before, after, rtol=1e-12)
    before = revenue_ranking(ordered(score), score, revenue, weight, 0.1)
    after = revenue_ranking(ordered(score[mixed]), score[mixed], revenue[mixed], weight[mixed], 0.1)
    np.testing.assert_allclose(before, after, rtol=1e-12)


@pytest.mark.parametrize("seed", [1, 2, 5, 6])
def test_a_slice_is_ranked_as_if_nobody_else_existed(seed):
    score, bought, revenue, weight = random_offer(seed)
    inside = np.random.default_rng(seed).random(score.size) < 0.7
    alone = score[inside]
    among = purchase_ranking(ordered(score, inside), score, bought, weight, 0.1)
    np.testing.assert_allclose(among, purchase_ranking(ordered(alone), alone, bought[inside], weight[inside], 0.1))
    among = revenue_ranking(ordered(score, inside), score, revenue, weight, 0.1)
    np.testing.assert_allclose(among, revenue_ranking(ordered(alone), alone, revenue[inside], weight[inside], 0.1))


def test_no_customers_make_no_ranking():
    nobody, weight = np.zeros(0, np.int64), np.ones((3, 2), np.uint8)
    assert np.isnan(purchase_ranking(nobody, np.zeros(3), np.ones(3, bool), weight, 0.1)).all()
    assert np.isnan(revenue_ranking(nobody, np.zeros(3), np.ones(3), weight, 0.1)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 5000])
def test_scores_fall_and_ties_stay_in_row_order(dtype: type, size: int) -> None:
    random = np.random.default_rng(size)
    spread = random.normal(size=size) * 10.0 ** random.integers(-30, 30, size)
    for score in (spread, spread.round(1), random.normal(size=size).round(1), np.abs(spread), -np.zeros(size)):
        score = score.astype(dtype)
        score[::7] *= -1
        np.testing.assert_array_equal(falling(score), np.argsort(-score, kind="stable"))
