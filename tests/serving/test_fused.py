"""The fused kernels compute what the network computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from propensity.data.batch import Inputs
from propensity.model.inference import to_tensors
from propensity.serving import pair_scorer
from propensity.serving.fused import fused_weights, signed_logs
from propensity.serving.graph import PartsGraph, ScoringGraph, can_fuse, pair_weights, run_network
from propensity.serving.pair_scorer import FusedScorer

VARIANTS = {
    "default": [],
    "without a visit": ["model/visit=none"],
    "without an explore expert": ["model/explore=none", "model.members=1"],
    "with a season": ["model/season=fourier", "model/encoder=gru"],
    "with a causal encoder": ["model/encoder=hstu", "model.encoder.tokens=baskets", "model.closed_gate=true"],
}


def test_signed_logs_are_accurate_for_small_and_large_values() -> None:
    value = np.array([0, 1e-7, -3e-4, 0.5, -0.9, 1, 17, -1e4, 3e8, np.nan], np.float32)
    one, log = np.empty(value.size, np.float32), np.empty(value.size, np.float32)
    signed_logs(value, value.size, one, one.view(np.int32), log)
    expected = np.sign(value.astype(float)) * np.log1p(np.abs(value.astype(float)))
    np.testing.assert_allclose(log, expected, rtol=3e-7)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_fused_scorer_equals_the_network(
    variant: str, small_world: dict[str, Any], composed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    training_set, task = small_world["examples"], small_world["task"]
    features, market_stats, customer = training_set.cutoffs_data[-1]
    inputs = features.inputs(market_stats, customer[:40])
    inputs.pair[3, 2, features.config.pair.index("hazard")] = np.nan
    cfg = composed("train", "model.width=8", *VARIANTS[variant])
    model = instantiate(cfg.model, sizes=task.feature.sizes(training_set.vocabulary)).eval()
    model.fit_scales(Inputs(*to_tensors(inputs)))
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    assert can_fuse(model)
    weights = pair_weights(model)
    with torch.no_grad():
        parts = dict(
            zip(pair_scorer.PARTS, (each.numpy() for each in PartsGraph(model)(*to_tensors(inputs))), strict=True)
        )
    scorer = FusedScorer.__new__(FusedScorer)
    scorer.session, scorer.sigma_max, scorer.unit = None, float(weights["sigma_max"]), float(weights["unit"])
    scorer.weights = fused_weights(weights)
    monkeypatch.setattr(pair_scorer.verify, "run_session", lambda session, inputs: parts)
    monkeypatch.setattr(pair_scorer, "TILE", 100)  # several tiles, the last one short
    expected = run_network(ScoringGraph(model), inputs)
    probability, revenue = scorer(inputs._asdict())
    np.testing.assert_allclose(probability, expected["probability"], atol=5e-6)
    np.testing.assert_allclose(revenue, expected["expected_revenue"], rtol=5e-5, atol=5e-6 * scorer.unit)
