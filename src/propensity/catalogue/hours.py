"""Events at their exact times: columns of the last hours, recently viewed offers, and labels from a moment on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.catalogue.column import HOUR_COLUMNS, HOUR_KINDS, HOURS
from propensity.catalogue.kernel.hours import hour_columns, recent_offers
from propensity.catalogue.moment import DAY, end_of_day_times
from propensity.data.event_log import NO_TIME, EventLog
from propensity.data.offer import Offers
from propensity.kernel.event import EVERY_KIND, PURCHASE

RECENT = 7 * DAY  # offers of the events in this time before a request are scored


class TimedEvents(NamedTuple):
    """E events with a time of N customers, ascending in customer and time."""

    offsets: np.ndarray  # (N + 1,) int64
    time: np.ndarray  # (E,) int64, milliseconds since 1970-01-01 UTC
    kind: np.ndarray  # (E,) int8, place in `HOUR_KINDS`
    item: np.ndarray  # (E,) int32, -1 for an event without one
    sets: tuple[np.ndarray, np.ndarray]  # the offers of each item, offsets (I + 1,) and numbers
    offers: int  # M


class TimedSales(NamedTuple):
    """R purchases of an offer, ascending in customer and time; those without a time stand at the end of their day."""

    offsets: np.ndarray  # (N + 1,) int64
    time: np.ndarray  # (R,) int64, milliseconds since 1970-01-01 UTC, or days
    offer: np.ndarray  # (R,) int32
    revenue: np.ndarray  # (R,) float32


def timed_events(log: EventLog, offers: Offers) -> TimedEvents:
    """Purchases, views, carts, opens, clicks and searches of a log that have a time.

    Parameters
    ----------
    log : EventLog
        A log with times.
    offers : Offers
        M offers.
    """
    number = np.full(len(EVERY_KIND), -1, np.int8)
    for place, name in enumerate(HOUR_KINDS):
        number[EVERY_KIND.index(name)] = place
    owner, time, kind, item = ([np.empty(0, dtype)] for dtype in (np.int64, np.int64, np.int8, np.int32))
    for part in (log, log.engagement):
        if part is None or part.time is None:
            continue
        chosen = np.flatnonzero((number[part.kind] >= 0) & (part.time != NO_TIME))
        owner.append(part.owner(chosen).astype(np.int64))
        time.append(np.asarray(part.time[chosen], np.int64))
        kind.append(number[part.kind[chosen]])
        item.append(np.asarray(part.item[chosen], np.int32))
    owners, times, kinds, items = (np.concatenate(each) for each in (owner, time, kind, item))
    order = np.lexsort((items, kinds, times, owners))
    offsets = np.searchsorted(owners[order], np.arange(len(log) + 1)).astype(np.int64)
    sets = np.asarray(offers.item_offsets, np.int64), np.asarray(offers.item_offer, np.int32)
    return TimedEvents(offsets, times[order], kinds[order], items[order], sets, len(offers))


def timed_sales(log: EventLog, offers: Offers, by_day: bool = False) -> TimedSales:
    """The purchases of a log at their times, or at their days, one for each offer that holds the item."""
    event = np.flatnonzero((log.kind == PURCHASE) & (log.item >= 0))
    item, time = (
        log.item[event].astype(np.int64),
        (log.day if by_day else end_of_day_times(log))[event].astype(np.int64),
    )
    sizes = np.diff(offers.item_offsets)[item]
    start = np.repeat(offers.item_offsets[item], sizes)
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    offer = offers.item_offer[start + within].astype(np.int32)
    event, time = np.repeat(event, sizes), np.repeat(time, sizes)
    owner = log.owner(event).astype(np.int64)
    order = np.lexsort((offer, time, owner))
    offsets = np.searchsorted(owner[order], np.arange(len(log) + 1)).astype(np.int64)
    return TimedSales(offsets, time[order], offer[order], np.asarray(log.revenue[event[order]], np.float32))


def columns_of_hours(
    events: TimedEvents, customer: np.ndarray, moment: np.ndarray, clock: np.ndarray, start: np.ndarray,
    offer: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """What customers did in the hours before their moments.

    Parameters
    ----------
    events : TimedEvents
        The events.
    customer, moment, clock : (B,)
        Rows of the log, moments in ms since 1970-01-01 UTC and ms since midnight of the shop.
    start, offer : (B + 1,), (P,)
        Pairs, see `Pairs`.

    Returns
    -------
    numpy.ndarray of shape (P, H), float32
        The columns `HOUR_COLUMNS`, from events strictly before the moments.
    """
    out = np.empty((offer.size, len(HOUR_COLUMNS)), np.float32)
    view, cart, purchase = (HOUR_KINDS.index(name) for name in ("view", "cart", "purchase"))
    hour_columns(
        events.offsets, events.time, events.kind, events.item, events.sets, events.offers, customer, moment, clock,
        np.array(HOURS, np.int64), view, cart, purchase, start, offer, out,
    )  # fmt: skip
    return out


def recently_seen(events: TimedEvents, customer: np.ndarray, moment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (K,) among the customers (B,) and offers (K,) of their events in the last `RECENT` ms, each pair once."""
    none = np.empty(0, np.int64)
    arguments = events.offsets, events.time, events.item, events.sets, events.offers, customer, moment, RECENT
    size = recent_offers(*arguments, none, none)
    owner, offer = np.empty(size, np.int64), np.empty(size, np.int64)
    recent_offers(*arguments, owner, offer)
    return owner, offer
