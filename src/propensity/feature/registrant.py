"""Columns of registrants, customers without a visible purchase: their registration, source, views, carts and opens, and
how often registrants of the same source, and similar ones, made a first purchase.

Rates come from label windows that closed by the cutoff, and are shrunk to those of all registrants. They are
logarithms. All columns are 0 for a customer with a purchase. The plain definition is in `propensity.serving.inputs`.

Legend: N customers of a log, B registrants, M offers, S sources, C classes of similar registrants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.registrant import SOURCE, registrants, registration_days
from propensity.kernel.column import FeatureColumn
from propensity.kernel.event import CART, CLICK, OPEN, SEARCH, VIEW, Events
from propensity.kernel.ragged import offsets_of, positions

if TYPE_CHECKING:
    from propensity.data.event_log import EventLog
    from propensity.feature.market_stats import MarketStats

GROUP = "registrants"
AGE_CAP = 364  # days since registration; a column that grows with the calendar drifts: cap it
ACTIVITY_DAYS = 91  # in which views, carts, opens, clicks and searches make registrants similar
AGE_EDGES = np.array([8, 29, 92, 183])  # days since registration; the last class is that of an unknown registration
ACTIVITY_EDGES = np.array([1, 2, 4, 8])  # events
CLASSES = (AGE_EDGES.size + 2) * (ACTIVITY_EDGES.size + 1)
PRIOR_PURCHASES = 2.0  # at the rate of all registrants, that the rate of a group is shrunk by
PRIOR_REGISTRANTS = 1000.0  # of whom one made a first purchase, where no label window has closed
PRIOR_TRIALS = 40.0  # at the mean rate of all offers, that the rate of an offer is shrunk by

customer = partial(FeatureColumn, block="customer", group=GROUP, reason="person")
activity = partial(customer, reason="messages")
pair = partial(
    FeatureColumn,
    block="pair",
    group=GROUP,
    reason="similar",
    missing="nobody bought the offer",
    empty=None,
    ranked=True,
)

REGISTRANT = (
    customer("registrant", "1 for a customer without a purchase", empty=1.0),
    customer(
        "registrant_age",
        f"days since the registration of a registrant, at most {AGE_CAP}",
        missing="no date of registration is known",
        empty=None,
        optional=True,
    ),
    customer(
        "registrant_source",
        "log share of the registrants of the same source with a first purchase within a horizon",
        empty=None,
    ),
    customer(
        "registrant_similar",
        "the same of registrants of similar age with as many views, carts, opens, clicks and searches in 91 days",
        empty=None,
    ),
    activity("registrant_views_7", "views of a registrant in the last 7 days"),
    activity("registrant_views_91", "views of a registrant in the last 91 days"),
    activity("registrant_carts_28", "items put into a cart by a registrant in the last 28 days"),
    activity("registrant_opens_28", "messages opened by a registrant in the last 28 days"),
    activity("registrant_clicks_28", "messages clicked by a registrant in the last 28 days"),
    activity("registrant_searches_28", "searches of a registrant in the last 28 days"),
    activity(
        "registrant_recency",
        f"days since the last view, cart, open, click or search, of the last {ACTIVITY_DAYS} days",
        missing="none in that time",
        empty=np.nan,
        optional=True,
    ),
)
REGISTRANT_PAIR = (
    pair("registrant_source_offer", "log share of the registrants of the same source who bought the offer"),
    pair("registrant_similar_offer", "log share of the similar registrants who bought the offer"),
)
COUNTED = {VIEW: 0, CART: 1, OPEN: 2, CLICK: 3, SEARCH: 4}  # kind to its place among the counts
WINDOWS = {  # column: kind and days
    "registrant_views_7": (VIEW, 7),
    "registrant_views_91": (VIEW, 91),
    "registrant_carts_28": (CART, 28),
    "registrant_opens_28": (OPEN, 28),
    "registrant_clicks_28": (CLICK, 28),
    "registrant_searches_28": (SEARCH, 28),
}


class Registry(NamedTuple):
    """What is known of N customers beside the events that kernels read.

    Parameters
    ----------
    day : (N,) float64
        Day of registration, in days since 1970-01-01; NaN where none is known.
    source : (N,) str
        Source; empty where none is known.
    offsets : (N + 1,) int64
        The events of customer n are `offsets[n]:offsets[n + 1]`.
    event_day, event_kind, event_item : (E,) int
        Carts, opens, clicks and searches, ascending in day; the item is -1 where there is none.
    """

    day: np.ndarray
    source: np.ndarray
    offsets: np.ndarray
    event_day: np.ndarray
    event_kind: np.ndarray
    event_item: np.ndarray

    @classmethod
    def unknown(cls, customers: int) -> Registry:
        """Customers of whom nothing is known."""
        none = np.zeros(0, np.int32)
        offsets = np.zeros(customers + 1, np.int64)
        return cls(np.full(customers, np.nan), np.zeros(customers, "U1"), offsets, none, none, none)

    @classmethod
    def of_log(cls, log: EventLog) -> Registry:
        """The customers of a log."""
        nothing = cls.unknown(len(log))
        source = nothing.source
        if SOURCE in log.customers.columns:
            source = np.array(log.customers[SOURCE].cast(pl.String).fill_null("").to_list(), np.str_)
        events = nothing[2:] if log.engagement is None else _events(log.engagement)
        return cls(registration_days(log.customers), source, *events)

    def take(self, row: int) -> Registry:
        """One customer."""
        own = slice(self.offsets[row], self.offsets[row + 1])
        day, kind, item = (np.array(each[own]) for each in (self.event_day, self.event_kind, self.event_item))
        return Registry(self.day[row : row + 1], self.source[row : row + 1], np.array([0, day.size]), day, kind, item)


def _events(engagement: EventLog) -> tuple[np.ndarray, ...]:
    return engagement.offsets, engagement.day, engagement.kind, engagement.item


def joined(registries: Sequence[Registry]) -> Registry:
    """Registries of some customers each as one."""
    sizes = np.concatenate([np.diff(each.offsets) for each in registries])
    day, source, *events = (np.concatenate([each[k] for each in registries]) for k in (0, 1, 3, 4, 5))
    return Registry(day, source, offsets_of(sizes), *events)


class RegistrantRates(NamedTuple):
    """Log shares of registrants with a purchase within the horizon: of each offer, and last of anything.

    Parameters
    ----------
    source : (S,) str
        Sources, ascending.
    source_rate : (S + 1, M + 1) float32
        By source; the last row is for registrants of an unknown source.
    similar_rate : (C, M + 1) float32
        By class of age and activity.
    """

    source: np.ndarray
    source_rate: np.ndarray
    similar_rate: np.ndarray


def no_rates() -> RegistrantRates:
    """Rates where the group of columns is off."""
    empty = np.zeros((0, 0), np.float32)
    return RegistrantRates(np.zeros(0, "U1"), empty, empty)


class Activity(NamedTuple):
    """What B customers did in the last 91 days.

    Parameters
    ----------
    owner : (E,) int
        Place of the customer of each event.
    age : (E,) int
        Days before the cutoff, 1 or more.
    kind : (E,) int
        Its kind.
    item : (E,) int
        Its item; -1 for none.
    """

    owner: np.ndarray
    age: np.ndarray
    kind: np.ndarray
    item: np.ndarray

    def counts(self, size: int, kind: int | None = None, days: int = ACTIVITY_DAYS) -> np.ndarray:
        """Events of a kind, or of every kind, in the last days: (B,) int64."""
        chosen = (self.age <= days) & (True if kind is None else self.kind == kind)
        return np.bincount(self.owner[chosen], minlength=size)

    def recency(self, size: int) -> np.ndarray:
        """Days since the last event: (B,) float64, NaN without one."""
        recency = np.full(size, np.inf)
        np.minimum.at(recency, self.owner, self.age)
        return np.where(np.isfinite(recency), recency, np.nan)


def activity_of(registry: Registry, events: Events, row: np.ndarray, day: int, hidden: np.ndarray) -> Activity:
    """Views, carts, opens, clicks and searches of customers in the days before a cutoff.

    Parameters
    ----------
    registry : Registry
        Of the customers of `events`.
    events : Events
        Columns of the log.
    row : (B,) int
        Rows of the customers.
    day : int
        Cutoff.
    hidden : (B,) int
        Number of days before the cutoff that the history mask hides.
    """
    parts = []
    for offsets, days, kinds, items in ((events.offsets, events.day, events.kind, events.item), registry[2:]):
        start, count = offsets[row], offsets[row + 1] - offsets[row]
        place = positions(start, count)
        owner, age, kind = np.repeat(np.arange(row.size), count), day - days[place].astype(np.int64), kinds[place]
        item = items[place]
        visible = np.isin(kind, list(COUNTED)) & (age > hidden[owner]) & (age <= ACTIVITY_DAYS)
        parts.append((owner[visible], age[visible], *(each[visible].astype(np.int64) for each in (kind, item))))
    return Activity(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def age_of(registry: Registry, row: np.ndarray, day: int) -> np.ndarray:
    """Days since registration (B,); NaN where it is not known, or not before the cutoff."""
    age = day - registry.day[row]
    return np.where(age >= 1, age, np.nan)


def classes(age: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Classes of similar registrants, from days since registration (NaN: unknown) and events of 91 days: (B,) int64.

    >>> classes(np.array([3.0, 30.0, np.nan]), np.array([0, 2, 9])).tolist()
    [0, 12, 29]
    """
    by_age = np.where(np.isnan(age), AGE_EDGES.size + 1, np.digitize(np.nan_to_num(age), AGE_EDGES))
    return by_age * (ACTIVITY_EDGES.size + 1) + np.digitize(active, ACTIVITY_EDGES)


