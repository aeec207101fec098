"""Trailing windows of customers and of pairs at many cutoffs, compared with Polars and DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks import query
from benchmarks.market import Market, frame
from benchmarks.query import CUSTOMER, HALF_LIVES, PAIR, WINDOWS
from benchmarks.race import Call, Race, median_seconds
from propensity.kernel.rolling_customer import WindowGrid, grid, rolling_customer_columns, rolling_customer_windows
from propensity.kernel.rolling_pair import rolling_pair_columns, rolling_pair_windows

HORIZON, ROOM = 14, 1024  # ROOM: pairs of the reused buffer
POLARS, DUCKDB = "Polars, streaming", "DuckDB"
BEST = "Polars, streaming, daily totals first"


class Scene(NamedTuple):
    """A market, and its purchases as a frame and in DuckDB."""

    market: Market
    frame: pl.DataFrame
    duckdb: Any

    @classmethod
    def of(cls, market: Market) -> Scene:
        purchases = frame(market)
        return cls(market, purchases, query.duckdb_of(purchases))


def cutoffs(market: Market, count: int) -> list[int]:
    """`count` weekly cutoffs, the last with a whole horizon after it."""
    last = market.log.last_day + 1 - HORIZON
    return [last - 7 * k for k in range(count)][::-1]


def grid_of(market: Market, count: int) -> WindowGrid:
    return grid(market.log.first_day, np.array(cutoffs(market, count)), np.array(WINDOWS), np.array(HALF_LIVES))


def our_customers(market: Market, dates: int) -> Call:
    """A call that writes the windows of all customers into one reused buffer (N, F, D)."""
    windows, everyone = grid_of(market, dates), np.arange(len(market.log))
    events = market.log.events
    out = np.zeros((everyone.size, len(rolling_customer_columns(WINDOWS, HALF_LIVES)), dates), np.float32)
    return lambda: rolling_customer_windows(events, windows, everyone, out)


def our_pairs(market: Market, dates: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of customer (R,), offer (R,) and out (R, F, D) in one reused buffer."""
    windows, everyone, names = (
        grid_of(market, dates),
        np.arange(len(market.log)),
        rolling_pair_columns(WINDOWS, HALF_LIVES),
    )
    events, sets, offers = market.log.events, market.offers.sets, len(market.offers)
    room = max(ROOM, offers)
    customer, offer = np.zeros(room, np.int64), np.zeros(room, np.int32)
    out, start = np.zeros((room, len(names), dates), np.float32), 0
    while start < everyone.size:
        start, count = rolling_pair_windows(events, sets, offers, windows, everyone, start, customer, offer, out)
        yield customer[:count], offer[:count], out[:count]


def all_pairs(market: Market, dates: int) -> None:
    for _ in our_pairs(market, dates):
        pass


def customer_race(scene: Scene, dates: int, reference: str, gate: float, aim: float) -> Race:
    """Orders and spend in seven windows, recency, decayed orders of three half-lives."""
    days, ours = cutoffs(scene.market, dates), our_customers(scene.market, dates)
    next_day, purchases = cycle(days), scene.frame.lazy()

    def ask(day: int) -> pl.DataFrame:
        if reference == DUCKDB:
            return query.result(scene.duckdb, query.duckdb_customers(day))
        return query.customers(purchases, day).collect(engine="streaming")

    def best() -> list[pl.DataFrame]:
        daily = query.daily(purchases.filter(pl.col("day") < days[-1])).lazy()
        return [query.customers_of_days(daily, day).collect(engine="streaming") for day in days]

    def check() -> None:
        tables = best() if reference == BEST else [ask(day) for day in (days[0], days[-1])]
        checked = days if reference == BEST else (days[0], days[-1])
        for day, table in zip(checked, tables, strict=True):
            same_customers(ours()[:, :, days.index(day)], table)

    title = f"customer windows, {dates} cutoff{'s' * (dates > 1)}"
    whole = best if reference == BEST else lambda: ask(next(next_day))
    scale = 1.0 if reference == BEST else float(dates)
    return Race(title, reference, gate, ours, whole, check, lambda: why_customers(scene, dates), scale, aim)


