"""The network: one customer at one date answers for all offers at once."""

from __future__ import annotations

from torch import Tensor, nn

from propensity.data.batch import Inputs, Sizes
from propensity.errors import ConfigurationError
from propensity.model.member import EnsembleMember, Part
from propensity.model.outputs import Outputs, ensemble_mean
from propensity.model.scale import FeatureScaler


class OfferNet(nn.Module):
    """Members that learn side by side from the same scaled inputs, and answer with one voice.

    Notable: members differ by their first weights and their dropout alone. Each meets the loss by itself: were only
    their mean to learn, they would be one wider network, and the mean of several is what does better.

    Args: sizes, known after preparation; members, how many; width D; encoder, habit, explore, visit, season: parts
    still wanting their shapes (`_partial_` in YAML), each optional except that one of habit and explore must be there;
    customer_hidden: units that read the customer columns; dropout of the state.
    """

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
    ) -> None:
        super().__init__()
        if members < 1:
            raise ConfigurationError(f"a network of {members} members has no answer; give model.members=1 or more")
        self.scale_pair, self.scale_customer, self.scale_context = (
            FeatureScaler(block.columns, block.optional, block.ranked)
            for block in (sizes.pair, sizes.customer, sizes.context)
        )
        columns = self.scale_pair.size, self.scale_customer.size, self.scale_context.size
        parts = encoder, repeat, explore, visit, season
        self.members = nn.ModuleList(
            EnsembleMember(sizes, *columns, width, *parts, customer_hidden, dropout) for _ in range(members)
        )

    def fit_scales(self, inputs: Inputs) -> None:
        """Sets the buffers of normalisation from training inputs (rows may be many batches concatenated)."""
        self.scale_pair.fit(inputs.pair)
        self.scale_customer.fit(inputs.customer_features)
        self.scale_context.fit(inputs.context)

    def member_outputs(self, inputs: Inputs, place: Tensor | None = None) -> list[Outputs]:
        """What each member says: the loss meets them one by one.

        place (K,): flat positions in (B, M) of the only pairs that `inputs.pair` (K, P) holds and answers are about.
        """
        pair, customer_BF = self.scale_pair(inputs.pair), self.scale_customer(inputs.customer_features)
        context_MC = self.scale_context(inputs.context)
        return [member(inputs, pair, customer_BF, context_MC, place) for member in self.members]

    def forward(self, inputs: Inputs) -> Outputs:
        return ensemble_mean(self.member_outputs(inputs))
