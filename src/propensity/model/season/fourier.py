"""Fourier terms of the year and the month, with coefficients for each offer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

YEAR = 364  # days of training cutoffs that the terms of the year need


class Fourier(nn.Module):
    """The calendar terms of the cutoff but the last, times coefficients that are linear in the offer's vector.

    Notes
    -----
    The terms are 0 where the training cutoffs cover less than a year: seasons that were not seen cannot be told from a
    trend.
    """

    seen: Tensor

    def __init__(self, season: int, width: int) -> None:
        super().__init__()
        self.coefficient = nn.Linear(width, season - 1)
        nn.init.zeros_(self.coefficient.weight)
        nn.init.zeros_(self.coefficient.bias)
        self.register_buffer("seen", torch.ones(()))

    def forward(self, season_S: Tensor, offer_MD: Tensor) -> Tensor:
        return self.seen * (self.coefficient(offer_MD) @ season_S[:-1])

    def start_from(self, span: int) -> None:
        """Whether there are terms, by the days that the training cutoffs cover."""
        self.seen.fill_(float(span >= YEAR))
