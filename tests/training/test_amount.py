"""The total of the network's amounts: what training buyers paid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from conftest import SMALL
from propensity.model.member import EnsembleMember
from propensity.training.amount import amount_scale
from propensity.training.calibrate import training_blocks
from propensity.training.length import negative_rate_of
from propensity.training.run import untrained

Compose = Callable[..., Any]


@pytest.mark.parametrize("error", [0.25, 1.0, 3.0])
def test_scaled_amounts_come_near_what_buyers_paid_in_total(
    error: float, small_world: dict[str, Any], composed: Compose
) -> None:
    torch.manual_seed(3)
    config, training_set = composed("train", *SMALL), small_world["examples"]
    data = instantiate(config.training, _convert_="all").data_module(training_set, small_world["task"], 5)
    model = untrained(config, small_world["task"], training_set, data)
    for member in model.members:
        assert isinstance(member, EnsembleMember)
        member.value.base.weight.data[:, 0] += float(np.log(error))
    scale = amount_scale(training_blocks(model, data))
    model.amount_scale.fill_(scale)
    left = abs(np.log(amount_scale(training_blocks(model, data))))
    assert left < 0.02 + 0.2 * abs(np.log(scale)), "of few buyers a part of the error is believed"
    assert 0.5 < scale * error < 2.0


def test_fewer_purchases_keep_fewer_negatives() -> None:
    rates = [negative_rate_of(10.0**-k) for k in range(7)]
    assert rates == sorted(rates, reverse=True) and rates[0] == 1.0 and rates[-1] == 0.05
