"""Embeddings of events and offers, from attributes as well as names, so that new offers have one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from propensity.data.batch import Inputs, Sizes


class EventEmbedding(nn.Module):
    """Item attributes, kind, channel, age and amount of each event, summed: Inputs -> (B, L, D)."""

    def __init__(self, sizes: Sizes, width: int) -> None:
        super().__init__()
        self.attribute = nn.ModuleList(nn.Embedding(size, width) for size in sizes.tokens)
        self.kind = nn.Embedding(sizes.kinds, width)
        self.channel = nn.Embedding(sizes.channels, width)
        self.number = nn.Linear(4, width)
        for table in (*self.attribute, self.kind, self.channel):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, inputs: Inputs) -> Tensor:
        age = torch.log1p(inputs.age) / 5
        amount = torch.sign(inputs.amount) * torch.log1p(inputs.amount.abs())
        week = 2 * torch.pi * inputs.age / 7
        number = torch.stack([age, amount, week.sin(), week.cos()], dim=-1)
        event_BLD = self.number(number) + self.kind(inputs.kind) + self.channel(inputs.channel)
        for k, table in enumerate(self.attribute):
            event_BLD = event_BLD + table(inputs.token[..., k])
        return event_BLD


class OfferEmbedding(nn.Module):
    """Name, attributes and market context of each offer: (M,), (M, A), (M, C) -> (M, D).

    In training `code` gives a share `unnamed` of the offers code 0 instead of its own, so that the embedding of code 0
    fits offers that are not in the vocabulary.
    """

    def __init__(self, sizes: Sizes, context: int, width: int, unnamed: float = 0.05) -> None:
        super().__init__()
        self.name = nn.Embedding(sizes.offers, width)
        self.attribute = nn.Linear(sizes.attributes, width)
        self.context = nn.Linear(context, width)
        self.unnamed = unnamed
        nn.init.normal_(self.name.weight, std=0.1)

    def code(self, offer_M: Tensor) -> Tensor:
        """The codes of the offers; in training a share of them is 0."""
        if self.training and self.unnamed > 0:
            hidden_M = torch.rand(offer_M.shape, device=offer_M.device) < self.unnamed
            offer_M = torch.where(hidden_M, 0, offer_M)
        return offer_M

    def forward(self, offer_M: Tensor, attribute_MA: Tensor, context_MC: Tensor) -> Tensor:
        return self.name(offer_M) + self.attribute(attribute_MA) + self.context(context_MC)
