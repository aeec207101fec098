"""Heads for the revenue of a purchase (the LN of ZILN; Wang, Liu & Miao, 2019) and for its channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from propensity.data.batch import Inputs
from propensity.kernel.event import PURCHASE
from propensity.model.outputs import SIGMA_MAX, SIGMA_MIN
from propensity.model.pairs import Pairs

PRIOR = 5.0  # initial weight of the prior, in purchases


class ValueHead(nn.Module):
    """Linear in the columns of pairs, customers and offers, with a bias for each offer: (..., P), ... -> (..., 2).

    Parameters
    ----------
    pair_columns, customer_columns, context_columns : numbers of columns after scaling.
    offers : number of offer codes.

    Notes
    -----
    It shares no parameter with the purchase heads, so that neither task disturbs the other. A linear function of the
    columns does not overfit: the few amounts of a customer recur at every training cutoff.
    """

    def __init__(self, pair_columns: int, customer_columns: int, context_columns: int, offers: int) -> None:
        super().__init__()
        self.pair = nn.Linear(pair_columns, 2)
        self.customer = nn.Linear(customer_columns, 2, bias=False)
        self.context = nn.Linear(context_columns, 2, bias=False)
        self.base = nn.Embedding(offers, 2)
        for layer in (self.pair, self.customer, self.context):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.pair.bias)
        nn.init.zeros_(self.base.weight)

    def offer(self, code_M: Tensor, context_MC: Tensor) -> Tensor:
        """The terms of the offers: (M, 2)."""
        return self.base(code_M) + self.context(context_MC)

    def forward(self, pair: Tensor, customer_BF: Tensor, offer_M2: Tensor, pairs: Pairs) -> Tensor:
        raw = self.pair(pair) + pairs.of_customer(self.customer(customer_BF)) + pairs.of_offer(offer_M2)
        sigma = SIGMA_MIN + (SIGMA_MAX - SIGMA_MIN) * raw[..., 1].sigmoid()
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
