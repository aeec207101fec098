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
    """A loss and its terms by name."""

    total: Tensor  # to minimise
    parts: dict[str, Tensor]


@dataclass
class Multitask:
    """purchase loss + `visit` x visit loss + `value` x revenue loss + `channel` x channel loss.

    Parameters
    ----------
    visit, value, channel : weights relative to the purchase loss; 0 leaves a task out.
    """

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
    """Weighted cross-entropy of all pairs with weights (M,), or of K sampled pairs with importance weights (K,)."""
    return cross_entropy(outputs.purchase, outcomes.bought, weight=weight.expand_as(outputs.purchase))


def visit_loss(outputs: Outputs, outcomes: Outcomes, weight: Tensor) -> Tensor:
    """Cross-entropy of buying anything, times the mean weight of the cutoff."""
    return cross_entropy(outputs.visit, outcomes.visit) * weight.mean()


def value_loss(outputs: Outputs, outcomes: Outcomes, weight: Tensor) -> Tensor:
    """Weighted negative log-likelihood of log revenue, in units, over the pairs with revenue; 0 without any."""
    location, sigma = outputs.value[..., 0].float(), outputs.value[..., 1].float()
    paid = outcomes.revenue > 0
    error = torch.log(torch.where(paid, outcomes.revenue / outputs.unit, 1.0)) - location
    likelihood = 0.5 * (error / sigma) ** 2 + torch.log(sigma) + 0.5 * math.log(2 * math.pi)
    scaled = torch.where(paid, likelihood * weight, 0.0)
    return scaled.sum() / torch.where(paid, weight, 0.0).sum().clamp(min=1e-6)


def channel_loss(outputs: Outputs, outcomes: Outcomes, weight: Tensor) -> Tensor:
    """Cross-entropy against each buyer's shares of channels, times the mean weight of the cutoff.

    0 without buyers, or where fewer than two channels are known.
    """
    if outputs.channel.shape[1] == 0:
        return outputs.visit.new_zeros(())
    lines = outcomes.channel.sum(dim=1)
    share = outcomes.channel / lines.clamp(min=1.0)[:, None]
    entropy = -(share * outputs.channel.float().log_softmax(dim=1)).sum(dim=1)
    return entropy.sum() / (lines > 0).sum().clamp(min=1) * weight.mean()
