"""Calibration of probabilities: log loss, expected calibration error and the reliability table.

Legend: N customers, M offers, W weight columns, K bins. Every public function takes arrays of any one shape.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.errors import DataError

CLIP = 1e-6  # a probability of 0 or 1 is scored as this far from it
BINS = 15


class Reliability(NamedTuple):
    """One row per non-empty bin, lowest probabilities first."""

    predicted: np.ndarray  # (K,) mean probability
    observed: np.ndarray  # (K,) purchase rate
    pairs: np.ndarray  # (K,) i64


def pair_loss(probability: np.ndarray, bought: np.ndarray) -> np.ndarray:
    """Minus the logarithm of the probability given to what happened, in float64."""
    clipped = np.clip(probability.astype(np.float64), CLIP, 1.0 - CLIP)
    return -np.where(bought, np.log(clipped), np.log1p(-clipped))


def log_loss(probability: np.ndarray, bought: np.ndarray) -> float:
    """Mean of minus the logarithm of the probability given to what happened.

    Parameters
    ----------
    probability, bought : arrays of one shape
        Probabilities in [0, 1], clipped to [1e-6, 1 - 1e-6], and whether each pair bought.

    Raises
    ------
    DataError
        If a probability lies outside [0, 1], or the shapes differ.

    Examples
    --------
    >>> round(log_loss(np.array([.5, 1.]), np.array([True, True])), 4)
    0.3466
    """
    probability, bought = _probability_and_outcome(probability, bought)
    return float(pair_loss(probability, bought).mean())


def equal_mass_bin(probability: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bin of each probability: edges at quantiles of all of them; equal probabilities share a bin.

    >>> equal_mass_bin(np.array([.1, .2, .2, .4]), bins=2).tolist()
    [0, 1, 1, 1]
    """
    values = np.asarray(probability, dtype=np.float64)
    edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right")


def reliability(probability: np.ndarray, bought: np.ndarray, bins: int = BINS) -> Reliability:
    """Mean probability and purchase rate in bins of about equally many pairs.

    Parameters
    ----------
    probability, bought : arrays of one shape
        Probabilities in [0, 1], and whether each pair bought.
    bins : int
        Number of bins before empty ones are left out.

    Raises
    ------
    DataError
        If a probability lies outside [0, 1], or the shapes differ.
    """
    probability, bought = _probability_and_outcome(probability, bought)
    number = equal_mass_bin(probability, bins).ravel()
    pairs = np.bincount(number)
    filled = np.flatnonzero(pairs)
    predicted = np.bincount(number, weights=probability.ravel().astype(np.float64))[filled] / pairs[filled]
    observed = np.bincount(number, weights=bought.ravel().astype(np.float64))[filled] / pairs[filled]
    return Reliability(predicted, observed, pairs[filled])


def calibration_error(probability: np.ndarray, bought: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: mean over pairs of their bin's distance between probability and purchase rate.

    Raises
    ------
    DataError
        If a probability lies outside [0, 1], or the shapes differ.

    Notes
    -----
    Naeini et al., AAAI 2015, with bins of equal mass.

    Examples
    --------
    >>> round(calibration_error(np.array([.2, .2, .6, .6]), np.array([False, False, True, False]), bins=2), 4)
    0.15
    """
    return distance(reliability(probability, bought, bins))


def distance(table: Reliability) -> float:
    """Mean over pairs of their bin's distance between mean probability and purchase rate."""
    return float((np.abs(table.predicted - table.observed) * table.pairs).sum() / table.pairs.sum())


def resampled_calibration_error(
    probability: np.ndarray, bought: np.ndarray, weight: np.ndarray, bins: int = BINS
) -> np.ndarray:
    """Calibration error for every weight column, with the bins of the full sample: (N,M), (N,M), (N,W) -> (W,)."""
    customers, offers = probability.shape
    number = equal_mass_bin(probability, bins)
    cell = (np.arange(customers)[:, None] * bins + number).ravel()
    excess = np.bincount(cell, weights=(probability.astype(np.float64) - bought).ravel(), minlength=customers * bins)
    columns = weight.T.astype(np.float64)
    distance = np.abs(columns @ excess.reshape(customers, bins)).sum(axis=1)
    error: np.ndarray = distance / (columns.sum(axis=1) * offers)
    return error


def is_probability(values: np.ndarray) -> bool:
    """Whether there are values and all lie in [0, 1]."""
    return bool(values.size) and bool(values.min() >= 0.0) and bool(values.max() <= 1.0)


def _probability_and_outcome(probability: np.ndarray, bought: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probability, bought = np.asarray(probability), np.asarray(bought).astype(bool)
    if probability.shape != bought.shape or probability.size == 0:
        shapes = f"probabilities {probability.shape} and outcomes {bought.shape}"
        raise DataError(f"{shapes} must share one shape that is not empty")
    if not is_probability(probability):
        low, high = probability.min(), probability.max()
        raise DataError(f"probabilities reach from {low} to {high}; calibrate them into [0, 1] first")
    return probability, bought
