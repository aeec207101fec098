"""A radix sort orders as a stable comparison sort does."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.kernel.rank import falling


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 5000])
def test_scores_fall_and_ties_stay_in_row_order(dtype: type, size: int) -> None:
    random = np.random.default_rng(size)
    spread = random.normal(size=size) * 10.0 ** random.integers(-30, 30, size)
    for score in (spread, spread.round(1), random.normal(size=size).round(1), np.abs(spread), -np.zeros(size)):
        score = score.astype(dtype)
        score[::7] *= -1
        np.testing.assert_array_equal(falling(score), np.argsort(-score, kind="stable"))
