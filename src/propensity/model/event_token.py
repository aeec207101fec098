"""Tokens of causal encoders: events, or the baskets of days, without any time that is relative to a cutoff.

Legend: B customers, L events, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from propensity.data.batch import Inputs, Sizes
from propensity.feature.calendar import YEAR
from propensity.kernel.event import PURCHASE
from propensity.model.causal import BASKETS, first_tokens
from propensity.model.scale import signed_log

THURSDAY = 3  # weekday of day 0, 1970-01-01, from Monday on
FIRST_YEAR = 30  # the calendar terms count years since 2000


class Tokens(NamedTuple):
    """Tokens of B customers, oldest first."""

    token: Tensor  # (B, L, D)
    age: Tensor  # (B, L) days to the cutoff of the inputs
    length: Tensor  # (B,) number of tokens


class EventToken(nn.Module):
    """Item attributes, kind, channel, amount and weekday, summed.

    Parameters
    ----------
    sizes : Sizes
        Sizes that are known after preparation.
    width : int
        D.
    tokens : str
        `items`: a token for each event; `baskets`: a token for each day, with the sum of the items and kinds, the mean
        of the channels, the logarithms of size and money, and the weekday.
    """

    def __init__(self, sizes: Sizes, width: int, tokens: str) -> None:
        super().__init__()
        self.baskets = tokens == BASKETS
        self.attribute = nn.ModuleList(nn.Embedding(size, width) for size in sizes.tokens)
        self.kind = nn.Embedding(sizes.kinds, width)
        self.channel = nn.Embedding(sizes.channels, width)
        self.weekday = nn.Embedding(7, width)
        self.number = nn.Linear(2, width)
        for table in (*self.attribute, self.kind, self.channel, self.weekday):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, inputs: Inputs) -> Tokens:
        """The tokens of the histories of `inputs`, whose amounts are in units."""
        item_BLD = self.kind(inputs.kind)
        for k, table in enumerate(self.attribute):
            item_BLD = item_BLD + table(inputs.token[..., k])
        channel_BLD = self.channel(inputs.channel)
        age_BL, length_B, amount_BL = inputs.age, inputs.length, inputs.amount
        size_BL = torch.ones_like(amount_BL)
        if self.baskets:
            place_BL, real_BL = basket_places(age_BL, length_B)
            purchase_BL = (inputs.kind == PURCHASE) & real_BL
            size_BL, amount_BL, count_BL = (
                added(x[..., None], place_BL).squeeze(-1)
                for x in (purchase_BL.float(), torch.where(real_BL, amount_BL, 0.0), real_BL.float())
            )
            item_BLD = added(torch.where(real_BL[..., None], item_BLD, 0.0), place_BL)
            channel_sum_BLD = added(torch.where(real_BL[..., None], channel_BLD, 0.0), place_BL)
            channel_BLD = channel_sum_BLD / count_BL.clamp(min=1.0)[..., None]
            ages_BL = added(torch.where(real_BL, age_BL, 0.0)[..., None], place_BL).squeeze(-1)
            age_BL, length_B = ages_BL / count_BL.clamp(min=1.0), (count_BL > 0).sum(1)
        money_BL = signed_log(amount_BL)
        number_BL2 = torch.stack([torch.log1p(size_BL), money_BL], dim=-1)
        weekday_BLD = self.weekday(weekday(inputs.season, age_BL))
        token_BLD = item_BLD + channel_BLD + weekday_BLD + self.number(number_BL2)
        if self.baskets and not torch.compiler.is_compiling():  # there are fewer baskets than events
            size = max(int(length_B.max()), 1) if len(length_B) else 1
            token_BLD, age_BL = token_BLD[:, :size], age_BL[:, :size]
        return Tokens(token_BLD, age_BL, length_B)


def basket_places(age_BL: Tensor, length_B: Tensor) -> tuple[Tensor, Tensor]:
    """The place of each event's day among the customer's days with events, and whether an event is real.

    >>> place, real = basket_places(torch.tensor([[9.0, 9.0, 4.0, 0.0]]), torch.tensor([3]))
    >>> place.tolist(), real.tolist()
    ([[0, 0, 1, 1]], [[True, True, True, False]])
    """
    real_BL = first_tokens(length_B, age_BL.shape[1])
    new_BL = torch.cat([torch.zeros_like(real_BL[:, :1]), age_BL[:, 1:] != age_BL[:, :-1]], dim=1) & real_BL
    return new_BL.long().cumsum(1), real_BL


def added(x_BLD: Tensor, place_BL: Tensor) -> Tensor:
    """Sums of the rows of each customer that have the same place: (B, L, D), zeros where there are none."""
    return torch.zeros_like(x_BLD).scatter_add(1, place_BL[..., None].expand_as(x_BLD), x_BLD)


def weekday(season_S: Tensor, age_BL: Tensor) -> Tensor:
    """The weekday of each event, 0 for Monday: (B, L) int64.

    Parameters
    ----------
    season_S : Tensor
        Calendar terms of the cutoff, of which the last tells its day.
    age_BL : Tensor
        Days from each event to the cutoff.

    Examples
    --------
    >>> from propensity.feature.calendar import season
    >>> cutoff = 18_262 + 5  # 2020-01-06, a Monday
    >>> weekday(torch.from_numpy(season(cutoff, 7)), torch.tensor([[1.0, 7.0]])).tolist()
    [[6, 0]]
    """
    day = torch.round((season_S[-1] + FIRST_YEAR) * YEAR)
    return torch.remainder(day + THURSDAY - age_BL.round(), 7).long()
