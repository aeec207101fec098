"""Bayesian ridge regression with a variance for each coefficient keeps what the data show and drops the rest."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.ab.learner import fit_ard, fit_gcv


def drawn(seed: int, n: int = 2000, covariates: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariates, outcomes that two of them change a little, and weights."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, covariates))
    return x, 0.3 * x[:, 0] - 0.2 * x[:, 1] + 3 * rng.normal(size=n), rng.uniform(0.5, 1.5, n)


def test_few_relevant_covariates_are_predicted_better_than_by_one_penalty() -> None:
    error: dict[str, list[float]] = {"ard": [], "gcv": []}
    for seed in range(20):
        x, y, w = drawn(seed)
        truth = 0.3 * x[:, 0] - 0.2 * x[:, 1]
        for name, fit in {"ard": fit_ard, "gcv": fit_gcv}.items():
            error[name].append(float(np.var(fit(x, y, w)(x) - truth)))
    assert np.mean(error["ard"]) < 0.8 * np.mean(error["gcv"])


def test_units_of_covariates_and_outcomes_change_nothing() -> None:
    x, y, w = drawn(1)
    unit = np.geomspace(1e-3, 1e3, x.shape[1])
    assert 100 * fit_ard(x, y, w)(x) + 7 == pytest.approx(fit_ard(x * unit, 100 * y + 7, 3 * w)(x * unit), abs=1e-3)


def test_a_covariate_that_stands_twice_changes_nothing() -> None:
    x, y, w = drawn(2)
    assert fit_ard(np.column_stack([x, x[:, 0]]), y, w)(np.column_stack([x, x[:, 0]])) == pytest.approx(
        fit_ard(x, y, w)(x), abs=0.02
    )


@pytest.mark.parametrize("covariates", [0, 3])
def test_without_anything_to_learn_everybody_gets_the_mean(covariates: int) -> None:
    x, y, w = np.ones((50, covariates)), np.arange(50.0), np.ones(50)
    assert fit_ard(x, y, w)(x) == pytest.approx(np.full(50, 24.5))
    assert fit_ard(np.random.default_rng(3).normal(size=x.shape), np.full(50, 2.0), w)(x) == pytest.approx(
        np.full(50, 2.0)
    )


def test_an_exact_outcome_is_predicted_exactly() -> None:
    x, _, w = drawn(4, 200, 5)
    assert fit_ard(x, 2 * x[:, 3] + 1, w)(x) == pytest.approx(2 * x[:, 3] + 1, abs=1e-4)
