"""The network: one customer at one date answers for all offers at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from propensity.data.batch import Inputs, Sizes
from propensity.errors import ConfigurationError
from propensity.model.embed import EventEmbedding, OfferEmbedding
from propensity.model.head import ValueHead
from propensity.model.outputs import Outputs
from propensity.model.scale import Scale

Part = Callable[..., nn.Module]
OPTIONAL_PAIR = ("recency", "gap_mean", "expected")  # missing: never bought; on one day only; by nobody
OPTIONAL_CUSTOMER = ("recency", "gap_mean")
OPTIONAL_CONTEXT = ("age",)  # missing: bought by nobody
GATE = ("days_bought", "recency", "hidden")


class OfferNet(nn.Module):
    """Experts on every customer x offer pair, weighed by a gate, within a visit.

    Args: sizes, known after preparation; width D; encoder, habit, explore, visit, season: parts still wanting their
    shapes (`_partial_` in YAML), each optional except that one of habit and explore must be there; customer_hidden:
    units that read the customer columns; dropout of the state.
    """

    def __init__(
        self,
        sizes: Sizes,
        width: int = 32,
        encoder: Part | None = None,
        habit: Part | None = None,
        explore: Part | None = None,
        visit: Part | None = None,
        season: Part | None = None,
        customer_hidden: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if habit is None and explore is None:
            raise ConfigurationError("a network needs an opinion on pairs; keep model.habit or model.explore")
        self.scale_pair = Scale(len(sizes.pair), tuple(sizes.pair.index(name) for name in OPTIONAL_PAIR))
        self.scale_customer = Scale(
            len(sizes.customer), tuple(sizes.customer.index(name) for name in OPTIONAL_CUSTOMER)
        )
        self.scale_context = Scale(len(sizes.context), tuple(sizes.context.index(name) for name in OPTIONAL_CONTEXT))
        pair = self.scale_pair.size
        self.event = EventEmbedding(sizes, width) if encoder else None
        self.encoder = encoder(width=width) if encoder else None
        self.customer = nn.Sequential(
            nn.Linear(self.scale_customer.size, customer_hidden), nn.ReLU(), nn.Linear(customer_hidden, width)
        )
        self.dropout = nn.Dropout(dropout)
        self.offer = OfferEmbedding(sizes, self.scale_context.size, width)
        self.habit = habit(pair=pair, width=width) if habit else None
        self.explore = explore(pair=pair, width=width) if explore else None
        self.visit = visit(width=width) if visit else None
        self.season = season(season=sizes.season, width=width) if season else None
        self.value = ValueHead(pair, width)
        self.gate_columns = [sizes.pair.index(name) for name in GATE]
        self.gate = nn.Linear(len(GATE), 1) if habit and explore else None

    def fit_scales(self, inputs: Inputs) -> None:
        """Sets the buffers of normalisation from training inputs (rows may be many batches concatenated)."""
        self.scale_pair.fit(inputs.pair)
        self.scale_customer.fit(inputs.customer)
        self.scale_context.fit(inputs.context)

    def forward(self, inputs: Inputs) -> Outputs:
        pair_BMP = self.scale_pair(inputs.pair)
        state_BD = self.customer(self.scale_customer(inputs.customer))
        if self.encoder is not None and self.event is not None:
            state_BD = state_BD + self.encoder(self.event(inputs), inputs.length)
        state_BD = self.dropout(state_BD)
        offer_MD = self.offer(inputs.offer, inputs.attribute, self.scale_context(inputs.context))
        logit_BM = self._opinion(pair_BMP, state_BD, offer_MD)
        if self.season is not None:
            logit_BM = logit_BM + self.season(inputs.season, offer_MD)
        visit_B = torch.zeros_like(state_BD[:, 0])
        if self.visit is not None:
            visit_B = self.visit(state_BD)
            logit_BM = within_visit(visit_B[:, None], logit_BM)
        return Outputs(logit_BM, self.value(pair_BMP, state_BD, offer_MD), visit_B, state_BD)

    def _opinion(self, pair_BMP: Tensor, state_BD: Tensor, offer_MD: Tensor) -> Tensor:
        """The experts' logits, weighed pair by pair: (B, M)."""
        experts = [expert(pair_BMP, state_BD, offer_MD) for expert in (self.habit, self.explore) if expert is not None]
        if self.gate is None:
            return experts[0]
        share_BM = self.gate(pair_BMP[..., self.gate_columns]).sigmoid().squeeze(-1)
        return share_BM * experts[0] + (1 - share_BM) * experts[1]


def within_visit(visit: Tensor, given_visit: Tensor) -> Tensor:
    """Logit of P(visit) P(offer | visit) from the two logits, in float32 log space."""
    log_p = (logsigmoid(visit.float()) + logsigmoid(given_visit.float())).clamp(max=-1e-6)
    log_rest = torch.where(log_p > -math.log(2), torch.log(-torch.expm1(log_p)), torch.log1p(-torch.exp(log_p)))
    return log_p - log_rest
