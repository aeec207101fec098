"""Losses against their plain definitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from propensity.config import conf_folder
from propensity.data.batch import Outcomes
from propensity.loss.multitask import Multitask, channel_loss, value_loss
from propensity.model.outputs import Outputs


def member_outputs(seed: int = 0) -> tuple[Outputs, Outcomes, torch.Tensor]:
    torch.manual_seed(seed)
    bought = (torch.rand(6, 4) < 0.3).float()
    outputs = Outputs(
        torch.randn(6, 4), torch.rand(6, 4, 2) + 0.1, torch.randn(6), torch.randn(6, 3), torch.randn(6, 3)
    )
    money, weight = bought * torch.rand(6, 4) * 20, torch.rand(4) + 0.5
    lines = torch.tensor([[0, 0, 0], [1, 0, 0], [2, 1, 1], [0, 0, 0], [0, 3, 5], [1, 0, 1]]).float()
    return outputs, Outcomes(bought, money, bought.amax(1), lines), weight


@pytest.mark.parametrize("name", sorted(path.stem for path in (conf_folder() / "loss").glob("*.yaml")))
def test_every_loss_is_finite_and_teaches(name: str, composed: Callable[..., Any]) -> None:
    outputs, outcomes, weight = member_outputs()
    purchase = outputs.purchase.requires_grad_()
    terms = instantiate(composed("train", f"loss={name}").loss)(outputs, outcomes, weight)
    terms.total.backward()
    assert purchase.grad is not None
    assert torch.isfinite(terms.total) and purchase.grad.abs().min() > 0
    assert "purchase" in terms.parts


def test_the_multitask_loss_is_the_sum_of_its_definitions() -> None:
    outputs, outcomes, weight = member_outputs()
    p = outputs.purchase.sigmoid()
    pairs = -(outcomes.bought * p.log() + (1 - outcomes.bought) * (1 - p).log())
    v = outputs.visit.sigmoid()
    visits = -(outcomes.visit * v.log() + (1 - outcomes.visit) * (1 - v).log())
    paid = outcomes.revenue > 0
    spread = torch.distributions.LogNormal(outputs.value[..., 0], outputs.value[..., 1])
    money = torch.where(paid, outcomes.revenue, 1.0)
    likelihood = -spread.log_prob(money) - money.log()  # of log revenue, not of revenue
    revenue = (likelihood * weight)[paid].sum() / weight.expand(6, 4)[paid].sum()
    chance = outputs.channel.softmax(1)
    buyers = [n for n in range(6) if outcomes.channel[n].sum() > 0]
    through = [-(outcomes.channel[n] / outcomes.channel[n].sum() * chance[n].log()).sum() for n in buyers]
    channel = torch.stack(through).mean() * weight.mean()
    expected = (pairs * weight).mean() + 0.3 * visits.mean() * weight.mean() + 0.2 * revenue + 0.4 * channel
    torch.testing.assert_close(Multitask(visit=0.3, value=0.2, channel=0.4)(outputs, outcomes, weight).total, expected)


def test_a_batch_without_a_buyer_has_no_revenue_to_learn_from() -> None:
    outputs, outcomes, weight = member_outputs()
    nothing = outcomes._replace(revenue=torch.zeros(6, 4))
    assert value_loss(outputs, nothing, weight) == 0


def test_without_channels_or_without_a_buyer_there_is_no_channel_to_learn() -> None:
    outputs, outcomes, weight = member_outputs()
    unknown = outputs._replace(channel=outputs.channel[:, :0])
    for lines in (outcomes.channel[:, :0], outcomes.channel[:, :1]):  # a log with none, with one
        assert channel_loss(unknown, outcomes._replace(channel=lines), weight) == 0
    logits = outputs.channel.requires_grad_()
    loss = channel_loss(outputs, outcomes._replace(channel=torch.zeros(6, 3)), weight)
    loss.backward()
    assert loss == 0 and logits.grad is not None and (logits.grad == 0).all()


def test_more_weight_on_an_offer_counts_its_pairs_more() -> None:
    outputs, outcomes, weight = member_outputs()
    double = Multitask(visit=0, value=0)(outputs, outcomes, 2 * weight).total
    torch.testing.assert_close(double, 2 * Multitask(visit=0, value=0)(outputs, outcomes, weight).total)
    assert math.isfinite(double)
