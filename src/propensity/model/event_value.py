"""Codes of the values of the items' attributes, for encoders that keep the values apart.

Legend: B customers, L events, K attributes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from propensity.data.batch import Inputs, Sizes
from propensity.kernel.event import PURCHASE
from propensity.model.event_token import Tokens

VALUES = "values"


class EventValue(nn.Module):
    """A code for each attribute of the item of an event; the values of an attribute follow those of the one before.

    Parameters
    ----------
    sizes : Sizes
        Sizes that are known after preparation.

    Attributes
    ----------
    values : int
        Number of all values. It is also the code of an event that is no purchase.
    """

    offset: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.values = sum(sizes.tokens)
        offset = torch.tensor([0, *sizes.tokens[:-1]], dtype=torch.int64).cumsum(0)
        self.register_buffer("offset", offset[: len(sizes.tokens)], persistent=False)

    def forward(self, inputs: Inputs) -> Tokens:
        """The codes (B, L, K) of the histories of `inputs` as tokens."""
        code_BLK = inputs.token.long() + self.offset
        purchase_BL1 = (inputs.kind == PURCHASE)[..., None]
        return Tokens(torch.where(purchase_BL1, code_BLK, self.values), inputs.age, inputs.length)
