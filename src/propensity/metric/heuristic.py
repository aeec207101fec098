"""Money instead of metrics: what two lists of customers bring when each offer is sent to equally many of either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from propensity.kernel.rank import revenue_ranking
from propensity.metric.interval import bootstrap_interval, verdict
from propensity.metric.labels import Labels
from propensity.metric.ranking import descending, floating
from propensity.metric.summary import finite


class HeuristicAudience(NamedTuple):
    """A way to choose customers: rank (N,M), best highest, and length (M,), how many it names of each offer."""

    rank: np.ndarray
    length: np.ndarray


def compare_heuristics(
    all_labels: Sequence[Labels],
    values: Sequence[np.ndarray],
    audiences: Sequence[HeuristicAudience],
    weights: Sequence[np.ndarray],
    fraction: float = 0.1,
) -> dict[str, Any]:
    """Revenue of the audience's customers against as many of the best by value, over all offers and cutoffs.

    Of each offer the best `fraction` of customers are written to, or as many as the audience names if those are fewer.

    Args: truths, one per cutoff; values (N,M), what the rival ranks by; audiences; weights (N,W), column 0 of ones, the
    same customers weighing the same at every cutoff; fraction in (0, 1].
    Returns: messages, revenue reached by `audience` and by `network`, and `left`, their difference with its interval:
    what the audience leaves on the table.
    """
    messages, reached = 0.0, np.zeros((2, weights[0].shape[1]))
    for labels, value, audience, weight in zip(all_labels, values, audiences, weights, strict=True):
        customers = labels.customer.size
        share = np.minimum(audience.length / customers, fraction)
        messages += float(share.sum() * customers)
        for m in np.flatnonzero((share > 0) & (labels.revenue.sum(axis=0) > 0)):
            for row, ranking in zip(reached, (audience.rank, value), strict=True):
                row += _revenue(ranking[:, m], labels.revenue[:, m], weight, float(share[m]))
    left = reached[1] - reached[0]
    money, low, high = bootstrap_interval(left)
    return {
        "messages": messages,
        "audience": float(reached[0, 0]),
        "network": float(reached[1, 0]),
        "left": {
            "value": money,
            "low": finite(low),
            "high": finite(high),
            "verdict": verdict(bootstrap_interval(left)) if finite(low) is not None else None,
        },
    }


def _revenue(ranking: np.ndarray, revenue: np.ndarray, weight: np.ndarray, share: float) -> np.ndarray:
    """Money that the best `share` of customers bring, by weight column: (W,)."""
    ranking, revenue = np.ascontiguousarray(floating(ranking)), np.ascontiguousarray(revenue, np.float64)
    kept: np.ndarray = revenue_ranking(descending(ranking), ranking, revenue, weight, share)
    buyers = np.flatnonzero(revenue)
    whole = revenue[buyers] @ weight[buyers].astype(np.float64)
    return np.where(whole > 0, np.nan_to_num(kept) * whole, 0.0)
