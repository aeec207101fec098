"""Every incumbent in conf/baseline answers for every pair, from the training dates alone, the same every time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate

from propensity.baseline.pair_table import column_names, refuse_one_sided, rows_of, training_table
from propensity.config import conf_folder
from propensity.errors import ConfigurationError
from propensity.metric.ranking import auc
from propensity.scores import Scores

NAMES = sorted(path.stem for path in (conf_folder() / "baseline").glob("*.yaml") if path.stem != "default")


def answer(world: dict[str, Any], composed: Callable[..., Any], name: str) -> Scores:
    cfg = composed("evaluate", "run=nowhere", "+baseline.lightgbm.amount_trees=5", "baseline.lightgbm.n_estimators=20")
    baseline = instantiate(cfg.baseline[name], _convert_="all")
    baseline.fit(world["examples"], 3)
    return baseline.predict(world["examples"].cutoffs_data[-1])


@pytest.mark.parametrize("name", NAMES)
def test_an_incumbent_fills_the_same_scores_twice(
    name: str, small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    cutoff_data = small_world["examples"].cutoffs_data[-1]
    scores = answer(small_world, composed, name)
    again = answer(small_world, composed, name)
    assert scores.model == name and scores.offer == cutoff_data.features.offers.name
    assert scores.probability.shape == scores.revenue.shape == (cutoff_data.customer.size, len(scores.offer))
    assert ((scores.probability >= 0) & (scores.probability <= 1)).all()
    assert (scores.revenue >= 0).all() and np.isfinite(scores.revenue).all()
    np.testing.assert_array_equal(scores.probability, again.probability)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "popularity"])
def test_an_incumbent_ranks_its_own_training_buyers_first(
    name: str, small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    cutoff_data = small_world["examples"].cutoffs_data[-1]
    bought = np.asarray(cutoff_data.features.outcomes(cutoff_data.market_stats.cutoff, cutoff_data.customer).bought)
    scores = answer(small_world, composed, name)
    assert auc(scores.probability.ravel(), bought.ravel() > 0) > 0.6


def test_lightgbm_expects_no_revenue_of_a_log_without_prices(
    small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    log = replace(small_world["log"], revenue=np.zeros_like(small_world["log"].revenue))
    world = {"examples": small_world["task"].training_set(log)}
    assert (answer(world, composed, "lightgbm").revenue == 0).all()


def test_popularity_says_the_same_of_everybody(small_world: dict[str, Any], composed: Callable[..., Any]) -> None:
    probability = answer(small_world, composed, "popularity").probability
    assert (probability == probability[0]).all() and np.unique(probability[0]).size > 1


@pytest.mark.parametrize(("value", "word"), [(0.0, "nobody bought anything"), (1.0, "everybody bought everything")])
def test_windows_that_teach_nothing_are_refused(value: float, word: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{word} in the last training windows; raise data.horizon"):
        refuse_one_sided(np.full(7, value))


def test_a_library_that_is_not_installed_is_said(
    small_world: dict[str, Any], composed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ConfigurationError, match=r"needs LightGBM; pip install 'propensity\[gbdt\]'"):
        answer(small_world, composed, "lightgbm")


def test_a_drawn_table_stands_for_all_pairs(small_world: dict[str, Any]) -> None:
    training_set = small_world["examples"]
    whole = training_table(training_set, dates=3, rows=10**9, seed=1)
    assert (whole.weight >= 1).all()
    pairs = sum(o.customer.size for o in training_set.cutoffs_data[-3:]) * len(training_set.features.offers)
    drawn = training_table(training_set, dates=3, rows=pairs // 4, seed=1)
    assert drawn.bought.sum() == whole.bought.sum(), "every purchase is kept"
    assert abs(drawn.weight.sum() / pairs - 1) < 0.1
    assert whole.x.shape[1] == len(column_names(training_set)) == len(set(column_names(training_set)))


def test_a_row_holds_pair_customer_and_context(small_world: dict[str, Any]) -> None:
    features, market_stats, customer = small_world["examples"].cutoffs_data[0]
    inputs = features.inputs(market_stats, customer[:3])
    rows = rows_of(inputs).reshape(3, len(features.offers), -1)
    expected = np.concatenate([inputs.pair[2, 1], inputs.customer[2], inputs.context[1]])
    np.testing.assert_array_equal(rows[2, 1], expected)
