"""Whether an input knows the future: the same inputs are made once more in worlds with another one, and compared.

Nothing here goes by the name of a column. One that changes when only things dated at or after the cutoff do has seen
them, in whatever part of the inputs it lies; and one that alone tells buyers apart almost perfectly is held suspect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from propensity.data.event_log import COLUMNS, EventLog
from propensity.kernel.event import PURCHASE
from propensity.metric.ranking import auc
from propensity.task import CutoffData

CUSTOMERS = 2000  # whose inputs are compared, spread over all
SUSPECT = 0.98  # AUC of a single column


class InputColumn(NamedTuple):
    """One column of the inputs: where it lies, its name, and its values for the customers compared."""

    field: str
    name: str
    values: np.ndarray

    def __str__(self) -> str:
        return f"{self.field}.{self.name}" if self.name else self.field


def another_future(log: EventLog, day: int, seed: int, kept: float = 0.7) -> EventLog:
    """The log with everything dated at or after `day` dealt out anew: who, when, what, for how much; some of it gone.

    `kept` is the share of later events that stay, 0 for a log that ends before `day`. The past is untouched.
    """
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    later = np.flatnonzero(log.day >= day)
    stays = np.delete(np.arange(owner.size), later[rng.random(later.size) >= kept])
    moved = stays[log.day[stays] >= day]
    columns: dict[str, np.ndarray] = {name: np.array(getattr(log, name)) for name in COLUMNS}
    for name in ("item", "kind", "channel", "quantity", "revenue", "discount"):
        columns[name][moved] = rng.permutation(columns[name][moved])
    columns["revenue"][moved] *= rng.uniform(0.2, 5.0, moved.size).astype(np.float32)
    columns["day"][moved] = rng.integers(day, max(log.last_day, day) + 1, moved.size)
    columns["order"][moved] = np.where(
        columns["kind"][moved] == PURCHASE, columns["order"].max() + 1 + np.arange(moved.size), -1
    )
    owner[moved] = rng.integers(0, len(log), moved.size)
    order = stays[np.lexsort((columns["day"][stays], owner[stays]))]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner[order], minlength=len(log)))]).astype(np.int64)
    known = np.array(log.item_known)
    unknown = np.flatnonzero(known >= day)
    known[unknown] = rng.permutation(known[unknown])
    dealt: dict[str, Any] = {name: values[order] for name, values in columns.items()}
    sold = dealt["day"][dealt["kind"] == PURCHASE]
    meta = log.meta | {"last_day": int(sold.max()) if sold.size else log.first_day}
    return replace(log, offsets=offsets, item_known=known, meta=meta, **dealt)


def columns_of(cutoff_data: CutoffData, customers: int = CUSTOMERS) -> Iterator[InputColumn]:
    """Every column of the inputs of at most `customers` customers, whatever its part is called and shaped like."""
    features, market_stats, everyone = cutoff_data
    rows = everyone[np.unique(np.linspace(0, everyone.size - 1, min(customers, everyone.size)).astype(int))]
    made = features.inputs(market_stats, rows)
    config = features.config
    named = {"pair": config.pair, "customer": config.customer, "context": config.context}
    for field, array in zip(made._fields, made, strict=True):
        values: Any = np.asarray(array)
        more = getattr(features, "planted", {}).get(field, ())
        own = named.get(field) or tuple(map(str, range(values.shape[-1] - len(more) if more else 0)))
        names = (*own, *more)
        if names and values.ndim and values.shape[-1] == len(names):
            yield from (InputColumn(field, name, values[..., k]) for k, name in enumerate(names))
        else:
            yield InputColumn(field, "", values)


def informed(make: Callable[[EventLog], CutoffData], log: EventLog, day: int, seed: int) -> list[str]:
    """Names of the inputs that change with what happens at or after `day`, in the order of the inputs.

    Args: make, from a log to the occasion whose inputs are under suspicion.
    """
    told = make(log)
    before = list(columns_of(told))
    found: dict[str, None] = {}
    for kept in (0.7, 0.0):
        other = make(another_future(log, day, seed, kept))
        if not np.array_equal(told.customer_id, other.customer_id):
            return ["the list of customers"]
        if told.features.offers.name != other.features.offers.name:
            return ["the list of offers"]
        for column, again in zip(before, columns_of(other), strict=True):
            if not _same(column.values, again.values):
                found[str(column)] = None
    return list(found)


def suspects(
    cutoff_data: CutoffData, bought: np.ndarray, rows: np.ndarray, highest: float = SUSPECT
) -> dict[str, float]:
    """Columns that alone rank all pairs better than `highest`, with their AUC either way round; strongest first.

    Args: bought (B,M) what the customers `rows` (B,) of the occasion went on to buy.
    """
    part = cutoff_data._replace(row=cutoff_data.row[rows])
    strength = {str(column): _strength(column, bought) for column in columns_of(part, rows.size)}
    found = sorted(strength.items(), key=lambda pair: -pair[1])
    return {name: value for name, value in found if value > highest}


def _strength(column: InputColumn, bought: np.ndarray) -> float:
    """AUC of one column over all pairs, missing values last; one half for what is not a number per pair."""
    shapes = {"pair": (slice(None), slice(None)), "customer": (slice(None), None), "context": (None, slice(None))}
    if column.field not in shapes or not column.name or bought.all() or not bought.any():
        return 0.5
    values = np.broadcast_to(column.values[shapes[column.field]], bought.shape).astype(np.float64).ravel()
    values = np.where(np.isnan(values), np.nanmin(values, initial=0.0) - 1.0, values)
    found = auc(values, bought.ravel())
    return max(found, 1.0 - found)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
