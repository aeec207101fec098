"""An encoder with the heads of its pretraining, and their losses.

Legend: B customers, Q queries, L tokens, D width, M offers, W periods, H steps of the waiting time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import cross_entropy as class_entropy
from torch.nn.functional import normalize

from propensity.data.batch import HISTORY, Inputs, Sizes
from propensity.errors import ConfigurationError
from propensity.loss.multitask import Terms
from propensity.model.causal import BASKETS, ITEMS, CausalEncoder, first_tokens, visible_tokens
from propensity.model.event_token import EventToken, Tokens
from propensity.pretrain.batch import PERIODS, PretrainBatch

EDGES = (0.0, 7.0, 14.0, 28.0, 56.0, 112.0)  # days; the waiting time is in one of the steps between, or longer
TEMPERATURE = 0.1
FEWEST_TOKENS = 4  # of a history that is cut into slices


@dataclass(frozen=True)
class Weights:
    """Weights of the tasks in the loss; 0 leaves a task out.

    Parameters
    ----------
    next_period : offers bought within 1, 2 and 4 weeks.
    next_visit : time to the next purchase.
    masked_basket : offers of a day that is left out of the history.
    contrastive : which two slices are of the same customer.
    """

    next_period: float = 1.0
    next_visit: float = 0.1
    masked_basket: float = 1.0
    contrastive: float = 0.0

    def __post_init__(self) -> None:
        if not any(weight > 0 for weight in vars(self).values()):
            raise ConfigurationError(
                f"{', '.join(f'{name}=0' for name in vars(self))} leave nothing to learn; give one of them a weight"
            )


class PretrainNet(nn.Module):
    """Tokens, a causal encoder and a head for each task. Offers have one embedding for all tasks.

    Parameters
    ----------
    sizes : Sizes
        Sizes of the tokens, and number of offer codes.
    width : int
        D.
    encoder : callable
        Makes the encoder from its width.
    code : (M,) int64
        Codes of the offers.

    Raises
    ------
    ConfigurationError
        For an encoder that is not causal.
    """

    code: Tensor
    unit: Tensor

    def __init__(self, sizes: Sizes, width: int, encoder: Callable[..., nn.Module], code: Tensor) -> None:
        super().__init__()
        made = encoder(width=width)
        if not isinstance(made, CausalEncoder):
            raise ConfigurationError(
                f"pretraining needs an encoder that reads a history once for many cutoffs, and {type(made).__name__} "
                "is none; choose model/encoder=hstu, linear_recurrence or time_filters"
            )
        tokens = made.event_token(sizes, width)
        if not isinstance(tokens, EventToken):
            raise ConfigurationError(
                f"model.encoder.tokens={made.tokens} leaves no tokens to pretrain; choose one of: {ITEMS}, {BASKETS}"
            )
        self.encoder, self.event_token = made, tokens
        self.offer = nn.Embedding(sizes.offers, width)
        self.period = nn.Linear(width, len(PERIODS) * width)
        self.visit = nn.Linear(width, len(EDGES) - 1)
        self.when = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, width))
        self.base = nn.Parameter(torch.full((len(PERIODS) + 1, len(code)), -3.0))
        self.register_buffer("code", code, persistent=False)
        self.register_buffer("unit", torch.tensor(sizes.unit))
        nn.init.normal_(self.offer.weight, std=0.1)

    def tokens(self, inputs: Inputs) -> Tokens:
        """The tokens of histories."""
        tokens: Tokens = self.event_token(inputs._replace(amount=inputs.amount / self.unit))
        return tokens

    def states(self, inputs: Inputs) -> Tensor:
        """The state of each customer at the end of the history: (B, D)."""
        tokens = self.tokens(inputs)
        state_BD: Tensor = self.encoder(tokens.token, tokens.length, tokens.age)
        return state_BD

    def items(self, code: Tensor) -> Tensor:
        """Embeddings of items from the codes of their attributes (I, K): (I, D)."""
        return functools.reduce(torch.add, (table(code[:, k]) for k, table in enumerate(self.event_token.attribute)))

    def losses(self, batch: PretrainBatch, weights: Weights) -> Terms:
        """The weighted sum of the losses, and the loss of each task with a weight."""
        tokens = self.tokens(batch.history)
        parts: dict[str, Tensor] = {}
        if weights.next_period or weights.next_visit:
            visible_BQ = visible_tokens(tokens.age, tokens.length, batch.query, torch.zeros_like(batch.query))
            state_BQD = self.encoder.at(tokens.token, tokens.age, batch.query, visible_BQ)
            if weights.next_period:
                parts["next_period"] = self.period_loss(state_BQD, batch)
            if weights.next_visit:
                parts["next_visit"] = visit_loss(self.visit(state_BQD), batch)
        if weights.masked_basket:
            parts["masked_basket"] = self.basket_loss(batch)
        if weights.contrastive:
            parts["contrastive"] = self.contrastive_loss(tokens, batch.slices)
        total = torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum()
        return Terms(total, parts)

    def period_loss(self, state_BQD: Tensor, batch: PretrainBatch) -> Tensor:
        """Cross-entropy of the offers in each period, over the valid queries."""
        asked_NWD = self.period(state_BQD[batch.valid]).unflatten(-1, (len(PERIODS), -1))
        logit_NWM = asked_NWD @ self.offer(self.code).T + self.base[:-1]
        return mean_or_zero(cross_entropy(logit_NWM, batch.bought[batch.valid], reduction="none"))

    def basket_loss(self, batch: PretrainBatch) -> Tensor:
        """Cross-entropy of the offers of the masked basket, from all other days of the history."""
        some = batch.masked > 0
        tokens = self.tokens(without_day(batch.history, batch.masked))
        state_BD = self.encoder(tokens.token, tokens.length, tokens.age) + self.when(batch.masked.log1p()[:, None] / 5)
        logit_NM = state_BD[some] @ self.offer(self.code).T + self.base[-1]
        return mean_or_zero(cross_entropy(logit_NM, batch.basket[some], reduction="none"))

    def contrastive_loss(self, tokens: Tokens, slices: Tensor) -> Tensor:
        """Cross-entropy of finding the other slice of the same customer among those of all customers of the batch."""
        some = tokens.length >= FEWEST_TOKENS
        if int(some.sum()) < 2:
            return tokens.token.sum() * 0.0
        several = Tokens(*(part[some] for part in tokens))
        first, second = (normalize(self.slice_state(several, slices[some, k]), dim=-1) for k in range(2))
        logit_NN = first @ second.T / TEMPERATURE
        own_N = torch.arange(len(logit_NN), device=logit_NN.device)
        return (class_entropy(logit_NN, own_N) + class_entropy(logit_NN.T, own_N)) / 2

    def slice_state(self, tokens: Tokens, slices: Tensor) -> Tensor:
        """The state after a run of neighbouring tokens, a quarter to three quarters of them: (B, D)."""
        count_B = ((0.25 + 0.5 * slices[:, 0]) * tokens.length).ceil().long()
        start_B = (slices[:, 1] * (tokens.length - count_B + 1)).floor().long()
        place_BL = start_B[:, None] + torch.arange(int(count_B.max()), device=count_B.device)
        place_BL = torch.minimum(place_BL, (start_B + count_B - 1)[:, None])
        age_BL = tokens.age.gather(1, place_BL)
        token_BLD = tokens.token.gather(1, place_BL[..., None].expand(-1, -1, tokens.token.shape[-1]))
        query_B1 = age_BL[:, -1:] - 1.0  # the day after the last token
        return self.encoder.at(token_BLD, age_BL, query_B1, count_B[:, None])[:, 0]


def visit_loss(logit_BQH: Tensor, batch: PretrainBatch) -> Tensor:
    """Cross-entropy of the hazards: in each step of `EDGES`, whether the next purchase is in it if it is not earlier.

    A step counts where the end of the data tells: it holds the purchase, or closes by the end without one.
    """
    low, high = (logit_BQH.new_tensor(edges) for edges in (EDGES[:-1], EDGES[1:]))
    wait_BQ1, seen_BQ1 = batch.wait[..., None], batch.query[..., None]
    hit_BQH = (wait_BQ1 >= low) & (wait_BQ1 < high)
    told_BQH = (wait_BQ1 >= low) & (hit_BQH | (seen_BQ1 >= high)) & batch.valid[..., None]
    return mean_or_zero(cross_entropy(logit_BQH, hit_BQH.float(), reduction="none")[told_BQH])


def mean_or_zero(x: Tensor) -> Tensor:
    """The mean, 0 of nothing."""
    return x.sum() / max(x.numel(), 1)


def without_day(inputs: Inputs, day_B: Tensor) -> Inputs:
    """Histories without the events of one day of each customer, `day_B` before the end; the others keep their order."""
    real_BL = first_tokens(inputs.length, inputs.age.shape[1])
    keep_BL = real_BL & (inputs.age != day_B[:, None])
    order_BL = torch.argsort((~keep_BL).to(torch.int8), dim=1, stable=True)
    columns = {}
    for name in HISTORY:
        x = getattr(inputs, name)
        index = order_BL if x.ndim == 2 else order_BL[..., None].expand_as(x)
        columns[name] = x.gather(1, index)
    return inputs._replace(length=keep_BL.sum(1), **columns)
