"""Distance of a distribution from the one that a model was trained on."""

from __future__ import annotations

import numpy as np

BINS = 10


def edges_of(values: np.ndarray) -> np.ndarray:
    """(n, K) values, NaN where missing -> (K, BINS - 1) inner edges at their quantiles; NaN for an empty column."""
    empty = np.isnan(values).all(axis=0)
    quantiles = np.linspace(0, 1, BINS + 1)[1:-1]
    edges = np.nanquantile(np.where(empty, 0.0, values), quantiles, axis=0).T
    return np.where(empty[:, None], np.nan, edges)


def binned(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How many of (n, K) values lie in each bin of (K, BINS - 1) edges: (K, BINS + 1), the last for missing ones."""
    counts = np.zeros((values.shape[1], BINS + 1), np.int64)
    for k, column in enumerate(values.T):
        place = np.where(np.isnan(column), BINS, np.searchsorted(edges[k], column, side="right"))
        counts[k] = np.bincount(place, minlength=BINS + 1)
    return counts


def stability_index(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Population stability index of counts in the same bins, (..., bins) each -> (...): 0 for equal shares.

    A usual rule is to watch values above 0.1 and to act on values above 0.25. A bin counts as half a row at least, so
    that an empty one gives no infinite value. Source: Siddiqi, Credit Risk Scorecards, 2006.

    >>> float(stability_index(np.array([90, 10]), np.array([50, 50])))
    0.88
    """
    shares = []
    for counts in (before, now):
        filled = np.maximum(counts, 0.5)
        shares.append(filled / filled.sum(axis=-1, keepdims=True))
    either = (before > 0) | (now > 0)  # bins that are empty on both sides are left out
    moved = (shares[1] - shares[0]) * np.log(shares[1] / shares[0])
    return np.asarray(np.where(either, moved, 0.0).sum(axis=-1))
