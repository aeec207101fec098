"""Amounts as whole numbers of 1/10,000 of the currency, so that their sums are exact."""

from __future__ import annotations

import numpy as np
import polars as pl

UNIT = 10_000  # parts of the currency
EXACT = 2**17  # amounts below it are stored to the cent: 24 binary digits, of which 7 are behind the point
STEPS = ((2**10, 1), (2**14, 10))  # amounts below a limit have been rounded to so many units


def units_of(amount: np.ndarray) -> np.ndarray:
    """Recover the decimal number that was stored as float32.

    Parameters
    ----------
    amount : np.ndarray
        (n,) float32, currency; NaN counts as 0.

    Returns
    -------
    np.ndarray
        (n,) int64 in 1/10,000 of the currency: the nearest number of 4 decimals below 1,024, of 3 decimals below
        16,384 and of 2 decimals above. Amounts of 2 decimals are exact below 131,072.

    Examples
    --------
    >>> int(units_of(np.full(3, 0.1, np.float32)).sum()), int(units_of(np.array([99_999.99], np.float32))[0])
    (3000, 999999900)
    """
    exact = np.nan_to_num(amount.astype(np.float64))
    size = np.abs(exact)
    step = np.select([size < limit for limit, _ in STEPS], [float(step) for _, step in STEPS], 100.0)
    units: np.ndarray = (np.rint(exact * UNIT / step) * step).astype(np.int64)
    return units


def in_currency(name: str) -> pl.Expr:
    """A column of units as currency, float64."""
    return pl.col(name) / UNIT


def share(part: str | pl.Expr, whole: str | pl.Expr) -> pl.Expr:
    """One column over another; null where the denominator is 0 or null."""
    part = pl.col(part) if isinstance(part, str) else part
    whole = pl.col(whole) if isinstance(whole, str) else whole
    return pl.when(whole != 0).then(part / whole)


def ratio(part: float | None, whole: float | None) -> float | None:
    """One number over another; None where one is missing or the denominator is 0.

    >>> ratio(1, 4), ratio(1, 0)
    (0.25, None)
    """
    return part / whole if part is not None and whole else None