def source_places(registry: Registry, row: np.ndarray, day: int, names: np.ndarray) -> np.ndarray:
    """Places (B,) of the sources of customers among the S ascending names; S for another or an unknown one.

    The source of a customer who registers at the cutoff or later is not known.
    """
    source = np.where(registry.day[row] >= day, "", registry.source[row])
    if not names.size:
        return np.zeros(source.size, np.int64)
    place = np.minimum(np.searchsorted(names, source), names.size - 1)
    return np.where(names[place] == source, place, names.size)


def registrant_rates(
    log: EventLog,
    registry: Registry,
    days: Sequence[int],
    offers: int,
    sample: Callable[[np.ndarray], np.ndarray],
    bought: Callable[[np.ndarray, int], np.ndarray],
) -> RegistrantRates:
    """Rates of first purchases from closed label windows.

    Parameters
    ----------
    log : EventLog
        Events before the cutoff.
    registry : Registry
        Of its customers.
    days : sequence of int
        First days of the label windows.
    offers : int
        M.
    sample : callable
        Selects, from rows of the log (R,), the at most S rows that are counted.
    bought : callable
        From rows and the first day of a window to purchases (B, M) in it.

    Returns
    -------
    RegistrantRates
        Of registrants as of the first day of each window.
    """
    names = np.unique(registry.source[registry.source != ""]) if registry.source.size else np.zeros(0, "U1")
    trials = [np.zeros(names.size + 1), np.zeros(CLASSES)]
    hits = [np.zeros((each.size, offers + 1)) for each in trials]
    for day in days:
        row = sample(registrants(log, day))
        if not row.size:
            continue
        purchases = bought(row, day)
        outcome = np.concatenate([purchases, purchases.any(axis=1, keepdims=True)], axis=1)
        for k, group in enumerate(_groups(registry, log.events, row, day, np.zeros(row.size, np.int64), names)):
            trials[k] += np.bincount(group, minlength=trials[k].size)
            for each in np.unique(group):
                hits[k][each] += outcome[group == each].sum(axis=0)
    overall = overall_rate(hits[0].sum(axis=0), float(trials[0].sum()))
    rates = (group_rates(*each, overall) for each in zip(hits, trials, strict=True))
    seen = trials[0][:-1] > 0  # a source of whom nobody could be counted says nothing, and may be of the future
    by_source, similar = rates
    return RegistrantRates(names[seen], by_source[np.append(seen, True)], similar)


