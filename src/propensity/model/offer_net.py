"""The network: outputs of one customer at one cutoff for all offers at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from propensity.data.batch import Inputs, Sizes
from propensity.errors import ConfigurationError
from propensity.model.base_rate import BaseRates
from propensity.model.member import EnsembleMember, Part
from propensity.model.outputs import Outputs, ensemble_mean
from propensity.model.pairs import Pairs
from propensity.model.scale import FeatureScaler, Standardisation


class OfferNet(nn.Module):
    """An ensemble of networks on the same scaled inputs; its output is their mean.

    Parameters
    ----------
    sizes : sizes that are known after preparation.
    members : number of networks.
    width : D, of the state and of embeddings.
    encoder, repeat, explore, visit, season : parts that still want their sizes (`_partial_: true` in YAML). Each may be
        None, but not both repeat and explore.
    customer_hidden : units of the layer over the customer columns.
    dropout : of the state.
    event_dropout, basket_dropout : shares of the events, and of the days with events, that the encoder does not read in
        a training step.
    closed_gate : whether the encoder's output is multiplied by a learned vector that starts at 0, so that training
        starts from a network without an encoder.

    Raises
    ------
    ConfigurationError
        For fewer members than 1, and for a dropout of events or baskets outside [0, 1).

    Notes
    -----
    Members differ by their initial weights and their dropout. Each has its own loss, and the mean of the losses is
    minimised: a loss of the mean output would train one wider network, which predicts worse.
    """

    unit: Tensor
    amount_scale: Tensor  # see `propensity.training.amount`

    def __init__(
        self,
        sizes: Sizes,
        members: int = 1,
        width: int = 32,
        encoder: Part | None = None,
        repeat: Part | None = None,
        explore: Part | None = None,
        visit: Part | None = None,
        season: Part | None = None,
        customer_hidden: int = 64,
        dropout: float = 0.1,
        event_dropout: float = 0.0,
        basket_dropout: float = 0.0,
        closed_gate: bool = False,
    ) -> None:
        super().__init__()
        for name, share in (("event_dropout", event_dropout), ("basket_dropout", basket_dropout)):
            if not 0 <= share < 1:
                raise ConfigurationError(f"model.{name}={share} is no share to leave out; give 0 or more and below 1")
        if members < 1:
            raise ConfigurationError(f"model.members={members} makes no network; give 1 or more")
        self.scale_pair, self.scale_customer, self.scale_context = (
            FeatureScaler(block.columns, block.optional, block.ranked, block.money, sizes.unit, block.within_offer)
            for block in (sizes.pair, sizes.customer, sizes.context)
        )
        columns = self.scale_pair.size, self.scale_customer.size, self.scale_context.size
        parts = encoder, repeat, explore, visit, season
        self.members = nn.ModuleList(
            EnsembleMember(
                *(sizes, *columns, width, *parts, customer_hidden, dropout),
                *(event_dropout, basket_dropout, closed_gate),
            )
            for _ in range(members)
        )

        self.register_buffer("unit", torch.tensor(sizes.unit))
        self.register_buffer("amount_scale", torch.ones(()))

    def fit_scales(self, inputs: Inputs) -> None:
        """Fits the scalers to training inputs, of one batch or of several that are concatenated."""
        self.scale_pair.fit(inputs.pair)
        self.scale_customer.fit(inputs.customer_features)
        self.scale_context.fit(inputs.context)

    def start_from(self, rates: BaseRates, code: Tensor) -> None:
        """Sets the biases of all members such that training starts from base rates; see `EnsembleMember.start_from`."""
        for member in self.members:
            if isinstance(member, EnsembleMember):
                member.start_from(rates, code)

    def in_units(self, inputs: Inputs) -> Inputs:
        """The inputs with the amounts of events as multiples of the unit."""
        return inputs._replace(amount=inputs.amount / self.unit)

    def encode_at(self, inputs: Inputs, query_BQ: Tensor, hidden_BQ: Tensor) -> list[Tensor]:
        """The histories at several cutoffs, of each member: (B, Q, D); see `EnsembleMember.encode_at`."""
        inputs = self.in_units(inputs)
        members = (member for member in self.members if isinstance(member, EnsembleMember))
        return [member.encode_at(inputs, query_BQ, hidden_BQ) for member in members]

    def member_outputs(
        self, inputs: Inputs, place: Tensor | None = None, encoded: list[Tensor] | None = None
    ) -> list[Outputs]:
        """Outputs of each member.

        Parameters
        ----------
        inputs : unscaled; `inputs.pair` is (B, M, P), or (K, P) with `place`.
        place : (K,) int64, flat positions in (B, M) of the pairs that `inputs.pair` holds; None: all pairs.
        encoded : (B, D) of each member, rows of what `encode_at` returns; None: histories are encoded here.
        """
        standardisation = Standardisation.of_pairs(inputs.standardisation, Pairs.at(place, inputs.offer.shape[0]))
        pair = self.scale_pair(inputs.pair, standardisation)
        customer_BF = self.scale_customer(inputs.customer_features)
        context_MC = self.scale_context(inputs.context)
        inputs = self.in_units(inputs)
        histories = [None] * len(self.members) if encoded is None else encoded
        outputs = [
            member(inputs, pair, customer_BF, context_MC, place, history)
            for member, history in zip(self.members, histories, strict=True)
        ]
        return [each._replace(unit=self.unit * self.amount_scale) for each in outputs]

    def forward(self, inputs: Inputs) -> Outputs:
        return ensemble_mean(self.member_outputs(inputs))
