"""Random event logs with every case that the kernels and the data layer must handle."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from propensity.data.event_log import COLUMNS, EPOCH, EventLog
from propensity.data.offer import Offers
from propensity.ingest.build import build_log
from propensity.ingest.source import Tables
from propensity.kernel.event import KINDS

NOBODY, ONCE, BUSY = 0, 1, 2  # customers with no event, one event, and more events than data.feature.history
START = date(2023, 1, 2)


def random_tables(seed: int, customers: int = 50, items: int = 14, days: int = 450, busy: int = 150) -> Tables:
    """Raw tables. The rows of a day keep their sequence, in which orders interleave; customer ids are numbers.

    Every customer has few visit days, so that a day holds several orders, some without an id, some over two visits.
    Item 0 does not occur; the first and the last day of the log have a purchase.
    """
    random = np.random.default_rng(seed)
    size = random.poisson(30, customers)
    size[[NOBODY, ONCE, BUSY]] = 0, 1, busy
    who = random.permutation(np.repeat(np.arange(customers), size))
    visit = random.integers(0, 12, who.size)
    visit_day = random.integers(0, days, (customers, 12))
    visit_day[BUSY, :2] = 0, days - 1
    visit[np.flatnonzero(who == BUSY)[:12]] = np.arange(12)
    kind = random.choice(np.array(KINDS), who.size, p=[0.6, 0.14, 0.12, 0.05, 0.09])
    kind[np.flatnonzero(who == BUSY)[:12]] = "purchase"
    item = np.minimum(random.geometric(0.15, who.size), items - 1)
    order = np.where(random.random(who.size) < 0.1, visit // 2, 10 + 2 * visit + random.integers(0, 2, who.size))
    sign = np.where(kind == "return", -1.0, 1.0)
    paid = np.isin(kind, ["purchase", "return"])
    events = pl.DataFrame(
        {
            "customer": 100 + who,
            "day": [START + timedelta(days=int(d)) for d in visit_day[who, visit]],
            "item": [f"item {k:03d}" for k in item],
            "kind": kind,
            "channel": random.choice(np.array(["app", "store", ""]), who.size),
            "order": order,
            "quantity": sign * random.integers(1, 4, who.size),
            "revenue": np.where(paid, sign * random.gamma(2.0, 3.0, who.size).round(2), 0.0),
            "discount": np.where(random.random(who.size) < 0.3, 0.5, 0.0),
        }
    ).with_columns(
        item=pl.when(pl.Series((kind != "message") | (random.random(who.size) < 0.4))).then("item"),
        channel=pl.when(pl.col("channel") != "").then("channel"),
        order=pl.when(pl.Series(random.random(who.size) < 0.8)).then("order"),
    )
    item_table = pl.DataFrame({"item": [f"item {k:03d}" for k in range(items)]}).with_columns(
        category=pl.Series([None if k % 7 == 6 else f"category {k % 4}" for k in range(items)]),
        brand=pl.Series(["own" if k % 3 else "other" for k in range(items)]),
        price=pl.Series(np.linspace(1.0, 9.0, items)),
    )
    customer_table = pl.DataFrame({"customer": 100 + np.arange(customers)}).with_columns(
        segment=pl.Series([f"segment {n % 3}" for n in range(customers)])
    )
    return Tables(events.lazy(), item_table.lazy(), customer_table.lazy(), {"damaged": 3}, events.height + 3)


def random_log(seed: int, customers: int = 50, items: int = 14, days: int = 450, busy: int = 150) -> EventLog:
    """The log of `random_tables`, in memory."""
    return build_log(random_tables(seed, customers, items, days, busy))


def random_offers(seed: int, items: int, offers: int = 6) -> Offers:
    """Item 1 belongs to no offer, item 2 to all but the last, the others at random; the last offer has no item.

    Odd offers are siblings of each other, even ones too; the first offer has no parent.
    """
    belongs = np.random.default_rng(seed).random((items, offers)) < 0.3
    belongs[1], belongs[2], belongs[:, -1] = False, True, False
    offsets = np.concatenate([[0], np.cumsum(belongs.sum(axis=1))]).astype(np.int64)
    parent = np.where(np.arange(offers) > 0, np.arange(offers) % 2, -1)
    return Offers(tuple(f"offer {m}" for m in range(offers)), offsets, np.nonzero(belongs)[1].astype(np.int32), parent)


def membership(offers: Offers) -> np.ndarray:
    """Which offers an item belongs to: (I, M) bool."""
    belongs = np.zeros((offers.item_offsets.size - 1, len(offers)), bool)
    belongs[np.repeat(np.arange(belongs.shape[0]), np.diff(offers.item_offsets)), offers.item_offer] = True
    return belongs


def columns(log: EventLog) -> dict[str, np.ndarray]:
    """The columns of the log by name, as the reference definitions expect them."""
    return {name: np.asarray(getattr(log, name)) for name in ("offsets", *COLUMNS)}


def around_events(log: EventLog, seed: int) -> list[int]:
    """Cutoffs on the day of an event of every kind, the day before and the day after, and around the whole log."""
    random = np.random.default_rng(seed)
    days = [int(random.choice(log.day[log.kind == k])) for k in range(len(KINDS))]
    near = [day + (seed + k) % 3 - 1 for k, day in enumerate(days)]
    return sorted({*near, log.first_day, log.last_day, log.last_day + 1, log.last_day + 40})


def around_1970(log: EventLog) -> tuple[EventLog, int]:
    """The log moved to have a first purchase on the day before 1970, and the days of the shift."""
    purchase_days = [log.day[a:b][log.kind[a:b] == 0] for a, b in pairwise(log.offsets)]
    first = sorted(int(days[0]) for days in purchase_days if days.size and days[0] % 7 == 6)
    shift = first[len(first) // 2] + 1
    return replace(log, day=log.day - shift), shift


def date_of(day: int) -> date:
    return EPOCH + timedelta(days=day)


def cut(tables: Tables, day: int) -> Tables:
    """The tables as they would have been delivered on the morning of `day`."""
    events = tables.events.filter(pl.col("day") < date_of(day))
    return tables._replace(events=events, read=events.select(pl.len()).collect().item() + 3)


def rewritten(tables: Tables, day: int, seed: int, how: str) -> Tables:
    """The same past and another future: every event at or after `day` is shuffled, altered or deleted.

    An altered future has new customers, new items, a new channel and more revenue.
    """
    future = pl.col("day") >= date_of(day)
    past, later = tables.events.filter(~future).collect(), tables.events.filter(future).collect()
    if how == "deleted":
        return cut(tables, day)
    if how == "shuffled":
        columns = [later[name].shuffle(seed + k) for k, name in enumerate(later.columns)]
        return tables._replace(events=pl.concat([pl.DataFrame(columns), past]).lazy())
    changed = later.with_columns(
        pl.col("customer") + pl.Series(np.random.default_rng(seed).integers(-40, 90, later.height)),
        item=pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("another item")).otherwise("item"),
        kind=pl.lit("purchase"),
        channel=pl.lit("another channel"),
        revenue=pl.col("revenue").abs() * 100 + 1,
        day=pl.lit(date_of(day)) + pl.duration(days=pl.int_range(pl.len()) % 50),
    ).with_columns(pl.col("day").cast(pl.Date))
    return tables._replace(events=pl.concat([changed, past]).lazy())


def with_another_future(log: EventLog, day: int, random: np.random.Generator, names: tuple[str, ...]) -> EventLog:
    """The log with the columns `names` permuted from `day` on, and a large amount added to each revenue there."""
    later = np.flatnonzero(log.day >= day)
    changed = {name: values.copy() for name, values in columns(log).items()}
    for name in names:
        changed[name][later] = changed[name][random.permutation(later)]
    changed["revenue"][later] += 1e6
    return EventLog(**(vars(log) | changed))
