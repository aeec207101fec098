"""Contract checks of extra feature columns against their declarations, in tests and before training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from propensity.errors import ConfigurationError
from propensity.feature.features import Features
from propensity.feature.history_mask import EVERYTHING, HistoryMask
from propensity.feature.market_stats import MarketStats
from propensity.feature.point_in_time import PointInTime, compute_column, point_in_time
from propensity.kernel.column import FeatureColumn

CUSTOMERS = 32
TOLERANCE = 1e-4  # relative; absolute below 1


def violations(
    features: Features, market_stats: MarketStats, customer: np.ndarray, columns: Sequence[FeatureColumn]
) -> list[str]:
    """Check extra columns against their declarations.

    Parameters
    ----------
    features : Features
        Features of a log and its offers.
    market_stats : MarketStats
        The market at the cutoff.
    customer : (B,) int
        Rows of the log to check on.
    columns : sequence of FeatureColumn
        Extra columns, each with `compute` and `reference`.

    Returns
    -------
    list of str
        One sentence for each violation.

    Notes
    -----
    A column must equal its plain definition, which is computed one customer at a time; take the declared value on an
    empty history; be NaN only if `missing` says what that means; and never be infinite.
    """
    return [sentence for column in columns for sentence in _violations(features, market_stats, customer, column)]


def require(features: Features, market_stats: MarketStats, customer: np.ndarray) -> None:
    """Raise ConfigurationError with the first violation of an extra column, on 32 customers evenly spaced over all."""
    if features.config.extra:
        rows = np.unique(np.linspace(0, customer.size - 1, min(CUSTOMERS, customer.size)).astype(int))
        if broken := violations(features, market_stats, customer[rows], features.config.extra):
            raise ConfigurationError(broken[0])


def _violations(
    features: Features, market_stats: MarketStats, customer: np.ndarray, column: FeatureColumn
) -> Iterator[str]:
    name = f"column {column.name!r} of data.feature.extra"
    nothing, everything = HistoryMask.nothing(customer.size), _everything(customer.size)
    known, unknown = (
        point_in_time(features.log, features.offers, market_stats, customer, mask) for mask in (nothing, everything)
    )
    values, empty = compute_column(column, known), compute_column(column, unknown)
    if not _same(values, compute_reference(column, known)):
        yield f"{name} differs from its reference; correct one of them"
    if np.isinf(values).any():
        yield f"{name} is infinite; return finite numbers or NaN"
    if np.isnan(values).any() and not column.missing:
        yield f"{name} is NaN, but missing is empty; say what NaN means"
    if column.empty is not None and not _same(empty, np.full(empty.shape, column.empty)):
        other = empty[~_equal(empty, np.full(empty.shape, column.empty))][0]
        yield f"{name} is {other:g} on an empty history, but declares empty={column.empty:g}; correct one of them"


def compute_reference(column: FeatureColumn, known: PointInTime) -> np.ndarray:
    """Compute the plain definition of an extra column, one customer at a time; of all at once for a context column."""
    if column.block == "context":
        return compute_column(column, known, reference=True)
    return np.concatenate([compute_column(column, one, reference=True) for one in known.each()])


def _everything(customers: int) -> HistoryMask:
    return HistoryMask.nothing(customers)._replace(days=np.full(customers, EVERYTHING))


def _equal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.isclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(_equal(one, other).all())
