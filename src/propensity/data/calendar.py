"""The send date as numbers: where in the year and in the month the horizon falls."""

from __future__ import annotations

import numpy as np

YEAR, MONTH = 365.2425, 30.436875
HARMONICS = (1, 2, 3)

SEASON = tuple(f"{wave}_year_{k}" for k in HARMONICS for wave in ("sin", "cos")) + ("sin_month", "cos_month")


def season(day: int, horizon: int) -> np.ndarray:
    """Fourier terms of the year and of the month, averaged over the horizon: (8,) float32, named by `SEASON`."""
    days = np.arange(day, day + horizon)
    angles = [2 * np.pi * k * days / YEAR for k in HARMONICS] + [2 * np.pi * days / MONTH]
    return np.array([wave(angle).mean() for angle in angles for wave in (np.sin, np.cos)], np.float32)
