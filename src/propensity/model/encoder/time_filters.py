"""Dilated time filters that all channels share, with a bottleneck that mixes the channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from propensity.data.batch import Sizes
from propensity.model.causal import ITEMS, CausalEncoder, first_tokens, no_padding
from propensity.model.event_value import VALUES, EventValue
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
        `items`, `baskets` or `values`: a channel for each value of the items' attributes, such as each category, which
        counts its purchases.
    dropout : float
        Of the bottleneck.

    Notes
    -----
    An event counts for the two taps around its age, in proportion to its distance from them in log age. Filters have
    no order within a day. With tokens of items or baskets a channel is a dimension of these, a learned group of items.
    With `values`, where offers are the values of an attribute, these are filters of each offer, and the bottleneck
    passes between offers; what an offer makes of its own filters is also in the pair columns, whose windows and decays
    are such filters. Source: Gabel and Timoshenko, Product Choice with Large Assortments: A Scalable Deep-Learning
    Model, Management Science 2022.
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
        super().__init__(width, ITEMS if tokens == VALUES else tokens)
        self.tokens, self.width, self.bottleneck = tokens, width, bottleneck
        self.register_buffer("tap", torch.log2(shortest * 2.0 ** torch.arange(taps)), persistent=False)
        self.filter = nn.Parameter(torch.randn(filters, taps) * taps**-0.5)
        self._mix(filters * width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def _mix(self, filtered: int) -> None:
        """The layers from the filters of all channels on."""
        self.squeeze = nn.Linear(filtered, self.bottleneck)
        self.spread = nn.Linear(self.bottleneck, filtered)
        self.output = nn.Linear(filtered, self.width)

    def event_token(self, sizes: Sizes, width: int) -> nn.Module:
        """Tokens, or the values of the items' attributes, which are then the channels."""
        if self.tokens != VALUES:
            return super().event_token(sizes, width)
        made = EventValue(sizes)
        self._mix(self.filter.shape[0] * made.values)
        return made

    def at(self, event_BLD: Tensor, age_BL: Tensor, query_BQ: Tensor, visible_BQ: Tensor) -> Tensor:
        if event_BLD.is_floating_point():  # codes of padding are not seen
            event_BLD, age_BL, _ = no_padding(event_BLD, age_BL, visible_BQ)
        size = query_BQ.shape[1]
        if not torch.compiler.is_exporting():
            wide = max(age_BL.shape[1], self.output.in_features)
            size = max(AT_ONCE // max(age_BL.shape[0] * wide * self.tap.shape[0], 1), 1)
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
        if event_BLD.is_floating_point():
            return (weight_BQTL.flatten(1, 2) @ event_BLD).unflatten(1, (query_BQ.shape[1], -1))
        sums_BQTC = weight_BQTL.new_zeros(*weight_BQTL.shape[:3], self.output.in_features // self.filter.shape[0] + 1)
        for code_BL in event_BLD.unbind(-1):
            sums_BQTC = sums_BQTC.scatter_add(3, code_BL[:, None, None].expand_as(weight_BQTL), weight_BQTL)
        return sums_BQTC[..., :-1]  # the last is of events without a purchase
