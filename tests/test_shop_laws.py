"""Laws that hold on any shop: what a log calls things, in which unit and in which year, changes no probability.

Each law trains two networks of a few steps on two versions of one small shop and compares their scores.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from zoo_shops import Shop, sales

import propensity as pp

CUTOFF = date(2023, 8, 1)
SETTINGS = {
    "trainer.max_steps": 10,
    "trainer.max_epochs": 1,
    "training.pairs_per_batch": 1024,
    "trainer.enable_progress_bar": False,
    "model.width": 8,
    "data.cutoff.count": 4,
    "data.offer.min_buyers": 3,
}
Train = Callable[..., pp.Model]


@pytest.fixture(scope="module")
def lines() -> pl.DataFrame:
    """Half a year of 150 customers and 4 offers, with views."""
    return sales(Shop(customers=150, offers=4, days=240, yearly=40, views=0.3, conversion=0.8, seed=5))


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    def train_one(lines: pl.DataFrame, cutoff: date = CUTOFF, items: pl.DataFrame | None = None, **more: Any) -> Any:
        folder = tmp_path_factory.mktemp("shop")
        columns: dict[str, Any] = {"customer": "card", "day": "sold_on", "item": "sku", "revenue": "total"}
        about: dict[str, Any] = {"item_columns": ["category"]} if items is None else {"items": items}
        log = pp.prepare(lines, folder / "log", columns={"kind": "kind"}, **about, **columns)
        out = folder / "run"
        return pp.fit(log, offer="category", end=cutoff.isoformat(), out=out, settings=SETTINGS | more)

    return train_one


@pytest.fixture(scope="module")
def plain(train: Train, lines: pl.DataFrame) -> pl.DataFrame:
    return scores(train(lines))


def scores(model: pp.Model, cutoff: date = CUTOFF) -> pl.DataFrame:
    """Scores of all pairs, by customer and offer; ids of customers as numbers."""
    table = model.score(cutoff.isoformat()).with_columns(pl.col("customer_id").cast(pl.Int64))
    return table.drop("cutoff").sort("customer_id", "offer_id")


def assert_same(
    table: pl.DataFrame, plain: pl.DataFrame, probability: float = 0.0, revenue: float = 0.0, scale: float = 1.0
) -> None:
    """The same pairs, probabilities up to `probability`, and `scale` times the revenue up to a share of `revenue`."""
    assert table.select("customer_id", "offer_id").equals(plain.select("customer_id", "offer_id"))
    np.testing.assert_allclose(table["score"], plain["score"], rtol=0, atol=probability)
    np.testing.assert_allclose(table["expected_revenue"], plain["expected_revenue"] * scale, rtol=revenue, atol=0)


def test_the_order_of_customers_and_days_in_a_table_changes_nothing(
    train: Train, lines: pl.DataFrame, plain: pl.DataFrame
) -> None:
    place = pl.col("sku").cum_count().over("card", "sold_on")  # the sequence within a customer's day is information
    shuffled = lines.with_columns(place=place).sample(fraction=1.0, shuffle=True, seed=1).sort("place").drop("place")
    assert not shuffled.equals(lines)
    assert_same(scores(train(shuffled)), plain)


def test_the_sequence_within_a_day_hardly_changes_a_score(
    train: Train, lines: pl.DataFrame, plain: pl.DataFrame
) -> None:
    shuffled = lines.sample(fraction=1.0, shuffle=True, seed=1)
    assert_same(scores(train(shuffled)), plain, probability=1e-3, revenue=1e-2)


@pytest.mark.parametrize("column", ["card", "sku"])
def test_ids_may_be_numbers_or_text(column: str, train: Train, lines: pl.DataFrame, plain: pl.DataFrame) -> None:
    text = lines.with_columns(pl.col(column).cast(pl.String))
    assert_same(scores(train(text)), plain, probability=1e-6, revenue=1e-5)  # sums over customers in another order


def test_a_renamed_category_changes_its_name_only(train: Train, lines: pl.DataFrame, plain: pl.DataFrame) -> None:
    renamed = lines.with_columns(pl.col("category").str.replace("offer_002", "offer_002 (new)", literal=True))
    table = scores(train(renamed))
    assert "offer_002 (new)" in table["offer_id"]
    back = table.with_columns(pl.col("offer_id").str.replace(" (new)", "", literal=True))
    assert_same(back.sort("customer_id", "offer_id"), plain)


def test_the_year_changes_nothing_where_the_weekday_stays(
    train: Train, lines: pl.DataFrame, plain: pl.DataFrame
) -> None:
    later, cutoff = timedelta(days=364), CUTOFF + timedelta(days=364)
    model = train(lines.with_columns(pl.col("sold_on") + later), cutoff=cutoff)
    assert_same(scores(model, cutoff), plain)


def test_a_category_that_nobody_bought_changes_no_other_offer(
    train: Train, lines: pl.DataFrame, plain: pl.DataFrame
) -> None:
    items = lines.select("sku", "category").unique("sku").sort("sku")
    empty = pl.DataFrame({"sku": [900, 901], "category": ["an empty offer", "an empty offer"]})
    table = scores(train(lines.drop("category"), items=pl.concat([items, empty])))
    assert_same(table.filter(pl.col("offer_id") != "an empty offer"), plain)


@pytest.mark.parametrize("power", [10, -7])
def test_amounts_times_a_power_of_two_give_the_same_probabilities_to_the_bit(
    power: int, train: Train, lines: pl.DataFrame, plain: pl.DataFrame
) -> None:
    table = scores(train(lines.with_columns(pl.col("total") * 2.0**power)))
    assert_same(table, plain, scale=2.0**power)


@pytest.mark.parametrize("factor", [0.01, 16_000.0, 1e9])
def test_the_currency_changes_no_probability_and_scales_the_revenue(
    factor: float, train: Train, lines: pl.DataFrame, plain: pl.DataFrame
) -> None:
    table = scores(train(lines.with_columns(pl.col("total") * factor)))
    assert_same(table, plain, probability=1e-4, revenue=1e-3, scale=factor)


def test_a_shop_without_revenue_expects_none(train: Train, lines: pl.DataFrame) -> None:
    table = scores(train(lines.with_columns(total=pl.lit(0.0))))
    assert (table["expected_revenue"] == 0).all()
    assert (table["score"] > 0).all()


def test_doubling_the_customers_changes_metrics_by_less_than_their_intervals(train: Train, lines: pl.DataFrame) -> None:
    cutoff, metrics = CUTOFF.isoformat(), ("auc", "average_precision", "log_loss", "normalised_revenue_capture")
    twice = pl.concat([lines, lines.with_columns(pl.col("card") + 1000)])
    longer = {"trainer.max_steps": 40, "trainer.max_epochs": 20}
    one, two = (
        train(shop, **longer, **{"training.pairs_per_batch": 1024 * k})
        .evaluate([cutoff], baselines=["frequency"])
        .metrics["models"]
        for k, shop in ((1, lines), (2, twice))
    )
    for model in ("network", "frequency"):
        for metric in metrics:
            single, double = (each[model]["mean"]["all"][metric] for each in (one, two))
            assert single["low"] <= double["value"] <= single["high"], (model, metric)
