"""Weight of a past cutoff in training, for each offer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Even:
    """Every training cutoff has the same weight."""

    def __call__(self, age: int, interpurchase_time: np.ndarray) -> np.ndarray:
        return np.ones(interpurchase_time.size, np.float32)


@dataclass
class HalfLife:
    """Weight 0.5 ** (age / half-life). The half-life is `days`, or a multiple of the offer's interpurchase time.

    A multiple of the interpurchase time gives offers with frequent purchases a shorter half-life.

    Parameters
    ----------
    days : float
        Half-life in days, where `rhythm` is None or the interpurchase time is unknown.
    rhythm : float or None
        Half-life in multiples of the offer's mean interpurchase time.
    shortest, longest : float
        Bounds of that half-life in days.
    """

    days: float = 180.0
    rhythm: float | None = None
    shortest: float = 60.0
    longest: float = 720.0

    def __call__(self, age: int, interpurchase_time: np.ndarray) -> np.ndarray:
        """Compute the weight of each offer at a training cutoff.

        Parameters
        ----------
        age : int
            Days before the newest cutoff.
        interpurchase_time : (M,) float
            Mean days between purchase days of each offer; NaN where unknown.

        Returns
        -------
        (M,) float32
            Weights in (0, 1].
        """
        half_life = np.full(interpurchase_time.size, self.days)
        if self.rhythm is not None:
            half_life = np.clip(
                np.nan_to_num(self.rhythm * interpurchase_time, nan=self.days), self.shortest, self.longest
            )
        return (0.5 ** (age / half_life)).astype(np.float32)
