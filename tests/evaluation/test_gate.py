"""A sound run passes the gate; a run with a column made from the future, under any name, does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from conftest import evaluated_run
from propensity.checksum import seal_folder
from propensity.data.event_log import COLUMNS, to_date
from propensity.errors import ConfigurationError
from propensity.evaluation.canary import CANARY_KINDS, add_canary
from propensity.evaluation.evaluate import EvaluationData, cutoff_data_of, evaluate_run, write_evaluation
from propensity.evaluation.gate import CheckResult, gate
from propensity.evaluation.leakage import changed_inputs, high_auc_columns, shuffle_future
from propensity.metric.headline import served_model
from propensity.scores import load_scores, score_warnings
from propensity.training.checkpoint import load_trained, save_trained
from propensity.training.predict import predict

Compose = Callable[..., Any]


@pytest.fixture(scope="module")
def evaluated(small_world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was evaluated against popularity where its labels end."""
    end = to_date(small_world["log"].last_day + 1 - 40).isoformat()
    out = tmp_path_factory.mktemp("gate") / "run"
    return evaluated_run(small_world["folder"], out, end, "baselines=[popularity]", "resamples=20")


def copied(evaluated: Path, tmp_path: Path) -> Path:
    shutil.copytree(evaluated, tmp_path / "run")
    return tmp_path / "run"


def checked(composed: Compose, run: Path, *more: str) -> dict[str, CheckResult]:
    return {result.check: result for result in gate(composed("gate", f"run={run}", "against=popularity", *more))}


def test_a_sound_run_passes(evaluated: Path, composed: Compose) -> None:
    results = checked(composed, evaluated, "checks=[finite,deterministic,no_leak]")
    assert list(results) == ["finite", "deterministic", "no_leak"]
    assert all(result.passed for result in results.values()), results
    assert results["deterministic"].message.endswith("every time and in scores.parquet")


@pytest.mark.parametrize("kind", CANARY_KINDS)
def test_a_column_made_from_the_future_does_not_pass_under_any_name_and_shape(
    kind: str, evaluated: Path, composed: Compose
) -> None:
    field, name = {"noisy": "pair", "customer": "customer_features"}.get(kind, kind), f"innocent_{kind}"
    canary = ["checks=[no_leak]", f"evaluate.canary={kind}", f"evaluate.name={name}"]
    result = checked(composed, evaluated, *canary)["no_leak"]
    assert not result.passed
    assert result.message == f"{field}.{name} changed with events at or after the cutoff, in scoring"


def test_the_default_name_of_the_canary_is_canary(evaluated: Path, composed: Compose) -> None:
    result = checked(composed, evaluated, "checks=[no_leak]", "evaluate.canary=true")["no_leak"]
    assert not result.passed and result.message.startswith("pair.canary changed")
    with pytest.raises(
        ConfigurationError, match="evaluate.canary=parrot is not a kind of canary; give true, or one of pair"
    ):
        checked(composed, evaluated, "checks=[no_leak]", "evaluate.canary=parrot")


def test_a_shuffled_future_leaves_the_past_unchanged_and_changes_customers_days_and_items(
    small_world: dict[str, Any],
) -> None:
    log = small_world["log"]
    day = log.last_day - 40
    for remaining in (0.7, 0.0):
        other = shuffle_future(log, day, seed=1, share=remaining)
        past, same = log.before(day), other.before(day)
        np.testing.assert_array_equal(past.customer_id, same.customer_id)
        for column in ("offsets", *COLUMNS):
            np.testing.assert_array_equal(getattr(past, column), getattr(same, column))
        later = int((log.day >= day).sum())
        share = (other.day >= day).sum() / later
        assert share == 0 if remaining == 0 else 0.6 < share < 0.8
        starts = other.offsets[1:-1]
        inside = np.delete(np.diff(other.day), np.unique(starts[(starts > 0) & (starts < other.day.size)] - 1))
        assert (inside >= 0).all()
    counts = [np.add.reduceat(np.append(world.day >= day, False), world.offsets[:-1]) for world in (log, other)]
    assert not np.array_equal(counts[0], counts[1])


