"""Data that an extra column is computed from: events before the cutoff that the history mask does not hide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import polars as pl

from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.errors import ConfigurationError
from propensity.feature.history_mask import HistoryMask
from propensity.feature.market_stats import MarketStats
from propensity.kernel.column import FeatureColumn
from propensity.kernel.event import Events
from propensity.kernel.history import ends
from propensity.kernel.ragged import offsets_of, positions


@dataclass(frozen=True)
class PointInTime:
    """Customers as known at a cutoff. B customers, E events, M offers, I items.

    Parameters
    ----------
    cutoff : Cutoff
        Day and horizon.
    events : Events
        The customers' events before the cutoff, ascending in day: customer b has `offsets[b]:offsets[b + 1]`. Events
        that the history mask of training hides are not among them.
    customers : DataFrame
        B rows of the log's table of customers: ids and attributes.
    items : DataFrame
        The log's table of items; `events.item` are its row numbers, -1 for an event without an item.
    offers : Offers
        Names, items and parents of the M offers.
    market_stats : MarketStats
        The market at the cutoff.
    """

    cutoff: Cutoff
    events: Events
    customers: pl.DataFrame
    items: pl.DataFrame
    offers: Offers
    market_stats: MarketStats

    def __len__(self) -> int:
        return self.events.offsets.size - 1

    def each(self) -> Iterator[PointInTime]:
        """The customers one at a time."""
        for b, (start, end) in enumerate(pairwise(self.events.offsets.tolist())):
            columns = [column[start:end] for column in self.events[1:]]
            events = Events(np.array([0, end - start]), *columns)
            yield replace(self, events=events, customers=self.customers[b : b + 1])

    @property
    def owner(self) -> np.ndarray:
        """(E,) the customer, 0 to B - 1, of each event."""
        return np.repeat(np.arange(len(self)), np.diff(self.events.offsets))

    @property
    def age(self) -> np.ndarray:
        """(E,) days before the cutoff, 1 or more."""
        return self.cutoff.day - self.events.day

    @property
    def offer_events(self) -> tuple[np.ndarray, np.ndarray]:
        """Event (K,) and offer (K,) wherever the item of an event belongs to an offer; an item may be in several."""
        offsets, offer = self.offers.sets
        with_item = np.flatnonzero(self.events.item >= 0)
        item = self.events.item[with_item]
        count = offsets[item + 1] - offsets[item]
        place = positions(offsets[item], count)
        return np.repeat(with_item, count), offer[place]


def point_in_time(
    log: EventLog, offers: Offers, market_stats: MarketStats, customer: np.ndarray, mask: HistoryMask
) -> PointInTime:
    """Collect what is visible of customers at the cutoff of `market_stats`.

    Parameters
    ----------
    log : EventLog
        The log; events at or after the cutoff are left out.
    offers : Offers
        M offers.
    market_stats : MarketStats
        The market at the cutoff.
    customer : (B,) int
        Rows of the log.
    mask : HistoryMask
        Hides the last days of a customer and the events of its masked offer.

    Returns
    -------
    PointInTime
        The customers with their visible events.
    """
    start, end = log.offsets[customer], ends(log.events, customer, market_stats.cutoff.day, mask.days)
    count = end - start
    place = positions(start, count)
    owner = np.repeat(np.arange(customer.size), count)
    visible = ~_in_offer(offers, log.item[place], mask.offer[owner])
    place, count = place[visible], np.bincount(owner[visible], minlength=customer.size)
    columns = {name: np.asarray(getattr(log, name)[place]) for name in Events._fields if name != "offsets"}
    events = Events(offsets_of(count), **columns)
    return PointInTime(market_stats.cutoff, events, log.customers[customer], log.items, offers, market_stats)


def _in_offer(offers: Offers, item: np.ndarray, offer: np.ndarray) -> np.ndarray:
    """(E,) bool: whether an item (-1: none) belongs to an offer (-1: none)."""
    inside = np.zeros(item.size, bool)
    candidate = np.flatnonzero((item >= 0) & (offer >= 0))
    if candidate.size == 0:
        return inside
    member = np.repeat(np.arange(offers.item_offsets.size - 1), np.diff(offers.item_offsets)) * len(offers)
    key = item[candidate].astype(np.int64) * len(offers) + offer[candidate]
    inside[candidate] = np.isin(key, member + offers.item_offer)
    return inside


def compute_column(column: FeatureColumn, known: PointInTime, reference: bool = False) -> np.ndarray:
    """Compute an extra column by its function or by its plain definition.

    Parameters
    ----------
    column : FeatureColumn
        A column with `compute` and `reference`.
    known : PointInTime
        B customers and M offers at the cutoff.
    reference : bool
        Use the plain definition.

    Returns
    -------
    ndarray of float32
        (B, M) for a pair column, (B,) for a customer column, (M,) for a context column.

    Raises
    ------
    ConfigurationError
        If the function returns another shape.
    """
    shape = {"pair": (len(known), len(known.offers)), "customer": (len(known),), "context": (len(known.offers),)}
    function = column.reference if reference else column.compute
    assert function is not None
    values = np.asarray(function(known))
    if values.shape != shape[column.block]:
        raise ConfigurationError(
            f"{'the reference of ' if reference else ''}column {column.name!r} of data.feature.extra returned shape "
            f"{values.shape}; a {column.block} column needs {shape[column.block]}"
        )
    return values.astype(np.float32)
