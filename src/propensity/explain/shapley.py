"""Exact Shapley values of a game with few players, from the values of all coalitions."""

from __future__ import annotations

from math import factorial

import numpy as np


def shapley_values(values: np.ndarray) -> np.ndarray:
    """Shapley values by enumeration of all coalitions.

    Parameters
    ----------
    values : ndarray of shape (2 ** K,)
        Value of each coalition; bit k of the index tells whether player k belongs to it.

    Returns
    -------
    ndarray of shape (K,), float64
        Their sum is the value of all players minus that of none. A player that changes no value gets exactly 0.

    Notes
    -----
    Source: Shapley, Contributions to the Theory of Games II, 1953.

    Examples
    --------
    >>> shapley_values(np.array([0.0, 1.0, 2.0, 5.0])).tolist()
    [2.0, 3.0]
    """
    values = np.asarray(values, np.float64)
    players = values.size.bit_length() - 1
    coalition = np.arange(values.size)
    size = sum((coalition >> k) & 1 for k in range(players)) + np.zeros(values.size, np.int64)
    weight = np.array([factorial(s) * factorial(players - s - 1) / factorial(players) for s in range(players)])
    result = np.zeros(players)
    for k in range(players):
        without = coalition[(coalition >> k) & 1 == 0]
        result[k] = weight[size[without]] @ (values[without | 1 << k] - values[without])
    return result
