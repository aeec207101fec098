"""Pointwise gated attention with relative time: hierarchical sequential transduction units."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from torch.utils.checkpoint import checkpoint

from propensity.errors import ConfigurationError
from propensity.model.causal import ITEMS, CausalEncoder, first_tokens, no_padding
from propensity.model.relative_time import relative_time

AT_ONCE = 8_000_000  # attention weights in memory; more are computed in blocks of rows, and again for the gradient


class Hstu(CausalEncoder):
    """Layers of pointwise attention: weights are SiLU of the inner products and need not sum to 1.

    Parameters
    ----------
    width : int
        D.
    layers, heads : int
        Attention layers and heads.
    time : str
        `log_age`, `fourier`, `rotary` or `none`; see `propensity.model.relative_time`.
    tokens : str
        `items` or `baskets`.
    dropout : float
        Of the output of each layer.

    Raises
    ------
    ConfigurationError
        For a width that the heads cannot share, and for unknown times and tokens.

    Notes
    -----
    A token attends to the tokens of its own and earlier days, so the order of events within a day has no effect.
    The weighted sum is divided by the number of tokens; a query also gets the logarithm of that number. Source: Zhai
    et al., Actions Speak Louder than Words, ICML 2024.
    """

    def __init__(
        self,
        width: int,
        layers: int = 2,
        heads: int = 4,
        time: str = "log_age",
        tokens: str = ITEMS,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(width, tokens)
        if width % heads:
            raise ConfigurationError(
                f"a width of {width} cannot be shared by {heads} heads; change model.encoder.heads"
            )
        self.layers = nn.ModuleList(HstuLayer(width, heads, time, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def at(self, event_BLD: Tensor, age_BL: Tensor, query_BQ: Tensor, visible_BQ: Tensor) -> Tensor:
        event_BLD, age_BL, real_BL = no_padding(event_BLD, age_BL, visible_BQ)
        query_BQD = self.query_tokens(visible_BQ)
        for number, layer in enumerate(self.layers, 1):
            assert isinstance(layer, HstuLayer)
            event_BLD, query_BQD = layer(
                event_BLD, age_BL, real_BL, query_BQD, query_BQ, visible_BQ, last=number == len(self.layers)
            )
        state_BQD: Tensor = self.norm(query_BQD)
        return state_BQD


class HstuLayer(nn.Module):
    """One layer for tokens and queries, which share its weights."""

    def __init__(self, width: int, heads: int, time: str, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.parts = nn.Linear(width, 4 * width)
        self.time = relative_time(time, heads, width // heads)
        self.pooled_norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        event_BLD: Tensor,
        age_BL: Tensor,
        real_BL: Tensor,
        query_BQD: Tensor,
        query_BQ: Tensor,
        visible_BQ: Tensor,
        last: bool,
    ) -> tuple[Tensor, Tensor]:
        """Tokens and queries after the layer; the tokens of the `last` layer are not needed and stay as they are."""
        gate_BLD, value_BHLK, row_BHLK, key_BHLK = self._split(event_BLD)
        keys = self.time.rotate(key_BHLK, age_BL, False), value_BHLK, age_BL
        gate_BQD, _, row_BHQK, _ = self._split(query_BQD)
        seen_BQL = first_tokens(visible_BQ, event_BLD.shape[1])
        pooled_BQD = self._pooled(self.time.rotate(row_BHQK, query_BQ, True), query_BQ, seen_BQL, *keys)
        query_BQD = query_BQD + self._out(pooled_BQD, gate_BQD)
        if last:
            return event_BLD, query_BQD
        rows = self.time.rotate(row_BHLK, age_BL, True)
        size = event_BLD.shape[1]
        if not torch.compiler.is_exporting():
            size = max(AT_ONCE // max(event_BLD.shape[0] * self.heads * event_BLD.shape[1], 1), 1)
        if size >= event_BLD.shape[1]:
            pooled_BLD = self._of_days(rows, age_BL, real_BL, *keys)
        else:
            blocks = [slice(k, k + size) for k in range(0, event_BLD.shape[1], size)]
            parts = [
                checkpoint(self._of_days, rows[:, :, block], age_BL[:, block], real_BL, *keys, use_reentrant=False)
                for block in blocks
            ]
            pooled_BLD = torch.cat(parts, dim=1)
        return event_BLD + self._out(pooled_BLD, gate_BLD), query_BQD

    def _split(self, x_BLD: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gates (B, L, D), and values, queries and keys of the heads (B, H, L, K)."""
        gate, value, row, key = silu(self.parts(self.norm(x_BLD))).chunk(4, dim=-1)
        by_head = [x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (value, row, key)]
        return gate, by_head[0], by_head[1] * by_head[1].shape[-1] ** -0.5, by_head[2]

    def _of_days(
        self, rows: Tensor, row_BR: Tensor, real_BL: Tensor, key: Tensor, value: Tensor, age_BL: Tensor
    ) -> Tensor:
        """What tokens see of their own and earlier days."""
        seen_BRL = (age_BL[:, None] >= row_BR[..., None]) & real_BL[:, None]
        return self._pooled(rows, row_BR, seen_BRL, key, value, age_BL)

    def _pooled(
        self, rows: Tensor, row_BR: Tensor, seen_BRL: Tensor, key: Tensor, value: Tensor, age_BL: Tensor
    ) -> Tensor:
        """The mean of the values that each row sees, weighted by SiLU of the inner products: (B, R, D)."""
        logit_BHRL = rows @ key.transpose(-1, -2)
        if (bias := self.time.bias(row_BR, age_BL)) is not None:
            logit_BHRL = logit_BHRL + bias
        weight_BRL = seen_BRL / seen_BRL.sum(-1, keepdim=True).clamp(min=1)
        pooled_BHRK = (silu(logit_BHRL) * weight_BRL[:, None]) @ value
        return pooled_BHRK.transpose(1, 2).flatten(2)

    def _out(self, pooled_BLD: Tensor, gate_BLD: Tensor) -> Tensor:
        out_BLD: Tensor = self.dropout(self.output(self.pooled_norm(pooled_BLD) * gate_BLD))
        return out_BLD
