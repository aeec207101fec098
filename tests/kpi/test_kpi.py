"""Key figures of logs with little in them, and of logs with another future."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.config import KpiConfig
from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.build import build_log
from propensity.ingest.source import Tables
from propensity.key_figures.figures import Kpi, kpi, save
from propensity.key_figures.money import UNIT, units_of
from propensity.report.kpi import kpi_page
from random_log import random_tables, rewritten
from test_straight_line import script

Compose = Callable[..., Any]
DAY = date(2024, 1, 10)


def log_of(rows: list[tuple[str, int, float]], customers: pl.DataFrame | None = None, **columns: Any) -> EventLog:
    """A log of purchases: customer, days after `DAY`, amount; negative amounts are returns."""
    table = pl.DataFrame(rows, schema={"customer": pl.String, "day": pl.Int64, "revenue": pl.Float64}, orient="row")
    events = table.with_columns(
        day=pl.lit(DAY) + pl.duration(days=pl.col("day")),
        kind=pl.when(pl.col("revenue") < 0).then(pl.lit("return")).otherwise(pl.lit("purchase")),
        item=pl.lit("thing"),
        **columns,
    ).with_columns(pl.col("day").cast(pl.Date))
    items = pl.DataFrame({"item": ["thing"]})
    people = customers if customers is not None else table.select("customer").unique()
    return build_log(Tables(events.lazy(), items.lazy(), people.lazy(), {}, events.height))


def figures(log: EventLog, folder: Path, back: int = 0, **settings: Any) -> Kpi:
    """Key figures on the day after the last purchase, or `back` days earlier."""
    log.save(folder / "log")
    day = to_date(log.last_day + 1) - timedelta(days=back)
    result = kpi(KpiConfig(log=str(folder / "log"), cutoff=day.isoformat(), **settings))
    assert "<svg" in kpi_page(result) and json.loads(result.json())["figures"] == json.loads(
        json.dumps(result.figures, default=str)
    )
    return result


@pytest.mark.parametrize("how", ["shuffled", "altered", "deleted"])
def test_nothing_at_or_after_the_cutoff_is_read(how: str, tmp_path: Path) -> None:
    tables = random_tables(3, customers=40)
    log = build_log(tables)
    day = log.last_day - 60
    other = build_log(rewritten(tables, day, 5, how))
    results = []
    for name, each in (("one", log), ("other", other)):
        each.save(tmp_path / name)
        config = KpiConfig(log=str(tmp_path / name), cutoff=to_date(day).isoformat(), cohort="month", window=91)
        results.append(kpi(config))
    one, two = results
    assert one.figures == two.figures
    assert one.tables.keys() == two.tables.keys()
    for name, table in one.tables.items():
        assert table.equals(two.tables[name]), name


def test_one_order_of_one_customer_has_figures_and_a_warning(tmp_path: Path) -> None:
    result = figures(log_of([("a", 0, 12.5)]), tmp_path)
    own = result.figures
    assert (own["customers"], own["orders"], own["repeat_rate"], own["average_order_value"]) == (1, 1, 0.0, 12.5)
    assert any("one customer" in each for each in result.warnings)
    assert any("all purchases are of one day" in each for each in result.warnings)
    assert result.tables["waterfall"]["amount"].to_list()[-1] == 12.5


def test_a_log_of_one_day_has_no_migration_and_says_so(tmp_path: Path) -> None:
    result = figures(log_of([(f"c{n}", 0, 1.0 + n) for n in range(20)]), tmp_path)
    assert set(result.tables["migration"]["movement"]) == {"new"}
    assert result.tables["retention"].height == 1 and result.tables["retention_curve"].height == 0
    assert any("all purchases are of one day" in each for each in result.warnings)


def test_without_amounts_money_is_nothing_and_ratios_are_null(tmp_path: Path) -> None:
    result = figures(log_of([(f"c{n % 5}", 9 * n, 0.0) for n in range(30)]), tmp_path)
    own = result.figures
    assert own["revenue"] == 0.0 and own["average_order_value"] == 0.0 and own["discount_share"] is None
    assert own["repeat_rate"] == 1.0
    assert set(result.tables["tiers"].filter(pl.col("customers") > 0)["tier"]) == {"inactive"}
    assert any("the log has no amounts" in each for each in result.warnings)


def test_amounts_of_zero_count_as_lines_and_are_counted(tmp_path: Path) -> None:
    result = figures(log_of([("a", 0, 0.0), ("a", 40, 10.0), ("b", 3, 0.0), ("b", 300, 4.0)]), tmp_path)
    assert result.figures["orders"] == 4 and result.figures["revenue"] == 14.0
    assert any("2 of 4 purchase lines have an amount of 0" in each for each in result.warnings)


def test_returns_lower_net_revenue_and_nothing_else(tmp_path: Path) -> None:
    result = figures(log_of([("a", 0, 20.1), ("a", 2, -20.1), ("b", 0, 9.99), ("b", 50, 5.0)]), tmp_path)
    own = result.figures
    assert (own["revenue"], own["returns"], own["net_revenue"]) == (35.09, -20.1, 14.99)
    assert own["orders"] == 3 and own["repeat_customers"] == 1
    assert result.tables["segments"].filter(pl.col("grouping") == "lifecycle")["customers"].sum() == 2


def test_guests_count_in_the_totals_of_sales_alone(tmp_path: Path) -> None:
    people = pl.DataFrame({"customer": ["a", "b", "g"], "guest": [False, False, True]})
    result = figures(log_of([("a", 0, 5.0), ("b", 30, 7.0), ("g", 9, 100.25)], people), tmp_path)
    assert result.figures["customers"] == 2 and result.figures["net_revenue"] == 12.0
    assert result.figures["revenue_of_guests"] == 100.25
    assert any("1 guests and objectors" in each for each in result.warnings)


def test_objectors_to_profiling_are_in_no_group(tmp_path: Path) -> None:
    people = pl.DataFrame({"customer": ["a", "b", "c"], "consent_profiling": [True, False, None]})
    result = figures(log_of([("a", 0, 5.0), ("b", 30, 7.0), ("c", 60, 1.0)], people), tmp_path)
    assert result.figures["customers"] == 2 and result.figures["revenue_of_guests"] == 7.0
    assert result.tables["segments"].filter(pl.col("grouping") == "lifecycle")["customers"].sum() == 2


def test_an_empty_segment_has_no_rates(tmp_path: Path) -> None:
    result = figures(log_of([(f"c{n}", n, 3.0) for n in range(10)]), tmp_path)
    lapsed = result.tables["segments"].filter(pl.col("segment") == "lapsed").row(0, named=True)
    assert lapsed["customers"] == 0 and lapsed["net_revenue"] == 0.0
    assert lapsed["repeat_rate"] is None and lapsed["average_order_value"] is None


def test_behaviour_needs_no_categories_but_for_specialists(tmp_path: Path) -> None:
    rows = [(f"c{n}", 20 * n, 8.0) for n in range(20)] + [("c1", 300, 5.0)]
    plain = figures(log_of(rows, discount=pl.lit(4.0)), tmp_path)
    assert {"deal_seeker"} <= set(plain.tables["segments"].filter(pl.col("grouping") == "behaviour")["segment"])
    rich = figures(build_log(random_tables(6, customers=40)), tmp_path / "rich")
    names = set(rich.tables["segments"].filter(pl.col("grouping") == "behaviour")["segment"])
    assert {"specialist", "cross_category", "private_label"} <= names
    assert {"specialist", "cross_category"}.isdisjoint(set(plain.tables["segments"]["segment"]))


def test_a_log_without_years_has_windows_of_half_its_length(tmp_path: Path) -> None:
    result = figures(log_of([("a", 7 * n, 2.0) for n in range(30)]), tmp_path)
    assert result.facts["window_days"] == 98
    assert any("less than two years" in each for each in result.warnings)
    long = figures(log_of([("a", 14 * n, 2.0) for n in range(60)]), tmp_path / "long")
    assert long.facts["window_days"] == 364 and not any("windows" in each for each in long.warnings)
    wide = figures(log_of([("a", 7 * n, 2.0) for n in range(30)]), tmp_path / "wide", window=364)
    assert any("the earlier window of the tiers is not complete" in each for each in wide.warnings)


def test_a_gap_of_years_leaves_ages_without_a_purchase(tmp_path: Path) -> None:
    result = figures(log_of([("a", 0, 2.0), ("a", 1500, 3.0), ("b", 0, 1.0)]), tmp_path, cohort="month")
    ages = result.tables["retention"]
    assert ages.height == 50 and ages["active"].sum() == 3
    assert ages["cumulative_net_revenue"].to_list()[-1] == 6.0


def test_a_cutoff_after_the_end_of_the_log_is_said(tmp_path: Path) -> None:
    result = figures(log_of([("a", 0, 2.0), ("b", 60, 1.0)]), tmp_path, back=-30)
    assert any("30 days before" in each for each in result.warnings)


def test_before_the_first_purchase_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no customer of the log bought anything before 2024-01-10: .* later cutoff"):
        figures(log_of([("a", 0, 2.0), ("a", 5, 2.0)]), tmp_path, back=6)


@pytest.mark.parametrize("period", ["week", "month", "quarter", "year"])
def test_every_customer_is_in_one_cohort_and_active_at_age_nought(period: str, tmp_path: Path) -> None:
    result = figures(build_log(random_tables(6, customers=40)), tmp_path, cohort=period)
    first = result.tables["retention"].filter(pl.col("age") == 0)
    assert (first["active"] == first["customers"]).all() and first["customers"].sum() == result.figures["customers"]
    assert result.tables["cohorts"]["customers"].sum() == result.figures["customers"]
    last = result.tables["retention"].group_by("cohort").agg(pl.col("cumulative_net_revenue").last())
    assert last["cumulative_net_revenue"].sum() == pytest.approx(result.figures["net_revenue"], abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tiers": [0.3, 0.1, 0.6]}, r"tiers=\[0.3, 0.1, 0.6\] must be three ascending shares"),
        ({"clv": "nowhere"}, "no clv at nowhere; give the file or folder that `propensity clv` wrote"),
        ({"acquisition_cost": "cac"}, "customers have no column 'cac'"),
        ({"satisfaction": ["smile"]}, "customers have no column of numbers 'smile'"),
        ({"run": "nowhere"}, "no run at nowhere"),
        ({"segments": "nowhere.csv"}, "no segments at nowhere.csv"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_sentence(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=words):
        figures(log_of([("a", 0, 2.0), ("b", 60, 1.0)]), tmp_path, **settings)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"weeks": [1]}, "has no column expected_revenue"),
        ({"weeks": [1], "expected_revenue": [1.0]}, "does not say when it was predicted"),
        ({"weeks": [1], "expected_revenue": [float("nan")]}, "has a customer without a finite expected_revenue"),
    ],
)
def test_a_file_of_values_without_its_columns_is_one_sentence(
    columns: dict[str, Any], words: str, tmp_path: Path
) -> None:
    pl.DataFrame({"customer_id": ["a"], **columns}).write_parquet(tmp_path / "clv.parquet")
    with pytest.raises(DataError, match=words):
        figures(log_of([("a", 0, 2.0), ("a", 60, 1.0)]), tmp_path, clv=str(tmp_path / "clv.parquet"))


def test_the_date_of_a_prediction_may_stand_in_its_summary(tmp_path: Path) -> None:
    folder = tmp_path / "clv"
    folder.mkdir()
    table = pl.DataFrame({"customer_id": ["a", "b"], "weeks": [2, 2], "expected_revenue": [1.0, 4.0]})
    table.write_parquet(folder / "clv.parquet")
    (folder / "summary.json").write_text(json.dumps({"cutoff": (DAY + timedelta(days=30)).isoformat()}))
    log = log_of([("a", 0, 2.0), ("b", 0, 2.0), ("a", 30, 8.0), ("a", 44, 16.0), ("a", 60, 1.0)])
    result = figures(log, tmp_path, clv=str(folder))
    whole = result.tables["predicted"].filter(pl.col("grouping") == "all").row(0, named=True)
    assert whole["realised_revenue"] == 8.0 and whole["expected_revenue"] == 5.0 and whole["realised_active"] == 1


def test_save_rates_are_of_alarmed_customers_by_their_first_message(tmp_path: Path) -> None:
    people = [f"c{n}" for n in range(6)]
    bought = [(who, 0, 5.0) for who in people] + [("c0", 33, 5.0), ("c1", 31, 5.0), ("c3", 40, 5.0), ("c5", 90, 5.0)]
    sent = pl.DataFrame(
        {
            "customer": ["c0", "c1", "c2"],
            "day": [DAY + timedelta(days=32)] * 3,
            "kind": "message",
            "campaign": "save",
            "arm": ["mail", "mail", "none"],
        }
    )
    rows = pl.DataFrame(bought, schema=["customer", "day", "revenue"], orient="row").with_columns(
        day=pl.lit(DAY) + pl.duration(days=pl.col("day")), kind=pl.lit("purchase"), item=pl.lit("thing")
    )
    events = pl.concat([rows.with_columns(pl.col("day").cast(pl.Date)), sent], how="diagonal")
    log = build_log(
        Tables(
            events.lazy(),
            pl.DataFrame({"item": ["thing"]}).lazy(),
            pl.DataFrame({"customer": people}).lazy(),
            {},
            events.height,
        )
    )
    churn = pl.DataFrame(
        {
            "customer_id": people,
            "p_churn": [0.9, 0.8, 0.7, 0.6, 0.2, 0.1],
            "alarm_since": [DAY, DAY, DAY, DAY, None, None],
            "weeks": 4,
            "cutoff": DAY + timedelta(days=30),
        }
    )
    churn.write_parquet(tmp_path / "churn.parquet")
    result = figures(log, tmp_path, churn=str(tmp_path / "churn.parquet"))
    saves = {
        (row["arm"], row["messaged"]): (row["customers"], row["saved"]) for row in result.tables["saves"].to_dicts()
    }
    # c1 bought before the message and not after it; c3 got none
    assert saves == {("mail", True): (2, 1), ("none", True): (1, 0), (None, False): (1, 1)}
    quality = result.tables["churn"].row(0, named=True)
    assert (quality["churned"], quality["alarmed"]) == (3, 4)
    assert quality["precision"] == 0.25 and quality["recall"] == pytest.approx(1 / 3)


def test_the_command_writes_a_folder_that_a_later_call_replaces(
    composed: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_log(random_tables(2, customers=40)).save(tmp_path / "log")
    out = tmp_path / "kpi"
    for _ in range(2):
        script("kpi").main(composed("kpi", f"log={tmp_path}/log", "cutoff=2024-02-01", f"out={out}"))
    names = {path.name for path in out.iterdir()}
    assert {"kpi.json", "kpi.html", "cohorts.parquet", "tiers.parquet"} <= names
    whole = json.loads((out / "kpi.json").read_text())
    assert whole["cutoff"] == "2024-02-01" and set(whole["tables"]) == {
        each[:-8] for each in names if "parquet" in each
    }
    assert "http" not in (out / "kpi.html").read_text().replace("http://www.w3.org", "")
    assert "repeat rate" in capsys.readouterr().out
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="holds something else than key figures"):
        save(kpi(KpiConfig(log=f"{tmp_path}/log", cutoff="2024-02-01")), tmp_path / "other", "")


def test_amounts_of_cents_are_recovered_from_single_precision() -> None:
    random = np.random.default_rng(0)
    cents = np.concatenate([random.integers(-(10**7), 10**7, 20_000), np.arange(-300, 300), [13_107_199, -13_107_199]])
    np.testing.assert_array_equal(units_of((cents / 100).astype(np.float32)), cents * (UNIT // 100))


def test_currency_and_days_of_the_log_stand_in_the_facts(tmp_path: Path) -> None:
    log = log_of([("a", 0, 2.0), ("b", 60, 1.0)])
    result = figures(replace(log, meta=log.meta | {"currency": "EUR"}), tmp_path)
    assert result.facts["currency"] == "EUR" and result.facts["last_day"] == (DAY + timedelta(days=60)).isoformat()
    assert "EUR" in kpi_page(result)
