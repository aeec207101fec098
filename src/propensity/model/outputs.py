"""Outputs of a network. All are always computed; the loss decides which of them are trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

SIGMA_MIN, SIGMA_MAX = 0.05, 2.0  # of log revenue; above it the tail dominates the mean of a log-normal


class Outputs(NamedTuple):
    """Logits and parameters by pair and customer. Of a batch of some pairs, purchase is (K,) and value (K, 2)."""

    purchase: Tensor  # (B, M) logit of buying in the horizon
    value: Tensor  # (B, M, 2) location and scale of the log revenue of a buyer, in units
    visit: Tensor  # (B,) logit of buying anything
    state: Tensor  # (B, D) of the customer
    channel: Tensor  # (B, K) logits of the channel of a purchase; K = 0 where fewer than two are known
    unit: Tensor = torch.ones(())  # () revenue of one unit, in the log's currency

    def probability(self) -> Tensor:
        """(B, M) probability to buy within the horizon."""
        return probability_of(self.purchase)

    def amount(self) -> Tensor:
        """(B, M) expected spend of a buyer, in the log's currency: the mean of the log-normal."""
        location, sigma = self.value[..., 0], self.value[..., 1]
        return torch.exp(location + 0.5 * sigma * sigma) * self.unit

    def channel_share(self) -> Tensor:
        """(B, K) probability of each channel, given a purchase."""
        return self.channel.softmax(dim=-1)

    def expected_revenue(self) -> Tensor:
        """(B, M) in the log's currency: the probability to buy times the mean of the log-normal (ZILN)."""
        location, sigma = self.value[..., 0], self.value[..., 1]
        return self.probability() * torch.exp(location + 0.5 * sigma * sigma) * self.unit


def log_probability(logit: Tensor) -> Tensor:
    """Logarithm of the probability of a logit, of the same shape.

    Runtimes of an exported graph compute the sigmoid of a rare event with an absolute error of float32, which is large
    beside the probability, and the logarithm of that sigmoid with it. A softplus keeps the relative error small.
    """
    return -softplus(-logit)


def probability_of(logit: Tensor) -> Tensor:
    """Probability of a logit, of the same shape, with a relative error of float32 also for a rare event."""
    return log_probability(logit).exp()


def ensemble_mean(member_outputs: list[Outputs]) -> Outputs:
    """Mean over the members of logits and revenue parameters; their states are concatenated."""
    if len(member_outputs) == 1:
        return member_outputs[0]
    purchase, value, visit, state, channel, unit = zip(*member_outputs, strict=True)
    means = mean_of(purchase), mean_of(value), mean_of(visit)
    return Outputs(*means, torch.cat(state, dim=-1), mean_of(channel), unit[0])


def mean_of(parts: Sequence[Tensor]) -> Tensor:
    """The mean of tensors of one shape."""
    return torch.stack(list(parts)).mean(0)
