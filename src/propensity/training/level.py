"""The level of the probabilities: as many purchases are expected of the training pairs as there were.

Legend: R members, K pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from propensity.model.explore.dot_product import ExploreDotProduct
from propensity.model.member import EnsembleMember, within_visit
from propensity.model.offer_net import OfferNet
from propensity.model.outputs import Outputs
from propensity.model.scale import Standardisation
from propensity.training.validation import Block

ENOUGH = 100.0  # purchases that an error of the level is believed as much as none
LARGEST = 4.0  # change of the log-odds
LEAST_SHARE = 0.1  # of the explore expert in never-bought pairs, below which they have no level of their own
HALVINGS = 40


class Level(NamedTuple):
    """Pairs of one kind, with what the members say of them, and how many of them have a purchase."""

    visit: Tensor  # (R, K) log-odds of a visit; +inf without a visit expert
    purchase: Tensor  # (R, K) log-odds of a purchase, given a visit
    purchases: float

    @classmethod
    def of(cls, model: OfferNet, blocks: Sequence[Block], never_bought: bool | None = None) -> Level:
        """The pairs of blocks: all, or those with or without an earlier purchase."""
        masks = [torch.ones_like(block.never_bought) for block in blocks]
        if never_bought is not None:
            masks = [block.never_bought == never_bought for block in blocks]
        terms = [
            [_conditional(member, block.members[r], mask) for block, mask in zip(blocks, masks, strict=True)]
            for r, member in enumerate(model.members)
        ]
        visit, purchase = (torch.stack([torch.cat([part[k] for part in parts]) for parts in terms]) for k in range(2))
        bought = (block.outcomes.bought[mask].double().sum() for block, mask in zip(blocks, masks, strict=True))
        return cls(visit, purchase, float(sum(bought)))

    def expected(self, shift: float) -> float:
        """Purchases that the mean of the members expects after a shift of the log-odds, given a visit."""
        logit = within_visit(self.visit, self.purchase + shift).mean(0)
        return float(logit.sigmoid().double().sum())

    def shift(self) -> float:
        """The shift at which as many purchases are expected as there were, nearer to 0 where they are few."""
        low, high = -LARGEST, LARGEST
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.expected(middle) < self.purchases else (low, middle)
        return (low + high) / 2 * self.purchases / (self.purchases + ENOUGH)


def _conditional(member: torch.nn.Module, outputs: Outputs, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Log-odds of a visit and of a purchase given a visit of the pairs of a mask (B, M): (K,) each."""
    visit_B = outputs.visit if member.visit is not None else torch.full_like(outputs.visit, torch.inf)
    visit, purchase = visit_B[:, None].expand_as(mask)[mask], outputs.purchase[mask]
    log_p = (logsigmoid(purchase) - logsigmoid(visit)).clamp(max=-1e-6)
    return visit, log_p - torch.log(-torch.expm1(log_p))


@torch.no_grad()
def set_level(model: OfferNet, blocks: Sequence[Block], recency: int) -> None:
    """Shifts the log-odds of a network so that its total of training pairs meets the purchases.

    Pairs with and without an earlier purchase have a shift each where every member mixes a repeat expert and the
    default explore expert by a gate, and one shift otherwise.

    Parameters
    ----------
    model : OfferNet
        A fitted network.
    blocks : sequence of Block
        What it says of training pairs whose history is not masked, and what happened.
    recency : int
        Place of the pair column `recency`, which is missing where an offer was never bought.

    Notes
    -----
    The maximum likelihood of a network with these intercepts meets both totals. Dropout, offers without a name, clipped
    gradients and an end before convergence leave it a little off, mostly in never-bought pairs.

    No part is added to the network. A shift of all pairs goes into the base rates of the offers, and the rest of a
    never-bought pair's into the weight of the explore expert for the missing recency, over the expert's share in such
    pairs, which is the same for all of them. An offer without a code keeps its level in never-bought pairs, which
    almost all of its pairs are.
    """
    members = [member for member in model.members if isinstance(member, EnsembleMember)]
    shares = [_explore_share(model, member, recency) for member in members]
    if min(shares) < LEAST_SHARE:
        shift = Level.of(model, blocks).shift()
        for member in members:
            member.base.weight[1:] += shift
        return
    past, never_bought = (Level.of(model, blocks, kind).shift() for kind in (False, True))
    flag = _missing_flag(model, recency)
    for member, share in zip(members, shares, strict=True):
        assert isinstance(member.explore, ExploreDotProduct)
        member.base.weight[1:] += past
        member.base.weight[0] -= never_bought - past
        member.explore.pair.weight[0, flag] += (never_bought - past) / share


def _explore_share(model: OfferNet, member: EnsembleMember, recency: int) -> float:
    """Weight of the explore expert in a never-bought pair; 0 where a shift of it does not shift the pair alone."""
    usual = member.gate is not None and isinstance(member.explore, ExploreDotProduct)
    if not usual or recency not in model.scale_pair.flagged.tolist():
        return 0.0
    assert member.gate is not None
    columns = torch.zeros_like(model.scale_pair.mean)
    columns[recency] = torch.nan
    nothing = torch.zeros_like(columns)
    scaled = model.scale_pair(columns, Standardisation(nothing, nothing))
    return 1.0 - float(member.gate(scaled[member.gate_columns]).sigmoid())


def _missing_flag(model: OfferNet, column: int) -> int:
    """Place among the scaled pair columns of the flag that says where a column is missing."""
    scale = model.scale_pair
    return scale.mean.numel() + scale.ranked.numel() + scale.flagged.tolist().index(column)
