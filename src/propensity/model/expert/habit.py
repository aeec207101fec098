"""What a customer's own past with an offer says: one small network shared by all pairs."""

from __future__ import annotations

from torch import Tensor, nn


class Habit(nn.Module):
    """Two hidden layers over the pair's columns, the customer's state and the offer's vector.

    Notable: the first layer of the concatenation is taken apart, so state and offer cost O(B + M), not O(B M); the last
    layer has a share of its own for each offer.
    """

    def __init__(self, pair: int, width: int, hidden: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        self.from_pair = nn.Linear(pair, hidden)
        self.from_state = nn.Linear(width, hidden, bias=False)
        self.from_offer = nn.Linear(width, hidden, bias=False)
        self.second = nn.Linear(hidden, hidden)
        self.answer = nn.Linear(hidden, 1)
        self.own_answer = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.own_answer.weight)
        nn.init.zeros_(self.own_answer.bias)

    def forward(self, pair_BMP: Tensor, state_BD: Tensor, offer_MD: Tensor) -> Tensor:
        first = self.from_pair(pair_BMP) + self.from_state(state_BD)[:, None] + self.from_offer(offer_MD)
        hidden_BMH = self.dropout(self.second(first.relu()).relu())
        own_BM = (hidden_BMH * self.own_answer(offer_MD)).sum(-1)
        return self.answer(hidden_BMH).squeeze(-1) + own_BM
