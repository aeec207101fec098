"""Heuristics comparison: equal volumes, revenue of both selections, and their difference."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.metric.heuristic import HeuristicAudience, compare_heuristics
from propensity.metric.interval import resample_weights
from propensity.metric.labels import Labels


def world(revenue: np.ndarray, cutoff: str = "2024-03-04") -> Labels:
    customers, offers = revenue.shape
    names = np.arange(offers).astype(str)
    return Labels(cutoff, np.arange(customers), names, revenue > 0, revenue, {"all": np.ones(revenue.shape, bool)})


def ones(labels: Labels) -> list[np.ndarray]:
    return [np.ones((labels.customer.size, 1), np.uint8)]


def test_both_lists_get_as_many_messages_as_the_rule_names():
    """Ten customers; the rule names two for the first offer, one for the second, nobody for the third."""
    revenue = np.zeros((10, 3))
    revenue[0], revenue[1], revenue[2] = (8, 4, 50), (1, 2, 0), (3, 0, 0)
    value = np.linspace(1, 0, 10)[:, None].repeat(3, axis=1)  # customers 0 and 1 first
    rank = np.full((10, 3), -np.inf)
    rank[2, 0], rank[1, 0], rank[1, 1] = 2.0, 1.0, 1.0
    result = compare_heuristics(
        [world(revenue)], [value], [HeuristicAudience(rank, np.array([2, 1, 0]))], ones(world(revenue)), fraction=0.5
    )
    assert result["messages"] == pytest.approx(3.0)
    assert result["heuristic"] == pytest.approx((3 + 1) + 2) and result["network"] == pytest.approx((8 + 1) + 4)
    assert result["difference"] == {"value": pytest.approx(7.0), "low": None, "high": None, "verdict": None}


def test_no_more_than_the_fraction_is_written_to():
    revenue = np.arange(10.0)[:, None]
    everybody = HeuristicAudience(np.zeros((10, 1)), np.array([10]))
    result = compare_heuristics([world(revenue)], [revenue], [everybody], ones(world(revenue)), fraction=0.2)
    assert result["messages"] == pytest.approx(2.0)
    assert result["network"] == pytest.approx(9 + 8)
    assert result["heuristic"] == pytest.approx(45 * 0.2), "equal ranks share the revenue"


def test_money_adds_up_over_cutoffs_and_its_interval_is_paired():
    random = np.random.default_rng(1)
    taste = random.gamma(0.3, 1.0, (800, 3))
    revenue = taste * random.gamma(2.0, 5.0, taste.shape)
    all_labels = [world(revenue), world(revenue, "2024-04-01")]
    weights = resample_weights([labels.customer for labels in all_labels], 60, 1)
    blind = HeuristicAudience(random.random(taste.shape), np.full(3, 800))
    result = compare_heuristics(all_labels, [taste, taste], [blind, blind], weights)
    once = compare_heuristics(all_labels[:1], [taste], [blind], weights[:1])
    assert result["difference"]["value"] == pytest.approx(2 * once["difference"]["value"])
    assert result["difference"]["low"] == pytest.approx(2 * once["difference"]["low"])
    assert (
        result["difference"]["verdict"] == "win"
        and result["difference"]["low"] < result["difference"]["value"] < result["difference"]["high"]
    )
    same = compare_heuristics(all_labels, [taste, taste], [HeuristicAudience(taste, np.full(3, 800))] * 2, weights)
    assert same["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0, "verdict": "tie"}


def test_where_nothing_is_sold_nothing_is_reached():
    result = compare_heuristics(
        [world(np.zeros((4, 1)))],
        [np.ones((4, 1))],
        [HeuristicAudience(np.ones((4, 1)), np.array([4]))],
        ones(world(np.zeros((4, 1)))),
    )
    assert result["heuristic"] == result["network"] == result["difference"]["value"] == 0.0
