"""Ranking metrics of one offer's customers: ROC AUC, average precision and lift."""

from __future__ import annotations

import numpy as np

from propensity.errors import DataError
from propensity.kernel.rank import falling, purchase_ranking


def auc(score: np.ndarray, bought: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Area under the ROC curve: probability that a buyer is ranked above a non-buyer; ties count one half.

    Parameters
    ----------
    score : array (n,)
        On any monotone scale.
    bought : array (n,), bool
        Whether each customer bought.
    weight : array (n,), optional
        How many customers each row stands for, whole numbers.

    Raises
    ------
    DataError
        If all bought or none did, or the arrays do not fit.

    Notes
    -----
    Hanley & McNeil, Radiology 1982.

    Examples
    --------
    >>> auc(np.array([.9, .8, .8, .1]), np.array([True, True, False, False]))
    0.875
    """
    return float(_ranking(score, bought, weight, 0.1, contrast=True)[0])


def average_precision(score: np.ndarray, bought: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Precision at every distinct score, averaged over the recall gained there (scikit-learn's definition).

    Parameters
    ----------
    score : array (n,)
        On any monotone scale.
    bought : array (n,), bool
        Whether each customer bought.
    weight : array (n,), optional
        How many customers each row stands for, whole numbers.

    Raises
    ------
    DataError
        If nobody bought, or the arrays do not fit.

    Examples
    --------
    >>> average_precision(np.array([.9, .8, .7, .1]), np.array([True, False, True, False])).__round__(4)
    0.8333
    """
    return float(_ranking(score, bought, weight, 0.1)[1])


def lift(score: np.ndarray, bought: np.ndarray, fraction: float = 0.1, weight: np.ndarray | None = None) -> float:
    """Share of buyers among the best-ranked customers over their share among all.

    Parameters
    ----------
    score : array (n,)
        On any monotone scale.
    bought : array (n,), bool
        Whether each customer bought.
    fraction : float
        Share of customers kept, in (0, 1]; customers tied at the threshold are kept in part.
    weight : array (n,), optional
        How many customers each row stands for, whole numbers.

    Returns
    -------
    float
        1 for a random ranking.

    Raises
    ------
    DataError
        If nobody bought, or the arrays do not fit.

    Notes
    -----
    Ling & Li, KDD 1998.

    Examples
    --------
    >>> lift(np.array([.9, .8, .3, .1]), np.array([True, False, True, False]), fraction=0.25)
    2.0
    """
    return float(_ranking(score, bought, weight, fraction)[2])


def descending(score: np.ndarray) -> np.ndarray:
    """Row numbers, best score first; ties stay in row order, on which no metric depends."""
    return falling(score)


def floating(score: np.ndarray) -> np.ndarray:
    """The score as floats; whole numbers and booleans are converted."""
    return np.asarray(score, dtype=np.result_type(score, np.float32))


def check_ranking(score: np.ndarray, outcome: np.ndarray, fraction: float) -> None:
    """Raises DataError for scores and outcomes that do not fit or are not finite."""
    if score.ndim != 1 or score.shape != outcome.shape:
        raise DataError(f"scores {score.shape} and outcomes {outcome.shape} must be two lists of equal length")
    if not np.isfinite(score).all() or not np.isfinite(outcome).all():
        raise DataError(f"a score or outcome of {score.size} customers is not finite; fill it before ranking")
    if not 0.0 < fraction <= 1.0:
        raise DataError(f"fraction is {fraction}; keep a share of the customers in (0, 1]")


def weight_column(weight: np.ndarray | None, size: int) -> np.ndarray:
    """Whole-number weights as one column (n,1) for a kernel; all ones by default."""
    if weight is None:
        return np.ones((size, 1), np.uint8)
    weight = np.asarray(weight)
    if weight.shape != (size,) or (weight < 0).any() or (weight != np.floor(weight)).any():
        raise DataError(f"weights {weight.shape} must be {size} whole numbers of at least 0")
    return weight.astype(np.uint32)[:, None]


def _ranking(
    score: np.ndarray, bought: np.ndarray, weight: np.ndarray | None, fraction: float, contrast: bool = False
) -> np.ndarray:
    score, bought = floating(score), np.asarray(bought)
    check_ranking(score, bought, fraction)
    bought, column = bought.astype(bool), weight_column(weight, score.size)
    buyers, others = int(column[bought].sum()), int(column[~bought].sum())
    if buyers == 0 or (contrast and others == 0):
        counted = f"{buyers} did, {others} did not"
        raise DataError(f"a ranking needs customers who bought and who did not: {counted}; widen data.horizon")
    values: np.ndarray = purchase_ranking(descending(score), score, bought, column, fraction)[:, 0]
    return values
