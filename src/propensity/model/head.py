"""Heads for the revenue of a purchase (the LN of ZILN; Wang, Liu & Miao, 2019) and for its channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from propensity.data.batch import Inputs
from propensity.kernel.event import PURCHASE
from propensity.model.outputs import SIGMA_MAX
from propensity.model.pairs import Pairs

PRIOR = 5.0  # initial weight of the prior, in purchases


class ValueHead(nn.Module):
    """Linear in the columns of `pairs`, the state and the offer: (..., P), (B, D), (M, D) -> (..., 2).

    Notes
    -----
    No gradient reaches the state from here: the few amounts of a customer recur at every training cutoff, and the
    state would overfit to them.
    """

    def __init__(self, pair_columns: int, width: int) -> None:
        super().__init__()
        self.pair = nn.Linear(pair_columns, 2)
        self.state = nn.Linear(width, 2, bias=False)
        self.offer = nn.Linear(width, 2, bias=False)

    def forward(self, pair: Tensor, state_BD: Tensor, offer_MD: Tensor, pairs: Pairs) -> Tensor:
        raw = self.pair(pair) + pairs.of_customer(self.state(state_BD)) + pairs.of_offer(self.offer(offer_MD))
        sigma = 0.05 + (SIGMA_MAX - 0.05) * raw[..., 1].sigmoid()
        return torch.stack([raw[..., 0], sigma], dim=-1)


class ChannelHead(nn.Module):
    """The channel of a purchase: the customer's own counts with a prior that depends on the state.

    Parameters
    ----------
    channels : codes of the K channels.
    width : D, of the state.

    Notes
    -----
    Purchases are Dirichlet-multinomial over the channels: the state gives the mean of the prior, and a learned number
    of purchases its weight, so that training starts from the counts.
    """

    channels: Tensor

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.register_buffer("channels", torch.tensor(channels, dtype=torch.int32), persistent=False)
        self.state = nn.Linear(width, len(channels))
        self.weight = nn.Parameter(torch.tensor(PRIOR).log())

    def forward(self, inputs: Inputs, state_BD: Tensor) -> Tensor:
        """(B, K) logits, from the last events and the state."""
        through_BLK = (inputs.channel[..., None] == self.channels) & (inputs.kind == PURCHASE)[..., None]
        prior_BK = self.weight.exp() * self.state(state_BD).float().softmax(dim=-1)
        return (through_BLK.float().sum(dim=1) + prior_BK).log()
