"""Two small shops of the market zoo, with default settings: what is served is no worse than what is simple."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from zoo_shops import SHOPS, Shop, sales

import propensity as pp

SMALL = {
    "regulars": Shop(customers=500, offers=4, days=300, yearly=40, seed=21),
    "subscription": Shop(customers=700, offers=3, days=300, yearly=11, shape=40, taste=2.5, season=0, seed=22),
}
CALIBRATED = (0.9, 1.1)


@pytest.fixture(scope="module", params=SMALL, ids=str)
def metrics(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Metrics of a run with defaults at the last cutoff whose labels have closed."""
    shop, folder = SMALL[request.param], tmp_path_factory.mktemp("zoo")
    cutoff = (date.fromisoformat(shop.start) + timedelta(days=shop.days - 14)).isoformat()
    columns: dict[str, Any] = {"customer": "card", "day": "sold_on", "item": "sku", "revenue": "total"}
    log = pp.prepare(sales(shop), folder / "log", item_columns=["category"], columns={"kind": "kind"}, **columns)
    return pp.fit(log, offer="category", end=cutoff, out=folder / "run").evaluate([cutoff]).metrics


def served(metrics: dict[str, Any]) -> str:
    """The model that is compared with all others."""
    return next(name for name in metrics["models"] if name not in metrics["differences"])


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_the_served_model_is_no_worse_than_frequency(metric: str, metrics: dict[str, Any]) -> None:
    cell = metrics["differences"]["frequency"]["mean"]["all"][metric]
    assert cell["verdict"] in ("win", "tie"), cell


def test_expected_purchases_meet_the_observed_ones_or_a_warning_says_so(metrics: dict[str, Any]) -> None:
    cell = metrics["models"][served(metrics)]["mean"]["all"]["expected_over_observed"]
    meets = cell["low"] <= CALIBRATED[1] and cell["high"] >= CALIBRATED[0]
    assert meets or any("expected purchases" in sentence for sentence in metrics["warnings"]), cell


@pytest.mark.parametrize("name", SHOPS)
def test_a_made_up_shop_is_the_same_every_time(name: str) -> None:
    shop = SHOPS[name]
    lines = sales(shop)
    assert lines.equals(sales(shop))
    assert lines["category"].n_unique() == shop.offers
    first = date.fromisoformat(shop.start)
    assert lines["sold_on"].is_between(first, first + timedelta(days=shop.days - 1)).all()
    assert (lines.filter(kind="view")["total"] == 0).all() and (lines.filter(kind="purchase")["total"] > 0).all()


def test_a_shop_where_nobody_returns_is_trained_and_evaluated(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    sku, day = random.integers(0, 6, 400), random.integers(0, 180, 400)
    lines = pl.DataFrame({"card": np.arange(400), "sku": sku, "total": random.gamma(3, 20, 400).round(2)}).with_columns(
        sold_on=pl.date(2024, 1, 1) + pl.duration(days=pl.lit(pl.Series(day))),
        category=pl.format("category {}", pl.col("sku") // 3),
    )
    columns: dict[str, Any] = {"customer": "card", "day": "sold_on", "item": "sku", "revenue": "total"}
    log = pp.prepare(lines, tmp_path / "log", item_columns=["category"], **columns)
    model = pp.fit(log, offer="category", end="2024-06-01", out=tmp_path / "run", settings={"trainer.max_steps": 2})
    warnings = model.evaluate(["2024-06-01"]).metrics["warnings"]
    assert any("nobody, or everybody, bought in the training windows" in sentence for sentence in warnings)
    assert model.score("2024-06-01")["score"].is_finite().all()
