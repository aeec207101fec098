"""Numbers that describe the place of the horizon in the year and in the month."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

YEAR, MONTH = 365.2425, 30.436875
HARMONICS = (1, 2, 3)

SEASON = tuple(f"{wave}_year_{k}" for k in HARMONICS for wave in ("sin", "cos")) + ("sin_month", "cos_month", "years")


def season(day: int, horizon: int) -> np.ndarray:
    """Fourier terms of the year and of the month, averaged over the horizon, and the years since 2000.

    Parameters
    ----------
    day, horizon : int
        Cutoff and number of days.

    Returns
    -------
    (9,) float32
        Named by `SEASON`.
    """
    return _season(int(day), int(horizon)).copy()


@lru_cache(maxsize=64)
def _season(day: int, horizon: int) -> np.ndarray:
    """`season`, computed once: sums of a year's waves take longer than the other columns of a single customer."""
    days = np.arange(day, day + horizon)
    angles = [2 * np.pi * k * days / YEAR for k in HARMONICS] + [2 * np.pi * days / MONTH]
    waves = [wave(angle).mean() for angle in angles for wave in (np.sin, np.cos)]
    return np.array([*waves, day / YEAR - 30], np.float32)
