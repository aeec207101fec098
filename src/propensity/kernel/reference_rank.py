"""Definitions of the ranking metrics, in plain NumPy: one weight vector at a time, all pairs of customers."""

from __future__ import annotations

import numpy as np


def auc_reference(score: np.ndarray, bought: np.ndarray, weight: np.ndarray) -> float:
    """Probability that a buyer ranks above a non-buyer, ties counting one half; customers drawn by weight."""
    buyer, other = np.where(bought, weight, 0.0), np.where(bought, 0.0, weight)
    wins = (score[:, None] > score[None, :]) + 0.5 * (score[:, None] == score[None, :])
    return float(divide(buyer @ wins @ other, buyer.sum() * other.sum()))


def average_precision_reference(score: np.ndarray, bought: np.ndarray, weight: np.ndarray) -> float:
    """Precision at every distinct score, averaged over the recall gained there."""
    buyer = np.where(bought, weight, 0.0)
    total, recalled = 0.0, 0.0
    for threshold in np.unique(score)[::-1]:
        reached = score >= threshold
        hits = buyer[reached].sum()
        if weight[reached].sum() > 0:
            total += (hits - recalled) * hits / weight[reached].sum()
        recalled = hits
    return float(divide(total, buyer.sum()))


def top_reference(score: np.ndarray, weight: np.ndarray, fraction: float) -> np.ndarray:
    """Share of each customer among the best `fraction` of weight; the tie group at the cut is included in part."""
    above = (score[None, :] > score[:, None]) @ weight
    tied = (score[None, :] == score[:, None]) @ weight
    share: np.ndarray = np.clip((fraction * weight.sum() - above) / np.where(tied > 0, tied, 1.0), 0.0, 1.0)
    return share


def lift_reference(score: np.ndarray, bought: np.ndarray, weight: np.ndarray, fraction: float) -> float:
    """Share of the buyers among the best `fraction` of weight, divided by `fraction`."""
    buyer = np.where(bought, weight, 0.0)
    return float(divide((buyer * top_reference(score, weight, fraction)).sum(), buyer.sum() * fraction))


def capture_reference(score: np.ndarray, revenue: np.ndarray, weight: np.ndarray, fraction: float) -> float:
    """Share of the revenue among the best `fraction` of weight."""
    weighted = revenue * weight
    return float(divide((weighted * top_reference(score, weight, fraction)).sum(), weighted.sum()))


def divide(part: float, whole: float) -> float:
    """Their ratio, NaN where the whole is 0."""
    return part / whole if whole > 0 else np.nan
