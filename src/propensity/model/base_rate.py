"""Base rates, from which the heads of a network start."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class BaseRates(NamedTuple):
    """Label means over the training cutoffs.

    Parameters
    ----------
    visit : float
        Share of the customers who buy anything, in (0, 1).
    purchase : (M,) float
        Share of the customers who buy each offer, in (0, 1).
    amount : (M,) float
        Mean log revenue of a buyer, in units.
    deviation : float
        Standard deviation of the log revenue within an offer.
    span : int
        Days from the first training cutoff to the last.
    """

    visit: float
    purchase: np.ndarray
    amount: np.ndarray
    deviation: float
    span: int = 0
