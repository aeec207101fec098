"""What a declaration promises, checked on a log: for contract tests, and before a training with extra columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from propensity.errors import ConfigurationError
from propensity.feature.features import Features, computed
from propensity.feature.history_mask import EVERYTHING, HistoryMask
from propensity.feature.market_stats import MarketStats
from propensity.feature.point_in_time import PointInTime, point_in_time
from propensity.kernel.column import FeatureColumn

CUSTOMERS = 32
TOLERANCE = 1e-4  # relative; absolute below 1


def violations(
    features: Features, market_stats: MarketStats, customer: np.ndarray, columns: Sequence[FeatureColumn]
) -> list[str]:
    """What extra columns break of their declarations, a sentence each.

    A column must equal its plain definition, which is computed one customer at a time; take the declared value on an
    empty history; be NaN only if it says what that means; and never be infinite.

    Parameters
    ----------
    features : Features
        Of a log and its offers.
    market_stats : MarketStats
        The market at the cutoff.
    customer : (B,) int
        Rows of the log to check on.
    columns : sequence of FeatureColumn
        Extra columns, each with `compute` and `reference`.

    Returns
    -------
    list of str
    """
    return [sentence for column in columns for sentence in _broken(features, market_stats, customer, column)]


def require(features: Features, market_stats: MarketStats, customer: np.ndarray) -> None:
    """ConfigurationError with the first violation among the extra columns, on a few customers spread over all."""
    if features.config.extra:
        rows = np.unique(np.linspace(0, customer.size - 1, min(CUSTOMERS, customer.size)).astype(int))
        if broken := violations(features, market_stats, customer[rows], features.config.extra):
            raise ConfigurationError(broken[0])


def _broken(
    features: Features, market_stats: MarketStats, customer: np.ndarray, column: FeatureColumn
) -> Iterator[str]:
    place = f"column {column.name!r} of data.feature.extra"
    nothing, everything = HistoryMask.nothing(customer.size), _everything(customer.size)
    known, unknown = (
        point_in_time(features.log, features.offers, market_stats, customer, mask) for mask in (nothing, everything)
    )
    values, empty = computed(column, known), computed(column, unknown)
    if not _same(values, defined(column, known)):
        yield f"{place} differs from its reference; correct one of them"
    if np.isinf(values).any():
        yield f"{place} is infinite; return finite numbers or NaN"
    if np.isnan(values).any() and not column.missing:
        yield f"{place} is NaN, but missing is empty; say what NaN means"
    if column.empty is not None and not _same(empty, np.full(empty.shape, column.empty)):
        other = empty[~_equal(empty, np.full(empty.shape, column.empty))][0]
        yield f"{place} is {other:g} on an empty history, but declares empty={column.empty:g}; correct one of them"


def defined(column: FeatureColumn, known: PointInTime) -> np.ndarray:
    """The plain definition of an extra column, one customer at a time; of all at once for a context column."""
    if column.block == "context":
        return computed(column, known, reference=True)
    return np.concatenate([computed(column, one, reference=True) for one in known.each()])


def _everything(customers: int) -> HistoryMask:
    return HistoryMask.nothing(customers)._replace(days=np.full(customers, EVERYTHING))


def _equal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.isclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(_equal(one, other).all())
