"""Exact ranking metrics of every offer for every resample of the customers, against a loop over scikit-learn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.market import Size
from benchmarks.race import Race, median_seconds
from propensity.kernel.rank import purchase_ranking, revenue_ranking
from propensity.metric.interval import resample_weights
from propensity.metric.ranking import descending

FRACTION = 0.1
OFFERS = 3  # computed in a turn; offers are independent, so the seconds are scaled to all offers
REFERENCE_OFFERS, REFERENCE_RESAMPLES = 2, 2  # the same for scikit-learn; the full sample is a third weight


class Ranked(NamedTuple):
    """score, revenue (M, N); bought (M, N) bool; weight (N, W): ones, then resamples."""

    score: np.ndarray
    bought: np.ndarray
    revenue: np.ndarray
    weight: np.ndarray


def ranked(size: Size, seed: int = 0) -> Ranked:
    """Scores in steps of a hundredth, so that there are ties; one customer in fifty buys."""
    random = np.random.default_rng(seed)
    score = random.normal(size=(min(OFFERS, size.ranked_offers), size.ranked))
    bought = score + random.normal(size=score.shape) > 2.9
    revenue = np.where(bought, random.gamma(2.0, 3.0, score.shape), 0.0)
    (weight,) = resample_weights([np.arange(size.ranked)], size.resamples, seed)
    return Ranked(score.round(2).astype(np.float32), bought, revenue, weight)


def metric_race(size: Size, gate: float, aim: float) -> Race:
    """AUC, average precision and revenue capture."""
    data = ranked(size)
    offers, weights = len(data.score), data.weight.shape[1]
    part = min(REFERENCE_OFFERS, offers), min(1 + REFERENCE_RESAMPLES, weights)
    scale, own = size.ranked_offers * weights / (part[0] * part[1]), size.ranked_offers / offers

    def why() -> str:
        sorting = median_seconds(lambda: [descending(score) for score in data.score])
        return f"sorting alone takes {sorting:.2g} s of our {median_seconds(lambda: our_metrics(data)):.2g} s."

    def check() -> None:
        agree(our_metrics(data), scikit_learn_metrics(data, *part))

    title = f"AUC, AP, capture: {size.ranked_offers} offers x {size.ranked:,} customers x {size.resamples} resamples"
    reference = (
        f"scikit-learn, {part[0]} offers x {part[1]} weights, times {scale:.0f}; ours {offers} offers, times {own:.0f}"
    )
    calls = lambda: our_metrics(data), lambda: scikit_learn_metrics(data, *part)
    return Race(title, reference, gate, *calls, check, why, scale, aim, ours_scale=own)


def our_metrics(data: Ranked) -> np.ndarray:
    """(M, 3, W): one sort and one pass for all weights."""
    metrics = np.empty((len(data.score), 3, data.weight.shape[1]))
    for m, score in enumerate(data.score):
        order = descending(score)
        metrics[m, :2] = purchase_ranking(order, score, data.bought[m], data.weight, FRACTION)[:2]
        metrics[m, 2] = revenue_ranking(order, score, data.revenue[m], data.weight, FRACTION)
    return metrics


def scikit_learn_metrics(data: Ranked, offers: int, weights: int) -> np.ndarray:
    """The same for the first offers and weights, with scikit-learn."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    metrics = np.empty((offers, 3, weights))
    for m in range(offers):
        score, bought = data.score[m], data.bought[m]
        for w in range(weights):
            weight = data.weight[:, w].astype(np.float64)
            metrics[m, 0, w] = roc_auc_score(bought, score, sample_weight=weight)
            metrics[m, 1, w] = average_precision_score(bought, score, sample_weight=weight)
            metrics[m, 2, w] = capture(score, data.revenue[m], weight)
    return metrics


def capture(score: np.ndarray, revenue: np.ndarray, weight: np.ndarray) -> float:
    """Share of revenue in the top tenth by weight; customers tied at the threshold count in part."""
    _, group = np.unique(-score, return_inverse=True)
    size, total = np.bincount(group, weight), np.bincount(group, weight * revenue)
    selected = np.clip(FRACTION * size.sum() - (np.cumsum(size) - size), 0.0, size)
    return float((total * selected / np.maximum(size, 1e-9)).sum() / total.sum())


def agree(ours: np.ndarray, reference: np.ndarray) -> None:
    np.testing.assert_allclose(ours[: len(reference), :, : reference.shape[2]], reference, rtol=1e-9, atol=1e-12)
