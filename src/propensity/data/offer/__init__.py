"""Offers: named sets of items, from the values of a column or from filters, and which of them are on sale at a date."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from propensity.data.cutoff import Cutoff
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.kernel.context import offer_context
from propensity.kernel.event import Sets, fixed


class Offers(NamedTuple):
    """M sets of items: names (M,), and CSR item -> offers `item_offsets (I + 1,)`, `item_offer`.

    parent (M,): a number that siblings share, -1 for an offer without any. An item may belong to several offers, or to
    none; an offer may have no item that was ever bought.
    """

    name: tuple[str, ...]
    item_offsets: np.ndarray
    item_offer: np.ndarray
    parent: np.ndarray

    def __len__(self) -> int:
        return len(self.name)

    @property
    def sets(self) -> Sets:
        """Item -> offers, as kernels take it."""
        return Sets(fixed(self.item_offsets), fixed(self.item_offer))

    @property
    def item(self) -> np.ndarray:
        """The item of each entry of `item_offer`."""
        return np.repeat(np.arange(self.item_offsets.size - 1), np.diff(self.item_offsets))

    def take(self, kept: np.ndarray) -> Offers:
        """The offers at the ascending positions `kept`, renumbered."""
        number = np.full(len(self), -1)
        number[kept] = np.arange(kept.size)
        offer = number[self.item_offer]
        names, items = tuple(self.name[k] for k in kept), self.item_offsets.size - 1
        return build_offers(names, self.item[offer >= 0], offer[offer >= 0], items, self.parent[kept])


def build_offers(
    name: tuple[str, ...], item: np.ndarray, offer: np.ndarray, items: int, parent: np.ndarray | None = None
) -> Offers:
    """Offers out of (item, offer) entries, ascending in item; `items` is the size of the item vocabulary."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(item, minlength=items))])
    parent = np.full(len(name), -1) if parent is None else parent
    return Offers(name, offsets.astype(np.int64), offer.astype(np.int32), parent)


class OfferConfig(Protocol):
    """How a market is cut into offers; `min_buyers` distinct buyers in `window` days put an offer on the list."""

    min_buyers: int
    window: int

    def all(self, log: EventLog) -> Offers: ...

    def parents(self, items: pl.DataFrame, offers: Offers) -> np.ndarray: ...


def is_categorical(kind: pl.DataType) -> bool:
    """Whether values of a column's type are names: text or whole numbers; fractions are measurements."""
    return kind.is_integer() or kind in (pl.String, pl.Categorical, pl.Boolean)


def offers_before(log: EventLog, rule: OfferConfig, day: int) -> Offers:
    """All offers of the rule, holding only the items known before `day`; offers left empty stay."""
    offers = rule.all(log)
    known = (log.item_known < day)[offers.item]
    offers = build_offers(offers.name, offers.item[known], offers.item_offer[known], log.item_known.size)
    return Offers(offers.name, offers.item_offsets, offers.item_offer, rule.parents(log.items, offers))


def active_offers(log: EventLog, rule: OfferConfig, cutoff: Cutoff) -> Offers:
    """The offers to score at a cutoff: known items, and at least `min_buyers` buyers in `[day - window, day)`.

    Where no offer has them, because the log ended long before or has only begun, those that had them when it ended;
    else whatever was ever bought. ConfigurationError if nothing was.
    """
    offers = offers_before(log, rule, cutoff.day)
    stocked = np.bincount(offers.item_offer, minlength=len(offers)) > 0
    if rule.min_buyers <= 0 and stocked.any():
        return offers.take(np.flatnonzero(stocked))
    end = min(log.last_day + 1, cutoff.day)
    for day, window, least in (
        (cutoff.day, rule.window, rule.min_buyers),
        (end, rule.window, rule.min_buyers),
        (end, end - log.first_day, 1),
    ):
        kept = np.flatnonzero(count_buyers(log, offers, day, window) >= max(least, 1))
        if kept.size:
            return offers.take(kept)
    raise ConfigurationError(
        f"no offer was ever bought before {cutoff}; give a later cutoff or other data.offer settings"
    )


def count_buyers(log: EventLog, offers: Offers, day: int, window: int) -> np.ndarray:
    """Distinct customers who bought each offer in `[day - window, day)`: (M,)."""
    out = np.empty((len(offers), 9))
    offer_context(log.events, offers.sets, np.arange(len(log)), day, 1, np.array([window]), out)
    return out[:, 0].astype(np.int64)
