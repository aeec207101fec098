"""Scores are the same wherever they are made: no score depends on its block, or on the threads that torch may use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate

from propensity.model.inference import to_tensors
from propensity.training.predict import predict, states


def test_scores_do_not_depend_on_the_threads_that_torch_may_use(
    small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    cutoff_data = small_world["examples"].cutoffs_data[-1]
    torch.manual_seed(5)
    sizes = small_world["task"].feature.sizes(small_world["examples"].vocabulary)
    model = instantiate(composed("train", "model.width=16").model, sizes=sizes)
    model.fit_scales(to_tensors(cutoff_data.features.inputs(cutoff_data.market_stats, cutoff_data.row)))
    before, found = torch.get_num_threads(), {}
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found[threads] = predict(model, cutoff_data)
            assert torch.get_num_threads() == threads, "whoever asked has as many as before"
    finally:
        torch.set_num_threads(before)
    for threads in (2, 3):
        np.testing.assert_array_equal(found[threads].probability, found[1].probability)
        np.testing.assert_array_equal(found[threads].revenue, found[1].revenue)


def test_a_state_belongs_to_its_customer_whatever_the_block(
    small_world: dict[str, Any], composed: Callable[..., Any]
) -> None:
    cutoff_data = small_world["examples"].cutoffs_data[-1]
    sizes = small_world["task"].feature.sizes(small_world["examples"].vocabulary)
    model = instantiate(composed("train", "model.width=8", "model.members=2").model, sizes=sizes)
    inputs = to_tensors(cutoff_data.features.inputs(cutoff_data.market_stats, cutoff_data.row[:5]))
    model.fit_scales(inputs)
    table = states(model, cutoff_data, size=7)
    assert table["customer_id"].to_list() == cutoff_data.customer_id.tolist()
    with torch.inference_mode():
        state = model.eval()(inputs).state
    assert table.width == 1 + 16 == 1 + state.shape[1]
    np.testing.assert_allclose(table[:5].drop("customer_id").to_numpy(), state.numpy(), atol=1e-5)
