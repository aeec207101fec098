"""From a raw, unsorted table on disk to windows of customers and of pairs at twelve cutoffs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import query
from benchmarks.market import COLUMNS, Market
from benchmarks.race import Race, cpu_seconds
from benchmarks.windows import all_pairs, cutoffs, our_customers
from propensity.data.event_log import EventLog
from propensity.ingest.build import prepare
from propensity.ingest.source import Tables

DATES = 12


@dataclass
class Export:
    """The raw table with renamed columns and no checks: the reference implementation checks no row either."""

    raw: str

    def load(self) -> Tables:
        events = pl.scan_parquet(Path(self.raw) / "lines-*.parquet").rename({str(v): k for k, v in COLUMNS.items()})
        return Tables(events, self.items(), None, {}, None)

    def items(self) -> pl.LazyFrame:
        return pl.scan_parquet(Path(self.raw) / "items.parquet").rename({"sku": "item"})


def straight_race(market: Market, gate: float, aim: float) -> Race:
    """The reference computes daily totals of orders and pairs once and queries them for each cutoff, without a sort."""
    days = cutoffs(market, DATES)
    next_day, source = cycle(days), Export(str(market.raw))
    totals: list[pl.LazyFrame] = []
    timed: dict[str, float] = {}

    def ours() -> EventLog:
        with tempfile.TemporaryDirectory(dir=market.raw.parent) as folder:
            logs: list[EventLog] = []
            timed["ingest"] = cpu_seconds(lambda: logs.append(prepare(source, Path(folder) / "log")))
            ingested = market._replace(log=logs[0])
            timed["customers"] = cpu_seconds(lambda: our_customers(ingested, DATES)())
            timed["pairs"] = cpu_seconds(lambda: all_pairs(ingested, DATES))
        return logs[0]

    def share() -> None:
        dated = source.load().events.with_columns(pl.col("day").to_physical())
        lines = dated.filter((pl.col("kind") == "purchase") & (pl.col("day") < days[-1]))
        orders = lines.group_by("customer", "order").agg(pl.col("day").min(), pl.col("revenue").sum())
        daily = orders.group_by("customer", "day").agg(orders=pl.len(), spend=pl.col("revenue").sum())
        offers = source.items().select("item", offer=pl.col("category").str.slice(-3).cast(pl.Int32))
        pairs = query.pair_days(lines.join(offers, on="item"))
        totals[:] = [daily.collect(engine="streaming").lazy(), pairs.lazy()]

    def reference() -> tuple[pl.DataFrame, pl.DataFrame]:
        day = next(next_day)
        queries = query.customers_of_days(totals[0], day), query.pairs(totals[1], day)
        first, second = (frame.collect(engine="streaming") for frame in queries)
        return first, second

    def check() -> None:
        log = ours()
        refused = sum(market.log.meta["rows"]["quarantined"].values())  # of the checked table: returns before purchases
        assert log.day.size == market.log.day.size + refused, "two readings of one table give two logs: Not equal"
        share()
        customers, _ = reference()
        place = np.searchsorted(log.customer_id, customers["customer"].to_numpy())
        out = our_customers(market._replace(log=log), DATES)()[place, :, 0]
        np.testing.assert_allclose(out[:, :14], customers.select(query.CUSTOMER[:14]).to_numpy(), rtol=1e-4, atol=1e-3)

    def why() -> str:
        parts = ", ".join(f"{name} {value:.1f} s" for name, value in timed.items())
        return f"of ours: {parts}."

    title = f"raw Parquet to log and windows, {DATES} cutoffs"
    reference_name = "Polars, streaming, daily totals first"
    return Race(title, reference_name, gate, ours, reference, check, why, float(DATES), aim, share)
