"""The SQL of docs/kpi.md, run on the raw rows, equals the files of `propensity kpi` to the cent."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.config import KpiConfig, LogConfig, conf_folder
from propensity.ingest.build import build_log
from propensity.ingest.source import Tables
from propensity.key_figures.figures import Kpi, kpi

duckdb = pytest.importorskip("duckdb")

START, CUTOFF, PREDICTED, DAYS = date(2022, 11, 14), date(2024, 3, 5), date(2024, 2, 1), 560
DOCS = conf_folder().parent / "docs" / "kpi.md"
QUERIES = dict(re.findall(r"```sql\n-- (\w+)\n(.*?)```", DOCS.read_text() if DOCS.is_file() else "", re.DOTALL))
TABLES = tuple(sorted(QUERIES.keys() - {"figures"}))


def raw_rows(seed: int, customers: int) -> pl.DataFrame:
    """Purchase lines with amounts of two decimals, some of 0 and some of 90,000, and returns of the day after."""
    random = np.random.default_rng(seed)
    size = customers * 14
    who = random.integers(0, customers, size) ** 2 // customers
    day = random.integers(0, DAYS, size) // 3 * 3
    amount = np.where(random.random(size) < 0.05, 0.0, random.gamma(1.3, 21.0, size).round(2))
    amount[:3] = 90_000.01, 41_234.99, 8_191.73
    cost = np.where(random.random(size) < 0.7, (amount * random.uniform(0.4, 0.9, size)).round(2), np.nan)
    bought = pl.DataFrame(
        {
            "customer": [f"c{n:04d}" for n in who],
            "day": [START + timedelta(days=int(d)) for d in day],
            "kind": "purchase",
            "order": [f"{n}/{d}/{k}" for n, d, k in zip(who, day, random.integers(0, 2, size), strict=True)],
            "item": [f"i{k}" for k in random.integers(0, 9, size)],
            "revenue": amount,
            "discount": np.where(random.random(size) < 0.2, 0.37, 0.0),
            "cost": pl.Series(cost).fill_nan(None),
        }
    ).unique(["customer", "day", "order", "item"], maintain_order=True)
    back = bought.filter(pl.Series(random.random(bought.height) < 0.08)).with_columns(
        pl.col("day") + timedelta(days=1),
        -pl.col("revenue"),
        pl.lit("return").alias("kind"),
        pl.lit(None, pl.String).alias("order"),
        pl.lit(0.0).alias("discount"),
    )
    return pl.concat([bought, back])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A log, files of predictions at an earlier date, the key figures, and the raw rows in DuckDB."""
    folder = tmp_path_factory.mktemp("kpi")
    rows, people = raw_rows(4, 400), [f"c{n:04d}" for n in range(420)]
    random = np.random.default_rng(9)
    table = pl.DataFrame(
        {
            "customer": people,
            "acquired_cost": pl.Series(random.gamma(2.0, 5.0, 420).round(2)).set(
                pl.Series(random.random(420) < 0.2), None
            ),
            "acquired_channel": [("search", "shop", None)[n % 3] for n in range(420)],
            "region": [("north", "south")[n % 2] for n in range(420)],
            "nps": pl.Series([None if n % 4 == 0 else n % 11 for n in range(420)], dtype=pl.Int64),
        }
    )
    items = pl.DataFrame({"item": [f"i{k}" for k in range(9)], "category": [f"category {k % 3}" for k in range(9)]})
    log = build_log(Tables(rows.lazy(), items.lazy(), table.lazy(), {}, rows.height))
    log.save(folder / "log")
    assert log.meta["rows"]["used"] == rows.height
    known = rows.filter((pl.col("day") < PREDICTED) & (pl.col("kind") == "purchase"))["customer"].unique().sort()
    size = known.len()
    clv = pl.DataFrame(
        {
            "customer_id": known,
            "weeks": 4,
            "p_active": random.random(size),
            "expected_orders": random.gamma(1.0, 1.0, size),
            "expected_revenue": random.gamma(1.0, 30.0, size),
            "revenue_upper_90": random.gamma(2.0, 30.0, size),
            "cutoff": PREDICTED,
        }
    )
    later = clv.with_columns(weeks=pl.lit(26))
    pl.concat([clv, later]).write_parquet(folder / "clv.parquet")
    churn = pl.DataFrame({"customer_id": known, "p_churn": random.random(size), "weeks": 4, "cutoff": PREDICTED})
    churn = churn.with_columns(alarm_since=pl.when(pl.col("p_churn") > 0.6).then(pl.lit(date(2024, 1, 20))))
    churn.write_parquet(folder / "churn.parquet")
    result = kpi(
        KpiConfig(
            log=str(folder / "log"),
            cutoff=CUTOFF.isoformat(),
            clv=str(folder / "clv.parquet"),
            churn=str(folder / "churn.parquet"),
            cohort="month",
            window=182,
            data=LogConfig(),
        )
    )
    base = duckdb.connect()
    base.execute("SET threads = 1")
    tables = {
        "raw": rows,
        "clv": pl.concat([clv, later]).rename({"customer_id": "customer"}),
        "churn": churn.rename({"customer_id": "customer"}),
        "raw_people": table,
    }
    for name, frame in tables.items():
        frame.write_parquet(folder / f"{name}_rows.parquet")
        base.execute(f"CREATE TABLE {name} AS FROM '{folder}/{name}_rows.parquet'")
    money = "{0}::DECIMAL(18,2) AS {0}".format
    base.execute(
        f"CREATE TABLE lines AS SELECT customer, day, kind = 'return' AS returned, \"order\" AS order_id, "
        f"{money('revenue')}, {money('discount')}, "
        "CASE WHEN kind = 'return' THEN -cost ELSE cost END::DECIMAL(18,2) AS cost FROM raw"
    )
    base.execute(f"CREATE TABLE people AS SELECT * EXCLUDE (acquired_cost), {money('acquired_cost')} FROM raw_people")
    for name, value in (("cutoff", CUTOFF), ("predicted_on", PREDICTED)):
        base.execute(f"CREATE MACRO {name}() AS DATE '{value}'")
    base.execute("CREATE MACRO window_days() AS 182")
    return {"kpi": result, "base": base}


