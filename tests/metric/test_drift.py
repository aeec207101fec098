"""Stability indices by hand."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.metric.drift import BINS, binned, edges_of, stability_index


def test_equal_shares_are_no_change_whatever_the_numbers() -> None:
    assert stability_index(np.array([10, 30, 60]), np.array([1000, 3000, 6000])) == pytest.approx(0.0)


def test_the_index_is_its_definition() -> None:
    expected = (0.5 - 0.9) * np.log(0.5 / 0.9) + (0.5 - 0.1) * np.log(0.5 / 0.1)
    assert stability_index(np.array([90, 10]), np.array([50, 50])) == pytest.approx(expected)


def test_an_empty_bin_is_finite_and_one_that_nobody_used_says_nothing() -> None:
    assert np.isfinite(stability_index(np.array([100, 0]), np.array([50, 50])))
    two, three = (
        stability_index(np.array(a), np.array(b)) for a, b in (([80, 20], [60, 40]), ([80, 20, 0], [60, 40, 0]))
    )
    assert three == pytest.approx(two, abs=5e-3)


def test_bins_are_tenths_and_missing_values_have_their_own() -> None:
    values = np.column_stack([np.arange(1000.0), np.where(np.arange(1000) < 300, np.nan, np.arange(1000.0))])
    counts = binned(values, edges_of(values))
    np.testing.assert_allclose(counts[0, :BINS], 100, atol=1)
    assert counts[0, BINS] == 0 and counts[1, BINS] == 300
    np.testing.assert_array_equal(counts.sum(axis=1), 1000)


def test_a_column_without_values_has_only_missing_ones() -> None:
    values = np.full((7, 1), np.nan)
    assert binned(values, edges_of(values)).tolist() == [[0] * BINS + [7]]
