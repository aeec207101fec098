"""Values and churn of small markets: what they are made of, and what becomes of input that says little."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import propensity as pp
from order_market import START, Line, day, finite, log_of, market
from propensity.checksum import is_intact
from propensity.cli import main
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError, DataError
from propensity.kernel.order_day import OrderDays, Recency, ahead, order_days, recency
from propensity.value import closed, trees
from propensity.value.churn import find_churn
from propensity.value.distribution import fit_shape
from propensity.value.parametric import MODELS, fit_orders
from propensity.value.rhythm import Rhythm, fit_rhythm
from propensity.value.season import fit_clock
from propensity.value.valuation import Valuation, value_customers


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Fewer rows and trees than by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closed, "ROWS", 4_000)
        patch.setattr(trees, "ROUNDS", 15)
        yield


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> EventLog:
    return log_of(market(150, 340), tmp_path_factory.mktemp("shop") / "log")


@pytest.fixture(scope="module")
def valued(shop: EventLog) -> Valuation:
    return value_customers(shop, day(300), [13, 4, 52])


def test_every_customer_with_an_order_has_a_row_for_each_length_of_window(shop: EventLog, valued: Valuation) -> None:
    assert valued.table.height == 3 * shop.purchasers(day(300)).size
    assert valued.table["weeks"].unique().sort().to_list() == [4, 13, 52]
    assert finite(valued.table)


def test_values_rise_with_the_length_and_probabilities_are_probabilities(valued: Valuation) -> None:
    for name in ("p_active", "expected_orders", "expected_revenue", "discounted_value", "revenue_upper_90"):
        steps = valued.table.sort("customer_id", "weeks").group_by("customer_id", maintain_order=True).agg(name)[name]
        assert all((np.diff(values.to_numpy()) >= -1e-9).all() for values in steps)
    assert valued.table["p_active"].is_between(0, 1).all()
    assert (valued.table["expected_orders"] >= valued.table["p_active"] - 1e-9).all()
    assert (valued.table["p_alive"] >= 0).all()


def test_events_from_the_cutoff_on_change_no_value(shop: EventLog, valued: Valuation) -> None:
    past = shop.until(day(300))
    assert value_customers(past, day(300), [4, 13, 52]).table.equals(valued.table)


def test_amounts_in_another_unit_scale_values_and_change_no_probability(shop: EventLog, valued: Valuation) -> None:
    scaled = value_customers(replace(shop, revenue=np.asarray(shop.revenue) * np.float32(64)), day(300), [4, 13, 52])
    ratio = (scaled.table["expected_revenue"] / valued.table["expected_revenue"]).to_numpy()
    np.testing.assert_allclose(ratio, 64, rtol=0.05)
    np.testing.assert_allclose(scaled.table["expected_orders"], valued.table["expected_orders"], rtol=0.05)


def test_totals_are_near_what_followed(shop: EventLog, valued: Valuation) -> None:
    row = shop.purchasers(day(300))
    orders = order_days(shop.offsets, shop.day, shop.kind, shop.revenue)
    count = ahead(orders, day(300), day(300) + 28)[0][row].sum()
    assert valued.summary["expected"]["4"]["orders"] == pytest.approx(count, rel=0.5)


def test_the_fit_of_a_model_recovers_what_was_simulated() -> None:
    random, size, t = np.random.default_rng(2), 8_000, 60.0
    rate, leaving = random.gamma(1.5, 1 / 12.0, size), random.gamma(1.2, 1 / 30.0, size)
    life, x, t_x, clock = np.minimum(t, random.exponential(1 / leaving)), np.zeros(size), np.zeros(size), np.zeros(size)
    while (more := (clock := clock + random.exponential(1 / rate)) < life).any():
        x[more], t_x[more] = x[more] + 1, clock[more]
    state = Recency(x, t_x, np.full(size, t), x, x)
    model = fit_orders("pareto_nbd", state)
    assert model.parameters[0] / model.parameters[1] == pytest.approx(1.5 / 12, rel=0.1)
    np.testing.assert_allclose(model.parameters, [1.5, 12, 1.2, 30], rtol=0.35)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([("a", 0, 10.0)], id="one order"),
        pytest.param([("a", 0, 10.0), ("a", 30, 12.0)], id="one customer"),
        pytest.param([(f"c{n}", 5, 3.0 + n) for n in range(40)], id="one day"),
        pytest.param([(name, number, 0.0) for name, number, _ in market(60, 200)], id="no amount above 0"),
        pytest.param([(name, number, 1.0) for name, number, _ in market(60, 200)], id="no money"),
        pytest.param([*market(60, 200), ("z", 3, 1e9)], id="an amount of a billion"),
        pytest.param([*market(60, 120), *((f"d{n}", 500 + n, 5.0) for n in range(40))], id="a gap of a year"),
        pytest.param([*market(60, 200), *(("busy", n % 200, 2.0) for n in range(3_000))], id="a busy customer"),
        pytest.param(market(60, 20), id="a log of three weeks"),
    ],
)
def test_input_that_says_little_gives_finite_values_and_says_what_is_missing(lines: list[Line], tmp_path: Path) -> None:
    log = log_of(lines, tmp_path / "log")
    result = value_customers(log, log.last_day + 1, [13, 520])
    assert finite(result.table)
    assert result.table["p_active"].is_between(0, 1).all()
    assert (result.table["expected_revenue"] < 1e12).all()
    assert result.warnings
    churn = find_churn(log, log.last_day + 1, 13)
    assert churn.table["p_churn"].is_between(0, 1).all()


def test_who_objects_to_profiling_has_no_value(tmp_path: Path) -> None:
    lines = market(60, 200)
    names = sorted({name for name, _, _ in lines})
    people = pl.DataFrame({"customer": names, "consent_profiling": [name != "c3" for name in names]})
    log = log_of(lines, tmp_path / "log", customers=people)
    result = value_customers(log, day(200), [13])
    assert "c3" in names and "c3" not in result.table["customer_id"]
    assert result.summary["left_out"] == {"objects to profiling": 1}


def test_a_log_without_any_customer_to_value_is_refused_in_a_sentence(tmp_path: Path) -> None:
    people = pl.DataFrame({"customer": ["a"], "consent_profiling": [False]})
    log = log_of([("a", 0, 1.0), ("a", 9, 1.0)], tmp_path / "log", customers=people)
    with pytest.raises(DataError, match="no customer who may be valued"):
        value_customers(log, day(20), [13])


def test_the_commands_write_what_their_contract_names(shop: EventLog, tmp_path: Path) -> None:
    assert shop.folder is not None
    common = [f"log={shop.folder}", f"cutoff={START + timedelta(days=300)}"]
    main(["clv", *common, "weeks=[13,39]", f"out={tmp_path / 'clv'}"])
    table = pl.read_parquet(tmp_path / "clv" / "clv.parquet")
    assert table.columns[:2] == ["customer_id", "weeks"]
    assert {"p_active", "expected_orders", "expected_revenue", "revenue_upper_90"} <= {*table.columns}
    assert json.loads((tmp_path / "clv" / "summary.json").read_text())["weeks"] == [13, 39]
    assert is_intact(tmp_path / "clv" / "clv.parquet")
    main(["churn", *common, "weeks=13", f"out={tmp_path / 'churn'}"])
    churn = pl.read_parquet(tmp_path / "churn" / "churn.parquet")
    assert churn.columns[:3] == ["customer_id", "p_churn", "alarm_since"]
    assert churn.schema["alarm_since"] == pl.Date
    assert (churn["alarm_since"].drop_nulls() < START + timedelta(days=300)).all()


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    from propensity.value.output import check_folder

    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="holds something else"):
        check_folder(tmp_path)


def state_of(x: list[float], t_x: list[float], t_end: list[float]) -> Recency:
    return Recency(*(np.array(column, float) for column in (x, t_x, t_end, x, x)))


def test_a_customer_is_further_behind_the_longer_the_silence_and_the_faster_his_rhythm() -> None:
    rhythm = Rhythm(2.0, 3.0, 4.0)
    behind = rhythm.behind(state_of([9, 9, 2], [40, 40, 40], [41, 60, 60]))
    assert behind[0] < behind[1] and behind[2] < behind[1]


def test_the_alarm_rings_where_the_silence_reaches_its_level() -> None:
    rhythm, state = Rhythm(2.0, 3.0, 4.0), state_of([3, 12, 0], [20, 50, 0], [60, 60, 60])
    silence = rhythm.alarm(state, 0.1)
    at_alarm = rhythm.behind(state._replace(t_end=state.t_x + silence))
    rate = -np.log1p(-np.minimum(1 - at_alarm, 0.5)) / (rhythm.usual(state) / 13)
    assert np.average(rate, weights=1 - rhythm.behind(state)) == pytest.approx(-np.log(0.9), rel=1e-6)


def test_an_alarm_needs_a_rarer_silence_at_gaps_far_from_the_typical_one_and_comes_later_at_longer_ones() -> None:
    rhythm = Rhythm(2.0, 30.0, 40.0)
    state = state_of([200, 150, 100, 50, 5], [100, 100, 100, 100, 100], [101] * 5)
    silence = rhythm.alarm(state, 0.1)
    level = 1 - rhythm.behind(state._replace(t_end=state.t_x + silence))
    assert (np.diff(silence) > 0).all()
    typical = rhythm.scale(state, 0.1)[0]
    assert rhythm.usual(state)[3] == typical
    assert level.argmax() == 3 and (np.diff(level[:4]) > 0).all()


def test_no_customer_or_one_without_a_second_order_has_an_alarm_of_some_day() -> None:
    rhythm = Rhythm(2.0, 3.0, 4.0)
    assert rhythm.alarm(state_of([0], [0], [0]), 0.1)[0] > 0
    assert rhythm.alarm(state_of([], [], []), 0.1).size == 0


def test_a_regular_market_has_a_higher_shape_than_one_by_chance() -> None:
    shapes = []
    for regular in (1.0, 8.0):
        random, offsets, days = np.random.default_rng(3), [0], []
        for _ in range(300):
            gaps = random.gamma(regular, random.uniform(10, 40) / regular, 8)
            days.extend(np.cumsum(np.maximum(gaps.round(), 1)).astype(int).tolist())
            offsets.append(len(days))
        orders = OrderDays(np.array(offsets), np.array(days, np.int32), np.ones(len(days)))
        shapes.append(fit_rhythm(recency(orders, 2_000), orders, 2_000).shape)
    assert shapes[0] == pytest.approx(1.0, rel=0.25)
    assert shapes[1] > 5


def test_quantiles_of_revenue_cover_what_they_say() -> None:
    random = np.random.default_rng(5)
    active, mean = random.uniform(0.1, 0.9, 30_000), np.exp(random.normal(3, 1, 30_000))
    revenue = np.where(random.random(30_000) < active, mean * random.gamma(2, 0.5, 30_000), 0.0)
    bought = revenue > 0
    shape = fit_shape((revenue / mean)[bought], np.ones(bought.sum()), np.ones(bought.sum()))
    expected = (active, active, active * mean)
    above = (revenue > shape.quantile(0.9, *expected)).mean()
    assert above == pytest.approx(0.1, abs=0.01)
    ranks = shape.rank(revenue, *expected, seed=1)
    np.testing.assert_allclose(np.histogram(ranks, 10, (0, 1))[0] / ranks.size, 0.1, atol=0.01)


@pytest.mark.parametrize("name", MODELS)
def test_forecasts_of_no_past_and_no_silence_are_finite(name: str) -> None:
    state = state_of([0, 0, 5], [0, 0, 30], [0, 50, 30])
    model = fit_orders(name, state)
    active, orders = model.forecast(state, np.array([1.0, 104.0]))
    assert np.isfinite(active).all() and np.isfinite(orders).all()


def test_python_gives_what_the_commands_give_and_writes_sealed_folders_with_a_page(
    shop: EventLog, valued: Valuation, tmp_path: Path
) -> None:
    cutoff = str(START + timedelta(days=300))
    assert shop.folder is not None
    result = pp.clv(shop, cutoff, [4, 13, 52], out=tmp_path / "clv")
    assert result.table.equals(valued.table)
    churn = pp.churn(shop.folder, cutoff, 13, out=tmp_path / "churn")
    key_figures = pp.kpi(shop, cutoff, out=tmp_path / "kpi", clv=tmp_path / "clv")
    assert key_figures.figures["customers"] == churn.table.height
    assert pp.kpi.__name__ == "kpi"  # no subpackage has taken its place
    for name in ("clv", "churn"):
        page = (tmp_path / name / "page.html").read_text()
        assert page.count("<svg") >= 3 and "http" not in page.replace("http-equiv", "")
        main(["verify", f"run={tmp_path / name}"])
    (tmp_path / "clv" / "summary.json").write_text("{}")
    with pytest.raises(SystemExit) as left:
        main(["verify", f"run={tmp_path / 'clv'}"])
    assert left.value.code == 5


def test_a_log_in_memory_is_valued_but_has_no_key_figures(shop: EventLog) -> None:
    arrays: dict[str, Any] = {name: np.array(each) for name, each in shop.arrays.items() if "/" not in name}
    memory = replace(shop, **arrays)
    assert pp.churn(memory, str(START + timedelta(days=300)), 4).table.height == shop.purchasers(day(300)).size
    with pytest.raises(ConfigurationError, match="lies in memory"):
        pp.kpi(memory, str(START + timedelta(days=300)))


def test_a_setting_that_does_not_fit_is_refused_in_python_too(shop: EventLog) -> None:
    with pytest.raises(ConfigurationError, match="weeks"):
        pp.clv(shop, str(START + timedelta(days=300)), [0])
    with pytest.raises(ConfigurationError, match="marginn"):
        pp.clv(shop, str(START + timedelta(days=300)), marginn=0.5)


def test_other_rules_are_compared_at_equal_alarms(shop: EventLog) -> None:
    closed = find_churn(shop, day(300), 13).summary["last_closed_window"]
    assert {rule["alarms"] for rule in closed["rules"].values()} == {closed["alarms"]}
    assert all(0 <= rule["value_captured"] <= 1 for rule in closed["rules"].values())


def seasonal_orders(peak: float, years: int = 5) -> OrderDays:
    """One customer of many orders, with a peak in the first weeks of each year of 364 days."""
    random, days = np.random.default_rng(4), np.arange(364 * years)
    number = random.poisson(np.where(days % 364 < 28, peak, 1.0) * 5)
    day = np.repeat(days, number).astype(np.int32)
    offsets = np.arange(day.size + 1)[::10]
    return OrderDays(np.append(offsets, day.size), day, np.ones(day.size))


def test_the_clock_of_the_season_runs_with_the_orders_and_keeps_the_length_of_a_year() -> None:
    clock = fit_clock(seasonal_orders(3.0), 0, 364 * 5)
    assert clock is not None
    weeks = clock.weeks(364 * 4, np.array([4.0, 52.0]))
    assert weeks[0] / 4 == pytest.approx(3.0 / (1 + 2 * 28 / 364), rel=0.12)
    assert weeks[1] == pytest.approx(52, rel=0.02)


def test_a_market_without_a_season_has_the_clock_of_the_calendar() -> None:
    clock = fit_clock(seasonal_orders(1.0), 0, 364 * 5)
    assert clock is not None
    np.testing.assert_allclose(clock.weeks(364 * 4, np.array([4.0, 13.0])), [4, 13], rtol=0.05)
    assert fit_clock(seasonal_orders(3.0), 0, 600) is None


def test_a_view_is_a_sign_of_life_where_views_are_recorded(tmp_path: Path) -> None:
    rows = [
        (f"c{n}", k, kind) for n in range(30) for k in range(n % 7, 300, 7 + n % 5) for kind in ("purchase", "view")
    ]
    rows = [row for row in rows if row[0] != "c1" or row[2] == "view" or row[1] < 150]
    rows = [row for row in rows if row[0] != "c2" or row[1] < 150]
    table = pl.DataFrame(rows, schema=["customer", "day", "kind"], orient="row").with_columns(
        pl.lit(START).dt.offset_by(pl.col("day").cast(pl.String) + "d").alias("day"), amount=pl.lit(5.0)
    )
    columns = {"customer": "customer", "day": "day", "item": None, "revenue": "amount", "columns": {"kind": "kind"}}
    log = pp.prepare(table, tmp_path / "log", kinds={"purchase": "purchase", "view": "view"}, **columns)  # type: ignore[arg-type]
    churn = find_churn(log, day(300), 13).table
    rang = dict(churn.select("customer_id", pl.col("alarm_since").is_not_null()).iter_rows())
    assert rang["c2"] and not rang["c1"]
