"""A made-up raw table for timing alone: Zipf items, customers of very different rates, seasons, favourites."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.data.event_log import EventLog, to_day
from propensity.data.offer import Offers, build_offers
from propensity.ingest.build import prepare
from propensity.ingest.source.table import Table
from propensity.kernel.event import KINDS, MESSAGE, PURCHASE, RETURN, VIEW

DAYS = 728
START = to_day("2022-01-03")
BASKET = 6  # lines of an order
FAVOURITES = 40  # items that half of a customer's lines come from
CHUNK = 5_000_000  # lines made at a time, a file each
KIND_SHARE = {PURCHASE: 0.86, VIEW: 0.06, MESSAGE: 0.06, RETURN: 0.02}
COLUMNS: dict[str, str | None] = {
    "customer": "card",
    "day": "sold_on",
    "item": "sku",
    "kind": "what",
    "order": "receipt",
    "quantity": "units",
    "revenue": "paid",
    "discount": "saved",
}


class Size(NamedTuple):
    """How large a market is, and how many customers the ranking and the batch are made of."""

    customers: int
    events: int
    offers: int
    ranked: int
    ranked_offers: int
    resamples: int
    batch: int


class PointInTimeFeatures(NamedTuple):
    """raw: the folder of the raw table; the log that ingest makes of it; its categories as offers."""

    raw: Path
    log: EventLog
    offers: Offers


def market(size: Size, folder: Path, seed: int = 0) -> PointInTimeFeatures:
    """A log of about `size.events` events, and offers of twenty items on average, a few of them large.

    What lies in `folder` from an earlier call is used again.
    """
    made = (folder / "log" / "meta.json").is_file()
    if not made:
        export(size, folder / "raw", seed)
    log = EventLog.open(folder / "log") if made else prepare(table(folder / "raw"), folder / "log")
    code = log.items["category"].str.slice(-3).cast(pl.Int64).to_numpy()
    names = tuple(f"category {c:03d}" for c in range(size.offers))
    return PointInTimeFeatures(folder / "raw", log, build_offers(names, np.arange(code.size), code, code.size))


def table(raw: Path) -> Table:
    """The raw table as a source."""
    return Table(str(raw / "lines-*.parquet"), COLUMNS, items=str(raw / "items.parquet"))


def export(size: Size, raw: Path, seed: int = 0) -> None:
    """What a warehouse would export: lines in no order, in files of at most `CHUNK`, and a table of items."""
    raw.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    items = 20 * size.offers
    category = random.choice(size.offers, items, p=zipf(size.offers))
    category[: size.offers] = np.arange(size.offers)
    sku = pl.Series([f"sku {i:06d}" for i in range(items)])
    pl.DataFrame({"sku": sku, "category": [f"category {c:03d}" for c in category]}).write_parquet(raw / "items.parquet")
    market = Shop(
        rate=random.gamma(0.8, size=size.customers),
        favourite=random.choice(items, (size.customers, FAVOURITES), p=zipf(items)).astype(np.int32),
        price=random.lognormal(1.0, 0.6, items),
    )
    chunks = -(-size.events // CHUNK)
    for k in range(chunks):
        lines = _lines(random, market, size.events // chunks, k * size.events)
        made = pl.DataFrame(
            {
                "card": 10_000_000 + 7 * lines["customer"],
                "sold_on": pl.Series(lines["day"].astype(np.int32)).cast(pl.Date),
                "sku": sku.gather(lines["item"]).zip_with(
                    pl.Series(lines["kind"] != MESSAGE), pl.Series([None], dtype=pl.String)
                ),
                "what": pl.Series(KINDS).gather(lines["kind"]),
                "receipt": lines["order"],
                "units": lines["quantity"],
                "paid": lines["revenue"],
                "saved": lines["discount"],
            }
        )
        made.sample(fraction=1.0, shuffle=True, seed=k).write_parquet(raw / f"lines-{k:03d}.parquet")


def delivery(raw: Path, day: Path, lines: int) -> None:
    """The day after the last of a raw table: as many of its first lines, in orders of their own."""
    day.mkdir(parents=True, exist_ok=True)
    found = pl.read_parquet(raw / "lines-000.parquet", n_rows=lines)
    after = pl.lit(START + DAYS, pl.Int32).cast(pl.Date)
    found.with_columns(sold_on=after, transaction=pl.col("receipt") + 10**12).write_parquet(day / "lines-000.parquet")
    shutil.copy(raw / "items.parquet", day / "items.parquet")


class Shop(NamedTuple):
    """rate (N,) of customers, favourite (N, FAVOURITES) items, price (I,)."""

    rate: np.ndarray
    favourite: np.ndarray
    price: np.ndarray


def zipf(size: int) -> np.ndarray:
    share = 1.0 / (np.arange(size) + 5.0)
    made: np.ndarray = share / share.sum()
    return made


def _lines(random: np.random.Generator, shop: Shop, events: int, first_order: int) -> dict[str, Any]:
    """Line by line, in no order: a customer's rate is Gamma, a year has seasons and a week has a weekend."""
    day, items = np.arange(DAYS), shop.price.size
    calendar = (1 + 0.4 * np.sin(2 * np.pi * day / 364)) * (1 + 0.5 * (day % 7 >= 5))
    orders = events // BASKET
    customer = random.choice(shop.rate.size, orders, p=shop.rate / shop.rate.sum())
    shopping_day = START + random.choice(DAYS, orders, p=calendar / calendar.sum())
    order = np.repeat(np.arange(orders), 1 + random.poisson(BASKET - 1, orders))
    customer, kind = customer[order], random.choice(list(KIND_SHARE), order.size, p=list(KIND_SHARE.values()))
    own = shop.favourite[customer, (FAVOURITES * random.random(order.size) ** 2).astype(int)]
    item = np.where(random.random(order.size) < 0.5, own, random.choice(items, order.size, p=zipf(items)))
    quantity = np.where(np.isin(kind, (PURCHASE, RETURN)), 1.0 + random.poisson(0.3, order.size), 0.0)
    quantity[kind == RETURN] *= -1
    revenue = (quantity * shop.price[item]).round(2)
    discount = np.where((kind == PURCHASE) & (random.random(order.size) < 0.2), (0.2 * revenue).round(2), 0.0)
    made = {"customer": customer, "day": shopping_day[order], "order": first_order + order, "kind": kind, "item": item}
    return made | {"quantity": quantity, "revenue": revenue, "discount": discount}


def frame(found: PointInTimeFeatures) -> pl.DataFrame:
    """The purchases as a Polars frame, with what saves a rival work: the offer, and whether a line opens its order."""
    _, log, offers = found
    customer = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    rows = np.flatnonzero(log.kind == PURCHASE)
    newest = np.maximum.accumulate(log.order[rows] + customer[rows] * 2**31)  # orders are numbered as they begin
    opens = np.append(True, np.diff(newest) > 0)
    columns = {"customer": customer[rows].astype(np.int32), "day": log.day[rows], "revenue": log.revenue[rows]}
    return pl.DataFrame(columns | {"opens": opens, "offer": offers.item_offer[log.item[rows]]})
