"""A linear drift of each offer's log-odds over the years, up to the newest training cutoff."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Drift(nn.Module):
    """A slope, linear in the offer's vector, times the years; later cutoffs count as the newest of training."""

    newest: Tensor

    def __init__(self, season: int, width: int) -> None:
        super().__init__()
        self.slope = nn.Linear(width, 1)
        nn.init.zeros_(self.slope.weight)
        nn.init.zeros_(self.slope.bias)
        self.register_buffer("newest", torch.tensor(-30.0))  # before every date

    def forward(self, season_S: Tensor, offer_MD: Tensor) -> Tensor:
        years = season_S[-1]
        if self.training:
            self.newest.copy_(torch.maximum(self.newest, years))
        return self.slope(offer_MD).squeeze(-1) * torch.minimum(years, self.newest)
