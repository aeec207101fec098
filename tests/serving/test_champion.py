"""A graph of several candidates computes what its candidates compute apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from propensity.baseline.pair_table import rows_of
from propensity.data.batch import Inputs
from propensity.serving.champion import Booster, Combination, Mixture
from propensity.serving.graph import ScoringGraph, output_names, run_network, trace, write_onnx
from propensity.serving.session import session
from propensity.serving.tree_inputs import insert_trees
from propensity.serving.trees import read_trees
from propensity.serving.verify import max_difference, run_session
from serving.test_export import CONFIG, SIZES, random_inputs

PAST = CONFIG.pair.index("purchase_days")
QUIET = {"verbose": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True, "min_data_in_leaf": 3}
SHAPES = ((1, 7, 5), (3, 1, 2), (64, 9, 1), (2, 128, 3))


def some_inputs(customers: int, events: int, offers: int, past: float = 0.4) -> Inputs:
    """Random inputs in which a share of the pairs has a past."""
    inputs = random_inputs(customers, events, offers)
    random = np.random.default_rng(customers)
    pair = np.array(inputs.pair)
    pair[..., PAST] = (random.random((customers, offers)) < past) * random.integers(1, 9, (customers, offers))
    return inputs._replace(pair=pair)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def boosters() -> dict[str, lightgbm.Booster]:
    x = rows_of(some_inputs(80, 3, 6))
    random = np.random.default_rng(3)
    buys, pays = random.random(len(x)) < 0.3 + 0.05 * x[:, PAST], random.gamma(2.0, 9.0, len(x))

    def train(objective: str, y: np.ndarray) -> lightgbm.Booster:
        data = lightgbm.Dataset(x, y, params=QUIET)
        return lightgbm.train({"objective": objective, **QUIET}, data, num_boost_round=20)

    return {"purchase": train("binary", buys.astype(float)), "amount": train("gamma", pays)}


def booster(models: dict[str, lightgbm.Booster]) -> Booster:
    purchase, amount = (read_trees(models[name].model_to_string()) for name in ("purchase", "amount"))
    return Booster(purchase, amount, None)


def mixture(candidates: tuple[str, ...], never_bought_trees: bool = True) -> Mixture:
    weight = np.array([[0.7, 0.2], [0.4, 0.6]])[:, -len(candidates) :]
    if not never_bought_trees:
        weight[0, -1] = 0.0
    amount = np.array([0.3, 0.7])[-len(candidates) :]
    return Mixture(candidates, weight, np.array([-0.1, 0.05]), amount, 4.0, 1.1, 0.01, PAST)


def expected_scores(
    weights: Mixture, network: dict[str, np.ndarray], models: dict[str, lightgbm.Booster], inputs: Inputs
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of network and trees, combined in float64."""
    rows, shape = rows_of(inputs), inputs.pair.shape[:2]
    tree_logit, tree_amount = (
        np.asarray(models[name].predict(rows, raw_score=True)) for name in ("purchase", "amount")
    )
    p = network["probability"].astype(float)
    terms = {
        "network": (np.log(p / (1 - p)), np.log(network["expected_revenue"] / p)),
        "lightgbm": (tree_logit.reshape(shape), tree_amount.reshape(shape)),
    }
    row = (np.asarray(inputs.pair)[..., PAST] > 0).astype(int)
    logit, amount = weights.intercept[row], np.zeros(shape)
    for k, name in enumerate(weights.candidates):
        logit = logit + weights.weight[row, k] * terms[name][0]
        amount = amount + weights.amount_weight[k] * np.log(np.maximum(np.exp(terms[name][1]) / 4.0, 0.01))
    probability = 1 / (1 + np.exp(-logit))
    return probability, probability * np.exp(amount) * 4.0 * 1.1


@pytest.mark.parametrize(
    ("candidates", "never_bought_trees"), [(("network", "lightgbm"), False), (("lightgbm",), True)]
)
def test_one_graph_holds_network_trees_and_their_weights(
    candidates: tuple[str, ...],
    never_bought_trees: bool,
    boosters: dict[str, lightgbm.Booster],
    composed: Callable[..., Any],
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    cfg = composed("train", "model/encoder=none", "model.members=1", "model.width=8")
    model = instantiate(cfg.model, sizes=SIZES).eval()
    weights = mixture(candidates, never_bought_trees)
    combination = Combination(weights, {}, {"lightgbm": booster(boosters)})
    graph, names = ScoringGraph(model, combination), output_names(channels=True, champion=True)
    program = trace(graph, some_inputs(3, 7, 5), len(graph.tree_inputs))
    write_onnx(program, tmp_path / "model.onnx", names, graph.tree_inputs)
    insert_trees(tmp_path / "model.onnx", combination.tree_inputs)
    running = session(tmp_path / "model.onnx")
    torch_program = trace(ScoringGraph(model, combination, torch_trees=True), some_inputs(3, 7, 5)).module()
    for shape in SHAPES:
        for past in (0.0, 0.4, 1.0):
            inputs = some_inputs(*shape, past)
            network = run_network(ScoringGraph(model), inputs)
            probability, revenue = expected_scores(weights, network, boosters, inputs)
            for outputs in (run_session(running, inputs._asdict()), run_network(torch_program, inputs, names)):
                assert tuple(outputs) == names
                assert max_difference(outputs["probability"], probability) < 1e-5
                assert max_difference(outputs["expected_revenue"], revenue) < 1e-5
                assert max_difference(outputs["network_probability"], network["probability"]) < 1e-6
                assert max_difference(outputs["visit"], network["visit"]) < 1e-6
