"""Heuristics comparison: revenue of two selections of customers, with equally many customers for each offer."""

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
    """A heuristic's selection: rank (N,M), best highest, and length (M,), its number of customers by offer."""

    rank: np.ndarray
    length: np.ndarray


def compare_heuristics(
    all_labels: Sequence[Labels],
    values: Sequence[np.ndarray],
    audiences: Sequence[HeuristicAudience],
    weights: Sequence[np.ndarray],
    fraction: float = 0.1,
) -> dict[str, Any]:
    """Revenue of a heuristic's customers and of as many of the best by value, over all offers and cutoffs.

    For each offer the best `fraction` of customers are selected, or as many as the heuristic names if those are fewer.

    Parameters
    ----------
    all_labels : sequence of Labels
        One per cutoff.
    values : sequence of arrays (N,M)
        What the network ranks by.
    audiences : sequence of HeuristicAudience
        The heuristic's selections.
    weights : sequence of arrays (N,W)
        Bootstrap weights of the customers, see `resample_weights`; column 0 is ones.
    fraction : float
        Share of customers, in (0, 1].

    Returns
    -------
    dict
        Number of `messages`, revenue of `heuristic` and of `network`, and `difference`, network minus heuristic, with
        its interval and verdict.
    """
    messages, revenue = 0.0, np.zeros((2, weights[0].shape[1]))
    for labels, value, audience, weight in zip(all_labels, values, audiences, weights, strict=True):
        customers = labels.customer.size
        share = np.minimum(audience.length / customers, fraction)
        messages += float(share.sum() * customers)
        for m in np.flatnonzero((share > 0) & (labels.revenue.sum(axis=0) > 0)):
            for row, ranking in zip(revenue, (audience.rank, value), strict=True):
                row += _revenue(ranking[:, m], labels.revenue[:, m], weight, float(share[m]))
    difference = revenue[1] - revenue[0]
    point, low, high = bootstrap_interval(difference)
    return {
        "messages": messages,
        "heuristic": float(revenue[0, 0]),
        "network": float(revenue[1, 0]),
        "difference": {
            "value": point,
            "low": finite(low),
            "high": finite(high),
            "verdict": verdict(bootstrap_interval(difference)) if finite(low) is not None else None,
        },
    }


def _revenue(ranking: np.ndarray, revenue: np.ndarray, weight: np.ndarray, share: float) -> np.ndarray:
    """Revenue of the best `share` of customers, by weight column: (W,)."""
    ranking, revenue = np.ascontiguousarray(floating(ranking)), np.ascontiguousarray(revenue, np.float64)
    capture: np.ndarray = revenue_ranking(descending(ranking), ranking, revenue, weight, share)
    buyers = np.flatnonzero(revenue)
    whole = revenue[buyers] @ weight[buyers].astype(np.float64)
    return np.where(whole > 0, np.nan_to_num(capture) * whole, 0.0)
