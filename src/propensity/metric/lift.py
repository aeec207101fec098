"""Revenue of the best-ranked customers: capture, that of the oracle, lift, and the whole curve."""

from __future__ import annotations

import numpy as np

from propensity.errors import DataError
from propensity.kernel.rank import revenue_ranking
from propensity.metric.ranking import check_ranking, descending, floating, weight_column

WINSOR = 0.95  # quantile of an offer's buyers to which larger amounts are set
SHARES = np.linspace(0.0, 1.0, 101)  # of customers, best first: where a curve is read


def revenue_capture(
    expected: np.ndarray, realised: np.ndarray, fraction: float = 0.1, weight: np.ndarray | None = None
) -> float:
    """Share of the revenue that the best-ranked customers hold.

    Parameters
    ----------
    expected : array (n,)
        Scores on any monotone scale.
    realised : array (n,)
        Revenue in the horizon, in the log's currency.
    fraction : float
        Share of customers kept, in (0, 1].
    weight : array (n,), optional
        How many customers each row stands for, whole numbers.

    Returns
    -------
    float
        A share in [0, 1]. The customers tied at the threshold are kept in part, so that equal scores give `fraction`.

    Raises
    ------
    DataError
        If nothing was sold, or the arrays do not fit.

    Examples
    --------
    >>> revenue_capture(np.array([.9, .8, .3, .1]), np.array([40., 0., 10., 0.]), fraction=0.25)
    0.8
    """
    expected, realised = floating(expected), np.asarray(realised, dtype=np.float64)
    check_ranking(expected, realised, fraction)
    column = weight_column(weight, expected.size)
    if (realised * column[:, 0]).sum() <= 0:
        raise DataError(f"capture is undefined: no revenue in {realised.size} customers; raise data.horizon")
    return float(revenue_ranking(descending(expected), expected, realised, column, fraction)[0])


def oracle_capture(realised: np.ndarray, fraction: float = 0.1, weight: np.ndarray | None = None) -> float:
    """Revenue capture of the oracle, which ranks customers by realised revenue: the largest possible.

    >>> oracle_capture(np.array([0., 30., 0., 70.]), fraction=0.25)
    0.7
    """
    return revenue_capture(realised, realised, fraction, weight)


def revenue_lift(expected: np.ndarray, realised: np.ndarray, fraction: float = 0.1) -> float:
    """Mean revenue of the best-ranked customers over the mean of all.

    Parameters
    ----------
    expected : array (n,)
        Scores on any monotone scale.
    realised : array (n,)
        Revenue in the horizon, in the log's currency.
    fraction : float
        Share of customers kept, in (0, 1].

    Returns
    -------
    float
        1 for a random ranking; customers with equal scores share their revenue.

    Raises
    ------
    DataError
        If nothing was sold.

    Notes
    -----
    Ling & Li, KDD 1998 (lift).

    Examples
    --------
    >>> revenue_lift(np.array([.9, .8, .3, .1]), np.array([40., 0., 10., 0.]), fraction=0.25)
    3.2
    """
    return revenue_capture(expected, realised, fraction) / fraction


def winsorised(revenue: np.ndarray) -> np.ndarray:
    """Each offer's revenue (N,M) with amounts above the `WINSOR` quantile of its buyers set to that quantile.

    It limits the influence of single large baskets. Source: Tukey, Annals of Mathematical Statistics 1962.

    >>> winsorised(np.array([[0.], [10.], [10.], [110.]]))[:, 0].tolist()
    [0.0, 10.0, 10.0, 100.0]
    """
    capped = revenue.astype(np.float64)
    for column in capped.T:
        if (column > 0).any():
            np.minimum(column, np.quantile(column[column > 0], WINSOR), out=column)
    return capped


def revenue_curve(expected: np.ndarray, realised: np.ndarray) -> np.ndarray:
    """Share of revenue held by the best-ranked share of customers, at `SHARES`: (n,), (n,) -> (101,); linear in ties.

    >>> revenue_curve(np.array([2., 1.]), np.array([30., 10.]))[[0, 25, 50, 100]].tolist()
    [0.0, 0.375, 0.75, 1.0]
    """
    expected, realised = floating(expected), np.asarray(realised, dtype=np.float64)
    check_ranking(expected, realised, 1.0)
    if realised.sum() <= 0:
        raise DataError(f"a revenue curve is undefined: no revenue in {realised.size} customers; raise data.horizon")
    order = descending(expected)
    ranked = expected[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]) + 1, ranked.size)
    captured = np.cumsum(realised[order])[ends - 1]
    curve: np.ndarray = np.interp(SHARES, np.append(0, ends) / ranked.size, np.append(0.0, captured) / captured[-1])
    return curve


def mean_curves(expected: np.ndarray, realised: np.ndarray, evaluated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve over all offers, by revenue, and the plain mean over evaluated ones: (N,M), (N,M), (M,) -> two (101,).

    Offers without revenue are left out; where none is left the curve is NaN.
    """
    revenue = realised.sum(axis=0)
    sold = np.flatnonzero(revenue > 0)
    undefined = np.full(SHARES.size, np.nan)
    if sold.size == 0:
        return undefined, undefined
    curves = np.stack([revenue_curve(expected[:, m], realised[:, m]) for m in sold])
    plain = curves[evaluated[sold]]
    return revenue[sold] @ curves / revenue[sold].sum(), plain.mean(axis=0) if len(plain) else undefined
