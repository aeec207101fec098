"""A synthetic raw table for timing: Zipf items, gamma customer rates, seasons, favourite items."""

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
BASKET = 6  # mean lines of an order
FAVOURITES = 40  # items of a customer that half of its lines are drawn from
CHUNK = 5_000_000  # lines of a file, generated at once
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
    """Sizes of the market, of the ranking benchmark (ranked, ranked_offers, resamples) and of a batch of customers."""

    customers: int
    events: int
    offers: int
    ranked: int
    ranked_offers: int
    resamples: int
    batch: int


class Market(NamedTuple):
    """raw: folder of the raw table; log: what ingest makes of it; offers: its categories."""

    raw: Path
    log: EventLog
    offers: Offers


def market(size: Size, folder: Path, seed: int = 0) -> Market:
    """A log of about `size.events` events, and offers of twenty items on average, with Zipf sizes.

    A market that an earlier call left in `folder` is reused.
    """
    exists = (folder / "log" / "meta.json").is_file()
    if not exists:
        export(size, folder / "raw", seed)
    log = EventLog.open(folder / "log") if exists else prepare(table(folder / "raw"), folder / "log")
    code = log.items["category"].str.slice(-3).cast(pl.Int64).to_numpy()
    names = tuple(f"category {c:03d}" for c in range(size.offers))
    return Market(folder / "raw", log, build_offers(names, np.arange(code.size), code, code.size))


def table(raw: Path) -> Table:
    """The raw table as a source."""
    return Table(str(raw / "lines-*.parquet"), COLUMNS, items=str(raw / "items.parquet"))


def export(size: Size, raw: Path, seed: int = 0) -> None:
    """Writes an unsorted table of lines, in files of at most `CHUNK` lines, and a table of items."""
    raw.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    items = 20 * size.offers
    category = random.choice(size.offers, items, p=zipf(size.offers))
    category[: size.offers] = np.arange(size.offers)
    sku = pl.Series([f"sku {i:06d}" for i in range(items)])
    pl.DataFrame({"sku": sku, "category": [f"category {c:03d}" for c in category]}).write_parquet(raw / "items.parquet")
    parameters = Parameters(
        rate=random.gamma(0.8, size=size.customers),
        favourite=random.choice(items, (size.customers, FAVOURITES), p=zipf(items)).astype(np.int32),
        price=random.lognormal(1.0, 0.6, items),
    )
    chunks = -(-size.events // CHUNK)
    for k in range(chunks):
        lines = _lines(random, parameters, size.events // chunks, k * size.events)
        table = pl.DataFrame(
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
        table.sample(fraction=1.0, shuffle=True, seed=k).write_parquet(raw / f"lines-{k:03d}.parquet")


def delivery(raw: Path, day: Path, lines: int) -> None:
    """Writes a delivery of one more day: the first `lines` lines of the raw table, with new order ids."""
    day.mkdir(parents=True, exist_ok=True)
    first = pl.read_parquet(raw / "lines-000.parquet", n_rows=lines)
    after = pl.lit(START + DAYS, pl.Int32).cast(pl.Date)
    first.with_columns(sold_on=after, receipt=pl.col("receipt") + 10**12).write_parquet(day / "lines-000.parquet")
    shutil.copy(raw / "items.parquet", day / "items.parquet")


class Parameters(NamedTuple):
    """rate (N,) of orders, favourite (N, FAVOURITES) items of each customer, price (I,) of each item."""

    rate: np.ndarray
    favourite: np.ndarray
    price: np.ndarray


def zipf(size: int) -> np.ndarray:
    """Probabilities (size,) proportional to 1 / (rank + 5)."""
    share = 1.0 / (np.arange(size) + 5.0)
    probability: np.ndarray = share / share.sum()
    return probability


def _lines(random: np.random.Generator, parameters: Parameters, events: int, first_order: int) -> dict[str, Any]:
    """Columns of the lines, unsorted: gamma customer rates, a yearly season and busier weekends."""
    day, items = np.arange(DAYS), parameters.price.size
    calendar = (1 + 0.4 * np.sin(2 * np.pi * day / 364)) * (1 + 0.5 * (day % 7 >= 5))
    orders = events // BASKET
    customer = random.choice(parameters.rate.size, orders, p=parameters.rate / parameters.rate.sum())
    order_day = START + random.choice(DAYS, orders, p=calendar / calendar.sum())
    order = np.repeat(np.arange(orders), 1 + random.poisson(BASKET - 1, orders))
    customer, kind = customer[order], random.choice(list(KIND_SHARE), order.size, p=list(KIND_SHARE.values()))
    own = parameters.favourite[customer, (FAVOURITES * random.random(order.size) ** 2).astype(int)]
    item = np.where(random.random(order.size) < 0.5, own, random.choice(items, order.size, p=zipf(items)))
    quantity = np.where(np.isin(kind, (PURCHASE, RETURN)), 1.0 + random.poisson(0.3, order.size), 0.0)
    quantity[kind == RETURN] *= -1
    revenue = (quantity * parameters.price[item]).round(2)
    discount = np.where((kind == PURCHASE) & (random.random(order.size) < 0.2), (0.2 * revenue).round(2), 0.0)
    lines = {"customer": customer, "day": order_day[order], "order": first_order + order, "kind": kind, "item": item}
    return lines | {"quantity": quantity, "revenue": revenue, "discount": discount}


def frame(market: Market) -> pl.DataFrame:
    """The purchases as a Polars frame. The offer and whether a line opens its order are computed beforehand."""
    _, log, offers = market
    customer = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    rows = np.flatnonzero(log.kind == PURCHASE)
    newest = np.maximum.accumulate(log.order[rows] + customer[rows] * 2**31)  # orders are numbered as they begin
    opens = np.append(True, np.diff(newest) > 0)
    columns = {"customer": customer[rows].astype(np.int32), "day": log.day[rows], "revenue": log.revenue[rows]}
    return pl.DataFrame(columns | {"opens": opens, "offer": offers.item_offer[log.item[rows]]})