def test_a_column_that_nearly_equals_the_label_is_suspect_and_named(evaluated: Path) -> None:
    trained = load_trained(evaluated)
    log = trained.task.open()
    cutoff_data = cutoff_data_of(trained, log, trained.about["end"])
    rows = np.arange(cutoff_data.row.size)
    features, market_stats, row = add_canary(cutoff_data, log, "pair", "too_good")
    bought = np.asarray(features.inputs(market_stats, row).pair)[..., -1] > 0
    suspect = high_auc_columns(add_canary(cutoff_data, log, "pair", "too_good"), bought, rows)
    assert list(suspect) == ["pair.too_good"] and suspect["pair.too_good"] == 1.0
    assert high_auc_columns(add_canary(cutoff_data, log, "noisy", "too_noisy"), bought, rows) == {}
    assert high_auc_columns(cutoff_data, bought, rows) == {}
    weaker = high_auc_columns(cutoff_data, bought, rows, highest=0.55)
    assert weaker and all(value > 0.55 for value in weaker.values())
    assert list(weaker.values()) == sorted(weaker.values(), reverse=True)


def test_a_feature_that_reads_the_label_window_in_training_does_not_pass(small_world: dict[str, Any]) -> None:
    """The feature reads a log that is not cut at the cutoff."""
    training_set, log = small_world["examples"], small_world["log"]
    cutoff_data = training_set.cutoffs_data[-1]
    day = cutoff_data.market_stats.cutoff.day

    def careless(other_log: Any) -> Any:
        features = cutoff_data.features
        whole = type(features)(other_log, features.offers, features.vocabulary, features.config)
        rows = other_log.purchasers(day)
        late = cutoff_data.market_stats._replace(cutoff=cutoff_data.market_stats.cutoff._replace(day=day + 3))
        return cutoff_data._replace(features=whole, market_stats=late, row=rows)

    changed = changed_inputs(careless, log, day, seed=2)
    assert any(name.startswith("pair.days_") for name in changed) and any(
        n.startswith("customer_features.") for n in changed
    )


def test_weights_that_are_not_finite_do_not_pass(evaluated: Path, composed: Compose, tmp_path: Path) -> None:
    run = copied(evaluated, tmp_path)
    trained = load_trained(run)
    name, weight = next((n, w) for n, w in trained.model.state_dict().items() if w.is_floating_point() and w.numel())
    with torch.no_grad():
        weight.view(-1)[0] = float("nan")
    save_trained(run, trained.model, trained.vocabulary, trained.about)
    result = checked(composed, run, "checks=[finite]")["finite"]
    assert not result.passed and result.message == f"weight {name} holds values that are not finite"


def test_a_metric_that_is_not_finite_does_not_pass(evaluated: Path, composed: Compose, tmp_path: Path) -> None:
    run = copied(evaluated, tmp_path)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["models"]["network"]["mean"]["all"]["auc"]["value"] = float("nan")
    (run / "metrics.json").write_text(json.dumps(metrics))
    result = checked(composed, run, "checks=[finite]")["finite"]
    assert not result.passed and result.message.endswith("not finite at /models/network/mean/all/auc/value")


def test_stored_scores_of_another_network_do_not_pass(evaluated: Path, composed: Compose, tmp_path: Path) -> None:
    run = copied(evaluated, tmp_path)
    table = pl.read_parquet(run / "scores.parquet")
    table.with_columns(score=pl.col("score") * 0.9).write_parquet(run / "scores.parquet")
    seal_folder(run)
    result = checked(composed, run, "checks=[deterministic]")["deterministic"]
    assert not result.passed and "differs from the network's scores by" in result.message


def test_a_run_evaluated_on_its_training_labels_does_not_pass(
    evaluated: Path, composed: Compose, tmp_path: Path
) -> None:
    run = copied(evaluated, tmp_path)
    trained = load_trained(run)
    later = to_date(trained.task.open().last_day).isoformat()
    save_trained(run, trained.model, trained.vocabulary, trained.about | {"last_label": later})
    result = checked(composed, run, "checks=[no_leak]")["no_leak"]
    assert not result.passed and f"before its last training label ({later})" in result.message


