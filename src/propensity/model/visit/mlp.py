"""Visit expert: whether the customer buys anything in the horizon."""

from __future__ import annotations

from torch import Tensor, nn


class VisitMLP(nn.Module):
    """One hidden layer over the customer's state: (B, D) -> (B,) logit."""

    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, state_BD: Tensor) -> Tensor:
        return self.layers(state_BD).squeeze(-1)
