"""The customs that a score replaces: the marketer's rule and the segment, as audiences for every offer."""

from __future__ import annotations

import numpy as np

from propensity.data.preparation import Occasion
from propensity.errors import ConfigurationError
from propensity.metric.duel import Audience

SIX_MONTHS = 182  # days
SEGMENTS = 8


def six_month_rule(occasion: Occasion) -> Audience:
    """Who bought the offer in the last six months, the newest purchase first; nobody else is named."""
    recency = np.concatenate(
        [np.asarray(known.pair)[:, :, _pair(occasion, "recency")] for _, known in occasion.blocks()]
    )
    named = recency <= SIX_MONTHS  # missing: never bought
    return Audience(np.where(named, -recency, -np.inf), named.sum(axis=0))


def segment(occasion: Occasion, seed: int, segments: int = SEGMENTS) -> Audience:
    """K-means segments of customers by their behaviour; for each offer, the segments that bought it most of late.

    Customers of a segment are worth the same. Behaviour: the customer columns, as standardised signed logs.
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.preprocessing import StandardScaler
    except ModuleNotFoundError:
        raise ConfigurationError(
            "the duel against segments needs scikit-learn; pip install 'propensity[gbdt]' or give duel=false"
        ) from None
    blocks = [known for _, known in occasion.blocks()]
    person = np.nan_to_num(np.concatenate([np.asarray(known.customer) for known in blocks]))
    lately = np.concatenate([np.asarray(known.pair)[:, :, _pair(occasion, "days_28")] > 0 for known in blocks])
    x = StandardScaler().fit_transform(np.sign(person) * np.log1p(np.abs(person)))
    count = min(segments, len(np.unique(x, axis=0)))
    of = KMeans(count, n_init=3, random_state=seed).fit_predict(x)
    rate = np.stack([lately[of == k].mean(axis=0) for k in range(count)])
    return Audience(rate[of], np.full(lately.shape[1], lately.shape[0]))


def _pair(occasion: Occasion, name: str) -> int:
    return occasion.features.rule.pair.index(name)
