"""Trailing windows of customers, and of customers and offers, against Polars."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl

from benchmarks.market import Market, frame
from benchmarks.race import Race, median_seconds
from propensity.data.feature import FeatureRule
from propensity.kernel.customer import customer_columns, customer_windows
from propensity.kernel.pair import pair_columns, pair_windows

RULE = FeatureRule()
WINDOWS, HALF_LIVES = np.array(RULE.windows), np.array(RULE.half_lives)
HORIZON, BLOCK = 14, 256
POLARS = "Polars, lazy, streaming"
Result = list[np.ndarray]


def cutoffs(market: Market, count: int) -> list[int]:
    """Weekly, the last with a whole horizon after it."""
    last = market.log.last_day + 1 - HORIZON
    return [last - 7 * k for k in range(count)]


def windows(name: str, of: str) -> list[str]:
    return [f"{name}_{w}" for w in WINDOWS] + [f"{of}_{w}" for w in WINDOWS]


def customer_race(market: Market, dates: int, gate: float) -> Race:
    """Orders, spend and decayed orders; each call of ours also fills 21 columns that Polars is not asked for."""
    names = customer_columns(RULE.windows, RULE.half_lives)
    compared = [*windows("orders", "spend"), *(f"decayed_{h}" for h in HALF_LIVES)]
    days, found = cutoffs(market, dates), frame(market).lazy()
    everyone, nothing = np.arange(len(market.log)), np.zeros(len(market.log), np.int64)
    out = [np.empty((everyone.size, len(names)), np.float32) for _ in days]
    events, sets, offers = market.log.events, market.offers.sets, len(market.offers)

    def ours() -> Result:
        for day, rows in zip(days, out, strict=True):
            customer_windows(events, sets, offers, everyone, day, HORIZON, nothing, WINDOWS, HALF_LIVES, rows)
        return [rows[:, : len(compared)] for rows in out]

    def rival() -> list[pl.DataFrame]:
        return [customer_query(found, day).collect(engine="streaming") for day in days]

    def same(mine: Result, theirs: list[pl.DataFrame]) -> None:
        for rows, table in zip(mine, theirs, strict=True):
            want = np.zeros((everyone.size, len(compared)))
            want[table["customer"].to_numpy()] = table.select(compared).to_numpy()
            np.testing.assert_allclose(rows, want, rtol=1e-4, atol=1e-3)

    def why() -> str:
        whole, half = median_seconds(ours), median_seconds(_only_windows(market, days))
        return (
            f"the {len(compared)} columns compared are {half:.2g} s of our {whole:.2g} s; the rest fills "
            f"{len(names) - len(compared)} others, and every cutoff reads the log again."
        )

    title = f"customer windows, {dates} cutoff{'s' * (dates > 1)}"
    return Race(title, POLARS, gate, ours, rival, same, why)


def customer_query(found: pl.LazyFrame, day: int) -> pl.LazyFrame:
    """One row per customer with a purchase before `day`."""
    age = day - pl.col("day")
    return (
        found.filter(pl.col("day") < day)
        .group_by("customer")
        .agg(
            *((pl.col("opens") & (age <= w)).sum().alias(f"orders_{w}") for w in RULE.windows),
            *(pl.col("revenue").filter(age <= w).sum().alias(f"spend_{w}") for w in RULE.windows),
            *((0.5 ** (age.filter("opens") / h)).sum().alias(f"decayed_{h}") for h in RULE.half_lives),
        )
    )


def _only_windows(market: Market, days: list[int]) -> Callable[[], None]:
    """Our compared columns alone."""
    from benchmarks.part import only_windows

    out = np.empty((len(market.log), 2 * WINDOWS.size + HALF_LIVES.size), np.float32)

    def call() -> None:
        for day in days:
            only_windows(market.log.events, day, WINDOWS, HALF_LIVES, out)

    call()
    return call


def pair_race(market: Market, gate: float) -> Race:
    """Purchase days and spend of every pair, block by block into one buffer; ours fills 16 more columns and decays."""
    names, compared = pair_columns(RULE.windows, RULE.half_lives), windows("days", "spend")
    (day,), found = cutoffs(market, 1), frame(market).lazy()
    events, sets, m = market.log.events, market.offers.sets, len(market.offers)
    blocks = np.array_split(np.arange(len(market.log)), -(-len(market.log) // BLOCK))
    buffer = np.empty((BLOCK, m, len(names)), np.float32)
    nothing, no_offer = np.zeros(BLOCK, np.int64), np.full(BLOCK, -1)

    def filled(day: int = day) -> Iterator[np.ndarray]:
        for rows in blocks:
            yield pair_windows(
                events, sets, rows, day, nothing, no_offer, WINDOWS, HALF_LIVES, buffer[: rows.size]
            ).reshape(-1, len(names))

    def ours() -> Iterator[np.ndarray]:
        deque(filled(), maxlen=0)
        return filled()

    def rival() -> pl.DataFrame:
        return pair_query(found, day).collect(engine="streaming")

    def same(mine: Iterator[np.ndarray], table: pl.DataFrame) -> None:
        table = table.with_columns(place=pl.col("customer").cast(pl.Int64) * m + pl.col("offer")).sort("place")
        place, want, start = table["place"].to_numpy(), table.select(compared).to_numpy(), 0
        for part in mine:
            own = slice(*np.searchsorted(place, (start, start + len(part))))
            dense = np.zeros((len(part), len(compared)))
            dense[place[own] - start] = want[own]
            np.testing.assert_allclose(part[:, : len(compared)], dense, rtol=1e-4, atol=1e-3)
            start += len(part)
        assert start == len(market.log) * m

    def why() -> str:
        whole, cells = median_seconds(ours), len(market.log) * m
        early = median_seconds(lambda: deque(filled(market.log.first_day), maxlen=0))
        met = rival().height
        return (
            f"ours fills {len(names)} columns of all {cells:,} pairs, Polars {len(compared)} of the {met:,} "
            f"({met / cells:.0%}) ever bought; rows without a past alone take {early:.2g} s of our {whole:.2g} s."
        )

    return Race("pair windows, 1 cutoff", POLARS, gate, ours, rival, same, why)


def pair_query(found: pl.LazyFrame, day: int) -> pl.LazyFrame:
    """One row per customer and offer ever bought before `day`; a day counts once."""
    age = day - pl.col("day")
    return (
        found.filter(pl.col("day") < day)
        .group_by("customer", "offer", "day")
        .agg(pl.col("revenue").sum())
        .group_by("customer", "offer")
        .agg(
            *((age <= w).sum().alias(f"days_{w}") for w in RULE.windows),
            *(pl.col("revenue").filter(age <= w).sum().alias(f"spend_{w}") for w in RULE.windows),
        )
    )
