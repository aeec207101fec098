"""Every baseline of conf/baseline scores every pair from the training cutoffs alone, deterministically."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate

from propensity.baseline.pair_table import check_two_classes, column_names, rows_of, training_table
from propensity.config import conf_folder
from propensity.errors import ConfigurationError
from propensity.metric.ranking import auc
from propensity.scores import Scores

NAMES = sorted(path.stem for path in (conf_folder() / "baseline").glob("*.yaml") if path.stem != "default")


def fitted_scores(world: dict[str, Any], composed: Callable[..., Any], name: str) -> Scores:
    cfg = composed(
        "evaluate", "run=nowhere", "+baseline.lightgbm.amount_n_estimators=5", "baseline.lightgbm.n_estimators=20"
    )
    baseline = instantiate(cfg.baseline[name], _convert_="all")
    baseline.fit(world["examples"], 3)
    return baseline.predict(world["examples"].cutoffs_data[-1])


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_gives_the_same_scores_twice(
    name: str, small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    cutoff_data = small_world["examples"].cutoffs_data[-1]
    scores = fitted_scores(small_world, composed, name)
    again = fitted_scores(small_world, composed, name)
    assert scores.model == name and scores.offer == cutoff_data.features.offers.name
    assert scores.probability.shape == scores.revenue.shape == (cutoff_data.row.size, len(scores.offer))
    assert ((scores.probability >= 0) & (scores.probability <= 1)).all()
    assert (scores.revenue >= 0).all() and np.isfinite(scores.revenue).all()
    np.testing.assert_array_equal(scores.probability, again.probability)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "popularity"])
def test_a_baseline_ranks_buyers_of_its_training_window_first(
    name: str, small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    cutoff_data = small_world["examples"].cutoffs_data[-1]
    bought = np.asarray(cutoff_data.features.outcomes(cutoff_data.market_stats.cutoff, cutoff_data.row).bought)
    scores = fitted_scores(small_world, composed, name)
    assert auc(scores.probability.ravel(), bought.ravel() > 0) > 0.6


def test_lightgbm_expects_no_revenue_where_the_log_has_no_prices(
    small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    log = replace(small_world["log"], revenue=np.zeros_like(small_world["log"].revenue))
    world = {"examples": small_world["task"].training_set(log)}
    assert (fitted_scores(world, composed, "lightgbm").revenue == 0).all()


def test_popularity_gives_every_customer_the_same_score(
    small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    probability = fitted_scores(small_world, composed, "popularity").probability
    assert (probability == probability[0]).all() and np.unique(probability[0]).size > 1


@pytest.mark.parametrize(("value", "word"), [(0.0, "nobody bought anything"), (1.0, "everybody bought everything")])
def test_labels_of_one_class_are_refused(value: float, word: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{word} in the last training windows; raise data.horizon"):
        check_two_classes(np.full(7, value))


def test_a_missing_library_is_named_with_its_extra(
    small_world: dict[str, Any], composed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ConfigurationError, match=r"needs LightGBM; pip install 'propensity\[gbdt\]'"):
        fitted_scores(small_world, composed, "lightgbm")


def test_a_sampled_table_weighs_as_much_as_all_pairs(small_world: dict[str, Any]) -> None:
    training_set = small_world["examples"]
    whole = training_table(training_set, last_cutoffs=3, rows=10**9, seed=1)
    assert (whole.weight >= 1).all()
    pairs = sum(each.row.size for each in training_set.cutoffs_data[-3:]) * len(training_set.features.offers)
    sampled = training_table(training_set, last_cutoffs=3, rows=pairs // 4, seed=1)
    assert sampled.bought.sum() == whole.bought.sum(), "every purchase is kept"
    assert abs(sampled.weight.sum() / pairs - 1) < 0.1
    assert whole.x.shape[1] == len(column_names(training_set)) == len(set(column_names(training_set)))


def test_a_row_is_the_pair_s_the_customer_s_and_the_offer_s_columns(small_world: dict[str, Any]) -> None:
    features, market_stats, customer = small_world["examples"].cutoffs_data[0]
    inputs = features.inputs(market_stats, customer[:3])
    rows = rows_of(inputs).reshape(3, len(features.offers), -1)
    expected = np.concatenate([inputs.pair[2, 1], inputs.customer_features[2], inputs.context[1]])
    np.testing.assert_array_equal(rows[2, 1], expected)
