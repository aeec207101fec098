"""Two small shops of the market zoo, with default settings: what is served is no worse than what is simple."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

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
    columns = {"customer": "card", "day": "sold_on", "item": "sku", "revenue": "total"}
    log = pp.prepare(sales(shop), folder / "log", item_columns=["category"], columns={"kind": "kind"}, **columns)  # type: ignore[arg-type]
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
