"""Raw columns to network inputs, as buffers: they travel inside a checkpoint and inside an exported graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def signed_log(x: Tensor) -> Tensor:
    """log(1 + |x|) with the sign of x: counts and money on one footing."""
    return torch.sign(x) * torch.log1p(torch.abs(x))


class Scale(nn.Module):
    """Standardised signed logs, 0 where missing, followed by a flag for each column that can be missing.

    **Shape** (..., K) with NaN -> (..., K + number of `optional` columns).
    """

    mean: Tensor
    deviation: Tensor
    flagged: Tensor

    def __init__(self, columns: int, optional: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("deviation", torch.ones(columns))
        self.register_buffer("flagged", torch.tensor(optional, dtype=torch.int64))
        self.size = columns + len(optional)

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Takes mean and deviation of the present values of each column; a constant column becomes 0."""
        flat = signed_log(x).reshape(-1, x.shape[-1]).double()
        present = ~torch.isnan(flat)
        count = present.sum(0).clamp(min=1)
        mean = torch.where(present, flat, 0.0).sum(0) / count
        variance = torch.where(present, (flat - mean) ** 2, 0.0).sum(0) / count
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(variance > 1e-10, variance.sqrt(), 1e12))

    def forward(self, x: Tensor) -> Tensor:
        missing = torch.isnan(x)
        scaled = (signed_log(x) - self.mean) * (1.0 / self.deviation)
        scaled = scaled.clamp(-6.0, 6.0).masked_fill(missing, 0.0)
        if self.flagged.numel() == 0:
            return scaled
        return torch.cat([scaled, missing.index_select(-1, self.flagged).to(scaled.dtype)], dim=-1)
