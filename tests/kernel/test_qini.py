"""The Qini kernel equals its definition, customers with equal scores are one step, and its memory is flat."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from propensity.ab.qini import Ranking, qini
from propensity.kernel.qini import qini_and_auuc
from propensity.kernel.rank import falling


def reference(score: np.ndarray, y: np.ndarray, treated: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """The areas under the Qini and the uplift curve, from the sums above each distinct score."""
    share, gain, uplift = [0.0], [0.0], [0.0]
    for cut in np.unique(score)[::-1]:
        (n_t, s_t), (n_c, s_c) = (
            (weight[mask].sum(), (weight * y)[mask].sum())
            for mask in ((score >= cut) & treated, (score >= cut) & ~treated)
        )
        share.append((n_t + n_c) / weight.sum())
        gain.append(s_t - (s_c * n_t / n_c if n_c else 0.0))
        uplift.append((s_t / n_t - s_c / n_c) * share[-1] if n_t and n_c else 0.0)
    area = np.trapezoid(gain, share) - gain[-1] / 2
    return float(area / weight[treated].sum()), float(np.trapezoid(uplift, share))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("levels", [3, 50, 10**9])
def test_the_qini_kernel_matches_its_definition(seed: int, levels: int) -> None:
    rng, n = np.random.default_rng(seed), 200
    score, treated = rng.integers(0, levels, n).astype(float), rng.random(n) < 0.4
    y = np.where(rng.random(n) < 0.3, rng.lognormal(2, 1, n), 0.0) - (seed % 2) * rng.random(n)
    weight = rng.random(n) + 0.5
    arguments = score, y, treated, weight
    np.testing.assert_allclose(qini_and_auuc(falling(score), *arguments), reference(*arguments), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("levels", [1, 4])
def test_the_order_of_equal_scores_changes_no_digit_of_the_area(levels: int) -> None:
    rng, n = np.random.default_rng(levels), 300
    score, treated, y = rng.integers(0, levels, n).astype(float), rng.random(n) < 0.5, rng.random(n)
    values = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(n)
        order = order[np.argsort(-score[order], kind="stable")]  # another order within each score
        values.append(qini_and_auuc(order, score, y, treated, np.ones(n)))
    np.testing.assert_allclose(values, [values[0]] * 5, rtol=1e-12, atol=1e-15)


def test_a_constant_score_has_no_qini() -> None:
    rng = np.random.default_rng(0)
    y, treated = rng.random(100), rng.random(100) < 0.5
    assert qini_and_auuc(np.arange(100), np.zeros(100), y, treated, np.ones(100))[0] == pytest.approx(0, abs=1e-15)


def test_without_one_of_the_arms_there_is_no_qini() -> None:
    assert np.isnan(qini_and_auuc(np.arange(3), np.arange(3.0), np.ones(3), np.ones(3, bool), np.ones(3))).all()


def test_the_memory_of_qini_does_not_grow_with_the_resamples() -> None:
    rng, n = np.random.default_rng(0), 20_000
    ranking = Ranking(rng.random(n), rng.random(n) < 0.5, np.ones(n))
    score, peaks = rng.random(n), []
    qini(ranking, score, 1, 0)  # compiles
    for resamples in (2, 40):
        tracemalloc.start()
        qini(ranking, score, resamples, 0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] and peaks[0] < 100 * n
