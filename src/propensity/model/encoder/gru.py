"""A recurrent reading of the events, oldest first."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gru(nn.Module):
    """The hidden state after the last real event; a learned vector for a customer without history."""

    def __init__(self, width: int, layers: int = 1) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, num_layers=layers, batch_first=True)
        self.none = nn.Parameter(torch.zeros(width))

    def forward(self, event_BLD: Tensor, length_B: Tensor) -> Tensor:
        states_BLD, _ = self.gru(event_BLD)
        last_B = (length_B - 1).clamp(min=0)
        state_BD = torch.take_along_dim(states_BLD, last_B[:, None, None], dim=1).squeeze(1)
        return torch.where((length_B > 0)[:, None], state_BD, self.none)
