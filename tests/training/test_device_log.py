"""A log that waits on the device: gathered there, histories are to the bit what the kernel makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import QUICK, SMALL
from propensity.feature.history_mask import RandomHistoryMask
from propensity.training.data_module import CutoffSampler, PositionBatches, TrainingBatches
from propensity.training.device_log import DeviceLog, PositionBatch
from propensity.training.run import train


@pytest.mark.parametrize("trim", [False, True])
def test_gathered_batches_equal_those_of_the_kernel(small_world: dict[str, Any], trim: bool) -> None:
    training_set, history_mask = (
        small_world["examples"],
        RandomHistoryMask(offer=0.4, recent=0.3, everything=0.2, launched=0.1),
    )
    whole = TrainingBatches(training_set, replace(small_world["task"], history_mask=history_mask), trim)
    pointers, log = PositionBatches(whole), DeviceLog(training_set.features, torch.device("cpu"))
    lengths = set()
    for draw in CutoffSampler([o.row.size for o in training_set.cutoffs_data], 16, seed=2):
        wanted, found = whole[draw], log.gather(pointers[draw])
        lengths |= set(wanted.inputs.length.tolist())
        for name in wanted.inputs._fields:
            mine, theirs = getattr(found.inputs, name), getattr(wanted.inputs, name)
            assert mine.dtype == theirs.dtype, name
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True, msg=name)
        for mine, theirs in zip((*found.outcomes, found.weight), (*wanted.outcomes, wanted.weight), strict=True):
            assert torch.equal(mine, theirs)
    assert 0 in lengths and len(lengths) > 3


def test_what_crosses_to_the_device_are_positions_and_no_histories(small_world: dict[str, Any]) -> None:
    training_set = small_world["examples"]
    batches = PositionBatches(TrainingBatches(training_set, small_world["task"]))
    made = batches[next(iter(CutoffSampler([o.row.size for o in training_set.cutoffs_data], 16, seed=2)))]
    assert isinstance(made, PositionBatch)
    assert made.position.shape[1] == training_set.features.config.history
    assert made.batch.inputs.token.numel() == made.batch.inputs.age.numel() == 0


def test_a_resident_log_trains_the_same_network(
    small_world: dict[str, Any], composed: Callable[..., Any], tmp_path: Path
) -> None:
    asked = [*SMALL, *QUICK, f"data.log={small_world['folder']}", "model/encoder=gru"]
    weights = []
    for log_on_device in (False, True):
        out = tmp_path / str(log_on_device)
        model, *_ = train(composed("train", *asked, f"training.log_on_device={log_on_device}", f"out={out}"))
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
