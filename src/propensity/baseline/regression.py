"""Logistic regression with a ridge penalty by Newton's method, in NumPy: the same digits for any number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from propensity.feature.market_stats import BLAS

BLOCK = 65_536  # rows whose products are in memory at a time
STEPS = 50  # of Newton's method at most
HALVINGS = 30  # of a step that does not lower the loss


class Ridge(NamedTuple):
    """A quadratic penalty: half the sum of `strength` times the squared distance from `centre`.

    Attributes
    ----------
    strength : np.ndarray
        (C,), at least 0.
    centre : np.ndarray
        (C,)
    """

    strength: np.ndarray
    centre: np.ndarray

    def value(self, coefficient: np.ndarray) -> float:
        """The penalty of some coefficients (C,)."""
        return 0.5 * float(self.strength @ (coefficient - self.centre) ** 2)


class Problem(NamedTuple):
    """Rows of a logistic regression.

    Attributes
    ----------
    x : np.ndarray
        (K, C) columns.
    y : np.ndarray
        (K,) labels, 0 or 1.
    weight : np.ndarray
        (K,) weights of the rows.
    offset : np.ndarray
        (K,) log-odds that are added to those of the columns; or (1,), one for all rows.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    offset: np.ndarray = np.zeros(1)


def logistic(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)) without overflow, in the precision of z.

    Examples
    --------
    >>> logistic(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    tail = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + tail), tail / (1 + tail))


def log_losses(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Log loss of each label y (K,) under log-odds z (..., K), finite for any log-odds: (..., K)."""
    return np.asarray(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))


def weighted_log_loss(z: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """Sum of the weighted log losses of log-odds z (K,)."""
    return float(np.sum(weight * log_losses(z, y), dtype=np.float64))


def fit_logistic(
    problem: Problem, ridge: Ridge, start: np.ndarray, bounded: int = 0, tolerance: float = 1e-7
) -> np.ndarray:
    """Coefficients that minimise the weighted log loss plus the penalty.

    Parameters
    ----------
    problem : Problem
        K rows with C columns.
    ridge : Ridge
        The penalty.
    start : np.ndarray
        (C,) first coefficients; the bounded ones are at least 0.
    bounded : int
        The first so many coefficients are at least 0. At most ten: all sets of active bounds are tried.
    tolerance : float
        Newton's method stops where a step lowers the loss by less than this share of it.

    Returns
    -------
    np.ndarray
        (C,) float64.

    Notes
    -----
    The loss is convex, so a step that is halved until it lowers the loss converges.

    Examples
    --------
    >>> problem = Problem(np.ones((4, 1)), np.array([1, 1, 1, 0]), np.ones(4))
    >>> fit_logistic(problem, Ridge(np.zeros(1), np.zeros(1)), np.zeros(1)).round(4)  # log(3)
    array([1.0986])
    """
    coefficient = start.astype(np.float64)
    with BLAS.limit(limits=1, user_api="blas"):
        loss = _loss(problem, ridge, coefficient)
        for _ in range(STEPS):
            gradient, hessian = _derivatives(problem, ridge, coefficient)
            target = _bounded_minimum(gradient, hessian, coefficient, bounded)
            share = 1.0
            for _ in range(HALVINGS):
                candidate = coefficient + share * (target - coefficient)
                lower = _loss(problem, ridge, candidate)
                if lower < loss:
                    break
                share /= 2
            else:
                return coefficient
            gain, coefficient, loss = loss - lower, candidate, lower
            if gain <= tolerance * abs(loss):
                break
    return coefficient


def _loss(problem: Problem, ridge: Ridge, coefficient: np.ndarray) -> float:
    """Weighted log loss plus penalty."""
    total = ridge.value(coefficient)
    for z, rows in _blocks(problem, coefficient):
        total += weighted_log_loss(z, problem.y[rows], problem.weight[rows])
    return total


def _derivatives(problem: Problem, ridge: Ridge, coefficient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (C,) and Hessian (C, C) of loss and penalty."""
    gradient = ridge.strength * (coefficient - ridge.centre)
    hessian = np.diag(ridge.strength.astype(np.float64))
    for z, rows in _blocks(problem, coefficient):
        x, probability, weight = problem.x[rows], logistic(z), problem.weight[rows]
        gradient += (weight * (probability - problem.y[rows])).astype(x.dtype) @ x
        curvature = np.sqrt(weight * probability * (1 - probability)).astype(x.dtype)
        scaled = x * curvature[:, None]
        hessian += scaled.T @ scaled
    return gradient, hessian


def _blocks(problem: Problem, coefficient: np.ndarray) -> Iterator[tuple[np.ndarray, slice]]:
    """Log-odds of the rows, block by block, with the slice of the rows."""
    for start in range(0, len(problem.y), BLOCK):
        rows = slice(start, start + BLOCK)
        offset = problem.offset if problem.offset.size == 1 else problem.offset[rows]
        yield (problem.x[rows] @ coefficient.astype(problem.x.dtype)).astype(np.float64) + offset, rows


def _bounded_minimum(gradient: np.ndarray, hessian: np.ndarray, at: np.ndarray, bounded: int) -> np.ndarray:
    """Minimum of the quadratic model around `at` with the first coefficients at least 0."""
    best, lowest = at, 0.0
    for active in range(2**bounded):
        fixed = np.array([active >> k & 1 == 1 for k in range(bounded)] + [False] * (at.size - bounded))
        step = np.where(fixed, -at, 0.0)
        free = ~fixed
        right = gradient[free] + hessian[np.ix_(free, fixed)] @ step[fixed]
        step[free] = -_solve(hessian[np.ix_(free, free)], right)
        if (at + step)[:bounded].min(initial=0.0) < -1e-12:
            continue
        value = float(gradient @ step + 0.5 * step @ hessian @ step)
        if value < lowest:
            best, lowest = at + step, value
    best[:bounded] = np.maximum(best[:bounded], 0.0)
    return best


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solution of a positive semidefinite system, with a jitter for columns that are combinations of others."""
    jitter = 1e-10 * max(float(np.trace(matrix)) / max(len(matrix), 1), 1e-12)
    return np.linalg.solve(matrix + jitter * np.eye(len(matrix)), right)
