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
OFFERS = 3  # what ours really does in a turn: offers are independent, so its seconds are scaled up to the whole
RIVAL_OFFERS, RIVAL_RESAMPLES = 2, 2  # the same of the rival, with the full sample as a third weight


class Ranked(NamedTuple):
    """score, revenue (M, N); bought (M, N) bool; weight (N, W): ones, then resamples."""

    score: np.ndarray
    bought: np.ndarray
    revenue: np.ndarray
    weight: np.ndarray


def ranked(size: Size, seed: int = 0) -> Ranked:
    """Scores in steps of a hundredth, so that there are ties; one customer in fifty buys."""
    random = np.random.default_rng(seed)
    taste = random.normal(size=(min(OFFERS, size.ranked_offers), size.ranked))
    bought = taste + random.normal(size=taste.shape) > 2.9
    revenue = np.where(bought, random.gamma(2.0, 3.0, taste.shape), 0.0)
    (weight,) = resample_weights([np.arange(size.ranked)], size.resamples, seed)
    return Ranked(taste.round(2).astype(np.float32), bought, revenue, weight)


def metric_race(size: Size, gate: float, aim: float) -> Race:
    """AUC, average precision and revenue capture."""
    data = ranked(size)
    did, weights = len(data.score), data.weight.shape[1]
    done = min(RIVAL_OFFERS, did), min(1 + RIVAL_RESAMPLES, weights)
    scale, own = size.ranked_offers * weights / (done[0] * done[1]), size.ranked_offers / did

    def why() -> str:
        sorting = median_seconds(lambda: [descending(score) for score in data.score])
        return f"sorting alone takes {sorting:.2g} s of our {median_seconds(lambda: swept(data)):.2g} s."

    def check() -> None:
        agree(swept(data), looped(data, *done))

    title = f"AUC, AP, capture: {size.ranked_offers} offers x {size.ranked:,} customers x {size.resamples} resamples"
    rival = f"scikit-learn, {done[0]} offers x {done[1]} weights, times {scale:.0f}; ours {did} offers, times {own:.0f}"
    calls = lambda: swept(data), lambda: looped(data, *done)
    return Race(title, rival, gate, *calls, check, why, scale, aim, ours_scale=own)


def swept(data: Ranked) -> np.ndarray:
    """(M, 3, W): sorted once, swept once for all weights."""
    made = np.empty((len(data.score), 3, data.weight.shape[1]))
    for m, score in enumerate(data.score):
        order = descending(score)
        made[m, :2] = purchase_ranking(order, score, data.bought[m], data.weight, FRACTION)[:2]
        made[m, 2] = revenue_ranking(order, score, data.revenue[m], data.weight, FRACTION)
    return made


def looped(data: Ranked, offers: int, weights: int) -> np.ndarray:
    """The same of the first offers and weights."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    made = np.empty((offers, 3, weights))
    for m in range(offers):
        score, bought = data.score[m], data.bought[m]
        for w in range(weights):
            weight = data.weight[:, w].astype(np.float64)
            made[m, 0, w] = roc_auc_score(bought, score, sample_weight=weight)
            made[m, 1, w] = average_precision_score(bought, score, sample_weight=weight)
            made[m, 2, w] = captured(score, data.revenue[m], weight)
    return made


def captured(score: np.ndarray, revenue: np.ndarray, weight: np.ndarray) -> float:
    """Share of the revenue of the best tenth of weight; customers tied at the cut are kept in part."""
    _, group = np.unique(-score, return_inverse=True)
    size, held = np.bincount(group, weight), np.bincount(group, weight * revenue)
    kept = np.clip(FRACTION * size.sum() - (np.cumsum(size) - size), 0.0, size)
    return float((held * kept / np.maximum(size, 1e-9)).sum() / held.sum())


def agree(mine: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(mine[: len(theirs), :, : theirs.shape[2]], theirs, rtol=1e-9, atol=1e-12)
