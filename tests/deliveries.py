"""Raw tables as sources, cut into deliveries."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from propensity.ingest.source import Tables
from random_log import date_of


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
