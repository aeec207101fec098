"""Pairs as rows of a plain table, which is what linear models and trees eat."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from propensity.errors import ConfigurationError
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import CONTEXT, MarketStats
from propensity.task import BLOCK, CutoffData, TrainingSet

PRIOR_PURCHASES = 2.0  # weight of the offer's mean spend against the customer's own


class PairTable(NamedTuple):
    """x (K, columns) float32 with NaN, bought (K,), revenue (K,), weight (K,)."""

    x: np.ndarray
    bought: np.ndarray
    revenue: np.ndarray
    weight: np.ndarray


def rows_of(inputs: Any) -> np.ndarray:
    """Pair, customer and context columns of every pair: (B M, P + F + C), customer by customer."""
    b, m, _ = inputs.pair.shape
    customer = np.broadcast_to(inputs.customer[:, None], (b, m, inputs.customer.shape[1]))
    context = np.broadcast_to(inputs.context, (b, m, inputs.context.shape[1]))
    return np.concatenate([inputs.pair, customer, context], axis=2).reshape(b * m, -1)


def column_names(training_set: TrainingSet | CutoffData) -> list[str]:
    """Names of the columns of `rows_of`; the block leads each, since windows recur."""
    rule = training_set.features.rule
    blocks = {"pair": rule.pair, "customer": rule.customer, "context": CONTEXT}
    return [f"{block}_{name}" for block, names in blocks.items() for name in names]


def training_table(training_set: TrainingSet, dates: int, rows: int, seed: int, launched: float = 0.0) -> PairTable:
    """At most about `rows` pairs of the last `dates` training dates.

    Every purchase is kept; pairs without one are drawn, those of an offer never bought at a quarter of the rate of
    the rest, and weighted so that their number stands for all. launched: share of the offers of each block of customers
    that look as on the day of their launch.
    """
    rng = np.random.default_rng(seed)
    chosen = list(zip(training_set.cutoffs_data, training_set.weights, strict=True))[-dates:]
    pairs = sum(cutoff_data.customer.size for cutoff_data, _ in chosen) * len(training_set.features.offers)
    rate = min(1.0, rows / max(pairs, 1) * 2.0)
    parts = [
        _draw(cutoff_data, weight, cutoff_data.customer[start : start + BLOCK], rate, rng, launched)
        for cutoff_data, weight in chosen
        for start in range(0, cutoff_data.customer.size, BLOCK)
    ]
    table = PairTable(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    refuse_one_sided(table.bought)
    return table


def refuse_one_sided(bought: np.ndarray) -> None:
    """ConfigurationError where nobody bought, or everybody everything: there is nothing to tell apart."""
    if bought.min() == bought.max():
        word = "nobody bought anything" if bought.max() == 0 else "everybody bought everything"
        raise ConfigurationError(
            f"{word} in the last training windows; raise data.horizon or lower data.offer.min_buyers"
        )


def _draw(
    cutoff_data: CutoffData,
    weight: np.ndarray,
    customer: np.ndarray,
    rate: float,
    rng: np.random.Generator,
    launched: float,
) -> PairTable:
    new = np.flatnonzero(rng.random(weight.size) < launched)
    hidden = HistoryMask.nothing(customer.size)._replace(launched=new)
    inputs = cutoff_data.features.inputs(cutoff_data.market_stats, customer, hidden)
    outcomes = cutoff_data.features.outcomes(cutoff_data.market_stats.cutoff, customer)
    bought, revenue = np.asarray(outcomes.bought).ravel(), np.asarray(outcomes.revenue).ravel()
    known = np.asarray(inputs.pair)[:, :, cutoff_data.features.rule.pair.index("days_bought")].ravel() > 0
    chance = np.where(bought > 0, 1.0, np.where(known, rate, rate / 4))
    kept = np.flatnonzero(rng.random(chance.size) < chance)
    row_weight = np.broadcast_to(weight, (customer.size, weight.size)).ravel()[kept] / chance[kept]
    return PairTable(rows_of(inputs)[kept], bought[kept], revenue[kept], row_weight.astype(np.float32))


def usual_amount(cutoff_data: CutoffData, inputs: Any) -> np.ndarray:
    """What a buyer is expected to spend, (B, M): the customer's mean per purchase day, drawn to the offer's price."""
    names = cutoff_data.features.rule.pair
    days = inputs.pair[:, :, names.index("days_bought")]
    own = np.nan_to_num(inputs.pair[:, :, names.index("spend_mean")])
    return (own * days + usual_price(cutoff_data.market_stats) * PRIOR_PURCHASES) / (days + PRIOR_PURCHASES)


def usual_price(market_stats: MarketStats) -> np.ndarray:
    """What a buyer of each offer spends on a day, (M,); the mean of all where nobody bought."""
    price = market_stats.context[:, CONTEXT.index("price")]
    known = price[~np.isnan(price)]
    return np.nan_to_num(price, nan=float(known.mean()) if known.size else 0.0)
