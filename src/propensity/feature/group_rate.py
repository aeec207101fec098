"""Attributes of customers as groups, and how much more or less often each group buys an offer than everybody.

N customers, A attributes, G groups of all attributes together, M offers. A group is a value of an attribute, or a
range of numbers between two quantiles. Customers of whom the value is not known are a group, and so are those with a
rare one.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.errors import ConfigurationError
from propensity.kernel.column import FeatureColumn
from propensity.kernel.group_rate import buyers_by_group

GROUP_RATE_WINDOWS = (28, 364)  # days in which a purchase counts
BINS = 10  # ranges of a number, at most
LEAST = 10  # customers that a value needs to be a group of its own
UNKNOWN, RARE = 0, 1  # the first two groups of each attribute; of a number, RARE is its lowest range


class CustomerGroups(NamedTuple):
    """The groups of A attributes.

    Parameters
    ----------
    offsets : (A + 1,) int64
        Attribute a has the groups `offsets[a]:offsets[a + 1]`: unknown, rare, then its values or ranges.
    label : (G,) str
        The value, or the lowest number of the range.
    numeric : (A,) bool
        Whether the groups of an attribute are ranges of numbers.
    """

    offsets: np.ndarray
    label: np.ndarray
    numeric: np.ndarray


def no_groups() -> CustomerGroups:
    """The groups of no attribute."""
    return CustomerGroups(np.zeros(1, np.int64), np.zeros(0, "U1"), np.zeros(0, bool))


def group_rate_name(window: int, attribute: str) -> str:
    """Name of a column."""
    return f"group_rate_{window}_{attribute}"


def group_rate_columns(attributes: Sequence[str]) -> tuple[FeatureColumn, ...]:
    """Declarations of the pair columns of attributes, those of an attribute side by side."""
    return tuple(
        FeatureColumn(
            group_rate_name(window, name),
            f"log ratio of the buyers of {window} days among customers of the same {name} to those among everybody",
            missing="nobody bought the offer",
            empty=None,
            ranked=True,
            group="group_rates",
            reason="similar",
        )
        for name in attributes
        for window in GROUP_RATE_WINDOWS
    )


def customer_groups(customers: pl.DataFrame, attributes: Sequence[str]) -> CustomerGroups:
    """The groups that customers form.

    Parameters
    ----------
    customers : DataFrame
        N rows with attributes.
    attributes : sequence of str
        A columns.

    Returns
    -------
    CustomerGroups
        Of a text, its values with `LEAST` customers or more; of a number or a date, at most `BINS` ranges between
        quantiles.

    Raises
    ------
    ConfigurationError
        If customers have no such column.

    Examples
    --------
    >>> customer_groups(pl.DataFrame({"tier": ["gold"] * 10 + ["blue"] * 12 + ["red", None]}), ["tier"]).label.tolist()
    ['', '', 'blue', 'gold']
    """
    parts, numeric = [], []
    for name in attributes:
        values = _column(customers, name)
        numeric.append(is_number(values.dtype))
        parts.append(["", "", *(_edges(as_number(values)) if numeric[-1] else _frequent(as_text(values)))])
    offsets = np.cumsum([0, *map(len, parts)]).astype(np.int64)
    return CustomerGroups(offsets, np.array([each for part in parts for each in part], str), np.array(numeric, bool))


def group_codes(customers: pl.DataFrame, attributes: Sequence[str], groups: CustomerGroups) -> np.ndarray:
    """The groups that each customer is in.

    Parameters
    ----------
    customers : DataFrame
        N rows with attributes.
    attributes : sequence of str
        The A columns of `groups`.
    groups : CustomerGroups
        The groups.

    Returns
    -------
    (N, A) int64
        Places in the groups of all attributes.

    Raises
    ------
    ConfigurationError
        If customers have no such column.
    """
    codes = np.empty((customers.height, len(attributes)), np.int64)
    for a, name in enumerate(attributes):
        labels, values = groups.label[groups.offsets[a] : groups.offsets[a + 1]].tolist(), _column(customers, name)
        codes[:, a] = groups.offsets[a] + (_ranges if groups.numeric[a] else _places)(values, labels[RARE + 1 :])
    return codes


def unknown_groups(groups: CustomerGroups, customers: int) -> np.ndarray:
    """The groups of B customers of whom nothing is known: (B, A) int64."""
    return np.tile(groups.offsets[:-1] + UNKNOWN, (customers, 1))


def group_rates(
    log: EventLog, offers: Offers, rows: np.ndarray, codes: np.ndarray, day: int, groups: int, shrink: float
) -> np.ndarray:
    """How much more often customers of a group bought an offer than everybody.

    Parameters
    ----------
    log : EventLog
        The log.
    offers : Offers
        M offers.
    rows : (N,) int
        Customers of the log.
    codes : (N, A) int
        Their groups.
    day : int
        Cutoff; events of this day and later are not read.
    groups : int
        Number of groups G.
    shrink : float
        Expected buyers that are added to the buyers and to the expected buyers of a group.

    Returns
    -------
    (W, G, M) float32
        log((buyers + shrink) / (expected + shrink)) for each of `GROUP_RATE_WINDOWS`. Expected are the buyers that the
        group would have at everybody's share of buyers.

    Notes
    -----
    The logarithm of the posterior mean of a rate ratio with a gamma prior of mean 1 (Clayton and Kaldor, Biometrics
    1987).
    """
    shape = len(GROUP_RATE_WINDOWS), groups, len(offers)
    attributes, windows = codes.shape[1], np.array(GROUP_RATE_WINDOWS)
    buyers = buyers_by_group(log.events, offers.sets, rows, codes, day, windows, np.empty(shape, np.int64))
    size = np.bincount(codes.ravel(), minlength=groups)
    total = buyers.sum(axis=1, keepdims=True) / max(attributes, 1)  # each buyer is in a group of each attribute
    expected = size[:, None] / max(rows.size, 1) * total
    return np.log((buyers + shrink) / (expected + shrink)).astype(np.float32)


def is_number(kind: pl.DataType) -> bool:
    """Whether the groups of a column are ranges."""
    return (kind.is_numeric() or kind.is_temporal()) and kind != pl.Boolean


def as_number(values: pl.Series) -> np.ndarray:
    """Numbers, and days of a date: (N,) float64, NaN where there is none, or none that is finite."""
    if values.dtype.is_temporal() and values.dtype in (pl.Date, pl.Datetime):
        values = values.cast(pl.Date).cast(pl.Int32)
    numbers = values.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    return np.where(np.isfinite(numbers), numbers, np.nan)


def as_text(values: pl.Series) -> pl.Series:
    """Text without the spaces around it, null where nothing is left."""
    text = values.alias("value").cast(pl.String).str.strip_chars().to_frame()
    return text.select(pl.when(pl.col("value") != "").then("value")).to_series()


def _column(customers: pl.DataFrame, name: str) -> pl.Series:
    if name in customers.columns:
        return customers[name]
    near = get_close_matches(name, customers.columns, n=1) or customers.columns
    raise ConfigurationError(
        f"customers have no column {name!r}; set data.feature.group_rates to columns such as {near[0]!r}"
    )


def _frequent(values: pl.Series) -> list[str]:
    """Values of a text with enough customers, sorted."""
    counts = values.alias("value").drop_nulls().value_counts(name="customers")
    return sorted(counts.filter(pl.col("customers") >= LEAST)["value"].to_list())


def _edges(numbers: np.ndarray) -> list[str]:
    """The numbers, but for the lowest range, at which ranges begin."""
    known = np.sort(numbers[~np.isnan(numbers)])
    if not known.size:
        return []
    places = (np.arange(1, BINS) * known.size) // BINS
    return [repr(float(edge)) for edge in np.unique(known[places]) if edge > known[0]]


def _ranges(values: pl.Series, edges: list[str]) -> np.ndarray:
    """Places of numbers among the groups of an attribute."""
    numbers = as_number(values)
    place = RARE + np.searchsorted(np.array(edges, float), numbers, side="right")
    return np.where(np.isnan(numbers), UNKNOWN, place)


def _places(values: pl.Series, names: list[str]) -> np.ndarray:
    """Places of texts among the groups of an attribute."""
    text = as_text(values)
    code = text.replace_strict(names, range(RARE + 1, RARE + 1 + len(names)), default=RARE, return_dtype=pl.Int64)
    return np.where(text.is_null().to_numpy(), UNKNOWN, code.to_numpy())
