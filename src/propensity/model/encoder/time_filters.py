"""Dilated time filters that all channels share, with a bottleneck that mixes the channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from propensity.model.causal import ITEMS, CausalEncoder, first_tokens, no_padding
from propensity.model.scale import signed_log

AT_ONCE = 16_000_000  # weights of events in memory
UNSEEN = -100.0  # log age of an event that has no weight at any tap


class TimeFilters(CausalEncoder):
    """Convolutions over the days before a query, whose taps lie at dilated ages.

    Parameters
    ----------
    width : int
        D, the channels of the tokens.
    filters : int
        Filters, the same for every channel.
    taps : int
        Ages of the taps: `shortest` days, twice as many, four times as many and so on.
    shortest : float
        Days of the first tap.
    bottleneck : int
        Units that all channels pass through together.
    tokens : str
        `items` or `baskets`.
    dropout : float
        Of the bottleneck.

    Notes
    -----
    An event counts for the two taps around its age, in proportion to its distance from them in log age. A channel is a
    dimension of the tokens, that is a learned group of items: with as many channels as items these are filters of
    each item. Filters have no order within a day. Source: Gabel and Timoshenko, Product Choice with Large Assortments:
    A Scalable Deep-Learning Model, Management Science 2022.
    """

    tap: Tensor

    def __init__(
        self,
        width: int,
        filters: int = 8,
        taps: int = 8,
        shortest: float = 3.5,
        bottleneck: int = 32,
        tokens: str = ITEMS,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(width, tokens)
        self.register_buffer("tap", torch.log2(shortest * 2.0 ** torch.arange(taps)), persistent=False)
        self.filter = nn.Parameter(torch.randn(filters, taps) * taps**-0.5)
        self.squeeze = nn.Linear(filters * width, bottleneck)
        self.spread = nn.Linear(bottleneck, filters * width)
        self.output = nn.Linear(filters * width, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def at(self, event_BLD: Tensor, age_BL: Tensor, query_BQ: Tensor, visible_BQ: Tensor) -> Tensor:
        event_BLD, age_BL, _ = no_padding(event_BLD, age_BL, visible_BQ)
        size = query_BQ.shape[1]
        if not torch.compiler.is_exporting():
            size = max(AT_ONCE // max(age_BL.numel() * self.tap.shape[0], 1), 1)
        if size >= query_BQ.shape[1]:
            sums_BQTD = self._sums(event_BLD, age_BL, query_BQ, visible_BQ)
        else:
            blocks = zip(query_BQ.split(size, dim=1), visible_BQ.split(size, dim=1), strict=True)
            sums_BQTD = torch.cat([self._sums(event_BLD, age_BL, *block) for block in blocks], dim=1)
        level_BQTD = signed_log(sums_BQTD)
        filtered_BQX = leaky_relu((self.filter @ level_BQTD).flatten(2))
        mixed_BQX = filtered_BQX + self.spread(self.dropout(leaky_relu(self.squeeze(filtered_BQX))))
        state_BQD: Tensor = self.norm(self.output(mixed_BQX) + self.query_tokens(visible_BQ))
        return state_BQD

    def _sums(self, event_BLD: Tensor, age_BL: Tensor, query_BQ: Tensor, visible_BQ: Tensor) -> Tensor:
        """The sums of the tokens around each tap: (B, Q, T, D)."""
        seen_BQL = first_tokens(visible_BQ, age_BL.shape[1])
        age_BQL = (age_BL[:, None] - query_BQ[..., None]).clamp(min=1.0)
        place_BQL = torch.where(seen_BQL, age_BQL.log2().clamp(self.tap[0], self.tap[-1]), UNSEEN)
        weight_BQTL = (place_BQL[:, :, None] - self.tap[:, None]).abs_().neg_().add_(1.0).clamp_(min=0.0)
        return (weight_BQTL.flatten(1, 2) @ event_BLD).unflatten(1, (query_BQ.shape[1], -1))
