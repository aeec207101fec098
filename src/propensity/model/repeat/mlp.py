"""Repeat expert: a small network over a customer's own history with an offer, shared by all pairs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from propensity.model.pairs import Pairs


class RepeatMLP(nn.Module):
    """Two hidden layers over the columns of `pairs` (..., P), the state (B, D) and the offers (M, D).

    Notes
    -----
    The first layer of the concatenation is computed in parts, so that state and offer cost O(B + M), not O(B M). The
    weights of the last layer are a linear function of the offer's vector.
    """

    def __init__(self, pair_columns: int, width: int, hidden: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        self.from_pair = nn.Linear(pair_columns, hidden)
        self.from_state = nn.Linear(width, hidden, bias=False)
        self.from_offer = nn.Linear(width, hidden, bias=False)
        self.second = nn.Linear(hidden, hidden)
        self.answer = nn.Linear(width, hidden)
        self.base = nn.Linear(width, 1)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.answer.weight, std=0.01)

    def forward(self, pair: Tensor, state_BD: Tensor, offer_MD: Tensor, pairs: Pairs) -> Tensor:
        state_BH = self.from_state(state_BD)
        first = self.from_pair(pair) + pairs.of_customer(state_BH) + pairs.of_offer(self.from_offer(offer_MD))
        hidden = self.second(first.relu_()).relu_()
        kept_BH = self.dropout(torch.ones_like(state_BH))  # one mask for all offers of a customer: cheap, and enough
        answer = pairs.of_offer(self.answer(offer_MD)) * pairs.of_customer(kept_BH)
        return (hidden * answer).sum(-1) + pairs.of_offer(self.base(offer_MD).squeeze(-1))
