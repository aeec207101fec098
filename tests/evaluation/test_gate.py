"""The gate: what it lets through, what it stops, and that a column which knows the future is caught under any name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from conftest import judged_run
from propensity.data.event_log import COLUMNS, to_date
from propensity.errors import ConfigurationError
from propensity.evaluation.canary import KINDS, planted
from propensity.evaluation.evaluate import cutoff_data_of
from propensity.evaluation.gate import Finding, gate
from propensity.evaluation.leakage import another_future, informed, suspects
from propensity.training.checkpoint import load_trained, save_trained

Compose = Callable[..., Any]


@pytest.fixture(scope="module")
def judged(small_world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was judged against popularity at the date its labels end."""
    end = to_date(small_world["log"].last_day + 1 - 40).isoformat()
    out = tmp_path_factory.mktemp("gate") / "run"
    return judged_run(small_world["folder"], out, end, "baselines=[popularity]", "resamples=20")


def copied(judged: Path, tmp_path: Path) -> Path:
    shutil.copytree(judged, tmp_path / "run")
    return tmp_path / "run"


def through(composed: Compose, run: Path, *more: str) -> dict[str, Finding]:
    return {finding.check: finding for finding in gate(composed("gate", f"run={run}", "against=popularity", *more))}


def test_a_sound_run_passes(judged: Path, composed: Compose) -> None:
    found = through(composed, judged, "checks=[finite,deterministic,no_leak]")
    assert list(found) == ["finite", "deterministic", "no_leak"]
    assert all(finding.passed for finding in found.values()), found
    assert found["deterministic"].sentence.endswith("every time and in scores.parquet")


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_knows_the_future_is_caught_whatever_its_name_and_shape(
    kind: str, judged: Path, composed: Compose
) -> None:
    field, name = "pair" if kind == "noisy" else kind, f"innocent_{kind}"
    trap = ["checks=[no_leak]", f"evaluate.canary={kind}", f"evaluate.name={name}"]
    finding = through(composed, judged, *trap)["no_leak"]
    assert not finding.passed
    assert finding.sentence == f"{field}.{name} changed with what happened after the cutoff, at a send date"


def test_the_trap_of_the_command_line_is_called_canary(judged: Path, composed: Compose) -> None:
    finding = through(composed, judged, "checks=[no_leak]", "evaluate.canary=true")["no_leak"]
    assert not finding.passed and finding.sentence.startswith("pair.canary changed")
    with pytest.raises(ConfigurationError, match="evaluate.canary=parrot is no canary; give true, or one of pair"):
        through(composed, judged, "checks=[no_leak]", "evaluate.canary=parrot")


def test_another_future_leaves_the_past_and_changes_who_when_and_what(small_world: dict[str, Any]) -> None:
    log = small_world["log"]
    day = log.last_day - 40
    for kept in (0.7, 0.0):
        other = another_future(log, day, seed=1, kept=kept)
        past, same = log.before(day), other.before(day)
        np.testing.assert_array_equal(past.customer_id, same.customer_id)
        for column in ("offsets", *COLUMNS):
            np.testing.assert_array_equal(getattr(past, column), getattr(same, column))
        later = int((log.day >= day).sum())
        share = (other.day >= day).sum() / later
        assert share == 0 if kept == 0 else 0.6 < share < 0.8
        starts = other.offsets[1:-1]
        inside = np.delete(np.diff(other.day), np.unique(starts[(starts > 0) & (starts < other.day.size)] - 1))
        assert (inside >= 0).all()
    counts = [np.add.reduceat(np.append(world.day >= day, False), world.offsets[:-1]) for world in (log, other)]
    assert not np.array_equal(counts[0], counts[1])


def test_a_column_that_nearly_is_the_answer_is_suspect_and_its_name_is_told(judged: Path) -> None:
    trained = load_trained(judged)
    log = trained.task.open()
    cutoff_data = cutoff_data_of(trained, log, trained.about["end"])
    rows = np.arange(cutoff_data.row.size)
    features, market_stats, customer = planted(cutoff_data, log, "pair", "too_good")
    bought = np.asarray(features.inputs(market_stats, customer).pair)[..., -1] > 0
    found = suspects(planted(cutoff_data, log, "pair", "too_good"), bought, rows)
    assert list(found) == ["pair.too_good"] and found["pair.too_good"] == 1.0
    assert suspects(planted(cutoff_data, log, "noisy", "too_noisy"), bought, rows) == {}
    assert suspects(cutoff_data, bought, rows) == {}
    weaker = suspects(cutoff_data, bought, rows, highest=0.55)
    assert weaker and all(value > 0.55 for value in weaker.values())
    assert list(weaker.values()) == sorted(weaker.values(), reverse=True)


