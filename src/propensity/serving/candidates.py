"""The champion of a run and its candidates as parts of a graph, from what they fitted.

Shapes: B customers, M offers, K columns of a block.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from propensity.baseline.amount import SMALLEST
from propensity.baseline.frequency import FLOOR, Frequency
from propensity.baseline.lightgbm import LightGBM
from propensity.baseline.logistic import Logistic
from propensity.baseline.pair_table import PRIOR_PURCHASES, Columns
from propensity.champion.champion import Champion
from propensity.champion.choose import STACK
from propensity.champion.stack import single
from propensity.data.batch import Inputs
from propensity.errors import ConfigurationError
from propensity.serving.champion import Booster, Combination, LinearBlock, LinearPart, Mixture
from propensity.serving.tree_sum import Trees
from propensity.serving.trees import read_trees


class UsualAmount(nn.Module):
    """The amount of a customer who buys an offer, see `pair_table.usual_amount_of`.

    Parameters
    ----------
    columns : Columns
        Names of the input columns.
    """

    def __init__(self, columns: Columns) -> None:
        super().__init__()
        self.days, self.spend = (columns.pair.index(name) for name in ("purchase_days", "spend_mean"))
        self.price, self.smallest = columns.context.index("price"), SMALLEST * columns.unit

    def forward(self, inputs: Inputs) -> Tensor:
        """Log amounts (B, M) in the log's currency, with the floor of `amount.in_units`."""
        price = inputs.context[:, self.price]
        missing = price.isnan()
        price = price.masked_fill(missing, 0.0)
        price = torch.where(missing, price.sum() / (~missing).sum().clamp(min=1), price)
        days, spend = inputs.pair[..., self.days], inputs.pair[..., self.spend].nan_to_num(0.0)
        amount = (spend * days + price * PRIOR_PURCHASES) / (days + PRIOR_PURCHASES)
        return amount.clamp(min=self.smallest).log()


class LogisticGraph(LinearPart):
    """`Logistic` as a graph.

    Parameters
    ----------
    model : Logistic
        A fitted model.
    """

    def __init__(self, model: Logistic) -> None:
        super().__init__()
        columns = model.columns
        sizes = [len(names) for names in columns[:3]]
        total, start = sum(sizes), 0
        factor = np.ones(total)
        factor[list(columns.money)] = 1 / columns.unit
        fitted = [each[: 2 * total].reshape(2, total) for each in (model.mean, model.deviation, model.coefficient)]
        blocks = []
        for size in sizes:
            place = slice(start, start + size)
            blocks.append(LinearBlock(factor[place], *(each[:, place] for each in fitted)))
            start += size
        self.pair, self.customer, self.context = blocks
        self.intercept, self.amount = float(model.coefficient[-1]), UsualAmount(columns)

    def forward(self, inputs: Inputs, pair: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Log-odds and log amounts, each (B, M), where the contributions of the pair columns (B, M) may be known."""
        pair = self.pair(inputs.pair) if pair is None else pair
        customer, context = self.customer(inputs.customer_features)[:, None], self.context(inputs.context)
        return pair + customer + context + self.intercept, self.amount(inputs)


class FrequencyGraph(nn.Module):
    """`Frequency` as a graph. All offers of the market belong to the inputs, as a customer's activity is their sum.

    Parameters
    ----------
    model : Frequency
        A fitted model.
    """

    def __init__(self, model: Frequency) -> None:
        super().__init__()
        columns, self.half_life, self.prior = model.columns, model.chosen["half_life"], model.chosen["prior"]
        self.decayed, self.tenure = columns.pair.index(f"decayed_{self.half_life}"), columns.customer.index("tenure")
        self.reach, self.intensity = (columns.context.index(name) for name in ("reach_91", "intensity"))
        self.horizon, self.activity, (self.slope, self.intercept) = columns.horizon, model.activity, model.link
        self.amount = UsualAmount(columns)

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Log-odds and log amounts, each (B, M)."""
        decayed, tenure = inputs.pair[..., self.decayed], inputs.customer_features[:, self.tenure]
        buyers = inputs.context[:, self.reach].exp() * inputs.context[:, self.intensity]
        rate = buyers.masked_fill(buyers.isnan(), 0.0) / 91
        exposure = self.half_life / math.log(2) * (1 - torch.exp(tenure * (-math.log(2) / self.half_life)))
        relative = (decayed.sum(1) + 1) / (self.activity + 1)
        rates = (decayed + self.prior * rate * relative[:, None]) / (exposure + self.prior)[:, None]
        return self.slope * torch.log(rates * self.horizon + FLOOR) + self.intercept, self.amount(inputs)


def booster_of(model: LightGBM) -> Booster:
    """The trees of `LightGBM`.

    Parameters
    ----------
    model : LightGBM
        A fitted model.

    Returns
    -------
    Booster
        With the scale of the amounts in their base.
    """
    purchase = read_trees(model.purchase_model.model_to_string(num_iteration=-1))
    if model.amount_model is None:
        return Booster(purchase, None, None)
    amount: Trees = read_trees(model.amount_model.model_to_string(num_iteration=-1))
    relative = amount._replace(base=amount.base + math.log(model.amount_scale))
    return Booster(purchase, relative, UsualAmount(model.columns))


def is_network(champion: Champion) -> bool:
    """Whether scores are the network's alone: a run without candidates."""
    return not champion.candidates


def combination_of(champion: Champion, past_column: int) -> Combination:
    """A champion as a graph.

    Parameters
    ----------
    champion : Champion
        A champion with candidates.
    past_column : int
        Pair column `purchase_days`.

    Returns
    -------
    Combination
        Of the candidates that have a weight.
    """
    stack = champion.stack
    chosen = stack if champion.name == STACK else single(stack.names, champion.name, stack.amount.unit)
    segments = chosen.never_bought, chosen.past
    mixture = Mixture(
        stack.names,
        np.array([segment.weight for segment in segments]),
        np.array([segment.intercept for segment in segments]),
        *(np.array(stack.amount.weight), stack.amount.unit, stack.amount.factor, SMALLEST, past_column),
    )
    parts: dict[str, nn.Module] = {}
    boosters: dict[str, Booster] = {}
    for name, candidate in champion.candidates.items():
        if isinstance(candidate, LightGBM):
            boosters[name] = booster_of(candidate)
        elif isinstance(candidate, Logistic):
            parts[name] = LogisticGraph(candidate)
        elif isinstance(candidate, Frequency):
            parts[name] = FrequencyGraph(candidate)
        elif mixture.uses(name):
            raise ConfigurationError(f"a bundle cannot hold the candidate {name!r}; train with champion=network")
    return Combination(mixture, parts, boosters)