def queried(base: Any, name: str) -> pl.DataFrame:
    """The result of a query of the docs."""
    result = base.execute(QUERIES[name])
    names = [column[0] for column in result.description]
    return pl.DataFrame(result.fetchall(), schema=names, orient="row", infer_schema_length=None)


def comparable(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """The rows of a table that the query of its name is about."""
    part = {"segments": "lifecycle", "predicted": "cohort", "acquisition": "channel", "satisfaction": "all"}.get(name)
    return table if part is None else table.filter(pl.col("grouping") == part)


def assert_same(name: str, ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
    assert ours.height == theirs.height > 0, name
    for column in theirs.columns:
        one, other = ours[column], theirs[column]
        if other.dtype.is_decimal() or other.dtype.is_numeric():
            one, other = one.cast(pl.Float64), other.cast(pl.Float64)
            assert (one.is_null() == other.is_null()).all(), f"{name}.{column}: {one} {other}"
            assert ((one - other).abs().fill_null(0.0) < 0.001).all(), f"{name}.{column}: {one} {other}"
        elif other.dtype.is_temporal():
            assert one.cast(pl.Date).to_list() == other.cast(pl.Date).to_list(), f"{name}.{column}"
        else:
            assert one.to_list() == other.to_list(), f"{name}.{column}"


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_key_figures_equals_its_query_to_the_cent(name: str, world: dict[str, Any]) -> None:
    theirs = queried(world["base"], name)
    assert_same(name, comparable(name, world["kpi"].tables[name]), theirs)


def test_every_figure_of_all_customers_equals_its_query_to_the_cent(world: dict[str, Any]) -> None:
    theirs = queried(world["base"], "figures")
    result: Kpi = world["kpi"]
    assert set(theirs.columns) == set(result.figures)
    assert_same("figures", pl.DataFrame([result.figures]), theirs)


def test_every_block_of_figures_with_money_has_a_query() -> None:
    assert {"cohorts", "retention", "tiers", "migration", "segments", "predicted", "churn", "acquisition"} <= {*TABLES}


def test_the_bars_of_the_waterfall_add_up_exactly(world: dict[str, Any]) -> None:
    waterfall, moves = (world["kpi"].tables[name] for name in ("waterfall", "migration"))
    cents = (waterfall["amount"] * 10_000).round().cast(pl.Int64).to_list()
    assert sum(cents[:-1]) == cents[-1]
    by_movement = dict(moves.group_by("movement").agg(pl.col("change").sum()).iter_rows())
    for step, _, amount in waterfall[1:-1].iter_rows():
        assert amount == pytest.approx(by_movement.get(step, 0.0), abs=1e-6)


def test_a_window_that_has_not_closed_is_not_compared(world: dict[str, Any]) -> None:
    assert set(world["kpi"].tables["predicted"]["days"]) == {28}
    assert any("has not closed by 2024-03-05: 182 days from 2024-02-01" in each for each in world["kpi"].warnings)
