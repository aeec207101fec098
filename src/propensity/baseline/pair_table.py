"""Customer x offer pairs as rows of a table, the input of linear models and trees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from propensity.data.batch import Outcomes
from propensity.errors import OneClassError
from propensity.feature.column import BLOCKS
from propensity.feature.features import Features
from propensity.feature.history_mask import HistoryMask
from propensity.task import BLOCK, CutoffData, TrainingSet, Validation

PRIOR_PURCHASES = 2.0  # weight of the offer's mean price, in purchase days of the customer
NEVER_BOUGHT_SHARE = 1 / 4  # sampling rate of never-bought pairs over that of other pairs without a purchase
PURCHASE_SHARE = 1 / 2  # of the rows, at most, that are pairs with a purchase
VALIDATION_ROWS = 200_000  # about how many validation pairs settings are compared on
ENOUGH = 30  # purchases of the validation windows, without which nothing is chosen by them


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
    cutoff : np.ndarray
        (K,) int32, place of the pair's cutoff among those of the table, oldest first.
    """

    x: np.ndarray
    bought: np.ndarray
    revenue: np.ndarray
    weight: np.ndarray
    cutoff: np.ndarray

    def last(self, cutoffs: int, rows: int, seed: int) -> PairTable:
        """The pairs of the last cutoffs, or a random sample of so many of them, in order."""
        place = np.flatnonzero(self.cutoff > self.cutoff.max() - cutoffs)
        if place.size > rows:
            place = np.sort(np.random.default_rng(seed).choice(place, rows, replace=False))
        return self if place.size == self.cutoff.size else PairTable(*(column[place] for column in self))


class Columns(NamedTuple):
    """What a model must know about its inputs: the names of their columns, and the unit of money.

    Attributes
    ----------
    pair, customer, context : tuple of str
        Names of the P, F and C columns, in order.
    money : tuple of int
        Places, among the P + F + C columns of `rows_of`, of those in the log's currency.
    unit : float
        Revenue that counts as 1, in the log's currency.
    horizon : int
        Days in which a purchase counts.
    """

    pair: tuple[str, ...]
    customer: tuple[str, ...]
    context: tuple[str, ...]
    money: tuple[int, ...] = ()
    unit: float = 1.0
    horizon: int = 14

    @property
    def names(self) -> list[str]:
        """Names of the columns of `rows_of`: of P + F + C, with a prefix that tells the blocks apart."""
        blocks = zip(BLOCKS, (self.pair, self.customer, self.context), strict=True)
        return [f"{block}_{name}" for block, names in blocks for name in names]


def columns_of(features: Features, horizon: int = 14) -> Columns:
    """The columns of the inputs of `features`.

    Parameters
    ----------
    features : Features
        Features with their configuration and vocabulary.
    horizon : int
        Days in which a purchase counts.
    """
    config = features.config
    declared = [column for block in (config.columns[name] for name in BLOCKS) for column in block]
    money = tuple(k for k, column in enumerate(declared) if column.money)
    return Columns(config.pair, config.customer, config.context, money, float(features.vocabulary.unit), horizon)


