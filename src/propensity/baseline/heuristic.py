"""Heuristics of CRM practice as audiences for every offer: the six-month rule and K-means segments."""

from __future__ import annotations

import numpy as np

from propensity.errors import ConfigurationError
from propensity.metric.heuristic import HeuristicAudience
from propensity.task import CutoffData

SIX_MONTHS = 182  # days
SEGMENTS = 8


def six_month_rule(cutoff_data: CutoffData) -> HeuristicAudience:
    """Customers who bought the offer in the last six months, the latest purchase first.

    Parameters
    ----------
    cutoff_data : CutoffData
        What is known at the cutoff of N customers and M offers.

    Returns
    -------
    HeuristicAudience
        rank (N, M): minus the days since the last purchase, -inf outside the audience; length (M,): its size.
    """
    recency = np.concatenate(
        [np.asarray(inputs.pair)[:, :, _pair(cutoff_data, "recency")] for _, inputs in cutoff_data.blocks()]
    )
    recent = recency <= SIX_MONTHS  # a missing recency is never-bought
    return HeuristicAudience(np.where(recent, -recency, -np.inf), recent.sum(axis=0))


def segment(cutoff_data: CutoffData, seed: int, segments: int = SEGMENTS) -> HeuristicAudience:
    """K-means segments of customers, ranked for each offer by their share of recent buyers.

    Parameters
    ----------
    cutoff_data : CutoffData
        What is known at the cutoff of N customers and M offers.
    seed : int
        Seed of the K-means starts.
    segments : int
        Number of segments; fewer where fewer distinct customers exist.

    Returns
    -------
    HeuristicAudience
        rank (N, M): share of the customer's segment that bought the offer in the last 28 days; length (M,): N.

    Raises
    ------
    ConfigurationError
        If scikit-learn is not installed.

    Notes
    -----
    Clusters are found in the customer columns, as standardised signed logs. Customers of a segment are tied.
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.preprocessing import StandardScaler
    except ModuleNotFoundError:
        raise ConfigurationError(
            "the heuristics comparison needs scikit-learn; pip install 'propensity[gbdt]' or give heuristics=false"
        ) from None
    blocks = [inputs for _, inputs in cutoff_data.blocks()]
    columns = np.nan_to_num(np.concatenate([np.asarray(inputs.customer_features) for inputs in blocks]))
    days_28 = np.concatenate([np.asarray(inputs.pair)[:, :, _pair(cutoff_data, "days_28")] for inputs in blocks])
    recent = days_28 > 0
    x = StandardScaler().fit_transform(np.sign(columns) * np.log1p(np.abs(columns)))
    count = min(segments, len(np.unique(x, axis=0)))
    label = KMeans(count, n_init=3, random_state=seed).fit_predict(x)
    rate = np.stack([recent[label == k].mean(axis=0) for k in range(count)])
    return HeuristicAudience(rate[label], np.full(recent.shape[1], recent.shape[0]))


def _pair(cutoff_data: CutoffData, name: str) -> int:
    """Place of a pair column."""
    return cutoff_data.features.config.pair.index(name)
