"""Trees on masks of leaves give what LightGBM gives, wherever the columns lie."""

from __future__ import annotations

import numpy as np
import pytest

from propensity.serving.tree_inputs import TreeInput
from propensity.serving.tree_scorer import (
    BlockSizes,
    TreeScorer,
    can_mask,
    read_tree_scorers,
    tree_arrays,
)
from propensity.serving.tree_sum import Trees
from propensity.serving.trees import read_trees
from serving.test_trees import COLUMNS, booster, edge_rows

SIZES = BlockSizes(3, 2, 1)
CUSTOMERS, OFFERS = 25, 40  # more than one group of pairs that are computed at once, and a part of one
NEVER_BOUGHT = np.array([np.nan, 0.0, 1.0], np.float32)


def blocks(trees: Trees, seed: int) -> dict[str, np.ndarray]:
    """Columns of pairs, customers and offers on the edge of thresholds; half of the pairs are as never-bought ones."""
    random = np.random.default_rng(seed)
    rows = edge_rows(trees, seed, CUSTOMERS * OFFERS).reshape(CUSTOMERS, OFFERS, COLUMNS)
    pair = rows[..., :3].copy()
    pair[random.random(pair.shape[:2]) < 0.5] = NEVER_BOUGHT
    return {"pair": pair, "customer_features": rows[:, 0, 3:5].copy(), "context": rows[0, :, 5:].copy()}


def flat(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """One row per pair."""
    shape = (CUSTOMERS, OFFERS)
    customer = np.broadcast_to(inputs["customer_features"][:, None], (*shape, SIZES.customer))
    context = np.broadcast_to(inputs["context"][None], (*shape, SIZES.context))
    return np.concatenate([inputs["pair"], customer, context], axis=2).reshape(-1, COLUMNS)


@pytest.mark.parametrize(("seed", "leaves"), [(1, 15), (2, 32), (3, 33), (4, 64)])
def test_masks_of_leaves_give_the_raw_scores_of_lightgbm(seed: int, leaves: int) -> None:
    model = booster(seed, trees=13, num_leaves=leaves, missing=seed % 2 == 0)
    trees = read_trees(model.model_to_string())
    inputs = blocks(trees, seed)
    expected = np.asarray(model.predict(flat(inputs), raw_score=True)).reshape(CUSTOMERS, OFFERS)
    np.testing.assert_allclose(TreeScorer(trees, None, SIZES)(inputs), expected, rtol=0, atol=2e-6)


def test_pairs_without_a_past_are_left_out_and_a_file_keeps_the_trees() -> None:
    trees = read_trees(booster(5).model_to_string())
    inputs = blocks(trees, 5)
    both = {"all": TreeInput(trees, None), "some": TreeInput(trees, 1)}
    scorers = read_tree_scorers(tree_arrays(both, SIZES))
    every, some = scorers["all"](inputs), scorers["some"](inputs)
    np.testing.assert_array_equal(every, TreeScorer(trees, None, SIZES)(inputs))
    past = inputs["pair"][..., 1] > 0
    np.testing.assert_array_equal(some, np.where(past, every, 0))
    assert 0 < past.sum() < past.size


def test_a_sum_of_constants_is_a_constant() -> None:
    model = booster(6, trees=3, min_data_in_leaf=10_000)
    trees = read_trees(model.model_to_string())
    inputs = blocks(read_trees(booster(5).model_to_string()), 6)
    actual = TreeScorer(trees, None, SIZES)(inputs)
    np.testing.assert_allclose(actual, np.asarray(model.predict(flat(inputs), raw_score=True))[0], atol=1e-6)


def test_larger_trees_are_left_to_the_graph() -> None:
    assert can_mask(read_trees(booster(7, trees=2, num_leaves=64).model_to_string()))
    assert not can_mask(read_trees(booster(7, trees=2, num_leaves=65, min_data_in_leaf=1).model_to_string()))
