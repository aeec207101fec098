"""Synthetic customers that exercise the whole network; a bundle contains no data of a real customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from propensity.data.event_log import to_date
from propensity.serving.inputs import KINDS, REGISTRATION

KIND_SHARES = (0.8, 0.06, 0.06, 0.04, 0.04)  # of `KINDS` among the events of a random history
RANDOM_CUSTOMERS = 8  # with random histories, in addition to edge cases and item coverage
Customer = list[dict[str, Any]]


def golden_customers(tables: Mapping[str, np.ndarray], settings: Mapping[str, Any], seed: int = 17) -> list[Customer]:
    """Raw events of synthetic customers.

    Parameters
    ----------
    tables : mapping of str to ndarray
        Content of `tables.npz`.
    settings : mapping
        The manifest's `features`.
    seed : int, default=17
        Seed of the random histories.

    Returns
    -------
    list of lists of dict
        Together the customers have every code of every item attribute and every channel. The first are edge cases:
        registrants, where the model scores them, no event, one event, only future events, only unknown items and
        channels, only views, several orders on a day.
    """
    random = np.random.default_rng(seed)
    day, channels = int(tables["day"]), [*settings["channels"], None]
    cover = random.permutation(covering_items(tables["token"][:-1]))
    parts = np.array_split(cover, max(-(-cover.size // settings["history"]), 1))
    items_on_offer = np.flatnonzero(np.diff(tables["item_offsets"]))
    parts += [
        random.choice(items_on_offer, random.integers(2, settings["history"] + 20)) for _ in range(RANDOM_CUSTOMERS)
    ]
    histories = [random_history(random, tables["item"][part].tolist(), channels, day) for part in parts]
    item = str(tables["item"][items_on_offer[0]])
    return [
        *registrant_customers(tables, settings, day, item),
        [],
        [event(day - 1, item)],
        [event(day, item), event(day + 3, item)],
        [event(day - k, "unknown item", channel="unknown channel") for k in (2, 9)],
        [event(day - k, item, kind="view", revenue=0.0) for k in (1, 30)],
        [event(day - 5, item, order=k % 3) for k in range(6)],
        *histories,
    ]


def registrant_customers(
    tables: Mapping[str, np.ndarray], settings: Mapping[str, Any], day: int, item: str
) -> list[Customer]:
    """Customers without a purchase: of a known source and none, with and without views and engagement.

    Parameters
    ----------
    tables, settings : mapping
        See `golden_customers`.
    day : int
        Cutoff, in days since 1970-01-01.
    item : str
        Id of an item on offer.

    Returns
    -------
    list of lists of dict
        Empty where the model does not score registrants.
    """
    if "registrant" not in settings:
        return []
    source = str(tables["registrant_source"][-1]) if tables["registrant_source"].size else None

    def registered(age: int, source: str | None) -> dict[str, Any]:
        return event(day - age, None, REGISTRATION, 0.0, channel=source)

    did = [event(day - age, item, kind, 0.0) for age, kind in ((1, "cart"), (3, "open"), (20, "click"), (60, "search"))]
    views = [event(day - age, item, "view", 0.0) for age in (2, 6, 40, 120)]
    return [
        [registered(5, source)],
        [registered(400, source), *views, *did],
        [registered(1, "another source"), *views],
        [registered(-2, source), *did, event(day + 1, item, "cart", 0.0)],
        [registered(100, source), *did, event(day - 9, item)],
    ]


def covering_items(token: np.ndarray) -> np.ndarray:
    """Items that together have every code of every attribute.

    Parameters
    ----------
    token : ndarray of shape (I, K)
        Codes of I items in K attributes.

    Returns
    -------
    ndarray of int
        Rows of `token`: the first item with each code of each attribute.

    Examples
    --------
    >>> covering_items(np.array([[1, 1], [1, 2], [2, 2]]))
    array([0, 1, 2])
    """
    return np.unique(np.concatenate([np.unique(codes, return_index=True)[1] for codes in token.T]))


def random_history(
    random: np.random.Generator, items: Sequence[str], channels: Sequence[str | None], day: int
) -> Customer:
    """One event per item, on few days of the last year, so that a day has several orders.

    Parameters
    ----------
    random : numpy.random.Generator
        Source of randomness.
    items : sequence of str
        Item ids.
    channels : sequence of str or None
        Channels to draw from.
    day : int
        Cutoff, in days since 1970-01-01; all events are earlier.

    Returns
    -------
    list of dict
        Raw events.
    """
    visits = day - random.integers(1, 400, max(len(items) // 6, 1))
    events = []
    for item in items:
        kind = str(random.choice(KINDS, p=KIND_SHARES))
        price = round(float(random.gamma(2.0, 3.0)), 2) if kind in ("purchase", "return") else 0.0
        sign = -1 if kind == "return" else 1
        visit = int(random.integers(visits.size))
        order = None if visit % 3 == 0 else 2 * visit + int(random.integers(2))
        channel = channels[int(random.integers(len(channels)))]
        discount = 0.5 if random.random() < 0.3 else 0.0
        quantity = sign * int(random.integers(1, 4))
        amounts = {"revenue": sign * price, "quantity": quantity, "discount": discount}
        events.append(event(int(visits[visit]), item, kind=kind, channel=channel, **amounts, order=order))
    return events


def event(day: int, item: str | None, kind: str = "purchase", revenue: float = 2.5, **optional: Any) -> dict[str, Any]:
    """A raw event in the format of the HTTP service.

    Parameters
    ----------
    day : int
        Days since 1970-01-01.
    item : str or None
        Item id.
    kind : str, default="purchase"
        One of `KINDS`.
    revenue : float, default=2.5
        In the log's currency.
    **optional
        Further fields: channel, order, quantity, discount.

    Returns
    -------
    dict
        The event, with `day` as YYYY-MM-DD.

    Examples
    --------
    >>> event(1, "milk")
    {'day': '1970-01-02', 'item': 'milk', 'kind': 'purchase', 'revenue': 2.5}
    """
    return {"day": to_date(day).isoformat(), "item": item, "kind": kind, "revenue": revenue} | optional
