"""Offsets and positions of ragged arrays: consecutive runs of values, one run for each customer or item."""

from __future__ import annotations

import numpy as np


def offsets_of(count: np.ndarray) -> np.ndarray:
    """Where each run begins, and where the last one ends.

    Parameters
    ----------
    count : np.ndarray of shape (N,), int or bool
        Number of values of each run.

    Returns
    -------
    np.ndarray of shape (N + 1,), int64
        Run n is `offsets[n]:offsets[n + 1]`.

    Examples
    --------
    >>> offsets_of(np.array([2, 0, 3]))
    array([0, 2, 2, 5])
    """
    return np.concatenate([[0], np.cumsum(count, dtype=np.int64)])


def positions(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Positions of the values of some runs, one run after the other.

    Parameters
    ----------
    start : np.ndarray of shape (K,), int
        Where each run begins.
    count : np.ndarray of shape (K,), int
        Number of its values.

    Returns
    -------
    np.ndarray of shape (E,), int64
        E is the sum of `count`.

    Examples
    --------
    >>> positions(np.array([7, 1]), np.array([2, 3]))
    array([7, 8, 1, 2, 3])
    """
    return np.repeat(start - np.cumsum(count) + count, count) + np.arange(count.sum())
