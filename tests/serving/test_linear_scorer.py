"""The kernel of a logistic regression gives what its graph gives."""

from __future__ import annotations

import numpy as np
import torch

from propensity.serving.champion import LinearBlock
from propensity.serving.linear_scorer import linear_arrays, read_linear_scorers

CUSTOMERS, OFFERS, COLUMNS = 7, 11, 13


def test_the_kernel_gives_what_the_graph_gives_also_for_missing_and_extreme_columns() -> None:
    random = np.random.default_rng(3)
    fitted = random.normal(size=(3, 2, COLUMNS))
    fitted[1] = 0.1 + np.abs(fitted[1])
    block = LinearBlock(random.choice([1.0, 0.5], COLUMNS), *fitted)
    pair = (random.normal(size=(CUSTOMERS, OFFERS, COLUMNS)) * 10.0 ** random.integers(-6, 7, COLUMNS)).astype(
        np.float32
    )
    pair[random.random(pair.shape) < 0.3] = np.nan
    pair[0, 0], pair[0, 1] = 0.0, np.nan
    with torch.no_grad():
        expected = block(torch.from_numpy(pair)).numpy()
    scorers = read_linear_scorers(linear_arrays({"a": block, "b": block}))
    for scorer in scorers.values():
        np.testing.assert_allclose(scorer({"pair": pair}), expected, rtol=2e-6, atol=2e-5)
