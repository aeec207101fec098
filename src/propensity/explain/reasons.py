"""Reasons for the score of one customer and one offer: exact contributions of groups of columns, in words.

Notes
-----
Contributions are Shapley values of the log-odds over the groups of `propensity.feature.reason.REASONS`, from all
coalitions of the groups in which the pair differs from the baseline. They are exact, they add up to the log-odds of the
score minus those of the baseline, and they do not depend on an order.

Source: Lundberg & Lee, NeurIPS 2017, with groups of columns as players and one reference input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from propensity.data.batch import Inputs
from propensity.data.event_log import to_date
from propensity.explain.coalition import (
    BLOCK_FIELDS,
    LogOdds,
    baseline_of,
    coalition_log_odds,
    column_masks,
    pair_of,
    present,
)
from propensity.explain.shapley import shapley_values
from propensity.feature.empty_customer import empty_customer
from propensity.feature.features import Features
from propensity.feature.market_stats import MarketStats
from propensity.feature.reason import ATTRIBUTE, REASONS, PairFacts
from propensity.kernel.column import Block, ReasonName

SENTENCES = 5
COMPANIONS = 3
STRONG = 1.1  # factor of the odds from which a sentence gives its size


class Reason(NamedTuple):
    """One reason for a score.

    Attributes
    ----------
    name : str
        Of the group of columns.
    title : str
        The group in a few words.
    contribution : float
        Change of the log-odds.
    sentence : str
        The reason with values of the customer.
    """

    name: ReasonName
    title: str
    contribution: float
    sentence: str

    @property
    def text(self) -> str:
        """The sentence and how the reason changes the odds."""
        return f"{self.sentence[:-1]} ({effect(self.contribution)})."


@dataclass(frozen=True)
class Reasons:
    """Contributions to the log-odds of one score.

    Attributes
    ----------
    base_value : float
        Log-odds of the baseline: a customer without history and a typical offer.
    score : float
        Log-odds of the score.
    contribution : dict of str to float
        Change of the log-odds by group. Groups that are as in the baseline are left out.
    facts : PairFacts
        Values that the sentences give.
    """

    base_value: float
    score: float
    contribution: Mapping[ReasonName, float]
    facts: PairFacts

    @property
    def total(self) -> float:
        """Sum of all contributions."""
        return sum(self.contribution.values())

    def largest(self, count: int = SENTENCES) -> list[Reason]:
        """The reasons with the largest absolute contributions.

        Parameters
        ----------
        count : int
            Number of reasons.

        Returns
        -------
        list of Reason
            By descending absolute contribution; reasons without any are left out.
        """
        ordered = sorted(self.contribution.items(), key=lambda item: -abs(item[1]))[:count]
        return [Reason(name, REASONS[name].title, value, self.sentence(name)) for name, value in ordered if value]

    def sentence(self, name: ReasonName) -> str:
        """A reason with values of the customer."""
        return REASONS[name].words(self.facts._replace(raises=self.contribution.get(name, 0.0) >= 0))

    def carried(self, count: int = SENTENCES) -> float:
        """Share of the sum of absolute contributions that the largest reasons hold; 1 where there is none."""
        total = sum(map(abs, self.contribution.values()))
        return sum(abs(each.contribution) for each in self.largest(count)) / total if total else 1.0

    def left(self, count: int = SENTENCES) -> float:
        """Contribution of all reasons but the largest."""
        return self.total - sum(each.contribution for each in self.largest(count))


def effect(contribution: float) -> str:
    """A change of log-odds in words.

    Examples
    --------
    >>> effect(0.9), effect(0.3), effect(-0.7), effect(0.05)
    ('multiplies the odds by 2.5', 'raises the odds by 35 %', 'lowers the odds by 50 %', 'hardly changes the odds')
    """
    factor = math.exp(contribution)
    if 1 / STRONG < factor < STRONG:
        return "hardly changes the odds"
    if factor >= 2:
        return f"multiplies the odds by {factor:.1f}" if factor < 10 else f"multiplies the odds by {factor:,.0f}"
    if factor > 1:
        return f"raises the odds by {100 * (factor - 1):.0f} %"
    return f"lowers the odds by {100 * (1 - factor):.0f} %" if factor >= 0.01 else "lowers the odds by more than 99 %"


class Explainer:
    """Explains scores of one cutoff.

    Parameters
    ----------
    log_odds : callable
        The served model, from inputs to log-odds (B, M), see `propensity.explain.model`.
    features : Features
        Offers and settings of the cutoff.
    market_stats : MarketStats
        Statistics of the cutoff.
    others : bool
        Whether the model adds up purchases over all offers.
    currency : str, optional
        Of the amounts in sentences; None or empty if the log does not know it.
    """

    def __init__(
        self,
        log_odds: LogOdds,
        features: Features,
        market_stats: MarketStats,
        others: bool,
        currency: str | None = None,
    ) -> None:
        self.log_odds, self.features, self.market_stats, self.others = log_odds, features, market_stats, others
        self.currency = currency or ""
        self.baseline, self.masks = baseline_of(empty_customer(features, market_stats)), column_masks(features.config)
        config = features.config
        self.names = {block: tuple(column.name for column in config.columns[block]) for block in BLOCK_FIELDS}
        self.meanings = {
            (block, column.name): column.name.removeprefix(ATTRIBUTE) if column.reason == "person" else column.meaning
            for block in BLOCK_FIELDS
            for column in config.columns[block]
            if column.reason in ("person", "own")
        }

    def explain(self, inputs: Inputs, row: int, offer_index: int) -> Reasons:
        """Explain the score of one customer and offer.

        Parameters
        ----------
        inputs : Inputs
            Inputs of a batch with all offers of the cutoff, as arrays.
        row : int
            Row of the customer in `inputs`.
        offer_index : int
            Index of the offer.

        Returns
        -------
        Reasons
            Exact contributions by group.
        """
        pair = pair_of(inputs, row, offer_index, self.baseline, self.others)
        shared, own = present(pair, self.masks)
        values = coalition_log_odds(pair, self.masks, shared, own, self.log_odds)
        contribution = dict(zip([*own, *shared], shapley_values(values).tolist(), strict=True))
        return Reasons(float(values[0]), float(values[-1]), contribution, self.facts(inputs, row, offer_index))

    def facts(self, inputs: Inputs, row: int, offer_index: int) -> PairFacts:
        """What sentences may say about a pair.

        Parameters
        ----------
        inputs : Inputs
            Inputs of a batch.
        row, offer_index : int
            Place of the pair.
        """
        arrays: dict[Block, np.ndarray] = {
            "pair": np.asarray(inputs.pair)[row, offer_index],
            "customer": np.asarray(inputs.customer_features)[row],
            "context": np.asarray(inputs.context)[offer_index],
        }
        values = {
            (block, name): float(value)
            for block, array in arrays.items()
            for name, value in zip(self.names[block], array.tolist(), strict=True)
        }
        cutoff, config = self.market_stats.cutoff, self.features.config
        start = to_date(cutoff.day)
        return PairFacts(
            offer=self.features.offers.name[offer_index],
            values=values,
            windows=config.windows,
            horizon=cutoff.horizon,
            companions=self.companions(inputs, row, offer_index),
            period=f"in the {cutoff.horizon} days from {start.day} {start:%B}",
            meanings=self.meanings,
            currency=self.currency,
        )

    def companions(self, inputs: Inputs, row: int, offer_index: int) -> list[str]:
        """Other offers that a customer bought and that are bought together with an offer more often than the mean.

        Parameters
        ----------
        inputs : Inputs
            Inputs of a batch.
        row, offer_index : int
            Place of the pair.
        """
        pair = np.asarray(inputs.pair)[row]
        weight = np.asarray(self.market_stats.cosine)
        if weight.ndim != 2 or weight.shape[0] != pair.shape[0]:  # the group affinity is off
            weight = np.maximum(np.asarray(self.market_stats.together)[-1], 0)
        weight = weight[:, offer_index].copy()
        weight[offer_index] = 0
        bought = np.log1p(np.nan_to_num(pair[:, self.names["pair"].index("purchase_days")]))
        return strongest(weight, bought, self.features.offers.name)


def strongest(weight: np.ndarray, bought: np.ndarray, names: Sequence[str]) -> list[str]:
    """Names of the offers with the largest product of weight (M,) and log purchase days (M,).

    Only offers whose weight is above the mean of the others count.
    """
    strength = np.where(weight > weight.sum() / max(weight.size - 1, 1), weight * bought, 0)
    best = np.argsort(-strength, kind="stable")[:COMPANIONS]
    return [names[k] for k in best if strength[k] > 0]


def texts(reasons: Sequence[Reason]) -> str:
    """The sentences of reasons as one text."""
    return " ".join(reason.text for reason in reasons)
