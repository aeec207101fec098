"""Raw tables as sources, cut into deliveries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from propensity.data.contact import CONTACT_COLUMNS
from propensity.ingest.source import Tables
from propensity.kernel.event import ENGAGEMENT_KINDS
from random_log import date_of, random_tables

DAY = 86_400_000


@dataclass
class Delivery:
    tables: Tables

    def load(self) -> Tables:
        return self.tables


def between(tables: Tables, start: int, stop: int) -> Tables:
    """The delivery of the days start <= day < stop; order ids contain the day."""
    ordered = tables.events.with_columns(order=pl.col("order") * 100_000 + pl.col("day").to_physical())
    events = ordered.filter((pl.col("day") >= date_of(start)) & (pl.col("day") < date_of(stop)))
    return tables._replace(events=events, read=None, dropped={"damaged": 1})


def without_tables(tables: Tables) -> Tables:
    return tables._replace(items=None, customers=None)


def tables_of_all_columns(seed: int = 0, start: int | None = None, stop: int | None = None) -> Tables:
    """Random tables with all optional columns, and events of all kinds; order ids contain the day."""
    plain, random = random_tables(seed), np.random.default_rng(seed)
    events = plain.events.collect()
    size = events.height
    extra = events.sample(size // 3, seed=seed).with_columns(
        kind=pl.Series(random.choice(ENGAGEMENT_KINDS, size // 3)), order=pl.lit(None, events.schema["order"])
    )
    both = pl.concat([events, extra]).with_columns(pl.col("order") * 100_000 + pl.col("day").to_physical())
    count = both.height

    def sometimes(values: np.ndarray, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
        return pl.select(
            pl.when(pl.Series(random.random(count) < 0.7)).then(pl.Series(values, dtype=dtype))
        ).to_series()

    moment = both["day"].to_physical().cast(pl.Int64).to_numpy() * DAY + random.integers(0, DAY, count)
    both = both.with_columns(
        time=sometimes(moment, pl.Int64),
        cost=sometimes(random.gamma(2, 1, count), pl.Float64),
        probability=sometimes(random.uniform(0.01, 1, count), pl.Float64),
        **{name: sometimes(random.choice([f"{name} {k}" for k in range(4)], count), pl.String)
           for name in CONTACT_COLUMNS},
    )  # fmt: skip
    if start is not None and stop is not None:
        both = both.filter((pl.col("day") >= date_of(start)) & (pl.col("day") < date_of(stop)))
    return plain._replace(events=both.lazy(), read=None, timezone="UTC")
