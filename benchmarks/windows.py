"""Trailing windows of customers, and of customers and offers, at many cutoffs against Polars and DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks import query
from benchmarks.market import PointInTimeFeatures, frame
from benchmarks.query import CUSTOMER, HALF_LIVES, PAIR, WINDOWS
from benchmarks.race import Call, Race, median_seconds
from propensity.kernel.rolling_customer import WindowGrid, grid, rolling_customer_columns, rolling_customer_windows
from propensity.kernel.rolling_pair import rolling_pair_columns, rolling_pair_windows

HORIZON, ROOM = 14, 1024  # pairs in the buffer that is used again
POLARS, DUCKDB = "Polars, streaming", "DuckDB"
BEST = "Polars, streaming, daily totals first"


class Scene(NamedTuple):
    """A market as both sides take it; frame: its purchases."""

    market: PointInTimeFeatures
    frame: pl.DataFrame
    duckdb: Any

    @classmethod
    def of(cls, market: PointInTimeFeatures) -> Scene:
        found = frame(market)
        return cls(market, found, query.duckdb_of(found))


def cutoffs(market: PointInTimeFeatures, count: int) -> list[int]:
    """Weekly, the last with a whole horizon after it."""
    last = market.log.last_day + 1 - HORIZON
    return [last - 7 * k for k in range(count)][::-1]


def course_of(market: PointInTimeFeatures, count: int) -> WindowGrid:
    return grid(market.log.first_day, np.array(cutoffs(market, count)), np.array(WINDOWS), np.array(HALF_LIVES))


def our_customers(market: PointInTimeFeatures, dates: int) -> Call:
    """Windows of everybody into one buffer that is used again: (N, F, D)."""
    made, everyone = course_of(market, dates), np.arange(len(market.log))
    events = market.log.events
    out = np.zeros((everyone.size, len(rolling_customer_columns(WINDOWS, HALF_LIVES)), dates), np.float32)
    return lambda: rolling_customer_windows(events, made, everyone, out)


def our_pairs(market: PointInTimeFeatures, dates: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of owner (R,), offer (R,) and out (R, F, D), each overwritten by the next."""
    made, everyone, names = (
        course_of(market, dates),
        np.arange(len(market.log)),
        rolling_pair_columns(WINDOWS, HALF_LIVES),
    )
    events, sets, offers = market.log.events, market.offers.sets, len(market.offers)
    room = max(ROOM, offers)
    owner, offer = np.zeros(room, np.int64), np.zeros(room, np.int32)
    out, start = np.zeros((room, len(names), dates), np.float32), 0
    while start < everyone.size:
        start, count = rolling_pair_windows(events, sets, offers, made, everyone, start, owner, offer, out)
        yield owner[:count], offer[:count], out[:count]


def all_pairs(market: PointInTimeFeatures, dates: int) -> None:
    for _ in our_pairs(market, dates):
        pass


def customer_race(scene: Scene, dates: int, rival: str, gate: float, aim: float) -> Race:
    """Orders and spend in seven windows, recency, decayed orders of three half-lives."""
    days, ours = cutoffs(scene.market, dates), our_customers(scene.market, dates)
    turn, asked = cycle(days), scene.frame.lazy()

    def ask(day: int) -> pl.DataFrame:
        if rival == DUCKDB:
            return query.asked(scene.duckdb, query.duckdb_customers(day))
        return query.customers(asked, day).collect(engine="streaming")

    def best() -> list[pl.DataFrame]:
        daily = query.daily(asked.filter(pl.col("day") < days[-1])).lazy()
        return [query.customers_of_days(daily, day).collect(engine="streaming") for day in days]

    def check() -> None:
        tables = best() if rival == BEST else [ask(day) for day in (days[0], days[-1])]
        tried = days if rival == BEST else (days[0], days[-1])
        for day, table in zip(tried, tables, strict=True):
            same_customers(ours()[:, :, days.index(day)], table)

    title = f"customer windows, {dates} cutoff{'s' * (dates > 1)}"
    whole = best if rival == BEST else lambda: ask(next(turn))
    scale = 1.0 if rival == BEST else float(dates)
    return Race(title, rival, gate, ours, whole, check, lambda: why_customers(scene, dates), scale, aim)


