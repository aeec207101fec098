"""The hazard: shares of purchases in cells of days since the last purchase and number of purchase days."""

from __future__ import annotations

import numpy as np

from propensity.kernel.market import cells

RECENCY_EDGES = np.array([4, 8, 15, 22, 29, 43, 64, 92, 137, 183, 274])  # days; between two the hazard is constant
COUNT_EDGES = np.array([2, 3, 5, 9, 17])  # purchase days
CELLS = 1 + (RECENCY_EDGES.size + 1) * (COUNT_EDGES.size + 1)  # cell 0: never-bought


def hazard_cell(recency: np.ndarray, purchase_days: np.ndarray) -> np.ndarray:
    """Cell of a pair by days since its last purchase and number of purchase days, any shape; 0 for never-bought."""
    shape, edges = np.shape(recency), (RECENCY_EDGES, COUNT_EDGES)
    return cells(np.ravel(recency), np.ravel(purchase_days), edges).reshape(shape)


def overall_hazard(hits: np.ndarray, trials: np.ndarray, shrink: float) -> np.ndarray:
    """Share of hits in each cell (CELLS,), shrunk to the cell of the same count and the next smaller recency.

    A cell without trials, such as a recency longer than the log, takes the share of its neighbour.
    """
    share = (hits + 0.5) / (trials + 10.0)
    rows_hits, rows_trials = (x[1:].reshape(RECENCY_EDGES.size + 1, -1) for x in (hits, trials))
    prior = (rows_hits.sum(0) + 0.5) / (rows_trials.sum(0) + 10.0)
    for row in range(RECENCY_EDGES.size + 1):
        prior = (rows_hits[row] + shrink * prior) / (rows_trials[row] + shrink)
        share[1 + row * prior.size : 1 + (row + 1) * prior.size] = prior
    return share
