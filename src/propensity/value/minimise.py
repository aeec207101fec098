"""Minimisation of a smooth function of a few parameters: BFGS with gradients by central differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEP = 1e-5  # of the central differences
ITERATIONS = 100
BACKTRACKS = 25


def minimise(function: Callable[[np.ndarray], float], start: np.ndarray, tolerance: float = 1e-7) -> np.ndarray:
    """Find a local minimum.

    Parameters
    ----------
    function : callable
        From parameters (P,) to a number; a value that is not finite counts as a failed step.
    start : numpy.ndarray of shape (P,)
        Where the function is finite.
    tolerance : float
        The search ends where a step lowers the function by less than this.

    Returns
    -------
    numpy.ndarray of shape (P,)
        The minimum.

    Notes
    -----
    Nocedal and Wright, Numerical Optimization, chapter 6: BFGS with backtracking.

    Examples
    --------
    >>> minimise(lambda p: (p[0] - 1) ** 2 + 10 * (p[1] + 2) ** 2 + 5, np.zeros(2)).round(4)
    array([ 1., -2.])
    """
    point, value = np.asarray(start, float), function(start)
    slope = gradient(function, point)
    inverse = np.eye(point.size) / max(1.0, float(np.linalg.norm(slope)))
    for _ in range(ITERATIONS):
        direction = -inverse @ slope
        if direction @ slope >= 0:  # the curvature is not known any more
            inverse, direction = np.eye(point.size), -slope
        step, lower = _line_search(function, point, value, direction, float(direction @ slope))
        if lower is None:
            break
        change, next_slope = step * direction, gradient(function, point + step * direction)
        if not np.isfinite(next_slope).all():  # at the edge of what is allowed
            return np.asarray(point + change)
        inverse = _updated(inverse, change, next_slope - slope)
        point, slope, gain, value = point + change, next_slope, value - lower, lower
        if gain < tolerance:
            break
    return point


def gradient(function: Callable[[np.ndarray], float], point: np.ndarray) -> np.ndarray:
    """Central differences of `function` at `point` (P,)."""
    steps = STEP * np.eye(point.size)
    return np.array([(function(point + step) - function(point - step)) / (2 * STEP) for step in steps])


def _line_search(
    function: Callable[[np.ndarray], float], point: np.ndarray, value: float, direction: np.ndarray, descent: float
) -> tuple[float, float | None]:
    """A step that lowers the function in proportion to its slope, and the value there; None if there is none."""
    step = min(1.0, 2.0 / max(float(np.abs(direction).max()), 1e-12))
    for _ in range(BACKTRACKS):
        lower = function(point + step * direction)
        if np.isfinite(lower) and lower <= value + 1e-4 * step * descent:
            return step, float(lower)
        step *= 0.5
    return 0.0, None


def _updated(inverse: np.ndarray, change: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """The inverse of the curvature after a step, unless the step says nothing about it."""
    curvature = float(change @ difference)
    if not curvature > 1e-10:
        return inverse
    left = np.eye(change.size) - np.outer(change, difference) / curvature
    return left @ inverse @ left.T + np.outer(change, change) / curvature