def test_only_a_win_beats_the_baseline(evaluated: Path, composed: Compose, tmp_path: Path) -> None:
    run = copied(evaluated, tmp_path)
    metrics = json.loads((run / "metrics.json").read_text())
    cell = {"value": 0.2, "low": 0.1, "high": 0.3}
    for word in ("win", "tie", "loss"):
        metrics["differences"]["popularity"]["mean"]["all"]["revenue_lift"] = cell | {"verdict": word}
        (run / "metrics.json").write_text(json.dumps(metrics))
        result = checked(composed, run, "checks=[beats_baseline]")["beats_baseline"]
        assert result.passed == (word == "win")
        assert result.message == f"revenue_lift minus popularity's is +0.2000 [+0.1000, +0.3000]: a {word}"
    none = {"value": None, "low": None, "high": None, "verdict": None, "reason": "no revenue"}
    metrics["differences"]["popularity"]["mean"]["all"]["revenue_lift"] = none
    (run / "metrics.json").write_text(json.dumps(metrics))
    result = checked(composed, run, "checks=[beats_baseline]")["beats_baseline"]
    assert not result.passed and result.message == "no verdict on revenue_lift against popularity: no revenue"


def test_an_impossible_check_is_refused_with_a_sentence(evaluated: Path, composed: Compose, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no check 'no_leaks'; checks holds finite, deterministic, no_leak"):
        checked(composed, evaluated, "checks=[no_leaks]")
    with pytest.raises(ConfigurationError, match=r"against=lightgbm was not evaluated in .* \(baselines: popularity\)"):
        gate(composed("gate", f"run={evaluated}", "checks=[beats_baseline]", "against=lightgbm"))
    with pytest.raises(
        ConfigurationError,
        match="metric=luck is not in .*/metrics.json; give one of revenue_lift, revenue_lift_winsorised",
    ):
        checked(composed, evaluated, "checks=[beats_baseline]", "metric=luck")
    run = copied(evaluated, tmp_path)
    (run / "metrics.json").unlink()
    with pytest.raises(ConfigurationError, match="was not evaluated; run propensity evaluate run="):
        checked(composed, run, "checks=[beats_baseline]")
    assert checked(composed, run, "checks=[finite]")["finite"].passed, (
        "a check without metrics passes without an evaluation"
    )


def rewritten(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the metrics of a run."""
    metrics = json.loads((run / "metrics.json").read_text())
    change(metrics)
    (run / "metrics.json").write_text(json.dumps(metrics))


def ratio(value: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high} | ({} if value is not None else {"reason": "nothing was spent"})


@pytest.mark.parametrize(
    ("purchases", "revenue", "passed"),
    [
        ((1.1, 1.0, 1.2), (0.9, 0.8, 1.0), True),
        ((1.4, 1.2, 1.6), (1.0, 0.9, 1.1), True),
        ((1.4, 1.3, 1.5), (1.0, 0.9, 1.1), False),
        ((1.0, 0.9, 1.1), (0.5, 0.4, 0.6), False),
        ((1.0, 0.9, 1.1), (None, None, None), True),
        ((None, None, None), (None, None, None), False),
        ((1.3, None, None), (1.0, None, None), False),
    ],
)
def test_totals_pass_where_their_interval_meets_the_limits(
    purchases: Any, revenue: Any, passed: bool, evaluated: Path, composed: Compose, tmp_path: Path
) -> None:
    run = copied(evaluated, tmp_path)
    totals = {"purchases": ratio(*purchases), "revenue": ratio(*revenue)}
    rewritten(run, lambda metrics: metrics["expected_over_observed"].update(network=totals))
    result = checked(composed, run, "checks=[calibrated]")["calibrated"]
    assert result.passed == passed and "expected over observed" in result.message
    if purchases[0] is not None:
        assert f"purchases {purchases[0]:.2f}" in result.message and "limits 0.8 to 1.25" in result.message


def test_the_limits_of_totals_are_settings(evaluated: Path, composed: Compose, tmp_path: Path) -> None:
    run = copied(evaluated, tmp_path)
    totals = {"purchases": ratio(1.4, 1.3, 1.5), "revenue": ratio(1.0, 0.9, 1.1)}
    rewritten(run, lambda metrics: metrics["expected_over_observed"].update(network=totals))
    assert checked(composed, run, "checks=[calibrated]", "calibration=[0.7,1.5]")["calibrated"].passed
    with pytest.raises(ConfigurationError, match=r"calibration=\[1.2\] is no pair of limits; give two such as"):
        checked(composed, run, "checks=[calibrated]", "calibration=[1.2]")
    rewritten(run, lambda metrics: metrics.pop("expected_over_observed"))
    with pytest.raises(ConfigurationError, match="has no expected_over_observed; run propensity evaluate run="):
        checked(composed, run, "checks=[calibrated]")


def test_a_model_that_is_better_in_any_metric_does_not_pass(evaluated: Path, composed: Compose, tmp_path: Path) -> None:
    run = copied(evaluated, tmp_path)

    def verdicts(**words: str) -> None:
        def change(metrics: dict[str, Any]) -> None:
            for metric in ("log_loss", "auc", "normalised_revenue_capture", "average_precision"):
                metrics["differences"]["popularity"]["mean"]["all"][metric]["verdict"] = words.get(metric, "tie")

        rewritten(run, change)

    verdicts()
    result = checked(composed, run, "checks=[no_better_baseline]")["no_better_baseline"]
    assert result.passed and result.message.startswith("no model is better than network in log_loss, auc")
    verdicts(log_loss="loss", auc="win")
    result = checked(composed, run, "checks=[no_better_baseline]")["no_better_baseline"]
    assert not result.passed and result.message == "popularity is better in log_loss than network"
    verdicts(average_precision="loss")
    assert checked(composed, run, "checks=[no_better_baseline]")["no_better_baseline"].passed
    more = "not_behind=[average_precision]"
    assert not checked(composed, run, "checks=[no_better_baseline]", more)["no_better_baseline"].passed
    with pytest.raises(ConfigurationError, match="not_behind=luck is not in .*/metrics.json; give some of"):
        checked(composed, run, "checks=[no_better_baseline]", "not_behind=[luck]")
    rewritten(run, lambda metrics: metrics.update(differences={}))
    result = checked(composed, run, "checks=[no_better_baseline]")["no_better_baseline"]
    assert not result.passed and result.message.startswith("no baseline was evaluated")


def test_the_tables_and_the_comparison_are_those_of_the_served_model(
    small_world: dict[str, Any], evaluated: Path, composed: Compose, tmp_path: Path
) -> None:
    """A champion that is not the network is served, and the network keeps a table of its own."""
    run = copied(evaluated, tmp_path)
    trained = load_trained(run)
    log, day = trained.task.open(), trained.about["end"]
    cutoff_data = cutoff_data_of(trained, log, day)
    scores = {"network": [predict(trained.model, cutoff_data, "network")]}
    scores["champion"] = [replace(scores["network"][0], probability=scores["network"][0].probability * 0.5)]
    data = EvaluationData(log, [cutoff_data], scores, trained.about, run)
    sections = {"champion": {"name": "frequency", "reason": "its validation log loss is lower", "candidates": {}}}
    (run / "training.json").write_text(json.dumps({"warnings": ["only 60 steps"]}))
    cfg = composed("evaluate", f"run={run}", "resamples=20")
    result = write_evaluation(data, cfg, lambda text: None, sections)
    assert served_model(result) == "champion" and list(result["differences"]) == ["network"]
    assert result["headline"] is None and result["champion"] == sections["champion"]
    assert result["warnings"][0] == "only 60 steps"
    assert len(set(result["warnings"])) == len(result["warnings"])
    assert score_warnings(run / "scores.parquet") == result["warnings"]
    assert score_warnings(run / "network.parquet") == []
    for name, file in (("champion", "scores"), ("network", "network")):
        stored = load_scores(run / f"{file}.parquet")[0].probability
        np.testing.assert_array_equal(stored, scores[name][0].probability)
    assert not (run / "champion.parquet").exists()
    check = checked(composed, run, "checks=[deterministic]")["deterministic"]
    assert check.passed and check.message.endswith("in network.parquet")


def test_an_evaluation_inside_the_training_labels_warns(evaluated: Path, composed: Compose, tmp_path: Path) -> None:
    run = copied(evaluated, tmp_path)
    early = (date.fromisoformat(load_trained(run).about["last_label"]) - timedelta(days=7)).isoformat()
    cfg = composed("evaluate", f"run={run}", f"cutoffs=[{early}]", "resamples=0", "baselines=[]", "heuristics=false")
    warnings = evaluate_run(cfg, lambda text: None)["warnings"]
    assert warnings[0].startswith("in-sample cutoff: the training labels end on") and early in warnings[0]
