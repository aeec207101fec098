"""What a network answers; always complete, the loss decides what learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SIGMA_MAX = 2.0  # of log revenue; beyond it the mean of a log-normal is a matter of its tail


class Outputs(NamedTuple):
    """purchase (B, M) logit of buying in the horizon; value (B, M, 2) location and scale of the log revenue of a buyer;
    visit (B,) logit of buying anything; state (B, D) of the customer; channel (B, K) logits of the channel that a
    purchase goes through, K = 0 where fewer than two are known. Of a batch that holds only some pairs, purchase is (K,)
    and value (K, 2)."""

    purchase: Tensor
    value: Tensor
    visit: Tensor
    state: Tensor
    channel: Tensor

    def probability(self) -> Tensor:
        """(B, M) chance to buy within the horizon."""
        return self.purchase.sigmoid()

    def channel_share(self) -> Tensor:
        """(B, K) chance of each channel, given a purchase."""
        return self.channel.softmax(dim=-1)

    def expected_revenue(self) -> Tensor:
        """(B, M) in the log's currency: the chance to buy times the mean of the log-normal (ZILN)."""
        location, sigma = self.value[..., 0], self.value[..., 1]
        return self.probability() * torch.exp(location + 0.5 * sigma * sigma)


def ensemble_mean(member_outputs: list[Outputs]) -> Outputs:
    """One answer out of several: the mean of their logits and revenue parameters, their states side by side."""
    if len(member_outputs) == 1:
        return member_outputs[0]
    purchase, value, visit, state, channel = zip(*member_outputs, strict=True)
    voices = mean_of(purchase), mean_of(value), mean_of(visit)
    return Outputs(*voices, torch.cat(state, dim=-1), mean_of(channel))


def mean_of(parts: Sequence[Tensor]) -> Tensor:
    """The mean of tensors of one shape."""
    return torch.stack(list(parts)).mean(0)
