"""Laws of the mean and spread of pair columns among the customers for the same offer."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.kernel.within_offer import ENOUGH, NARROW, add_moments, standardisation

CUSTOMERS, OFFERS, COLUMNS = 60, 5, 3
FACTOR = np.array([1.0, 0.25, 1.0], np.float32)


def pairs(seed: int) -> np.ndarray:
    """(B, M, P) with values of both signs, missing ones, and another level for each offer."""
    random = np.random.default_rng(seed)
    pair = (random.normal(size=(CUSTOMERS, OFFERS, COLUMNS)) + 1) * np.arange(1, OFFERS + 1)[:, None]
    pair[random.random(pair.shape) < 0.2] = np.nan
    return pair.astype(np.float32)


def table(pair: np.ndarray, block: int = CUSTOMERS) -> np.ndarray:
    """The table (M, 2, P) of all customers, who are added block by block."""
    sums = np.zeros((3, OFFERS, COLUMNS))
    for start in range(0, CUSTOMERS, block):
        add_moments(pair[start : start + block], FACTOR, sums)
    return standardisation(sums)


def logs(pair: np.ndarray) -> np.ndarray:
    return np.sign(pair) * np.log1p(np.abs(pair * FACTOR))


@pytest.mark.parametrize("seed", range(3))
def test_signed_logs_have_mean_0_and_deviation_1_among_the_customers_for_each_offer(seed: int) -> None:
    pair = pairs(seed)
    mean, inverse = table(pair).swapaxes(0, 1)
    z = (logs(pair) - mean) * inverse
    np.testing.assert_allclose(np.nanmean(z, axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(z, axis=0), 1.0, atol=1e-4)
    np.testing.assert_allclose(table(pair, block=7), table(pair), rtol=1e-6)


def test_a_constant_column_and_one_of_too_few_customers_are_not_compared() -> None:
    pair = pairs(5)
    pair[:, 0, 0], pair[ENOUGH - 1 :, 1, 0], pair[:, 2, 0] = 7.0, np.nan, np.nan
    pair[: ENOUGH - 1, 1, 0] = np.arange(1, ENOUGH)
    assert (table(pair)[:3, :, 0] == 0).all() and (table(pair)[3:] != 0).all()
    pair[ENOUGH - 1, 1, 0] = ENOUGH
    assert (table(pair)[1, :, 0] != 0).all()


def test_a_deviation_that_is_small_by_chance_counts_as_a_share_of_that_over_all_offers() -> None:
    pair = np.nan_to_num(pairs(6))
    pair[:, 0, 0] = 2.0 + 0.02 * np.sign(np.arange(CUSTOMERS) - CUSTOMERS / 2 + 0.5)
    np.testing.assert_allclose(
        table(pair)[0, 1, 0], 1 / (NARROW * logs(pair)[:, :, 0].std(dtype=np.float64)), rtol=1e-5
    )
