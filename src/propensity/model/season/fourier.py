"""Fourier terms of the year and the month, with coefficients for each offer."""

from __future__ import annotations

from torch import Tensor, nn


class Fourier(nn.Module):
    """The calendar terms of the cutoff but the last, times coefficients that are linear in the offer's vector."""

    def __init__(self, season: int, width: int) -> None:
        super().__init__()
        self.coefficient = nn.Linear(width, season - 1)
        nn.init.zeros_(self.coefficient.weight)
        nn.init.zeros_(self.coefficient.bias)

    def forward(self, season_S: Tensor, offer_MD: Tensor) -> Tensor:
        return self.coefficient(offer_MD) @ season_S[:-1]
