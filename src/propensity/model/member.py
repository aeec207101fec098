"""One member of the ensemble: repeat and explore experts mixed by a gate, conditioned on a visit."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from propensity.data.batch import Inputs, Sizes
from propensity.errors import ConfigurationError
from propensity.model.embed import EventEmbedding, OfferEmbedding
from propensity.model.head import ChannelHead, ValueHead
from propensity.model.outputs import Outputs
from propensity.model.pairs import Pairs

Part = Callable[..., nn.Module]


class EnsembleMember(nn.Module):
    """A whole network on scaled inputs; `OfferNet` averages several of them.

    Parameters
    ----------
    sizes : sizes that are known after preparation.
    pair_columns, customer_columns, context_columns : numbers of columns after scaling.
    width : D, of the state and of embeddings.
    encoder, repeat, explore, visit, season, customer_hidden, dropout : as in `OfferNet`.

    Raises
    ------
    ConfigurationError
        Without a repeat and an explore expert.
    """

    def __init__(
        self,
        sizes: Sizes,
        pair_columns: int,
        customer_columns: int,
        context_columns: int,
        width: int,
        encoder: Part | None,
        repeat: Part | None,
        explore: Part | None,
        visit: Part | None,
        season: Part | None,
        customer_hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if repeat is None and explore is None:
            raise ConfigurationError("a network needs an expert on pairs; keep model.repeat or model.explore")
        self.event = EventEmbedding(sizes, width) if encoder else None
        self.encoder = encoder(width=width) if encoder else None
        self.customer = nn.Sequential(
            nn.Linear(customer_columns, customer_hidden), nn.ReLU(), nn.Linear(customer_hidden, width)
        )
        self.dropout = nn.Dropout(dropout)
        self.offer = OfferEmbedding(sizes, context_columns, width)
        self.repeat = repeat(pair_columns=pair_columns, width=width) if repeat else None
        self.explore = explore(pair_columns=pair_columns, width=width) if explore else None
        self.visit = visit(width=width) if visit else None
        self.season = season(season=sizes.season, width=width) if season else None
        self.value = ValueHead(pair_columns, width)
        self.gate_columns = list(sizes.pair.gate)
        self.gate = nn.Linear(len(self.gate_columns), 1) if repeat and explore else None
        # Last, so that the other parts start from the same weights with it and without.
        self.channel = ChannelHead(sizes.sold_through, width) if len(sizes.sold_through) > 1 else None

    def forward(
        self, inputs: Inputs, pair: Tensor, customer_BF: Tensor, context_MC: Tensor, place: Tensor | None = None
    ) -> Outputs:
        """Outputs of one batch.

        Parameters
        ----------
        inputs : unscaled; histories, offers, attributes and season are read.
        pair : (B, M, P) scaled columns of all pairs, or (K, P) of some.
        customer_BF, context_MC : scaled columns.
        place : (K,) int64, flat positions in (B, M) of the pairs that `pair` (K, P) holds; None: all pairs.
        """
        pairs = Pairs.at(place, inputs.offer.shape[0])
        state_BD = self.state(inputs, customer_BF)
        offer_MD = self.offer(inputs.offer, inputs.attribute, context_MC)
        logit = self._mixed(pair, state_BD, offer_MD, pairs)
        if self.season is not None:
            logit = logit + pairs.of_offer(self.season(inputs.season, offer_MD))
        visit_B = torch.zeros_like(state_BD[:, 0])
        if self.visit is not None:
            visit_B = self.visit(state_BD)
            logit = within_visit(pairs.of_customer(visit_B), logit)
        channel_BK = state_BD[:, :0] if self.channel is None else self.channel(inputs, state_BD)
        value = self.value(pair, state_BD.detach(), offer_MD, pairs)
        return Outputs(logit, value, visit_B, state_BD, channel_BK)

    def state(self, inputs: Inputs, customer_BF: Tensor) -> Tensor:
        """Each customer's columns and events as one vector: (B, D)."""
        state_BD = self.customer(customer_BF)
        if self.encoder is not None and self.event is not None:
            state_BD = state_BD + self.encoder(self.event(inputs), inputs.length)
        return self.dropout(state_BD)

    def _mixed(self, pair: Tensor, state_BD: Tensor, offer_MD: Tensor, pairs: Pairs) -> Tensor:
        """The experts' logits, mixed by the gate for each pair: (B, M) or (K,)."""
        arguments = pair, state_BD, offer_MD, pairs
        logits = [expert(*arguments) for expert in (self.repeat, self.explore) if expert is not None]
        if self.gate is None:
            return logits[0]
        share = self.gate(pair[..., self.gate_columns]).sigmoid().squeeze(-1)
        return share * logits[0] + (1 - share) * logits[1]


def within_visit(visit: Tensor, purchase_given_visit: Tensor) -> Tensor:
    """Logit of P(visit) P(purchase | visit) from the logits of both, in float32 log space."""
    log_p = (logsigmoid(visit.float()) + logsigmoid(purchase_given_visit.float())).clamp(max=-1e-6)
    log_rest = torch.where(log_p > -math.log(2), torch.log(-torch.expm1(log_p)), torch.log1p(-torch.exp(log_p)))
    return log_p - log_rest
