"""Unsubscribe and complaint events of a log, as withdrawals of consent."""

from __future__ import annotations

import numpy as np
import polars as pl

from propensity.data.consent import beside, channel_key, consent_channel
from propensity.data.event_log import EventLog
from propensity.kernel.event import COMPLAINT, UNSUBSCRIBE


def customers_with_words(log: EventLog) -> pl.DataFrame:
    """The customers of a log, whose unsubscribe and complaint events count as withdrawals.

    Parameters
    ----------
    log : EventLog
        The log.

    Returns
    -------
    polars.DataFrame
        Customers (N,). An unsubscribe event through a channel that consents are given for makes `consent_<channel>`
        false, unless the consent is of a later day; through any other channel or none, it and a complaint make
        `unsubscribed` true, unless the general consent is of a later day.
    """
    events, customers = log.engagement, log.customers
    if events is None:
        return customers
    place = np.flatnonzero(np.isin(events.kind, (UNSUBSCRIBE, COMPLAINT)))
    if not place.size:
        return customers
    keys = np.array([*map(channel_key, log.meta["channels"]), ""])[np.asarray(events.channel[place])]
    keys[np.asarray(events.kind[place]) == COMPLAINT] = ""
    row = events.owner(place)
    columns = {key: name for name in customers.columns if (key := consent_channel(name))}
    keys = np.where(np.isin(keys, list(columns)), keys, "")
    for key in np.unique(keys):
        own = keys == key
        last = np.full(customers.height, np.iinfo(np.int32).min, np.int32)
        np.maximum.at(last, row[own], np.asarray(events.day[place[own]], np.int32))
        customers = _withdrawn(customers, columns.get(str(key), "unsubscribed"), last)
    return customers


def _withdrawn(customers: pl.DataFrame, name: str, last: np.ndarray) -> pl.DataFrame:
    """The customers with a withdrawal on the last day (N,) of an event; the smallest integer is none."""
    day = pl.Series(np.maximum(last, 0)).cast(pl.Date)
    withdrawn = pl.Series(last > np.iinfo(np.int32).min)
    since = beside(name, "consented")
    if since in customers.columns and customers.schema[since] == pl.Date:
        withdrawn &= ~(customers[since] > day).fill_null(False)
    if name == "unsubscribed":
        known = customers[name] if name in customers.columns else pl.Series([None] * customers.height, dtype=pl.Boolean)
        return customers.with_columns(known.cast(pl.String).set(withdrawn, "yes").alias(name))
    return customers.with_columns(customers[name].cast(pl.String).set(withdrawn, "no").alias(name))
