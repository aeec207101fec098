"""The p-value of a ranking keeps its level, finds what is there, and depends on neither scale nor order."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.ab.learner import Arms, Others, cross_fitted, fit_ridge, folds
from propensity.ab.ranking_test import PValues, centred, doubly_robust_scores, places, ranking_p

NONE = Others(np.zeros((0, 5)), np.zeros(0, np.int64))


def drawn(seed: int, effect: float, n: int = 500) -> tuple[Arms, np.ndarray]:
    """Five covariates, of which the first has an effect on the effect, and the second on the outcome."""
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=(n, 5)), rng.random(n) < 0.5
    y = x[:, 1] + rng.normal(size=n) + effect * t * x[:, 0]
    return Arms(x, y, t, np.ones(n)), folds(np.arange(n), 5, seed)


def judged(arms: Arms, fold: np.ndarray) -> dict[str, PValues]:
    """p-values of the ranking by models of earlier folds, and of the one by all other folds."""
    fitted, score = cross_fitted(arms, fold, ["t"], fit_ridge, NONE), doubly_robust_scores(arms, fold)
    rankings = {"earlier": fitted.earlier["t"], "others": fitted.own["t"]}
    return {
        name: ranking_p(centred(score, np.isfinite(uplift), fold, None, 99, 1), uplift)
        for name, uplift in rankings.items()
    }


def test_a_ranking_of_nothing_is_claimed_at_its_level_by_earlier_folds_only() -> None:
    results = [judged(*drawn(seed, 0.0, 250)) for seed in range(200)]
    false = {name: np.mean([max(each[name]) <= 0.05 for each in results]) for name in ("earlier", "others")}
    assert false["earlier"] <= 0.09  # 5 % and two and a half standard errors
    assert false["others"] > false["earlier"]  # models of all other folds see every pair of customers twice


def test_a_ranking_of_an_effect_is_found() -> None:
    assert np.mean([max(judged(*drawn(seed, 0.4))["earlier"]) <= 0.05 for seed in range(30)]) > 0.7


def test_units_and_shifts_of_the_outcome_change_no_p_value() -> None:
    arms, fold = drawn(3, 0.2)
    one = judged(arms, fold)["earlier"].by_error
    assert judged(arms._replace(y=100 * arms.y + 7), fold)["earlier"].by_error == pytest.approx(one, rel=0.05)


def test_rows_of_a_customer_that_repeat_add_no_evidence() -> None:
    arms, fold = drawn(4, 0.2)
    score = doubly_robust_scores(arms, fold)
    uplift = cross_fitted(arms, fold, ["t"], fit_ridge, NONE).earlier["t"]
    one = ranking_p(centred(score, np.isfinite(uplift), fold, None, 99, 1), uplift)
    twice = [np.repeat(each, 3) for each in (score, uplift, fold)]
    unit = np.repeat(np.arange(fold.size), 3)
    three = ranking_p(centred(twice[0], np.isfinite(twice[1]), twice[2], unit, 99, 1), twice[1])
    assert three.by_error == pytest.approx(one.by_error, rel=1e-6) and three.by_orderings == one.by_orderings


def test_equal_uplift_is_no_evidence() -> None:
    arms, fold = drawn(5, 0.5)
    score = doubly_robust_scores(arms, fold)
    same = np.where(fold > 0, 1.0, np.nan)
    known = centred(score, np.isfinite(same), fold, None, 99, 1)
    assert max(ranking_p(known, same)) > 0.4 and max(ranking_p(known, np.full(500, np.nan))) == 1.0
    assert np.allclose(places(np.ones(4), np.zeros(4, np.int64)), 0.5)
