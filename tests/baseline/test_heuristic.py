"""The six-month rule and K-means segments rank customers as their docstrings say."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from propensity.baseline.heuristic import segment, six_month_rule
from propensity.errors import ConfigurationError


def pair_column(world: dict[str, Any], name: str) -> np.ndarray:
    cutoff_data = world["examples"].cutoffs_data[-1]
    inputs = cutoff_data.features.inputs(cutoff_data.market_stats, cutoff_data.row)
    return np.asarray(inputs.pair)[:, :, cutoff_data.features.config.pair.index(name)]


def test_the_six_month_rule_lists_buyers_of_six_months_latest_purchase_first(small_world: dict[str, Any]) -> None:
    rank, length = six_month_rule(small_world["examples"].cutoffs_data[-1])
    bought = pair_column(small_world, "days_182") > 0
    np.testing.assert_array_equal(np.isfinite(rank), bought)
    np.testing.assert_array_equal(length, bought.sum(axis=0))
    week = pair_column(small_world, "days_7") > 0
    for m in np.flatnonzero((week & bought).any(axis=0)):
        assert rank[week[:, m], m].min() > rank[bought[:, m] & ~week[:, m], m].max(initial=-np.inf)


def test_customers_of_a_segment_are_tied_and_segments_are_ranked_by_their_share_of_recent_buyers(
    small_world: dict[str, Any],
) -> None:
    cutoff_data = small_world["examples"].cutoffs_data[-1]
    rank, length = segment(cutoff_data, seed=1, segments=4)
    assert rank.shape == (cutoff_data.row.size, len(cutoff_data.features.offers)) and (length == len(rank)).all()
    profiles, label = np.unique(rank, axis=0, return_inverse=True)
    assert 2 <= len(profiles) <= 4
    recent = pair_column(small_world, "days_28") > 0
    for k, profile in enumerate(profiles):
        np.testing.assert_allclose(profile, recent[label == k].mean(axis=0))
    np.testing.assert_array_equal(rank, segment(cutoff_data, seed=1, segments=4).rank)


def test_segments_without_scikit_learn_name_the_extra_to_install(
    small_world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(ConfigurationError, match=r"comparison needs scikit-learn; pip install 'propensity\[gbdt\]'"):
        segment(small_world["examples"].cutoffs_data[-1], seed=1)
