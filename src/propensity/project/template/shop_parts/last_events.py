"""An example of an encoder: the mean of the last events."""

import torch
from torch import Tensor, nn


class LastEvents(nn.Module):
    """Events (B, L, D) and their number (B,) to one state for each customer (B, D)."""

    def __init__(self, width: int, count: int = 8) -> None:
        super().__init__()
        self.count = count
        self.mix = nn.Linear(width, width)

    def forward(self, event_BLD: Tensor, length_B: Tensor) -> Tensor:
        position = torch.arange(event_BLD.shape[1], device=event_BLD.device)
        last_BL = (position < length_B[:, None]) & (position >= length_B[:, None] - self.count)
        weight_BL = last_BL.to(event_BLD.dtype)
        total_BD = torch.einsum("bl,bld->bd", weight_BL, event_BLD)
        return self.mix(total_BD / weight_BL.sum(1, keepdim=True).clamp(min=1.0))
