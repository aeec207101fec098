"""Exported trees decide as LightGBM does, also on the edge of a threshold and where a value is missing."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from propensity.errors import ConfigurationError, DataError
from propensity.serving.tree_sum import Trees
from propensity.serving.trees import (
    ML_DOMAIN,
    ML_OPSET,
    TorchTrees,
    read_trees,
    round_down,
    tree_nodes,
)

COLUMNS = 6
QUIET = {"verbose": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True}


def random_table(seed: int, rows: int = 600, missing: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Columns of several scales with ties, zeros and missing values, and a label."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, COLUMNS)).astype(np.float32)
    x[:, 1] = np.round(x[:, 1] * 3)
    x[:, 2] = np.exp(8 * x[:, 2])
    x[:, 3] *= 1e-6
    x[:, 4][random.random(rows) < 0.7] = 0
    if missing:
        x[random.random(x.shape) < 0.1] = np.nan
    score = np.nan_to_num(x[:, 0]) + 0.3 * np.nan_to_num(x[:, 1]) + np.isnan(x[:, 4])
    return x, (random.random(rows) < 1 / (1 + np.exp(-score))).astype(float)


def booster(seed: int, trees: int = 30, missing: bool = True, **settings: Any) -> lightgbm.Booster:
    """A booster on random data; without missing values in training, NaN is read as 0."""
    x, y = random_table(seed, missing=missing)
    parameters = {"objective": "binary", "num_leaves": 15, "min_data_in_leaf": 5, "seed": seed, **QUIET, **settings}
    label = 1.0 + 9 * y if parameters["objective"] == "gamma" else y
    model = lightgbm.Booster(parameters, lightgbm.Dataset(x, label, params=parameters))
    for _ in range(trees):
        model.update()
    return model


def edge_rows(trees: Trees, seed: int, rows: int = 2000) -> np.ndarray:
    """Rows on thresholds and one unit in the last place beside them, with 0, -0.0 and NaN among them."""
    random = np.random.default_rng(seed)
    x = np.nan_to_num(random_table(seed + 1, rows)[0])
    for column in range(COLUMNS):
        threshold = trees.threshold[trees.column == column]
        if threshold.size:
            value = random.choice(threshold, rows)
            side = random.integers(-1, 2, rows)
            beside = np.nextafter(value, np.where(side < 0, -np.inf, np.inf).astype(np.float32))
            x[:, column] = np.where(side == 0, value, beside)
    special = np.array([np.nan, np.nan, 0.0, -0.0, np.inf, -np.inf], np.float32)
    return np.where(random.random(x.shape) < 0.2, random.choice(special, x.shape), x)


def onnx_scores(trees: Trees, x: np.ndarray) -> np.ndarray:
    nodes = list(tree_nodes(trees, "rows", "raw"))
    graph = helper.make_graph(
        *(nodes, "trees", [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, COLUMNS])]),
        [helper.make_tensor_value_info("raw", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(ML_DOMAIN, ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    running = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return running.run(None, {"rows": x})[0][:, 0]


def torch_scores(trees: Trees, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return TorchTrees(trees)(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("seed", range(12))
def test_the_trees_equal_lightgbm_on_and_beside_every_threshold(seed: int) -> None:
    settings: dict[str, Any] = {"objective": "gamma"} if seed % 3 == 0 else {}
    model = booster(seed, missing=seed % 2 == 0, num_leaves=2 + 5 * seed, **settings)
    trees = read_trees(model.model_to_string())
    x = edge_rows(trees, seed)
    expected = model.predict(x, raw_score=True)
    for scores in (onnx_scores(trees, x), torch_scores(trees, x)):
        assert np.abs(scores - expected).max() < 1e-5


def test_amounts_in_a_small_currency_keep_their_precision() -> None:
    x, y = random_table(2)
    parameters = {"objective": "gamma", "num_leaves": 31, "min_data_in_leaf": 5, **QUIET}
    model = lightgbm.train(parameters, lightgbm.Dataset(x, 1e9 * (1 + 9 * y), params=parameters), num_boost_round=300)
    difference = onnx_scores(read_trees(model.model_to_string()), x) - model.predict(x, raw_score=True)
    assert np.abs(difference).max() < 4e-6


def test_rows_on_the_edge_go_elsewhere_if_thresholds_are_rounded_to_the_nearest() -> None:
    model = booster(3)
    trees = read_trees(model.model_to_string())
    exact = np.array(
        [
            float(number)
            for line in model.model_to_string().splitlines()
            if line.startswith("threshold=")
            for number in line.split("=")[1].split()
        ]
    )
    x = edge_rows(trees, 3)
    wrong = onnx_scores(trees._replace(threshold=exact.astype(np.float32)), x)
    assert np.abs(wrong - model.predict(x, raw_score=True)).max() > 1e-3


@pytest.mark.parametrize("number", [0.1, -0.1, 1 / 3, 1e300, -1e300, 1e-35, 5e-46, -5e-46, np.inf, -np.inf, 0.5])
def test_rounding_down_keeps_every_comparison_of_a_float32(number: float) -> None:
    (rounded,) = round_down(np.array([number]))
    with np.errstate(over="ignore", under="ignore"):
        around = [rounded, *(np.nextafter(rounded, np.float32(side)) for side in (-np.inf, np.inf)), np.float32(0)]
    assert [bool(x <= rounded) for x in around] == [float(x) <= number for x in around]


def test_a_missing_value_is_the_number_0_where_training_had_none() -> None:
    model = booster(5, missing=False)
    trees = read_trees(model.model_to_string())
    x = random_table(6)[0]
    np.testing.assert_array_equal(onnx_scores(trees, x), onnx_scores(trees, np.nan_to_num(x)))
    assert (trees.missing_left == (trees.threshold >= 0)).all()


@pytest.mark.parametrize("trees", [0, 1])
def test_no_tree_and_one_tree_are_exported(trees: int) -> None:
    model = booster(7, trees)
    ensemble = read_trees(model.model_to_string())
    assert ensemble.root.size == trees
    x = random_table(8, 50)[0]
    expected = model.predict(x, raw_score=True) if trees else np.zeros(50)
    for scores in (onnx_scores(ensemble, x), torch_scores(ensemble, x)):
        np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_trees_of_one_leaf_add_a_constant() -> None:
    x, y = random_table(9)
    parameters = {"objective": "binary", "min_data_in_leaf": 10_000, **QUIET}
    model = lightgbm.train(parameters, lightgbm.Dataset(x, y, params=QUIET), num_boost_round=3)
    trees = read_trees(model.model_to_string())
    assert trees.root.size == 0
    for scores in (onnx_scores(trees, x), torch_scores(trees, x)):
        np.testing.assert_allclose(scores, model.predict(x, raw_score=True), atol=1e-6)


def test_no_row_has_no_score() -> None:
    for trees in (read_trees(booster(1, count).model_to_string()) for count in (0, 3)):
        none = np.zeros((0, COLUMNS), np.float32)
        assert onnx_scores(trees, none).shape == torch_scores(trees, none).shape == (0,)


def test_trees_that_an_export_cannot_hold_are_refused_in_a_sentence() -> None:
    x, y = random_table(10, missing=False)
    x[:, 1] = np.abs(np.round(x[:, 1]))
    data = lightgbm.Dataset(x, y, categorical_feature=[1], params={"min_data_per_group": 1, **QUIET})
    parameters = {"objective": "binary", "min_data_per_group": 1, "cat_smooth": 0.1, **QUIET}
    model = lightgbm.train(parameters | {"max_cat_to_onehot": 1}, data, num_boost_round=20)
    with pytest.raises(ConfigurationError, match="categorical column; train LightGBM without categorical_feature"):
        read_trees(model.model_to_string())
    with pytest.raises(ConfigurationError, match="treats 0 as missing; train LightGBM with zero_as_missing=false"):
        read_trees(booster(11, zero_as_missing=True).model_to_string())
    with pytest.raises(ConfigurationError, match="averages its trees .boosting=rf."):
        read_trees(booster(11, boosting="rf", bagging_fraction=0.5, bagging_freq=1).model_to_string())
    with pytest.raises(ConfigurationError, match="linear leaves; train LightGBM with linear_tree=false"):
        read_trees(booster(11, objective="regression", linear_tree=True).model_to_string())
    x, y = random_table(12)
    many = {"objective": "multiclass", "num_class": 3, **QUIET}
    model = lightgbm.train(many, lightgbm.Dataset(x, np.arange(y.size) % 3, params=QUIET), num_boost_round=2)
    with pytest.raises(ConfigurationError, match="has 3 classes; a bundle holds trees with one output"):
        read_trees(model.model_to_string())


def test_a_damaged_text_is_refused() -> None:
    text = booster(13).model_to_string()
    for damaged in ("", "trees", text[: len(text) // 2], text.replace("leaf_value=", "leaf_value=1 ", 1)):
        with pytest.raises(DataError, match="train again"):
            read_trees(damaged)
