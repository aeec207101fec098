"""A candidate in a graph computes what the fitted candidate computes."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest
import torch

from propensity.baseline.candidate import CandidateOutputs
from propensity.baseline.frequency import Frequency
from propensity.baseline.lightgbm import LightGBM
from propensity.baseline.logistic import Logistic
from propensity.baseline.pair_table import Columns, rows_of
from propensity.data.batch import Inputs
from propensity.model.inference import to_tensors
from propensity.serving.candidates import FrequencyGraph, LogisticGraph, booster_of
from propensity.serving.champion import TreeRows
from serving.test_champion import QUIET, some_inputs
from serving.test_export import CONFIG

DECLARED = [column for block in CONFIG.columns.values() for column in block]
MONEY = tuple(k for k, column in enumerate(DECLARED) if column.money)
UNIT = 2.7


def columns(unit: float = UNIT) -> Columns:
    return Columns(CONFIG.pair, CONFIG.customer, CONFIG.context, MONEY, unit, 14)


def inputs_with_missing_values(seed: int) -> Inputs:
    """Random inputs in which every block has missing values, and amounts below 0."""
    random = np.random.default_rng(seed)
    inputs = some_inputs(20, 3, 6)
    price, spend = CONFIG.context.index("price"), CONFIG.pair.index("spend_mean")
    arrays: dict[str, Any] = {}
    for name in ("pair", "customer_features", "context"):
        block = np.array(getattr(inputs, name))
        keep = np.array([column.name.startswith(("tenure", "purchase_days", "decayed")) for column in declared(name)])
        missing = (random.random(block.shape) < 0.15) & ~keep
        arrays[name] = np.where(missing, np.nan, block).astype(np.float32)
    arrays["context"][0, price], arrays["context"][1, price] = np.nan, 8.0
    arrays["pair"][0, 0, spend] = -40.0
    return inputs._replace(**arrays)


def declared(field: str) -> Any:
    return CONFIG.columns["customer" if field == "customer_features" else field]  # type: ignore[index]


def assert_equal(logit: torch.Tensor, log_amount: torch.Tensor, expected: CandidateOutputs) -> None:
    np.testing.assert_allclose(logit.numpy(), expected.logit, atol=1e-5)
    amount = np.maximum(expected.amount / UNIT, 0.01)
    in_units = (log_amount - np.log(UNIT)).clamp(min=np.log(0.01))
    np.testing.assert_allclose(in_units.exp().numpy(), amount, rtol=5e-6)


@pytest.mark.parametrize("seed", range(3))
def test_logistic_regression_in_a_graph_equals_the_fitted_one(seed: int) -> None:
    random, inputs = np.random.default_rng(seed), inputs_with_missing_values(seed)
    model, size = Logistic(), 2 * len(DECLARED)
    model.columns, model.coefficient = columns(), random.normal(size=size + 1) * 0.2
    model.mean, model.deviation = random.normal(size=size), random.gamma(2.0, 0.5, size) + 0.01
    with torch.inference_mode():
        logit, amount = LogisticGraph(model)(Inputs(*to_tensors(inputs)))
    assert_equal(logit, amount, model.outputs(inputs))


@pytest.mark.parametrize("seed", range(3))
def test_frequency_in_a_graph_equals_the_fitted_one(seed: int) -> None:
    inputs = inputs_with_missing_values(seed)
    model = Frequency()
    half_life = int(next(name for name in CONFIG.pair if name.startswith("decayed_")).split("_")[1])
    model.columns, model.chosen = columns(), {"half_life": half_life, "prior": 30}
    model.link, model.activity = (1.2, -0.4), 3.3
    with torch.inference_mode():
        logit, amount = FrequencyGraph(model)(Inputs(*to_tensors(inputs)))
    assert_equal(logit, amount, model.outputs(inputs))


def test_lightgbm_in_a_graph_equals_the_fitted_one() -> None:
    inputs = inputs_with_missing_values(5)
    x, random = rows_of(inputs), np.random.default_rng(5)
    model = LightGBM()
    model.columns, model.amount_scale = columns(), 1.3
    for name, objective in (("purchase_model", "binary"), ("amount_model", "gamma")):
        y = random.integers(0, 2, len(x)) + (objective == "gamma")
        data = lightgbm.Dataset(x, y.astype(float), params=QUIET)
        setattr(model, name, lightgbm.train({"objective": objective, **QUIET}, data, num_boost_round=20))
    booster = booster_of(model)
    assert booster.amount is not None
    trees = TreeRows({"purchase": booster.purchase, "amount": booster.amount})
    with torch.inference_mode():
        raw = trees(Inputs(*to_tensors(inputs)))
        assert booster.usual is not None
        usual = booster.usual(Inputs(*to_tensors(inputs)))
    assert_equal(raw["purchase"], raw["amount"] + usual, model.outputs(inputs))
    model.amount_model = None
    assert booster_of(model).amount is None
