"""Each offer has its own wave over the year and the month."""

from __future__ import annotations

from torch import Tensor, nn


class Fourier(nn.Module):
    """The waves of the send date, all terms but the last, times coefficients that come from the offer's vector."""

    def __init__(self, season: int, width: int) -> None:
        super().__init__()
        self.coefficient = nn.Linear(width, season - 1)
        nn.init.zeros_(self.coefficient.weight)
        nn.init.zeros_(self.coefficient.bias)

    def forward(self, season_S: Tensor, offer_MD: Tensor) -> Tensor:
        return self.coefficient(offer_MD) @ season_S[:-1]
