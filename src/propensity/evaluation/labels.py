"""Labels of a cutoff: what its customers bought in the horizon, and the slices they belong to before it."""

from __future__ import annotations

import numpy as np

from propensity.baseline.pair_table import outcomes_of
from propensity.data.batch import Outcomes
from propensity.data.event_log import EventLog
from propensity.feature.column import CONTEXT_NAMES
from propensity.feature.features import Features
from propensity.metric.labels import Labels
from propensity.metric.slice import NO_PURCHASE, partition, slices
from propensity.task import CutoffData


def outcomes_in(log: EventLog, cutoff_data: CutoffData, row: np.ndarray) -> Outcomes:
    """Compute the outcomes of customers of a cutoff.

    Parameters
    ----------
    log : EventLog
        A log that covers the horizon.
    cutoff_data : CutoffData
        M offers at the cutoff.
    row : numpy.ndarray of shape (B,), int
        Rows of the customers in the log of the cutoff.

    Returns
    -------
    Outcomes
        Of shape (B, M).
    """
    features = cutoff_data.features
    complete = Features(log, features.offers, features.vocabulary, features.config)
    return outcomes_of(cutoff_data, complete, row)


def orders_of(log: EventLog) -> np.ndarray:
    """Number of orders of each customer of a log: (N,) int64, 0 without any."""
    last = np.full(len(log), -1, np.int64)
    active = np.flatnonzero(np.diff(log.offsets) > 0)
    if active.size:
        last[active] = np.maximum.reduceat(log.order, log.offsets[:-1][active])
    return last + 1


def labels(log: EventLog, cutoff_data: CutoffData) -> Labels:
    """Compute the outcomes of a cutoff's customers in the horizon, and their slices before it.

    Parameters
    ----------
    log : EventLog
        A log that covers the horizon.
    cutoff_data : CutoffData
        N customers and M offers at the cutoff.

    Returns
    -------
    Labels
        Purchases (N, M), revenue (N, M) in the log's currency, and the mask of each slice.
    """
    features, market_stats, row = cutoff_data
    past = features.log
    outcomes = outcomes_in(log, cutoff_data, row)
    pair_columns, customer_columns = features.config.pair, features.config.customer
    shape = (row.size, len(features.offers))
    ever, recent, active = np.empty(shape, bool), np.empty(shape, bool), np.empty(row.size, bool)
    tenure = np.empty(row.size)
    for block, inputs in cutoff_data.blocks():
        ever[block] = np.asarray(inputs.pair)[:, :, pair_columns.index("purchase_days")] > 0
        recent[block] = np.asarray(inputs.pair)[:, :, pair_columns.index("days_91")] > 0
        active[block] = np.asarray(inputs.customer_features)[:, customer_columns.index("orders_28")] > 0
        tenure[block] = np.asarray(inputs.customer_features)[:, customer_columns.index("tenure")]
    orders = orders_of(past)[row]
    ids = cutoff_data.customer_id
    masks = slices(ever, recent, active, orders, ids)
    if features.config.registrants:
        masks[NO_PURCHASE] = np.broadcast_to((orders == 0)[:, None], shape)
    age = market_stats.context[:, CONTEXT_NAMES.index("age")]
    masks |= partition(tenure, active, masks["light"][:, 0], ever, recent, age)
    bought = np.asarray(outcomes.bought) > 0
    return Labels(
        str(market_stats.cutoff), ids, np.array(features.offers.name), bought, np.asarray(outcomes.revenue), masks
    )


def same_slices(all_labels: list[Labels]) -> list[Labels]:
    """The labels of several cutoffs with the same slices: one that a cutoff lacks, such as that of the registrants in a
    fold of a backtest whose log had none yet, holds no pair there."""
    names = list(dict.fromkeys(name for each in all_labels for name in each.slices))
    return [
        each._replace(slices={name: each.slices.get(name, np.zeros(each.bought.shape, bool)) for name in names})
        for each in all_labels
    ]