def same_customers(rows: np.ndarray, table: pl.DataFrame) -> None:
    names = rolling_customer_columns(WINDOWS, HALF_LIVES)
    expected = np.zeros((len(rows), len(CUSTOMER)))
    expected[:, -1] = np.nan
    expected[table["customer"].to_numpy()] = table.select(CUSTOMER).to_numpy()
    np.testing.assert_allclose(rows[:, [names.index(n) for n in CUSTOMER]], expected, rtol=1e-4, atol=1e-3)


def why_customers(scene: Scene, dates: int) -> str:
    whole, one = median_seconds(our_customers(scene.market, dates)), median_seconds(our_customers(scene.market, 1))
    return f"a single cutoff takes {one:.2g} s of our {whole:.2g} s: reading every event once is most of the work."


def pair_race(scene: Scene, dates: int, reference: str, gate: float, aim: float | None) -> Race:
    """Purchase days, spend, decays and recency of every pair with a purchase, block by block into one buffer."""
    market, days = scene.market, cutoffs(scene.market, dates)
    next_day, purchases = cycle(days), scene.frame.lazy()

    def ask(day: int) -> pl.DataFrame:
        if reference == DUCKDB:
            return query.result(scene.duckdb, query.duckdb_pairs(day))
        lines = purchases.filter(pl.col("day") < day)
        return query.pairs(query.pair_days(lines).lazy(), day).collect(engine="streaming")

    totals: list[pl.LazyFrame] = []

    def share() -> None:
        totals[:] = [query.pair_days(purchases.filter(pl.col("day") < days[-1])).lazy()]

    def one_of_best() -> pl.DataFrame:
        return query.pairs(totals[0], next(next_day)).collect(engine="streaming")

    def check() -> None:
        share()
        for day in days[:1]:
            table = query.pairs(totals[0], day).collect(engine="streaming") if reference == BEST else ask(day)
            same_pairs(our_pairs(market, dates), days.index(day), table, len(market.offers))

    def why() -> str:
        whole, one = (median_seconds(partial(all_pairs, market, n), 3) for n in (dates, 1))
        return f"a single cutoff takes {one:.2g} s of our {whole:.2g} s."

    title = f"pair windows, {dates} cutoff{'s' * (dates > 1)}"
    asks = one_of_best if reference == BEST else lambda: ask(next(next_day))
    once = share if reference == BEST else None
    return Race(title, reference, gate, lambda: all_pairs(market, dates), asks, check, why, float(dates), aim, once)


def same_pairs(blocks: Iterator[tuple[np.ndarray, ...]], date: int, table: pl.DataFrame, offers: int) -> None:
    """Every pair of the table is among the blocks with its values; all other pairs of the blocks have no purchase."""
    names = rolling_pair_columns(WINDOWS, HALF_LIVES)
    columns, days = [names.index(n) for n in PAIR], names.index("purchase_days")
    key = table["customer"].cast(pl.Int64) * offers + table["offer"]
    order = key.arg_sort().to_numpy()
    key_sorted, expected, count = key.to_numpy()[order], table.select(PAIR).to_numpy(), 0
    for customer, offer, out in blocks:
        bought = out[:, days, date] > 0
        place = np.searchsorted(key_sorted, (customer * offers + offer)[bought])
        np.testing.assert_array_equal(key_sorted[place], (customer * offers + offer)[bought])
        np.testing.assert_allclose(out[bought][:, columns, date], expected[order[place]], rtol=1e-4, atol=1e-3)
        count += int(bought.sum())
    assert count == table.height, f"{count} pairs have a purchase, the reference finds {table.height}: Not equal"


def cost_race(scene: Scene, gate: float, aim: float) -> Race:
    """Twelve cutoffs against one cutoff, the same kernel."""
    many, one = our_customers(scene.market, 12), our_customers(scene.market, 1)

    def check() -> None:
        np.testing.assert_array_equal(many()[:, :, -1], one()[:, :, 0])

    title, why = "cost of 12 cutoffs over 1, customer windows", lambda: why_customers(scene, 12)
    return Race(title, "itself, 1 cutoff", gate, many, one, check, why, aim=aim, limit=True)


def read_bytes(market: Market) -> dict[str, int]:
    """Bytes of the columns that each kernel reads, by kernel."""
    columns = {
        "customer": ("offsets", "day", "order", "revenue"),
        "pair": ("offsets", "day", "item", "kind", "revenue"),
    }
    return {name: sum(getattr(market.log, c).nbytes for c in used) for name, used in columns.items()}
