"""Means of the events, one of them weighted towards the newest."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MeanPool(nn.Module):
    """A linear layer over two means of the events: unweighted, and with weights that halve every `half_life`."""

    def __init__(self, width: int, half_life: float = 16.0) -> None:
        super().__init__()
        self.half_life = half_life  # in events
        self.mix = nn.Linear(2 * width, width)

    def forward(self, event_BLD: Tensor, length_B: Tensor) -> Tensor:
        position = torch.arange(event_BLD.shape[1], device=event_BLD.device)
        real_BL = (position < length_B[:, None]).to(event_BLD.dtype)
        from_end_BL = (length_B[:, None] - 1 - position).clamp(min=0)
        fading_BL = real_BL * 0.5 ** (from_end_BL / self.half_life)
        means = [
            torch.einsum("bl,bld->bd", weight, event_BLD) / weight.sum(1, keepdim=True).clamp(min=1.0)
            for weight in (real_BL, fading_BL)
        ]
        return self.mix(torch.cat(means, dim=-1))
