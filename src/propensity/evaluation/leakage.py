"""Leakage check: inputs are computed again from logs with another future and compared.

A column leaks if it changes when only events at or after the cutoff change. A column is suspect if it alone ranks
buyers with an AUC close to 1. Neither test depends on the names of columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from propensity.data.event_log import EventLog
from propensity.kernel.event import PURCHASE
from propensity.kernel.ragged import offsets_of
from propensity.metric.ranking import auc
from propensity.task import CutoffData

CUSTOMERS = 2000  # customers whose inputs are compared, evenly spaced over all
HIGHEST_AUC = 0.98  # of a single column


class InputColumn(NamedTuple):
    """One column of the inputs: its field in `Inputs`, its name, and its values for the compared customers."""

    field: str
    name: str
    values: np.ndarray

    def __str__(self) -> str:
        return f"{self.field}.{self.name}" if self.name else self.field


def shuffle_future(log: EventLog, day: int, seed: int, share: float = 0.7) -> EventLog:
    """Shuffle all events at or after a day: customer, day, item, kind, channel, quantity and amounts.

    Parameters
    ----------
    log : EventLog
        The log.
    day : int
        Days since 1970-01-01; earlier events are unchanged.
    seed : int
        Seed of the shuffle.
    share : float
        Share of the later events that remains, in [0, 1]; 0 gives a log that ends before `day`.

    Returns
    -------
    EventLog
        The log with another future.
    """
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    later = np.flatnonzero(log.day >= day)
    remaining = np.delete(np.arange(owner.size), later[rng.random(later.size) >= share])
    moved = remaining[log.day[remaining] >= day]
    columns: dict[str, np.ndarray] = {name: np.array(getattr(log, name)) for name in log.column_types}
    for name in [name for name in columns if name not in ("day", "order")]:
        columns[name][moved] = rng.permutation(columns[name][moved])
    columns["revenue"][moved] *= rng.uniform(0.2, 5.0, moved.size).astype(np.float32)
    columns["day"][moved] = rng.integers(day, max(log.last_day, day) + 1, moved.size)
    columns["order"][moved] = np.where(
        columns["kind"][moved] == PURCHASE, columns["order"].max() + 1 + np.arange(moved.size), -1
    )
    owner[moved] = rng.integers(0, len(log), moved.size)
    order = remaining[np.lexsort((columns["day"][remaining], owner[remaining]))]
    offsets = offsets_of(np.bincount(owner[order], minlength=len(log)))
    item_known = np.array(log.item_known)
    future_items = np.flatnonzero(item_known >= day)
    item_known[future_items] = rng.permutation(item_known[future_items])
    shuffled: dict[str, Any] = {name: values[order] for name, values in columns.items()}
    purchase_days = shuffled["day"][shuffled["kind"] == PURCHASE]
    meta = log.meta | {"last_day": int(purchase_days.max()) if purchase_days.size else log.first_day}
    engagement = None if log.engagement is None else log.engagement.until(day)
    return replace(log, offsets=offsets, item_known=item_known, meta=meta, engagement=engagement, **shuffled)


def input_columns(cutoff_data: CutoffData, customers: int = CUSTOMERS) -> Iterator[InputColumn]:
    """Compute every column of the inputs for some customers.

    Parameters
    ----------
    cutoff_data : CutoffData
        The cutoff.
    customers : int
        Maximum number of customers, evenly spaced over all.

    Yields
    ------
    InputColumn
        In the order of `Inputs`. A field whose last axis has no names is one column with an empty name.
    """
    features, market_stats, all_rows = cutoff_data
    rows = all_rows[np.unique(np.linspace(0, all_rows.size - 1, min(customers, all_rows.size)).astype(int))]
    inputs = features.inputs(market_stats, rows)
    config = features.config
    names_of = {"pair": config.pair, "customer_features": config.customer, "context": config.context}
    for field, array in zip(inputs._fields, inputs, strict=True):
        values: Any = np.asarray(array)
        canary = getattr(features, "canary", {}).get(field, ())
        regular = names_of.get(field) or tuple(map(str, range(values.shape[-1] - len(canary) if canary else 0)))
        names = (*regular, *canary)
        if names and values.ndim and values.shape[-1] == len(names):
            yield from (InputColumn(field, name, values[..., k]) for k, name in enumerate(names))
        else:
            yield InputColumn(field, "", values)


def changed_inputs(prepare: Callable[[EventLog], CutoffData], log: EventLog, day: int, seed: int) -> list[str]:
    """Find the inputs that change with events at or after a day.

    Parameters
    ----------
    prepare : callable
        Prepares the cutoff under test from a log.
    log : EventLog
        The log.
    day : int
        Days since 1970-01-01.
    seed : int
        Seed of the shuffled future.

    Returns
    -------
    list of str
        Names of the columns that change when the future is shuffled or removed, in the order of the inputs.
    """
    original = prepare(log)
    original_columns = list(input_columns(original))
    changed: dict[str, None] = {}
    for share in (0.7, 0.0):
        other = prepare(shuffle_future(log, day, seed, share))
        if not np.array_equal(original.customer_id, other.customer_id):
            return ["the list of customers"]
        if original.features.offers.name != other.features.offers.name:
            return ["the list of offers"]
        for column, other_column in zip(original_columns, input_columns(other), strict=True):
            if not _same(column.values, other_column.values):
                changed[str(column)] = None
    return list(changed)


def high_auc_columns(
    cutoff_data: CutoffData, bought: np.ndarray, rows: np.ndarray, highest: float = HIGHEST_AUC
) -> dict[str, float]:
    """Find columns that alone rank all pairs with a high AUC.

    Parameters
    ----------
    cutoff_data : CutoffData
        The cutoff.
    bought : ndarray of bool, shape (B, M)
        Purchases in the horizon.
    rows : ndarray of int, shape (B,)
        Positions of the customers in `cutoff_data.row`.
    highest : float
        AUC above which a column is returned.

    Returns
    -------
    dict of str to float
        Column to AUC, highest first; an AUC below one half is mirrored.
    """
    sample = cutoff_data._replace(row=cutoff_data.row[rows])
    auc_of = {str(column): _column_auc(column, bought) for column in input_columns(sample, rows.size)}
    ranked = sorted(auc_of.items(), key=lambda pair: -pair[1])
    return {name: value for name, value in ranked if value > highest}


def _column_auc(column: InputColumn, bought: np.ndarray) -> float:
    """AUC of one column over all pairs, missing values lowest; one half for a column without a value per pair."""
    shapes = {
        "pair": (slice(None), slice(None)),
        "customer_features": (slice(None), None),
        "context": (None, slice(None)),
    }
    if column.field not in shapes or not column.name or bought.all() or not bought.any():
        return 0.5
    values = np.broadcast_to(column.values[shapes[column.field]], bought.shape).astype(np.float64).ravel()
    values = np.where(np.isnan(values), np.nanmin(values, initial=0.0) - 1.0, values)
    value = auc(values, bought.ravel())
    return max(value, 1.0 - value)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
