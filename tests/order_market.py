"""Small markets of orders for the tests of customer values: days are numbered from `START`."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import propensity as pp
from propensity.data.event_log import EventLog, to_day

START = date(2022, 1, 3)
Line = tuple[str, int, float]


def market(customers: int = 300, days: int = 500, seed: int = 1) -> list[Line]:
    """Customers, days since the start and amounts: gamma rates, exponential lifetimes, own amounts."""
    random, lines = np.random.default_rng(seed), []
    for n in range(customers):
        clock, rate = random.uniform(0, 0.6 * days), random.gamma(1.0, 1 / 25) + 0.004
        end, scale = clock + random.exponential(250), np.exp(random.normal(3, 0.4))
        while clock < min(days, end):
            lines.append((f"c{n}", int(clock), round(float(scale * random.gamma(4, 0.25)), 2) + 0.01))
            clock += random.exponential(1 / rate)
    return lines


def log_of(lines: list[Line], folder: Path, **more: Any) -> EventLog:
    columns = dict(zip(("customer", "date", "amount"), zip(*lines, strict=True), strict=True))
    table = pl.DataFrame(columns).with_columns(
        pl.lit(START).dt.offset_by(pl.col("date").cast(pl.String) + "d").alias("date")
    )
    pp.prepare(table, folder, customer="customer", day="date", item=None, revenue="amount", **more)
    return EventLog.open(folder)


def day(number: int) -> int:
    return to_day(START + timedelta(days=number))


def finite(table: pl.DataFrame) -> bool:
    numbers = table.select(pl.selectors.float())
    return all(numbers[name].is_finite().all() for name in numbers.columns)
