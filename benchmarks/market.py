"""A made-up log for timing alone: Zipf items, customers of very different rates, seasons, favourites, contacts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog, to_day
from propensity.data.offer import Offers, sets_of
from propensity.kernel.event import MESSAGE, PURCHASE, RETURN, VIEW

DAYS = 728
START = to_day("2022-01-03")
BASKET = 6  # lines of an order
FAVOURITES = 40  # items that half of a customer's lines come from
KIND_SHARE = {PURCHASE: 0.86, VIEW: 0.06, MESSAGE: 0.06, RETURN: 0.02}


class Size(NamedTuple):
    """How large a market is, and how many customers the ranking and the batch are made of."""

    customers: int
    events: int
    offers: int
    ranked: int
    ranked_offers: int
    resamples: int
    batch: int


class Market(NamedTuple):
    log: EventLog
    offers: Offers


def market(size: Size, seed: int = 0) -> Market:
    """A log of about `size.events` events, and offers of twenty items on average, a few of them large."""
    random = np.random.default_rng(seed)
    items = 20 * size.offers
    category = random.choice(size.offers, items, p=zipf(size.offers))
    category[: size.offers] = np.arange(size.offers)
    columns = _sorted(_lines(random, size, items))
    sold = columns["day"][columns["kind"] == PURCHASE]
    log = EventLog(
        offsets=np.concatenate([[0], np.cumsum(np.bincount(columns.pop("customer"), minlength=size.customers))]),
        **columns,
        item_known=np.full(items, START - 1, np.int32),
        customers=pl.DataFrame({"customer": np.arange(size.customers)}),
        items=pl.DataFrame({"item": np.arange(items), "category": [f"category {c:03d}" for c in category]}),
        meta={"first_day": int(sold.min()), "last_day": int(sold.max()), "channels": [], "fingerprint": "made up"},
    )
    names = tuple(f"category {c:03d}" for c in range(size.offers))
    return Market(log, sets_of(names, np.arange(items), category, items))


def zipf(size: int) -> np.ndarray:
    share = 1.0 / (np.arange(size) + 5.0)
    made: np.ndarray = share / share.sum()
    return made


def _lines(random: np.random.Generator, size: Size, items: int) -> dict[str, Any]:
    """Event by event, in no order: a customer's rate is Gamma, a year has seasons and a week has a weekend."""
    day = np.arange(DAYS)
    calendar = (1 + 0.4 * np.sin(2 * np.pi * day / 364)) * (1 + 0.5 * (day % 7 >= 5))
    rate = random.gamma(0.8, size=size.customers)
    orders = size.events // BASKET
    shopper = random.choice(size.customers, orders, p=rate / rate.sum())
    shopping_day = START + random.choice(DAYS, orders, p=calendar / calendar.sum())
    order = np.repeat(np.arange(orders), 1 + random.poisson(BASKET - 1, orders))
    customer, kind = shopper[order], random.choice(list(KIND_SHARE), order.size, p=list(KIND_SHARE.values()))
    favourite = random.choice(items, (size.customers, FAVOURITES), p=zipf(items))
    own = favourite[customer, (FAVOURITES * random.random(order.size) ** 2).astype(int)]
    item = np.where(random.random(order.size) < 0.5, own, random.choice(items, order.size, p=zipf(items)))
    quantity = np.where(np.isin(kind, (PURCHASE, RETURN)), 1.0 + random.poisson(0.3, order.size), 0.0)
    quantity[kind == RETURN] *= -1
    revenue = quantity * random.lognormal(1.0, 0.6, items)[item]
    discount = np.where((kind == PURCHASE) & (random.random(order.size) < 0.2), 0.2 * revenue, 0.0)
    item = np.where(kind == MESSAGE, -1, item)
    made = {"customer": customer, "day": shopping_day[order], "order": order, "kind": kind, "item": item}
    return made | {"quantity": quantity, "revenue": revenue, "discount": discount}


def _sorted(lines: dict[str, Any]) -> dict[str, Any]:
    """By customer, day and order; orders numbered within the customer by first appearance; the log's types."""
    place = np.lexsort((lines["order"], lines["day"], lines["customer"]))
    lines = {name: values[place] for name, values in lines.items()}
    bought, customer = lines["kind"] == PURCHASE, lines["customer"]
    opens = np.zeros(place.size, bool)
    rows = np.flatnonzero(bought)
    opens[rows[np.unique(lines["order"][rows] * 1.0 + customer[rows] * 1e9, return_index=True)[1]]] = True
    count = np.cumsum(opens)
    before = np.concatenate([[0], count])[np.searchsorted(customer, customer)]
    number = np.where(bought, count - before - 1, -1)
    types = {"day": np.int32, "item": np.int32, "kind": np.int8, "quantity": np.float32}
    made = {name: lines[name].astype(kind) for name, kind in types.items()}
    money = {name: lines[name].astype(np.float32) for name in ("revenue", "discount")}
    channel = np.full(place.size, -1, np.int8)
    return made | money | {"customer": customer, "channel": channel, "order": number.astype(np.int32)}


def frame(found: Market) -> pl.DataFrame:
    """The purchases as a Polars frame, with what saves a rival work: the offer, and whether a line opens its order."""
    log, offers = found
    customer = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    rows = np.flatnonzero(log.kind == PURCHASE)
    newest = log.order[rows]
    opens = np.append(True, (np.diff(newest) != 0) | (np.diff(customer[rows]) != 0))
    columns = {"customer": customer[rows].astype(np.int32), "day": log.day[rows], "revenue": log.revenue[rows]}
    return pl.DataFrame(columns | {"opens": opens, "offer": offers.item_offer[log.item[rows]]})
