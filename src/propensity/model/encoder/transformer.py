"""Self-attention over the events with a summary token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from propensity.errors import ConfigurationError


class Transformer(nn.Module):
    """A pre-norm transformer; its output is the state of a summary token that attends to all events.

    Time enters through the age of each event in its embedding, so no position table limits the length.
    """

    def __init__(self, width: int, layers: int = 2, heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        if width % heads:
            raise ConfigurationError(
                f"a width of {width} cannot be shared by {heads} heads; change model.encoder.heads"
            )
        self.summary = nn.Parameter(torch.randn(width) * 0.1)
        layer = nn.TransformerEncoderLayer(
            width, heads, dim_feedforward=2 * width, dropout=dropout, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, event_BLD: Tensor, length_B: Tensor) -> Tensor:
        batch, events, width = event_BLD.shape
        tokens = torch.cat([self.summary.expand(batch, 1, width), event_BLD], dim=1)
        position = torch.arange(events + 1, device=event_BLD.device)
        padding = position > length_B[:, None]  # the summary token at position 0 is always real
        return self.layers(tokens, src_key_padding_mask=padding)[:, 0]
