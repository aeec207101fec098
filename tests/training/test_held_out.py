"""Customers held out of training: never trained on while there is a validation, and validated alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import QUICK, SMALL
from propensity.errors import ConfigurationError
from propensity.metric.labels import Prediction, unnamed_labels
from propensity.metric.metric_table import mean_values
from propensity.training.checkpoint import load_trained
from propensity.training.curve import SUMMARY
from propensity.training.held_out import held_out_customers
from propensity.training.metric import by_name, validation_metrics
from propensity.training.predict import predict
from propensity.training.run import train
from propensity.training.settings import TrainingConfig, check_settings
from propensity.training.shared_batch import SharedIndex
from propensity.training.validation import validation_set, windows

SHARE = 0.3


def test_about_a_share_of_the_customers_is_held_out_and_more_contain_fewer(small_world: dict[str, Any]) -> None:
    log = small_world["log"]
    few, many = held_out_customers(log, 0.2), held_out_customers(log, 0.6)
    assert abs(few.mean() - 0.2) < 0.1 and abs(many.mean() - 0.6) < 0.1
    assert not (few & ~many).any()
    assert not held_out_customers(log, 0.0).any()


@pytest.mark.parametrize("cutoffs_per_batch", [1, 3])
def test_who_is_held_out_is_trained_on_only_without_a_validation(
    small_world: dict[str, Any], cutoffs_per_batch: int
) -> None:
    training_set, task, log = small_world["examples"], small_world["task"], small_world["log"]
    settings = TrainingConfig(held_out=SHARE, cutoffs_per_batch=cutoffs_per_batch)
    validation = validation_set(windows(task, log, 1), log, training_set.vocabulary, None, 1)
    held_out = set(log.customer_id[held_out_customers(log, SHARE)].tolist())
    for each, expected in ((validation, 0), (None, len(held_out))):
        data = settings.data_module(training_set, task, 1, each)
        rows = [
            index.rows
            if isinstance(index, SharedIndex)
            else data.training_set.cutoffs_data[index.cutoff].row[index.rows]
            for index in data.sampler()
        ]
        trained = training_set.features.log.customer_id[np.unique(np.concatenate(rows))].tolist()
        known = {each for cutoff in training_set.cutoffs_data for each in cutoff.customer_id.tolist()}
        assert len(held_out & set(trained)) == (len(held_out & known) if expected else 0)
        assert set(trained) == known - (set() if expected else held_out)


@pytest.mark.slow
def test_validation_has_metrics_of_the_held_out_customers_alone(
    small_world: dict[str, Any], composed: Callable[..., Any], tmp_path: Path
) -> None:
    settings = [*SMALL, *QUICK, "training.validation=1", "training.refit=false", f"training.held_out={SHARE}"]
    train(composed("train", *settings, f"data.log={small_world['folder']}", f"out={tmp_path}"))
    metrics = json.loads((tmp_path / SUMMARY).read_text())["metrics"]
    trained, log, task = load_trained(tmp_path), small_world["log"], small_world["task"]
    validation = validation_set(windows(task, log, 1), log, trained.vocabulary, None, 1)
    assert validation is not None
    (each,), (complete,) = validation.cutoffs_data, validation.complete
    each = each._replace(row=each.row[held_out_customers(each.features.log, SHARE)[each.row]])
    scores = predict(trained.model, each)
    rows = np.searchsorted(complete.log.customer_id, each.customer_id)
    outcomes = complete.outcomes(each.market_stats.cutoff, rows)
    bought = np.asarray(outcomes.bought) > 0
    labels = unnamed_labels(bought, np.asarray(outcomes.revenue), {"all": np.ones(bought.shape, bool)})
    expected = mean_values([(labels, Prediction(scores.probability, scores.revenue))], validation_metrics([]))["all"]
    assert metrics["val/held_out/log_loss"] == pytest.approx(expected["log_loss"], rel=1e-4)
    assert metrics["val/held_out/log_loss"] != metrics["val/log_loss"]
    assert {name for name in metrics if name.startswith("val/held_out/")} <= set(
        by_name(validation_metrics([]), held_out=True)
    )


def test_holding_out_everybody_is_refused(small_world: dict[str, Any]) -> None:
    training_set, task, log = small_world["examples"], small_world["task"], small_world["log"]
    validation = validation_set(windows(task, log, 1), log, training_set.vocabulary, 10, 1)
    with pytest.raises(ConfigurationError, match="training.held_out=0.9999 leaves no customer to train on at a cutoff"):
        TrainingConfig(held_out=0.9999).data_module(training_set, task, 1, validation)


def test_metrics_of_held_out_customers_are_monitored_only_where_there_are_some(composed: Callable[..., Any]) -> None:
    settings = ["callbacks=early_stopping", "callbacks.early_stopping.monitor=val/held_out/auc"]
    check_settings(composed("train", *settings, "training.held_out=0.1"))
    with pytest.raises(ConfigurationError, match="monitor=val/held_out/auc is no metric of a training"):
        check_settings(composed("train", *settings))
