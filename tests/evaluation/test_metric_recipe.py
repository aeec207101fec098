"""A metric of one's own: one declaration outside the package, and every reader of metrics knows it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import evaluated_run
from propensity.data.event_log import to_date
from propensity.evaluation.evaluate import own_metrics
from propensity.evaluation.tune import objective_metric
from propensity.metric.evaluation import evaluate
from propensity.metric.labels import Labels, Prediction
from propensity.report.markdown import summary
from propensity.report.page import page
from propensity.report.table import SCREEN, show_metrics

RECIPE = """
import numpy as np
from propensity.metric.declaration import Metric


def squared_error(probability, bought, weight):
    return np.average((probability - bought) ** 2, weights=weight)


def brier():
    return Metric("brier", "Brier score", "lower", "probability", squared_error, slices=False,
                  meaning="mean squared error of the probabilities; lower is better")
"""
SETTING = "metrics=[{_target_: my_own_metrics.brier}]"


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "my_own_metrics.py").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield
        sys.modules.pop("my_own_metrics", None)


@pytest.fixture(scope="module")
def run(module: Any, small_world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    end = to_date(small_world["log"].last_day + 1 - 40).isoformat()
    out = tmp_path_factory.mktemp("recipe") / "run"
    return evaluated_run(small_world["folder"], out, end, "baselines=[popularity]", "resamples=20", SETTING)


def test_a_lower_brier_score_is_a_win(module: Any) -> None:
    random = np.random.default_rng(0)
    bought = random.random((200, 3)) < 0.3
    names, everyone = np.array(["a", "b", "c"]), {"all": np.ones_like(bought)}
    labels = Labels("2024-03-04", np.arange(200), names, bought, bought * 1.0, everyone)
    result = {"near": [Prediction(np.where(bought, 0.9, 0.1))], "far": [Prediction(np.full(bought.shape, 0.5))]}
    metrics = own_metrics([{"_target_": "my_own_metrics.brier"}])
    for reference, other, word in (("near", "far", "win"), ("far", "near", "loss")):
        report = evaluate([labels], result, reference=reference, resamples=30, metrics=metrics)
        cell = report["differences"][other]["mean"]["all"]["brier"]
        assert abs(cell["value"]) == pytest.approx(0.24) and cell["verdict"] == word


def test_every_table_shows_it(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    cell = metrics["models"]["network"]["mean"]["all"]["brier"]
    assert 0 < cell["value"] < 1 and cell["low"] < cell["value"] < cell["high"]
    assert metrics["differences"]["popularity"]["mean"]["all"]["brier"]["minimum_detectable_effect"] > 0
    with SCREEN.capture() as printed:
        show_metrics(metrics, str(run))
    for text in (printed.get(), summary(metrics), page(metrics)):
        assert "Brier score" in text and f"{cell['value']:.4f}" in text


def test_a_gate_and_a_search_know_its_direction(run: Path, composed: Any) -> None:
    from propensity.evaluation.gate import gate

    (finding,) = gate(composed("gate", f"run={run}", "checks=[beats_baseline]", "against=popularity", "metric=brier"))
    verdict = json.loads((run / "metrics.json").read_text())["differences"]["popularity"]["mean"]["all"]["brier"]
    assert finding.passed == (verdict["verdict"] == "win") and finding.message.startswith("brier minus popularity's")
    assert objective_metric("brier", [{"_target_": "my_own_metrics.brier"}])[1].lower_is_better
