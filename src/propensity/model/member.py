"""One member of the ensemble: repeat and explore experts mixed by a gate, conditioned on a visit."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from propensity.data.batch import Inputs, Sizes
from propensity.errors import ConfigurationError
from propensity.model.base_rate import BaseRates
from propensity.model.causal import CausalEncoder, visible_tokens
from propensity.model.embed import EventEmbedding, OfferEmbedding
from propensity.model.event_dropout import drop_events
from propensity.model.head import ChannelHead, ValueHead
from propensity.model.length_group import encode_in_groups
from propensity.model.outputs import SIGMA_MAX, SIGMA_MIN, Outputs, log_probability
from propensity.model.pairs import Pairs
from propensity.model.season.fourier import Fourier

Part = Callable[..., nn.Module]


class EnsembleMember(nn.Module):
    """A whole network on scaled inputs; `OfferNet` averages several of them.

    Parameters
    ----------
    sizes : sizes that are known after preparation.
    pair_columns, customer_columns, context_columns : numbers of columns after scaling.
    width : D, of the state and of embeddings.
    encoder, repeat, explore, visit, season, customer_hidden, dropout : as in `OfferNet`.
    event_dropout, basket_dropout, closed_gate : as in `OfferNet`.

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
        event_dropout: float = 0.0,
        basket_dropout: float = 0.0,
        closed_gate: bool = False,
    ) -> None:
        super().__init__()
        if repeat is None and explore is None:
            raise ConfigurationError("a network needs an expert on pairs; keep model.repeat or model.explore")
        self.event_dropout, self.basket_dropout = event_dropout, basket_dropout
        causal = encoder is not None and issubclass(made_by(encoder), CausalEncoder)
        self.event = EventEmbedding(sizes, width) if encoder and not causal else None
        self.encoder = encoder(width=width) if encoder else None
        self.event_token = self.encoder.event_token(sizes, width) if isinstance(self.encoder, CausalEncoder) else None
        self.encoder_gate = nn.Parameter(torch.zeros(width)) if encoder and closed_gate else None
        self.customer = nn.Sequential(
            nn.Linear(customer_columns, customer_hidden), nn.ReLU(), nn.Linear(customer_hidden, width)
        )
        self.dropout = nn.Dropout(dropout)
        self.offer = OfferEmbedding(sizes, context_columns, width)
        self.repeat = repeat(pair_columns=pair_columns, width=width) if repeat else None
        self.explore = explore(pair_columns=pair_columns, width=width) if explore else None
        self.visit = visit(width=width) if visit else None
        self.season = season(season=sizes.season, width=width) if season else None
        self.base = nn.Embedding(sizes.offers, 1)  # log-odds of each offer, of a customer who visits
        self.visit_base = nn.Parameter(torch.zeros(()))
        nn.init.zeros_(self.base.weight)
        self.value = ValueHead(pair_columns, customer_columns, context_columns, sizes.offers)
        self.gate_columns = list(sizes.pair.gate)
        self.gate = nn.Linear(len(self.gate_columns), 1) if repeat and explore else None
        # Last, so that the other parts start from the same weights with it and without.
        self.channel = ChannelHead(sizes.sold_through, width) if len(sizes.sold_through) > 1 else None

    def forward(
        self,
        inputs: Inputs,
        pair: Tensor,
        customer_BF: Tensor,
        context_MC: Tensor,
        place: Tensor | None = None,
        encoded_BD: Tensor | None = None,
    ) -> Outputs:
        """Outputs of one batch.

        Parameters
        ----------
        inputs : unscaled; histories, offers, attributes and season are read.
        pair : (B, M, P) scaled columns of all pairs, or (K, P) of some.
        customer_BF, context_MC : scaled columns.
        place : (K,) int64, flat positions in (B, M) of the pairs that `pair` (K, P) holds; None: all pairs.
        encoded_BD : the histories as `encode_at` encodes them; None: they are encoded here.
        """
        pairs = Pairs.at(place, inputs.offer.shape[0])
        state_BD = self.state(inputs, customer_BF, encoded_BD)
        code_M = self.offer.code(inputs.offer)
        offer_MD = self.offer(code_M, inputs.attribute, context_MC)
        offer_M = self.offer_logit(code_M, inputs.season, offer_MD)
        logit = self._mixed(pair, state_BD, offer_MD, pairs) + pairs.of_offer(offer_M)
        visit_B = torch.zeros_like(state_BD[:, 0])
        if self.visit is not None:
            visit_B = self.visit_logit(state_BD)
            logit = within_visit(pairs.of_customer(visit_B), logit)
        channel_BK = state_BD[:, :0] if self.channel is None else self.channel(inputs, state_BD)
        value = self.value(pair, customer_BF, self.value.offer(code_M, context_MC), pairs)
        return Outputs(logit, value, visit_B, state_BD, channel_BK)

    def state(self, inputs: Inputs, customer_BF: Tensor, encoded_BD: Tensor | None = None) -> Tensor:
        """Each customer's columns and events as one vector: (B, D)."""
        state_BD = self.customer(customer_BF)
        if self.encoder is not None:
            encoded_BD = self.encode(inputs) if encoded_BD is None else encoded_BD
            state_BD = state_BD + (encoded_BD if self.encoder_gate is None else self.encoder_gate * encoded_BD)
        return self.dropout(state_BD)

    def encode(self, inputs: Inputs) -> Tensor:
        """The histories as vectors (B, D); in training, groups of similar length are read for themselves."""
        inputs = self._with_dropout(inputs)
        return encode_in_groups(self.encode_padded, inputs) if self._grouped() else self.encode_padded(inputs)

    def encode_padded(self, inputs: Inputs) -> Tensor:
        """The histories as vectors (B, D), all read together."""
        assert self.encoder is not None
        if self.event_token is not None:
            tokens = self.event_token(inputs)
            encoded_BD: Tensor = self.encoder(tokens.token, tokens.length, tokens.age)
        else:
            assert self.event is not None
            encoded_BD = self.encoder(self.event(inputs), inputs.length)
        return encoded_BD

    def encode_at(self, inputs: Inputs, query_BQ: Tensor, hidden_BQ: Tensor) -> Tensor:
        """The histories at several cutoffs, read once by a causal encoder: (B, Q, D).

        Parameters
        ----------
        inputs : histories before the newest cutoff, and its season; amounts are in units.
        query_BQ, hidden_BQ : as in `visible_tokens`.
        """
        inputs = self._with_dropout(inputs)
        if self._grouped():
            return encode_in_groups(self._encode_padded_at, inputs, query_BQ, hidden_BQ)
        return self._encode_padded_at(inputs, query_BQ, hidden_BQ)

    def _encode_padded_at(self, inputs: Inputs, query_BQ: Tensor, hidden_BQ: Tensor) -> Tensor:
        assert isinstance(self.encoder, CausalEncoder) and self.event_token is not None
        tokens = self.event_token(inputs)
        visible_BQ = visible_tokens(tokens.age, tokens.length, query_BQ, hidden_BQ)
        return self.encoder.at(tokens.token, tokens.age, query_BQ, visible_BQ)

    def _grouped(self) -> bool:
        """Only in training: scores do not depend on who else is in a block, to the last bit."""
        return self.training and not torch.compiler.is_compiling()

    def _with_dropout(self, inputs: Inputs) -> Inputs:
        if not self.training or self.event_dropout == self.basket_dropout == 0:
            return inputs
        return drop_events(inputs, self.event_dropout, self.basket_dropout)

    def offer_logit(self, code_M: Tensor, season_S: Tensor, offer_MD: Tensor) -> Tensor:
        """Base rate and season of each offer, as log-odds: (M,)."""
        base_M = self.base(code_M).squeeze(-1)
        return base_M if self.season is None else base_M + self.season(season_S, offer_MD)

    def visit_logit(self, state_BD: Tensor) -> Tensor:
        """Log-odds of a visit: (B,)."""
        assert self.visit is not None
        visit_B: Tensor = self.visit(state_BD) + self.visit_base
        return visit_B

    @torch.no_grad()
    def start_from(self, rates: BaseRates, code: Tensor) -> None:
        """Sets the biases such that the untrained member predicts about the base rates.

        Parameters
        ----------
        rates : of M offers.
        code : (M,) int64, codes of the offers. Other codes get the mean.
        """
        if isinstance(self.season, Fourier):
            self.season.start_from(rates.span)
        visit = rates.visit if self.visit is not None else 1.0
        if self.visit is not None:
            self.visit_base.copy_(log_odds(torch.tensor(rates.visit)))
        base = log_odds(torch.from_numpy(rates.purchase / visit))
        amount = torch.from_numpy(rates.amount)
        share = (min(max(rates.deviation, 0.1), 0.95 * SIGMA_MAX) - SIGMA_MIN) / (SIGMA_MAX - SIGMA_MIN)
        self.base.weight.fill_(base.mean())
        self.base.weight[code, 0] = base.float()
        self.value.base.weight[:, 0] = amount.mean()
        self.value.base.weight[code, 0] = amount.float()
        self.value.base.weight[:, 1] = log_odds(torch.tensor(share))

    def _mixed(self, pair: Tensor, state_BD: Tensor, offer_MD: Tensor, pairs: Pairs) -> Tensor:
        """The experts' logits, mixed by the gate for each pair: (B, M) or (K,)."""
        arguments = pair, state_BD, offer_MD, pairs
        logits = [expert(*arguments) for expert in (self.repeat, self.explore) if expert is not None]
        if self.gate is None:
            return logits[0]
        share = self.gate(pair[..., self.gate_columns]).sigmoid().squeeze(-1)
        return share * logits[0] + (1 - share) * logits[1]


def made_by(part: Part) -> Any:
    """The class that a part is made by."""
    while isinstance(part, functools.partial):
        part = part.func
    return part if isinstance(part, type) else object


def log_odds(probability: Tensor) -> Tensor:
    """log(p / (1 - p))."""
    return torch.log(probability) - torch.log1p(-probability)


def within_visit(visit: Tensor, purchase_given_visit: Tensor) -> Tensor:
    """Logit of P(visit) P(purchase | visit) from the logits of both, in float32 log space."""
    log_p = (log_probability(visit.float()) + log_probability(purchase_given_visit.float())).clamp(max=-1e-6)
    log_rest = torch.where(log_p > -math.log(2), torch.log(-torch.expm1(log_p)), torch.log1p(-torch.exp(log_p)))
    return log_p - log_rest