def same_customers(rows: np.ndarray, table: pl.DataFrame) -> None:
    names = rolling_customer_columns(WINDOWS, HALF_LIVES)
    want = np.zeros((len(rows), len(CUSTOMER)))
    want[:, -1] = np.nan
    want[table["customer"].to_numpy()] = table.select(CUSTOMER).to_numpy()
    np.testing.assert_allclose(rows[:, [names.index(n) for n in CUSTOMER]], want, rtol=1e-4, atol=1e-3)


def why_customers(scene: Scene, dates: int) -> str:
    whole, one = median_seconds(our_customers(scene.market, dates)), median_seconds(our_customers(scene.market, 1))
    return f"a single cutoff takes {one:.2g} s of our {whole:.2g} s: reading every event once is most of the work."


def pair_race(scene: Scene, dates: int, rival: str, gate: float, aim: float | None) -> Race:
    """Purchase days, spend, decays and recency of every pair with a past, block by block into one buffer."""
    market, days = scene.market, cutoffs(scene.market, dates)
    turn, asked = cycle(days), scene.frame.lazy()

    def ask(day: int) -> pl.DataFrame:
        if rival == DUCKDB:
            return query.asked(scene.duckdb, query.duckdb_pairs(day))
        lines = asked.filter(pl.col("day") < day)
        return query.pairs(query.pair_days(lines).lazy(), day).collect(engine="streaming")

    kept: list[pl.LazyFrame] = []

    def share() -> None:
        kept[:] = [query.pair_days(asked.filter(pl.col("day") < days[-1])).lazy()]

    def one_of_best() -> pl.DataFrame:
        return query.pairs(kept[0], next(turn)).collect(engine="streaming")

    def check() -> None:
        share()
        for day in days[:1]:
            found = query.pairs(kept[0], day).collect(engine="streaming") if rival == BEST else ask(day)
            same_pairs(our_pairs(market, dates), days.index(day), found, len(market.offers))

    def why() -> str:
        whole, one = (median_seconds(partial(all_pairs, market, n), 3) for n in (dates, 1))
        return f"a single cutoff takes {one:.2g} s of our {whole:.2g} s."

    title = f"pair windows, {dates} cutoff{'s' * (dates > 1)}"
    asks = one_of_best if rival == BEST else lambda: ask(next(turn))
    once = share if rival == BEST else None
    return Race(title, rival, gate, lambda: all_pairs(market, dates), asks, check, why, float(dates), aim, once)


def same_pairs(blocks: Iterator[tuple[np.ndarray, ...]], date: int, table: pl.DataFrame, offers: int) -> None:
    """Every pair of the table is among the blocks, with its values; the others were not bought by then."""
    names = rolling_pair_columns(WINDOWS, HALF_LIVES)
    columns, days = [names.index(n) for n in PAIR], names.index("purchase_days")
    key = table["customer"].cast(pl.Int64) * offers + table["offer"]
    order = key.arg_sort().to_numpy()
    key_sorted, want, met = key.to_numpy()[order], table.select(PAIR).to_numpy(), 0
    for owner, offer, out in blocks:
        bought = out[:, days, date] > 0
        place = np.searchsorted(key_sorted, (owner * offers + offer)[bought])
        np.testing.assert_array_equal(key_sorted[place], (owner * offers + offer)[bought])
        np.testing.assert_allclose(out[bought][:, columns, date], want[order[place]], rtol=1e-4, atol=1e-3)
        met += int(bought.sum())
    assert met == table.height, f"{met} pairs have a past, the rival finds {table.height}: Not equal"


def cost_race(scene: Scene, gate: float, aim: float) -> Race:
    """Twelve cutoffs against one, of the same kernel."""
    many, one = our_customers(scene.market, 12), our_customers(scene.market, 1)

    def check() -> None:
        np.testing.assert_array_equal(many()[:, :, -1], one()[:, :, 0])

    title, why = "cost of 12 cutoffs over 1, customer windows", lambda: why_customers(scene, 12)
    return Race(title, "itself, 1 cutoff", gate, many, one, check, why, aim=aim, limit=True)


def read_bytes(market: PointInTimeFeatures) -> dict[str, int]:
    """Bytes of the columns that each kernel reads."""
    columns = {
        "customer": ("offsets", "day", "order", "revenue"),
        "pair": ("offsets", "day", "item", "kind", "revenue"),
    }
    return {name: sum(getattr(market.log, c).nbytes for c in used) for name, used in columns.items()}
