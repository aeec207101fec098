"""The default loss: purchase of every pair, visit of every customer, revenue and channel of every buyer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from propensity.data.batch import Outcomes
from propensity.model.outputs import Outputs


class Terms(NamedTuple):
    """The number to minimise, and its parts by name."""

    total: Tensor
    parts: dict[str, Tensor]


@dataclass
class Multitask:
    """purchase + `visit` x visit + `value` x revenue + `channel` x channel; the factors are relative weights, 0 leaves
    a task out."""

    visit: float = 0.1
    value: float = 0.05
    channel: float = 0.05

    def __call__(self, outputs: Outputs, outcomes: Outcomes, weight: Tensor) -> Terms:
        parts = {
            "purchase": purchase_loss(outputs, outcomes, weight),
            "visit": visit_loss(outputs, outcomes, weight),
            "value": value_loss(outputs, outcomes, weight),
            "channel": channel_loss(outputs, outcomes, weight),
        }
        total = parts["purchase"] + self.visit * parts["visit"] + self.value * parts["value"]
        return Terms(total + self.channel * parts["channel"], parts)


def purchase_loss(outputs: Outputs, outcomes: Outcomes, weight: Tensor) -> Tensor:
    """Cross-entropy of all pairs with weights (M,) by offer, or of K that stand for all with weights (K,):
    probabilities stay calibrated."""
    return cross_entropy(outputs.purchase, outcomes.bought, weight=weight.expand_as(outputs.purchase))


def visit_loss(outputs: Outputs, outcomes: Outcomes, weight: Tensor) -> Tensor:
    """Cross-entropy of buying anything at all, weighed by the mean weight of the date."""
    return cross_entropy(outputs.visit, outcomes.visit) * weight.mean()


def value_loss(outputs: Outputs, outcomes: Outcomes, weight: Tensor) -> Tensor:
    """Negative log likelihood of log revenue, over the pairs with revenue; 0 without any."""
    location, sigma = outputs.value[..., 0].float(), outputs.value[..., 1].float()
    paid = outcomes.revenue > 0
    error = torch.log(torch.where(paid, outcomes.revenue, 1.0)) - location
    likelihood = 0.5 * (error / sigma) ** 2 + torch.log(sigma) + 0.5 * math.log(2 * math.pi)
    scaled = torch.where(paid, likelihood * weight, 0.0)
    return scaled.sum() / torch.where(paid, weight, 0.0).sum().clamp(min=1e-6)


def channel_loss(outputs: Outputs, outcomes: Outcomes, weight: Tensor) -> Tensor:
    """Cross-entropy against the shares of the channels of a customer's purchases, over the customers with any, weighed
    by the mean weight of the date; 0 without any, or where fewer than two channels are known."""
    if outputs.channel.shape[1] == 0:
        return outputs.visit.new_zeros(())
    lines = outcomes.channel.sum(dim=1)
    share = outcomes.channel / lines.clamp(min=1.0)[:, None]
    entropy = -(share * outputs.channel.float().log_softmax(dim=1)).sum(dim=1)
    return entropy.sum() / (lines > 0).sum().clamp(min=1) * weight.mean()
