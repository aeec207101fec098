"""Fourier terms of the year and the month, with coefficients for each offer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from propensity.feature.calendar import SEASON

TERMS = SEASON[:-1]  # without the years
YEAR, MONTHS = 364, 91  # days of training cutoffs that the terms of the year need, and those of the month


class Fourier(nn.Module):
    """The calendar terms of the cutoff but the last, times coefficients that are linear in the offer's vector.

    Notes
    -----
    Terms of the year are 0 where the training cutoffs cover less than a year, and terms of the month where they cover
    less than three months: seasons that were not seen cannot be told from a trend, nor a day of the month from one date.
    """

    seen: Tensor

    def __init__(self, season: int, width: int) -> None:
        super().__init__()
        self.coefficient = nn.Linear(width, season - 1)
        nn.init.zeros_(self.coefficient.weight)
        nn.init.zeros_(self.coefficient.bias)
        self.register_buffer("seen", torch.ones(season - 1))

    def forward(self, season_S: Tensor, offer_MD: Tensor) -> Tensor:
        return self.coefficient(offer_MD) @ (self.seen * season_S[:-1])

    def start_from(self, span: int) -> None:
        """Which terms there are, by the days that the training cutoffs cover."""
        needed = torch.tensor([YEAR if "year" in name else MONTHS for name in TERMS])
        self.seen.copy_((span >= needed).float())
