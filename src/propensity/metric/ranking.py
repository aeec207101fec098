"""How well one offer's customers are ranked: ROC AUC, average precision and lift."""

from __future__ import annotations

import numpy as np

from propensity.errors import DataError
from propensity.kernel.rank import falling, purchase_ranking


def auc(score: np.ndarray, bought: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Chance that a buyer is ranked above a customer who did not buy; ties count one half.

    Args: score (n,), any monotone scale; bought (n,) bool; weight (n,), whole numbers: rows each stands for.
    Raises: DataError if all bought or none did, or the arrays do not fit. Source: Hanley & McNeil, Radiology 1982.
    >>> auc(np.array([.9, .8, .8, .1]), np.array([True, True, False, False]))
    0.875
    """
    return float(_ranking(score, bought, weight, 0.1, contrast=True)[0])


def average_precision(score: np.ndarray, bought: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Precision at every distinct score, averaged over the recall gained there (scikit-learn's definition).

    Args: score (n,), any monotone scale; bought (n,) bool; weight (n,), whole numbers.
    Raises: DataError if nobody bought, or the arrays do not fit.
    >>> average_precision(np.array([.9, .8, .7, .1]), np.array([True, False, True, False])).__round__(4)
    0.8333
    """
    return float(_ranking(score, bought, weight, 0.1)[1])


def lift(score: np.ndarray, bought: np.ndarray, fraction: float = 0.1, weight: np.ndarray | None = None) -> float:
    """Buyers among the best-ranked customers, in multiples of their share among all.

    Args: score (n,), any monotone scale; bought (n,) bool; fraction kept, in (0, 1]; weight (n,), whole numbers.
    Returns: 1.0 for a random ranking. The cut lies at exactly `fraction` of n; the tie group there is kept in part.
    Raises: DataError if nobody bought, or the arrays do not fit. Source: Ling & Li, KDD 1998.
    >>> lift(np.array([.9, .8, .3, .1]), np.array([True, False, True, False]), fraction=0.25)
    2.0
    """
    return float(_ranking(score, bought, weight, fraction)[2])


def descending(score: np.ndarray) -> np.ndarray:
    """Row numbers, best score first; ties stay in row order, and no metric here depends on it."""
    return falling(score)


def floating(score: np.ndarray) -> np.ndarray:
    """The score as floats: whole numbers and truth values are welcome too."""
    return np.asarray(score, dtype=np.result_type(score, np.float32))


def check_ranking(score: np.ndarray, outcome: np.ndarray, fraction: float) -> None:
    """Refuse arrays that no ranking can be read from."""
    if score.ndim != 1 or score.shape != outcome.shape:
        raise DataError(f"scores {score.shape} and outcomes {outcome.shape} must be two lists of equal length")
    if not np.isfinite(score).all() or not np.isfinite(outcome).all():
        raise DataError(f"a score or outcome of {score.size} customers is not finite; fill it before ranking")
    if not 0.0 < fraction <= 1.0:
        raise DataError(f"fraction is {fraction}; keep a share of the customers in (0, 1]")


def weight_column(weight: np.ndarray | None, size: int) -> np.ndarray:
    """Whole-number weights as the one column (n,1) a kernel sweeps; all ones by default."""
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
    made: np.ndarray = purchase_ranking(descending(score), score, bought, column, fraction)[:, 0]
    return made
