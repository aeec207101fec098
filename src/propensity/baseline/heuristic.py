"""The customs that a score replaces: the marketer's rule and the segment, as audiences for every offer."""

from __future__ import annotations

import numpy as np

from propensity.errors import ConfigurationError
from propensity.metric.heuristic import HeuristicAudience
from propensity.task import CutoffData

SIX_MONTHS = 182  # days
SEGMENTS = 8


def six_month_rule(cutoff_data: CutoffData) -> HeuristicAudience:
    """Who bought the offer in the last six months, the newest purchase first; nobody else is named."""
    recency = np.concatenate(
        [np.asarray(known.pair)[:, :, _pair(cutoff_data, "recency")] for _, known in cutoff_data.blocks()]
    )
    named = recency <= SIX_MONTHS  # missing: never bought
    return HeuristicAudience(np.where(named, -recency, -np.inf), named.sum(axis=0))


def segment(cutoff_data: CutoffData, seed: int, segments: int = SEGMENTS) -> HeuristicAudience:
    """K-means segments of customers by their behaviour; for each offer, the segments that bought it most of late.

    Customers of a segment are worth the same. Behaviour: the customer columns, as standardised signed logs.
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.preprocessing import StandardScaler
    except ModuleNotFoundError:
        raise ConfigurationError(
            "the duel against segments needs scikit-learn; pip install 'propensity[gbdt]' or give heuristics=false"
        ) from None
    blocks = [known for _, known in cutoff_data.blocks()]
    person = np.nan_to_num(np.concatenate([np.asarray(known.customer) for known in blocks]))
    lately = np.concatenate([np.asarray(known.pair)[:, :, _pair(cutoff_data, "days_28")] > 0 for known in blocks])
    x = StandardScaler().fit_transform(np.sign(person) * np.log1p(np.abs(person)))
    count = min(segments, len(np.unique(x, axis=0)))
    of = KMeans(count, n_init=3, random_state=seed).fit_predict(x)
    rate = np.stack([lately[of == k].mean(axis=0) for k in range(count)])
    return HeuristicAudience(rate[of], np.full(lately.shape[1], lately.shape[0]))


def _pair(cutoff_data: CutoffData, name: str) -> int:
    return cutoff_data.features.config.pair.index(name)
