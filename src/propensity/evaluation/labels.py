"""Labels of a cutoff: what its customers bought in the horizon, and the slices they belong to before it."""

from __future__ import annotations

import numpy as np

from propensity.baseline.pair_table import outcomes_of
from propensity.data.batch import Outcomes
from propensity.data.event_log import EventLog
from propensity.feature.column import CONTEXT_NAMES
from propensity.feature.features import Features
from propensity.metric.labels import Labels
from propensity.metric.slice import partition, slices
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
    orders = np.maximum.reduceat(past.order, past.offsets[:-1])[row] + 1
    ids = cutoff_data.customer_id
    masks = slices(ever, recent, active, orders, ids)
    age = market_stats.context[:, CONTEXT_NAMES.index("age")]
    masks |= partition(tenure, active, masks["light"][:, 0], ever, recent, age)
    bought = np.asarray(outcomes.bought) > 0
    return Labels(
        str(market_stats.cutoff), ids, np.array(features.offers.name), bought, np.asarray(outcomes.revenue), masks
    )