def test_a_feature_that_reads_the_label_window_in_training_is_caught(small_world: dict[str, Any]) -> None:
    """The occasion itself is made from a log that is never cut, as a careless feature would have it."""
    training_set, log = small_world["examples"], small_world["log"]
    cutoff_data = training_set.cutoffs_data[-1]
    day = cutoff_data.market_stats.cutoff.day

    def careless(world: Any) -> Any:
        features = cutoff_data.features
        whole = type(features)(world, features.offers, features.vocabulary, features.config)
        rows = world.purchasers(day)
        late = cutoff_data.market_stats._replace(cutoff=cutoff_data.market_stats.cutoff._replace(day=day + 3))
        return cutoff_data._replace(features=whole, market_stats=late, row=rows)

    found = informed(careless, log, day, seed=2)
    assert any(name.startswith("pair.days_") for name in found) and any(n.startswith("customer.") for n in found)


def test_weights_that_are_no_numbers_do_not_pass(judged: Path, composed: Compose, tmp_path: Path) -> None:
    run = copied(judged, tmp_path)
    trained = load_trained(run)
    name, weight = next((n, w) for n, w in trained.model.state_dict().items() if w.is_floating_point() and w.numel())
    with torch.no_grad():
        weight.view(-1)[0] = float("nan")
    save_trained(run, trained.model, trained.vocabulary, trained.about)
    finding = through(composed, run, "checks=[finite]")["finite"]
    assert not finding.passed and finding.sentence == f"weight {name} holds values that are not finite"


def test_a_metric_that_is_no_number_does_not_pass(judged: Path, composed: Compose, tmp_path: Path) -> None:
    run = copied(judged, tmp_path)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["models"]["network"]["mean"]["all"]["auc"]["value"] = float("nan")
    (run / "metrics.json").write_text(json.dumps(metrics))
    finding = through(composed, run, "checks=[finite]")["finite"]
    assert not finding.passed and finding.sentence.endswith("not finite at /models/network/mean/all/auc/value")


def test_stored_scores_of_another_network_do_not_pass(judged: Path, composed: Compose, tmp_path: Path) -> None:
    run = copied(judged, tmp_path)
    table = pl.read_parquet(run / "scores.parquet")
    table.with_columns(score=pl.col("score") * 0.9).write_parquet(run / "scores.parquet")
    finding = through(composed, run, "checks=[deterministic]")["deterministic"]
    assert not finding.passed and "differs from what the network says now by" in finding.sentence


def test_a_run_judged_on_its_own_labels_does_not_pass(judged: Path, composed: Compose, tmp_path: Path) -> None:
    run = copied(judged, tmp_path)
    trained = load_trained(run)
    later = to_date(trained.task.open().last_day).isoformat()
    save_trained(run, trained.model, trained.vocabulary, trained.about | {"end": later})
    finding = through(composed, run, "checks=[no_leak]")["no_leak"]
    assert not finding.passed and f"before its last training label ({later})" in finding.sentence


def test_only_a_win_beats_the_baseline(judged: Path, composed: Compose, tmp_path: Path) -> None:
    run = copied(judged, tmp_path)
    metrics = json.loads((run / "metrics.json").read_text())
    cell = {"value": 0.2, "low": 0.1, "high": 0.3}
    for word in ("win", "tie", "loss"):
        metrics["differences"]["popularity"]["mean"]["all"]["revenue_lift"] = cell | {"verdict": word}
        (run / "metrics.json").write_text(json.dumps(metrics))
        finding = through(composed, run, "checks=[beats_baseline]")["beats_baseline"]
        assert finding.passed == (word == "win")
        assert finding.sentence == f"revenue_lift minus popularity's is +0.2000 [+0.1000, +0.3000]: a {word}"
    none = {"value": None, "low": None, "high": None, "verdict": None, "reason": "no revenue"}
    metrics["differences"]["popularity"]["mean"]["all"]["revenue_lift"] = none
    (run / "metrics.json").write_text(json.dumps(metrics))
    finding = through(composed, run, "checks=[beats_baseline]")["beats_baseline"]
    assert not finding.passed and finding.sentence == "no verdict on revenue_lift against popularity: no revenue"


def test_what_a_gate_cannot_ask_is_said(judged: Path, composed: Compose, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no check 'no_leaks'; checks holds finite, deterministic, no_leak"):
        through(composed, judged, "checks=[no_leaks]")
    with pytest.raises(ConfigurationError, match=r"against=lightgbm was not judged in .* \(rivals: popularity\)"):
        gate(composed("gate", f"run={judged}", "checks=[beats_baseline]", "against=lightgbm"))
    with pytest.raises(
        ConfigurationError,
        match="metric=luck is not in .*/metrics.json; give one of revenue_lift, revenue_lift_winsorised",
    ):
        through(composed, judged, "checks=[beats_baseline]", "metric=luck")
    run = copied(judged, tmp_path)
    (run / "metrics.json").unlink()
    with pytest.raises(ConfigurationError, match="was not judged; run propensity evaluate run="):
        through(composed, run, "checks=[beats_baseline]")
    assert through(composed, run, "checks=[finite]")["finite"].passed, "what needs no judgement passes without one"
