"""The level of the probabilities: purchases of training pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from conftest import SMALL
from propensity.model.member import EnsembleMember
from propensity.model.offer_net import OfferNet
from propensity.training.calibrate import calibrate, training_blocks
from propensity.training.data_module import PropensityDataModule
from propensity.training.level import ENOUGH, Level, set_level
from propensity.training.run import untrained

Compose = Callable[..., Any]


def network(
    world: dict[str, Any], composed: Compose, error: float, *more: str
) -> tuple[OfferNet, PropensityDataModule]:
    """An untrained network whose log-odds of a purchase, given a visit, are off by an error, and its data."""
    torch.manual_seed(3)
    config, training_set = composed("train", *SMALL, *more), world["examples"]
    data = instantiate(config.training, _convert_="all").data_module(training_set, world["task"], 5)
    model = untrained(config, world["task"], training_set, data)
    for member in model.members:
        assert isinstance(member, EnsembleMember)
        member.base.weight.data += error
    return model.eval(), data


@pytest.mark.parametrize(("error", "more"), [(-0.5, ()), (0.5, ("model.members=2", "model/visit=none"))])
def test_totals_of_pairs_with_and_without_a_purchase_meet_what_was_bought(
    error: float, more: tuple[str, ...], small_world: dict[str, Any], composed: Compose
) -> None:
    model, data = network(small_world, composed, error, *more)
    before = {kind: Level.of(model, training_blocks(model, data), kind) for kind in (True, False)}
    calibrate(model, data)
    blocks = training_blocks(model, data)
    for kind, level in before.items():
        left, most = Level.of(model, blocks, kind).shift(), ENOUGH / (level.purchases + ENOUGH)
        assert abs(left) <= most * abs(level.shift()) + 1e-4, "of few purchases a part of the error is believed"


@pytest.mark.parametrize("more", ["model/explore=none", "model/repeat=none"])
def test_a_network_without_a_gate_meets_the_total_of_all_pairs(
    more: str, small_world: dict[str, Any], composed: Compose
) -> None:
    model, data = network(small_world, composed, 0.5, more)
    set_level(model, training_blocks(model, data), data.task.feature.pair.index("recency"))
    level = Level.of(model, training_blocks(model, data))
    assert level.expected(0.0) == pytest.approx(level.purchases, rel=0.5 * ENOUGH / level.purchases)


def test_a_level_shifts_all_pairs_of_a_kind_alike_and_leaves_offers_without_a_code(
    small_world: dict[str, Any], composed: Compose
) -> None:
    model, data = network(small_world, composed, 0.5)
    unnamed = data.sample(1)
    unnamed = unnamed._replace(offer=torch.zeros_like(unnamed.offer))
    never_bought = unnamed.pair[..., data.task.feature.pair.index("purchase_days")] == 0
    blocks = training_blocks(model, data)
    before = [Level.of(model, blocks, kind).purchase for kind in (True, False)]
    with torch.no_grad():
        earlier = model(unnamed).purchase[never_bought]
    set_level(model, blocks, data.task.feature.pair.index("recency"))
    blocks = training_blocks(model, data)
    shifts = [(Level.of(model, blocks, kind).purchase - rest) for kind, rest in zip((True, False), before, strict=True)]
    assert [float(shift.std()) for shift in shifts] == pytest.approx([0.0, 0.0], abs=1e-3)
    assert abs(float(shifts[0].mean() - shifts[1].mean())) > 0.01
    with torch.no_grad():
        torch.testing.assert_close(model(unnamed).purchase[never_bought], earlier, rtol=0, atol=1e-4)


def test_without_purchases_nothing_is_shifted(small_world: dict[str, Any], composed: Compose) -> None:
    model, data = network(small_world, composed, 0.0)
    blocks = [
        block._replace(outcomes=block.outcomes._replace(bought=torch.zeros_like(block.outcomes.bought)))
        for block in training_blocks(model, data)
    ]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    set_level(model, blocks, data.task.feature.pair.index("recency"))
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
