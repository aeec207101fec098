"""The revenue head: location and scale of a buyer's log revenue (the LN of ZILN; Wang, Liu & Miao, 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from propensity.model.outputs import SIGMA_MAX


class ValueHead(nn.Module):
    """Linear in the pair's columns, the state and the offer: (B, M, P), (B, D), (M, D) -> (B, M, 2).

    Notable: reads the state as purchases shaped it, and does not shape it: the few amounts of a customer, met again at
    every date, would be learned by heart.
    """

    def __init__(self, pair: int, width: int) -> None:
        super().__init__()
        self.pair = nn.Linear(pair, 2)
        self.state = nn.Linear(width, 2, bias=False)
        self.offer = nn.Linear(width, 2, bias=False)

    def forward(self, pair_BMP: Tensor, state_BD: Tensor, offer_MD: Tensor) -> Tensor:
        raw = self.pair(pair_BMP) + self.state(state_BD)[:, None] + self.offer(offer_MD)
        sigma = 0.05 + (SIGMA_MAX - 0.05) * raw[..., 1].sigmoid()
        return torch.stack([raw[..., 0], sigma], dim=-1)
