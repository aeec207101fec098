"""Offers: named sets of items, and which of them are scored at a cutoff."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.kernel.context import LineLimits, offer_context
from propensity.kernel.event import Sets, fixed
from propensity.kernel.ragged import offsets_of


class Offers(NamedTuple):
    """M named sets of items, in CSR form from item to offers.

    An item may belong to several offers or to none. An offer may have no item that was ever bought.
    """

    name: tuple[str, ...]  # (M,)
    item_offsets: np.ndarray  # (I + 1,) int64
    item_offer: np.ndarray  # int32, the offers of each item
    parent: np.ndarray  # (M,) a number that siblings share, -1 without siblings

    def __len__(self) -> int:
        return len(self.name)

    @property
    def sets(self) -> Sets:
        """Item to offers, in the form that kernels expect."""
        return Sets(fixed(self.item_offsets), fixed(self.item_offer))

    @property
    def item(self) -> np.ndarray:
        """The item of each entry of `item_offer`."""
        return np.repeat(np.arange(self.item_offsets.size - 1), np.diff(self.item_offsets))

    def take(self, positions: np.ndarray) -> Offers:
        """Select offers.

        Parameters
        ----------
        positions : numpy.ndarray of shape (m,), int
            Ascending positions.

        Returns
        -------
        Offers
            The m selected offers, renumbered.
        """
        number = np.full(len(self), -1)
        number[positions] = np.arange(positions.size)
        offer = number[self.item_offer]
        names, items = tuple(self.name[k] for k in positions), self.item_offsets.size - 1
        return build_offers(names, self.item[offer >= 0], offer[offer >= 0], items, self.parent[positions])


def build_offers(
    name: tuple[str, ...], item: np.ndarray, offer: np.ndarray, items: int, parent: np.ndarray | None = None
) -> Offers:
    """Build offers from (item, offer) entries.

    Parameters
    ----------
    name : tuple of str
        M names.
    item, offer : numpy.ndarray of shape (entries,), int
        Entries, ascending in item.
    items : int
        Number of items of the log.
    parent : numpy.ndarray of shape (M,), optional
        Number of each offer's parent; default -1.

    Returns
    -------
    Offers
        The offers in CSR form.
    """
    offsets = offsets_of(np.bincount(item, minlength=items))
    parent = np.full(len(name), -1) if parent is None else parent
    return Offers(name, offsets, offer.astype(np.int32), parent)


class OfferConfig(Protocol):
    """Definition of offers; an offer is active with `min_buyers` distinct buyers in the last `window` days."""

    min_buyers: int
    window: int

    def all(self, log: EventLog) -> Offers:
        """All offers of the log, with every item."""
        ...

    def parents(self, items: pl.DataFrame, offers: Offers) -> np.ndarray:
        """Number of each offer's parent (M,), -1 for none."""
        ...


def is_categorical(kind: pl.DataType) -> bool:
    """Tell whether a column's values are categories.

    Parameters
    ----------
    kind : polars.DataType
        Type of the column.

    Returns
    -------
    bool
        True for text and whole numbers, False for fractions, which are measurements.
    """
    return kind.is_integer() or kind in (pl.String, pl.Categorical, pl.Boolean)


def offers_before(log: EventLog, config: OfferConfig, day: int) -> Offers:
    """Restrict offers to the items known before a day.

    Parameters
    ----------
    log : EventLog
        The log.
    config : OfferConfig
        Definition of the offers.
    day : int
        Days since 1970-01-01.

    Returns
    -------
    Offers
        All offers, including those without a known item.
    """
    offers = config.all(log)
    known = (log.item_known < day)[offers.item]
    offers = build_offers(offers.name, offers.item[known], offers.item_offer[known], log.item_known.size)
    return Offers(offers.name, offers.item_offsets, offers.item_offer, config.parents(log.items, offers))


def active_offers(log: EventLog, config: OfferConfig, cutoff: Cutoff) -> Offers:
    """Select the offers to score at a cutoff.

    Parameters
    ----------
    log : EventLog
        Log of the events before the cutoff.
    config : OfferConfig
        Definition of the offers.
    cutoff : Cutoff
        The cutoff.

    Returns
    -------
    Offers
        Offers with known items and at least `min_buyers` buyers in `[day - window, day)`. If there are none, because
        the log ended long before or has just begun, those that were active at the end of the log; if there are none
        either, those that were ever bought.

    Raises
    ------
    ConfigurationError
        If no offer was ever bought.
    """
    offers = offers_before(log, config, cutoff.day)
    with_items = np.bincount(offers.item_offer, minlength=len(offers)) > 0
    if config.min_buyers <= 0 and with_items.any():
        return offers.take(np.flatnonzero(with_items))
    end = min(log.last_day + 1, cutoff.day)
    for day, window, minimum in (
        (cutoff.day, config.window, config.min_buyers),
        (end, config.window, config.min_buyers),
        (end, end - log.first_day, 1),
    ):
        active = np.flatnonzero(count_buyers(log, offers, day, window) >= max(minimum, 1))
        if active.size:
            return offers.take(active)
    raise ConfigurationError(
        f"no offer was ever bought before {cutoff}; use a later cutoff or change the data.offer settings"
    )


def count_buyers(log: EventLog, offers: Offers, day: int, window: int) -> np.ndarray:
    """Count the distinct buyers of each offer in `[day - window, day)`.

    Parameters
    ----------
    log : EventLog
        The log.
    offers : Offers
        M offers.
    day : int
        Days since 1970-01-01, exclusive.
    window : int
        Length in days.

    Returns
    -------
    numpy.ndarray of shape (M,), int64
        Distinct customers with a purchase.
    """
    out, none = np.empty((len(offers), 9)), LineLimits(np.full(len(offers), np.inf), np.zeros(len(offers)))
    offer_context(log.events, offers.sets, np.arange(len(log)), day, 1, np.array([window]), none, out)
    return out[:, 0].astype(np.int64)
