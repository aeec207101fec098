"""Customer x offer pairs as rows of a table, the input of linear models and trees."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from propensity.errors import ConfigurationError
from propensity.feature.column import CONTEXT_NAMES
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import MarketStats
from propensity.task import BLOCK, CutoffData, TrainingSet

PRIOR_PURCHASES = 2.0  # weight of the offer's mean price, in purchase days of the customer
NEVER_BOUGHT_SHARE = 1 / 4  # sampling rate of never-bought pairs over that of other pairs without a purchase


class PairTable(NamedTuple):
    """A training table of K pairs.

    Attributes
    ----------
    x : np.ndarray
        (K, columns) float32, NaN where a value is missing; columns as `column_names` lists them.
    bought : np.ndarray
        (K,) 1 for a purchase in the label window, else 0.
    revenue : np.ndarray
        (K,) spend in the label window, in the log's currency.
    weight : np.ndarray
        (K,) float32: the offer's weight at the cutoff over the sampling rate of the pair.
    """

    x: np.ndarray
    bought: np.ndarray
    revenue: np.ndarray
    weight: np.ndarray


def rows_of(inputs: Any) -> np.ndarray:
    """One row for each pair: its own columns, the customer's and the offer's.

    Parameters
    ----------
    inputs : Inputs
        Arrays pair (B, M, P), customer (B, F) and context (M, C).

    Returns
    -------
    np.ndarray
        (B M, P + F + C); the M rows of a customer follow each other.
    """
    b, m, _ = inputs.pair.shape
    customer = np.broadcast_to(inputs.customer_features[:, None], (b, m, inputs.customer_features.shape[1]))
    context = np.broadcast_to(inputs.context, (b, m, inputs.context.shape[1]))
    return np.concatenate([inputs.pair, customer, context], axis=2).reshape(b * m, -1)


def column_names(training_set: TrainingSet | CutoffData) -> list[str]:
    """Names of the columns of `rows_of`, P + F + C of them.

    Notes
    -----
    The prefix pair_, customer_ or context_ keeps names apart that occur in more than one block.
    """
    config = training_set.features.config
    blocks = {"pair": config.pair, "customer": config.customer, "context": config.context}
    return [f"{block}_{name}" for block, names in blocks.items() for name in names]


def training_table(
    training_set: TrainingSet, last_cutoffs: int, rows: int, seed: int, launched: float = 0.0
) -> PairTable:
    """A weighted sample of the pairs of the latest training cutoffs.

    Parameters
    ----------
    training_set : TrainingSet
        Training cutoffs, oldest first.
    last_cutoffs : int
        Number of the latest cutoffs that pairs are sampled from.
    rows : int
        About how many pairs are sampled at most.
    seed : int
        Seed of the sample.
    launched : float
        Share of the offers of each block of customers that are shown as on the day of their launch, in [0, 1].

    Returns
    -------
    PairTable
        Every pair with a purchase and a sample of the others.

    Raises
    ------
    ConfigurationError
        If nobody or everybody bought in the label windows.

    Notes
    -----
    Negatives are sampled at one rate, never-bought ones at a quarter of it. A row's weight is divided by its sampling
    rate (importance weighting), so the weighted table stands for all pairs.
    """
    rng = np.random.default_rng(seed)
    weighted_cutoffs = list(zip(training_set.cutoffs_data, training_set.weights, strict=True))[-last_cutoffs:]
    pairs = sum(cutoff_data.row.size for cutoff_data, _ in weighted_cutoffs) * len(training_set.features.offers)
    negative_rate = min(1.0, rows / max(pairs, 1) * 2.0)
    parts = [
        _sample(cutoff_data, weight, cutoff_data.row[start : start + BLOCK], negative_rate, rng, launched)
        for cutoff_data, weight in weighted_cutoffs
        for start in range(0, cutoff_data.row.size, BLOCK)
    ]
    table = PairTable(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    check_two_classes(table.bought)
    return table


def check_two_classes(bought: np.ndarray) -> None:
    """Refuses labels of one class.

    Parameters
    ----------
    bought : np.ndarray
        (K,) labels, 0 or 1.

    Raises
    ------
    ConfigurationError
        If all labels are equal: no classifier can be fitted.
    """
    if bought.min() == bought.max():
        word = "nobody bought anything" if bought.max() == 0 else "everybody bought everything"
        raise ConfigurationError(
            f"{word} in the last training windows; raise data.horizon or lower data.offer.min_buyers"
        )


def _sample(
    cutoff_data: CutoffData,
    weight: np.ndarray,
    customer: np.ndarray,
    negative_rate: float,
    rng: np.random.Generator,
    launched: float,
) -> PairTable:
    """The sampled pairs of a block of customers at one cutoff."""
    launched_offers = np.flatnonzero(rng.random(weight.size) < launched)
    mask = HistoryMask.nothing(customer.size)._replace(launched=launched_offers)
    inputs = cutoff_data.features.inputs(cutoff_data.market_stats, customer, mask)
    outcomes = cutoff_data.features.outcomes(cutoff_data.market_stats.cutoff, customer)
    bought, revenue = np.asarray(outcomes.bought).ravel(), np.asarray(outcomes.revenue).ravel()
    days_bought = np.asarray(inputs.pair)[:, :, cutoff_data.features.config.pair.index("purchase_days")].ravel()
    rate_of_negative = np.where(days_bought > 0, negative_rate, negative_rate * NEVER_BOUGHT_SHARE)
    rate = np.where(bought > 0, 1.0, rate_of_negative)
    sampled = np.flatnonzero(rng.random(rate.size) < rate)
    row_weight = np.broadcast_to(weight, (customer.size, weight.size)).ravel()[sampled] / rate[sampled]
    return PairTable(rows_of(inputs)[sampled], bought[sampled], revenue[sampled], row_weight.astype(np.float32))


def usual_amount(cutoff_data: CutoffData, inputs: Any) -> np.ndarray:
    """Expected spend of a customer who buys the offer: the customer's mean, shrunk towards the offer's.

    Parameters
    ----------
    cutoff_data : CutoffData
        The cutoff of the inputs.
    inputs : Inputs
        Inputs of B customers and M offers.

    Returns
    -------
    np.ndarray
        (B, M), currency per purchase day. The offer's mean price counts as much as two purchase days.
    """
    names = cutoff_data.features.config.pair
    days_bought = inputs.pair[:, :, names.index("purchase_days")]
    mean_spend = np.nan_to_num(inputs.pair[:, :, names.index("spend_mean")])
    price = usual_price(cutoff_data.market_stats)
    return (mean_spend * days_bought + price * PRIOR_PURCHASES) / (days_bought + PRIOR_PURCHASES)


def usual_price(market_stats: MarketStats) -> np.ndarray:
    """Mean spend of a buyer of each offer on a purchase day.

    Parameters
    ----------
    market_stats : MarketStats
        Market statistics of M offers at a cutoff.

    Returns
    -------
    np.ndarray
        (M,), in the log's currency. An offer without buyers gets the mean over offers; 0 where no offer has any.
    """
    price = market_stats.context[:, CONTEXT_NAMES.index("price")]
    observed = price[~np.isnan(price)]
    return np.nan_to_num(price, nan=float(observed.mean()) if observed.size else 0.0)
