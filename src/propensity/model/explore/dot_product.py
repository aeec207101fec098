"""Explore expert: dot product of the customer's state and the offer's vector, beside the affinity columns."""

from __future__ import annotations

from torch import Tensor, nn

from propensity.model.pairs import Pairs


class ExploreDotProduct(nn.Module):
    """The dot product of state and offer, the offer's base rate, and a linear function of the pair columns (..., P)."""

    def __init__(self, pair_columns: int, width: int) -> None:
        super().__init__()
        self.from_state = nn.Linear(width, width)
        self.base = nn.Linear(width, 1)
        self.pair = nn.Linear(pair_columns, 1, bias=False)

    def forward(self, pair: Tensor, state_BD: Tensor, offer_MD: Tensor, pairs: Pairs) -> Tensor:
        return pairs.of_both(self.match(state_BD, offer_MD)) + self.pair(pair).squeeze(-1)

    def match(self, state_BD: Tensor, offer_MD: Tensor) -> Tensor:
        """The terms that need no pair column: (B, M)."""
        match_BM = self.from_state(state_BD) @ offer_MD.T / offer_MD.shape[1] ** 0.5
        return match_BM + self.base(offer_MD).squeeze(-1)