def training_columns(training_set: TrainingSet) -> Columns:
    """The columns of the inputs of a training set, with its horizon."""
    return columns_of(training_set.features, training_set.cutoffs_data[-1].market_stats.cutoff.horizon)


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
    return columns_of(training_set.features).names


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
        Every pair with a purchase and a sample of the others. Where purchases would be more than half of the rows,
        those of a random share of the customers of each cutoff.

    Raises
    ------
    ConfigurationError
        If nobody or everybody bought in the label windows.

    Notes
    -----
    Negatives are sampled at one rate, never-bought ones at a quarter of it. A row's weight is divided by its sampling
    rate (importance weighting), so the weighted table stands for all pairs.
    """
    weighted_cutoffs = list(zip(training_set.cutoffs_data, training_set.weights, strict=True))[-last_cutoffs:]
    cutoffs_data = [cutoff_data for cutoff_data, _ in weighted_cutoffs]
    complete, weights = [each.features for each in cutoffs_data], [weight for _, weight in weighted_cutoffs]
    table = _sampled_table(cutoffs_data, complete, weights, rows, seed, launched)
    check_two_classes(table.bought)
    return table


def validation_table(validation: Validation | None, rows: int = VALIDATION_ROWS, seed: int = 0) -> PairTable | None:
    """A weighted sample of the validation pairs, drawn as in `training_table`.

    Parameters
    ----------
    validation : Validation or None
        Cutoffs after training, and features of the log with their outcomes.
    rows : int
        About how many pairs are sampled at most.
    seed : int
        Seed of the sample.

    Returns
    -------
    PairTable or None
        None without validation, or with fewer than 30 purchases in it, or nothing else: nothing can be chosen by them.
    """
    if validation is None or not validation.cutoffs_data:
        return None
    weights = [np.ones(len(each.features.offers)) for each in validation.cutoffs_data]
    table = _sampled_table(validation.cutoffs_data, validation.complete, weights, rows, seed, 0.0)
    return table if table.bought.sum() >= ENOUGH and table.bought.min() == 0 else None


def _sampled_table(
    cutoffs_data: list[CutoffData],
    complete: list[Features],
    weights: list[np.ndarray],
    rows: int,
    seed: int,
    launched: float,
) -> PairTable:
    """The sampled pairs of cutoffs; `complete` holds, for each, features of a log with its outcomes."""
    rng = np.random.default_rng(seed)
    pairs = sum(each.row.size * len(each.features.offers) for each in cutoffs_data)
    share = min(1.0, PURCHASE_SHARE * rows / max(_purchase_rate(cutoffs_data[-1], complete[-1]) * pairs, 1.0))
    negative_rate = min(1.0, rows / max(pairs * share, 1.0) * 2.0)
    parts = [
        _sample(cutoff_data, labels, weight / share, place, customer, negative_rate, rng, launched)
        for place, (cutoff_data, labels, weight) in enumerate(zip(cutoffs_data, complete, weights, strict=True))
        for customer in _customer_blocks(cutoff_data, share, rng)
    ]
    return PairTable(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _purchase_rate(cutoff_data: CutoffData, complete: Features) -> float:
    """Share of the pairs of a cutoff with a purchase in the label window."""
    bought = [np.asarray(outcomes_of(cutoff_data, complete, rows).bought) for rows in _customer_blocks(cutoff_data)]
    return float(np.mean([each.mean() for each in bought])) if bought else 0.0


def _customer_blocks(
    cutoff_data: CutoffData, share: float = 1.0, rng: np.random.Generator | None = None
) -> Iterator[np.ndarray]:
    """Rows of the log of the customers, or of a random share, in blocks; the type of the ids changes no order."""
    row = by_hash(cutoff_data)
    if rng is not None and share < 1:
        row = row[rng.random(row.size) < share]
    for start in range(0, row.size, BLOCK):
        yield row[start : start + BLOCK]


def by_hash(cutoff_data: CutoffData) -> np.ndarray:
    """The customers' rows of the log (N,), by the hash of their ids."""
    return cutoff_data.row[np.argsort(cutoff_data.features.log.id_hash()[cutoff_data.row])]


def check_two_classes(bought: np.ndarray) -> None:
    """Refuses labels of one class.

    Parameters
    ----------
    bought : np.ndarray
        (K,) labels, 0 or 1.

    Raises
    ------
    OneClassError
        If all labels are equal: no classifier can be fitted.
    """
    if bought.min() == bought.max():
        word = "nobody bought anything" if bought.max() == 0 else "everybody bought everything"
        raise OneClassError(f"{word} in the last training windows; raise data.horizon or lower data.offer.min_buyers")