def _groups(
    registry: Registry, events: Events, row: np.ndarray, day: int, hidden: np.ndarray, names: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Place of the source (B,) and class (B,) of each registrant."""
    active = activity_of(registry, events, row, day, hidden).counts(row.size)
    return source_places(registry, row, day, names), classes(age_of(registry, row, day), active)


def overall_rate(hits: np.ndarray, trials: float) -> np.ndarray:
    """Rates of all registrants (M + 1,) from purchases (M + 1,) and registrants; offers are shrunk to their mean.

    >>> overall_rate(np.array([6.0, 2.0, 7.0]), 1000.0).round(4).tolist()
    [0.0059, 0.0021, 0.004]
    """
    mean = (hits[:-1].sum() + 1.0) / (max(hits.size - 1, 1) * (trials + PRIOR_REGISTRANTS))
    offers = (hits[:-1] + PRIOR_TRIALS * mean) / (trials + PRIOR_TRIALS)
    return np.append(offers, (hits[-1] + 1.0) / (trials + PRIOR_REGISTRANTS))


def group_rates(hits: np.ndarray, trials: np.ndarray, overall: np.ndarray) -> np.ndarray:
    """Log rates of groups (G, M + 1), shrunk to those of all registrants by purchases at their rate.

    >>> np.exp(group_rates(np.array([[8.0]]), np.array([100.0]), np.array([0.02]))).round(4)
    array([[0.05]], dtype=float32)
    """
    rate = (hits + PRIOR_PURCHASES) / (trials[:, None] + PRIOR_PURCHASES / overall)
    return np.log(rate).astype(np.float32)


def fill_customer_columns(
    column: dict[str, np.ndarray],
    registry: Registry,
    events: Events,
    market_stats: MarketStats,
    row: np.ndarray,
    hidden: np.ndarray,
) -> None:
    """Fill the customer columns of a block.

    Parameters
    ----------
    column : dict of str to (B,) float32
        Customer columns by name; `recency` is NaN for a registrant.
    registry, events : Registry, Events
        Of the log.
    market_stats : MarketStats
        The market at the cutoff.
    row : (B,) int
        Rows of the log.
    hidden : (B,) int
        Number of days before the cutoff that the history mask hides.
    """
    for each in REGISTRANT:
        column[each.name][:] = 0.0
    place = np.flatnonzero(np.isnan(column["recency"]))
    if not place.size:
        return
    day, row, hidden = market_stats.cutoff.day, row[place], hidden[place]
    age, did = age_of(registry, row, day), activity_of(registry, events, row, day, hidden)
    source = source_places(registry, row, day, market_stats.registrant_source)
    similar = classes(age, did.counts(row.size))
    values: dict[str, Any] = {
        "registrant": 1.0,
        "registrant_age": np.minimum(age, AGE_CAP),
        "registrant_source": market_stats.registrant_source_rate[source, -1],
        "registrant_similar": market_stats.registrant_similar_rate[similar, -1],
        "registrant_recency": did.recency(row.size),
    } | {name: did.counts(row.size, *window) for name, window in WINDOWS.items()}
    for name, value in values.items():
        column[name][place] = value


def fill_pair_columns(
    out: np.ndarray,
    names: Sequence[str],
    registrant: np.ndarray,
    registry: Registry,
    events: Events,
    market_stats: MarketStats,
    row: np.ndarray,
    hidden: np.ndarray,
) -> None:
    """Fill the pair columns of a block.

    Parameters
    ----------
    out : (B, M, P) float32
        Pair columns.
    names : sequence of str
        Names of the P columns.
    registrant : (B,) bool
        Customers without a visible purchase.
    registry, events, market_stats, row, hidden
        See `fill_customer_columns`.
    """
    at = [names.index(each.name) for each in REGISTRANT_PAIR]
    out[:, :, at] = 0.0
    place = np.flatnonzero(registrant)
    if not place.size:
        return
    groups = _groups(
        registry, events, row[place], market_stats.cutoff.day, hidden[place], market_stats.registrant_source
    )
    for k, group, rate in zip(
        at, groups, (market_stats.registrant_source_rate, market_stats.registrant_similar_rate), strict=True
    ):
        out[place, :, k] = rate[group, :-1]
