"""Whether a ranking by uplift is better than a random ordering, by models of earlier folds and doubly robust scores.

Where every fold is ranked by a model of all others, any two customers meet twice, each in the model that ranks the
other. Without an effect the Qini coefficient then varies by up to the square root of two more than its ordering says
(Bengio and Grandvalet, JMLR 2004). A fold that is ranked by a model of earlier folds only adds a term whose mean given
the past is 0, so that the sum has the variance that it seems to have (Luedtke and van der Laan, Annals of Statistics
2016).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.ab.distribution import normal_p
from propensity.ab.effect import error_of_sum
from propensity.ab.learner import Arms, fit_gcv
from propensity.ab.qini import p_against


class PValues(NamedTuple):
    """One-sided p-values of a ranking: by its standard error, and against random orderings of the customers."""

    by_error: float
    by_orderings: float


def doubly_robust_scores(arms: Arms, fold: np.ndarray) -> np.ndarray:
    """Scores (n,) whose mean over any customers is their mean effect.

    Parameters
    ----------
    arms : Arms
        n rows with weights in inverse proportion to the probability of the own arm.
    fold : np.ndarray
        (n,) fold of each row; outcome models did not see it.

    Notes
    -----
    Robins, Rotnitzky and Zhao, JASA 1994. They vary less than outcomes do, as the models explain a part of these.
    """
    score, share = np.empty(arms.y.size), float(np.average(arms.t, weights=arms.w))
    for k in np.unique(fold):
        train, own = arms.rows(fold != k), fold == k
        one, two = (
            fit_gcv(*(each[mask] for each in (train.x, train.y, train.w)))(arms.x[own]) for mask in (train.t, ~train.t)
        )
        t, y = arms.t[own], arms.y[own]
        score[own] = one - two + arms.w[own] * np.where(t, (y - one) / share, -(y - two) / (1 - share))
    return score


class Centred(NamedTuple):
    """What random orderings of the same rows share.

    Attributes
    ----------
    score : np.ndarray
        (n,) doubly robust scores minus the mean of their fold; 0 where no ranking is known.
    fold : np.ndarray
        (n,) folds.
    unit : np.ndarray
        (n,) customer of each row.
    null : np.ndarray
        Gains of random orderings of the customers, sorted.
    """

    score: np.ndarray
    fold: np.ndarray
    unit: np.ndarray
    null: np.ndarray


def centred(
    score: np.ndarray, ranked: np.ndarray, fold: np.ndarray, unit: np.ndarray | None, orderings: int, seed: int
) -> Centred:
    """Scores (n,) of the rows that are ranked (n,) bool, and the gains of random orderings of their customers."""
    own = np.where(ranked, score, 0.0)
    mean = np.bincount(fold, weights=own) / np.maximum(np.bincount(fold, weights=ranked), 1)
    own = np.where(ranked, own - mean[fold], 0.0)
    unit = np.arange(fold.size) if unit is None else unit
    total = np.bincount(unit[ranked], weights=own[ranked], minlength=1)
    total = total[np.bincount(unit[ranked], minlength=1) > 0]
    rng, step = np.random.default_rng(seed), 0.5 - (np.arange(total.size) + 0.5) / max(total.size, 1)
    gains = np.array([float(rng.permutation(step) @ total) for _ in range(orderings)])
    return Centred(own, fold, unit, np.sort(gains))


def ranking_p(known: Centred, uplift: np.ndarray) -> PValues:
    """p-values of a ranking.

    Parameters
    ----------
    known : Centred
        n rows.
    uplift : np.ndarray
        (n,) uplift by models of earlier folds, NaN where there is none.

    Returns
    -------
    PValues
        1 where no row has an uplift.

    Notes
    -----
    The gain of a ranking over a random one is the area between its curve of cumulative effects and the straight line:
    the sum of scores times a half minus the place of the row in its fold. Standard errors are clustered by customer.
    """
    part = np.where(np.isnan(uplift), 0.0, (0.5 - places(uplift, known.fold)) * known.score)
    gain, error = float(part.sum()), error_of_sum(part, known.unit)
    if error == 0:
        return PValues(1.0, 1.0)
    two_sided = normal_p(gain / error)
    return PValues(two_sided / 2 if gain > 0 else 1 - two_sided / 2, p_against(gain, known.null))


def places(uplift: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Place of each row in its fold (n,), near 0 for the highest uplift and near 1 for the lowest; equal ones share it.

    Examples
    --------
    >>> places(np.array([3.0, 1.0, 1.0, 0.0, 5.0]), np.array([0, 0, 0, 0, 1])).tolist()
    [0.125, 0.5, 0.5, 0.875, 0.5]
    """
    place = np.full(uplift.size, np.nan)
    for k in np.unique(fold):
        rows = np.flatnonzero(fold == k)
        own = uplift[rows]
        _, step, count = np.unique(-own, return_inverse=True, return_counts=True)
        last = np.cumsum(count)
        place[rows] = ((last - count / 2) / own.size)[step]
    return place