def _sample(
    cutoff_data: CutoffData,
    labels: Features,
    weight: np.ndarray,
    place: int,
    customer: np.ndarray,
    negative_rate: float,
    rng: np.random.Generator,
    launched: float,
) -> PairTable:
    """The sampled pairs of a block of customers at one cutoff."""
    launched_offers = np.flatnonzero(rng.random(weight.size) < launched)
    mask = HistoryMask.nothing(customer.size)._replace(launched=launched_offers)
    inputs = cutoff_data.features.inputs(cutoff_data.market_stats, customer, mask)
    outcomes = outcomes_of(cutoff_data, labels, customer)
    bought, revenue = np.asarray(outcomes.bought).ravel(), np.asarray(outcomes.revenue).ravel()
    days_bought = np.asarray(inputs.pair)[:, :, cutoff_data.features.config.pair.index("purchase_days")].ravel()
    rate_of_negative = np.where(days_bought > 0, negative_rate, negative_rate * NEVER_BOUGHT_SHARE)
    rate = np.where(bought > 0, 1.0, rate_of_negative)
    sampled = np.flatnonzero(rng.random(rate.size) < rate)
    row_weight = np.broadcast_to(weight, (customer.size, weight.size)).ravel()[sampled] / rate[sampled]
    cutoff = np.full(sampled.size, place, np.int32)
    return PairTable(rows_of(inputs)[sampled], bought[sampled], revenue[sampled], row_weight.astype(np.float32), cutoff)


def outcomes_of(cutoff_data: CutoffData, complete: Features, customer: np.ndarray) -> Outcomes:
    """Outcomes of customers of a cutoff, from features of a log that covers its horizon.

    Parameters
    ----------
    cutoff_data : CutoffData
        The cutoff, with features of the log before it.
    complete : Features
        Features of the same offers and of a log with the outcomes, which may have more customers.
    customer : np.ndarray
        (B,) rows of the log of the cutoff.
    """
    past = cutoff_data.features.log
    if complete.log is past:
        return complete.outcomes(cutoff_data.market_stats.cutoff, customer)
    row = np.searchsorted(complete.log.customer_id, past.customer_id[customer])
    return complete.outcomes(cutoff_data.market_stats.cutoff, row)


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
    return usual_amount_of(columns_of(cutoff_data.features), inputs)


def usual_amount_of(columns: Columns, inputs: Any) -> np.ndarray:
    """`usual_amount` from the inputs alone: (B, M).

    Parameters
    ----------
    columns : Columns
        Names of the input columns.
    inputs : Inputs
        Inputs of B customers and M offers.
    """
    return _usual_amount(
        columns, np.asarray(inputs.pair), np.asarray(inputs.context)[:, columns.context.index("price")]
    )


def usual_amount_of_rows(columns: Columns, x: np.ndarray) -> np.ndarray:
    """`usual_amount` of rows of a table: (K, C) -> (K,) float64.

    Parameters
    ----------
    columns : Columns
        Names of the columns of x.
    x : np.ndarray
        (K, C) rows. The price of an offer without buyers is the mean of the other rows' prices.
    """
    first = len(columns.pair) + len(columns.customer)
    return _usual_amount(columns, x, x[:, first + columns.context.index("price")])


def _usual_amount(columns: Columns, pair: np.ndarray, price: np.ndarray) -> np.ndarray:
    """`usual_amount` from the pair columns, first on the last axis, and the price: (..., P), (M,) or (K,) -> (...)."""
    days_bought = pair[..., columns.pair.index("purchase_days")].astype(np.float64)
    mean_spend = np.nan_to_num(pair[..., columns.pair.index("spend_mean")])
    price = usual_price(price.astype(np.float64))
    return np.asarray((mean_spend * days_bought + price * PRIOR_PURCHASES) / (days_bought + PRIOR_PURCHASES))


def usual_price(price: np.ndarray) -> np.ndarray:
    """Mean spend of a buyer of each offer on a purchase day, with a value for offers without buyers.

    Parameters
    ----------
    price : np.ndarray
        (M,) the context column `price`, in the log's currency; NaN for an offer without buyers.

    Returns
    -------
    np.ndarray
        (M,). An offer without buyers gets the mean over offers; 0 where no offer has any.

    Examples
    --------
    >>> usual_price(np.array([2.0, np.nan, 4.0]))
    array([2., 3., 4.])
    """
    observed = price[~np.isnan(price)]
    return np.nan_to_num(price, nan=float(observed.mean()) if observed.size else 0.0)
