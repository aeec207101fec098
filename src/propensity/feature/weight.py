"""How much a past send date counts in training, per offer: old habits fade."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Even:
    """Every training date counts the same."""

    def __call__(self, age: int, gap: np.ndarray) -> np.ndarray:
        return np.ones(gap.size, np.float32)


@dataclass
class HalfLife:
    """0.5 ** (age / half-life): `days` for every offer, or `rhythm` times the offer's own mean gap, within bounds.

    An offer bought every week changes its buyers faster than one bought twice a year.
    """

    days: float = 180.0
    rhythm: float | None = None
    shortest: float = 60.0
    longest: float = 720.0

    def __call__(self, age: int, gap: np.ndarray) -> np.ndarray:
        """Weights (M,) of examples `age` days older than the newest; gap (M,) mean days between purchases, or NaN."""
        half_life = np.full(gap.size, self.days)
        if self.rhythm is not None:
            half_life = np.clip(np.nan_to_num(self.rhythm * gap, nan=self.days), self.shortest, self.longest)
        return (0.5 ** (age / half_life)).astype(np.float32)
