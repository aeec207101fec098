"""A bundle serves the champion of its run in every way that scores leave it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.champion.champion import SERVED, Champion
from propensity.data.cutoff import parse_cutoff
from propensity.data.event_log import EventLog
from propensity.explain.model import log_odds_of
from propensity.serving.batch import BatchConfig, score_bundle
from propensity.serving.bundle import open_bundle
from propensity.serving.export import export
from propensity.serving.online import OnlineScorer
from propensity.serving.pair_scorer import ChampionScorer
from propensity.serving.schema import ScoreRequest
from propensity.serving.score import score
from propensity.serving.verify import load_arrays, run_session
from propensity.training.checkpoint import load_trained
from serving.exported import Exported, with_champion
from serving.test_reason import purchases


def champion_scores(run: Path, log: Path, cutoff: str) -> pl.DataFrame:
    """Scores of the champion by the libraries that fitted its candidates."""
    trained, events = load_trained(run), EventLog.open(log)
    date = parse_cutoff(events, cutoff, trained.task.horizon)
    cutoff_data = trained.task.cutoff_data(events, date, trained.vocabulary)
    return Champion.load(run, trained.model).predict(cutoff_data)[SERVED].frame()


def assert_equal_scores(actual: pl.DataFrame, expected: pl.DataFrame) -> None:
    joined = expected.join(actual, on=["customer_id", "offer_id"], how="full", suffix="_actual")
    assert joined.null_count().sum_horizontal().item() == 0
    np.testing.assert_allclose(joined["score_actual"], joined["score"], atol=1e-5)
    np.testing.assert_allclose(joined["expected_revenue_actual"], joined["expected_revenue"], rtol=2e-5, atol=1e-5)


def test_every_format_equals_the_fitted_champion(stacked: Exported) -> None:
    parity = stacked.manifest["parity"]
    assert set(parity["max_difference"]) == {"onnx", "torch_export", "fused"}
    assert max(parity["max_difference"].values()) <= 1e-5
    champion = stacked.manifest["champion"]
    assert champion["name"] == "stack" and champion["why"] == "stack: set by the test"
    assert champion["uses"] == ["frequency", "logistic", "lightgbm", "network"]
    assert set(champion["candidates"]) == set(champion["uses"]) and champion["weights"]["past"]["intercept"] == 0.05


def test_a_bundle_of_a_stack_verifies_with_numpy_and_onnxruntime_alone(stacked: Exported) -> None:
    process = subprocess.run([sys.executable, stacked.bundle / "verify.py"], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_files_of_scores_hold_those_of_the_champion(stacked: Exported, tmp_path: Path) -> None:
    config = BatchConfig(part=100)
    score_bundle(stacked.bundle, str(stacked.log), stacked.cutoff, tmp_path / "out", config, lambda text: None)
    table = pl.concat([pl.read_parquet(path) for path in (tmp_path / "out").glob("part-*.parquet")])
    expected = champion_scores(stacked.run, stacked.log, stacked.cutoff)
    assert_equal_scores(table, expected)
    score(stacked.run, stacked.cutoff, tmp_path / "run.parquet", str(stacked.log), lambda text: None)
    assert_equal_scores(pl.read_parquet(tmp_path / "run.parquet"), expected)


def test_the_whole_graph_also_has_the_outputs_of_the_network(stacked: Exported, exported: Exported) -> None:
    inputs = load_arrays(stacked.bundle / "golden/inputs.npz")
    outputs, network = (run_session(open_bundle(each.bundle).session(), inputs) for each in (stacked, exported))
    for name in ("probability", "expected_revenue"):
        np.testing.assert_allclose(outputs[f"network_{name}"], network[name], rtol=1e-5, atol=1e-6)
        assert np.abs(outputs[name] - network[name]).max() > 1e-3
    np.testing.assert_allclose(outputs["visit"], network["visit"], atol=1e-6)
    np.testing.assert_allclose(outputs["channel_share"], network["channel_share"], atol=1e-6)


@pytest.mark.parametrize("days", [[], [3], [2, 9, 16, 23]])
def test_reasons_explain_the_champion(stacked: Exported, days: list[int]) -> None:
    scorer = OnlineScorer(open_bundle(stacked.bundle))
    assert isinstance(scorer.pair_scorer, ChampionScorer) and scorer.pair_scorer.network is not None
    request = scorer.validate(ScoreRequest(events=purchases(scorer, days), reasons=50))
    (response,) = scorer.score([request])
    explanation = response.explanation
    assert explanation is not None
    best = max(response.scores, key=lambda each: each["probability"])
    total = explanation.base_value + explanation.other + sum(each.contribution for each in explanation.reasons)
    assert total == pytest.approx(explanation.score, abs=1e-9)
    assert explanation.score == pytest.approx(log_odds_of(np.array(best["probability"])), abs=1e-4)


@pytest.fixture(scope="module")
def trees_alone(exported: Exported, small_world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A run whose champion is LightGBM, with amounts of LightGBM and frequency."""
    folder = tmp_path_factory.mktemp("trees")
    run = with_champion(exported.run, folder / "run", small_world["examples"], "lightgbm")
    manifest = export(run, folder / "bundle", ["onnx"], None, None, 100, 180, lambda text: None)
    return exported._replace(run=run, bundle=folder / "bundle", manifest=manifest)


def test_a_champion_of_trees_has_the_probabilities_of_trees_and_the_amounts_of_the_stack(trees_alone: Exported) -> None:
    assert trees_alone.manifest["champion"]["name"] == "lightgbm"
    assert trees_alone.manifest["champion"]["uses"] == ["frequency", "lightgbm", "network"]
    bundle = open_bundle(trees_alone.bundle)
    inputs = load_arrays(trees_alone.bundle / "golden/inputs.npz")
    outputs = run_session(bundle.session(), inputs)
    for actual, name in zip(bundle.pair_scorer()(inputs), ("probability", "expected_revenue"), strict=True):
        np.testing.assert_allclose(actual, outputs[name], rtol=1e-5, atol=1e-6)
