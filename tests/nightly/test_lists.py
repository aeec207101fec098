"""What a night leaves is of its last attempt, and what it says of a delivery is what the log took."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml

from nightly.tiny_shop import SETTINGS, deliver, make_shop, run
from propensity.errors import DataError


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop without a night, with a table of consents by date and a single short decision."""
    data = {**SETTINGS["data"], "data.source.columns.quantity": "units"}
    shop = make_shop(tmp_path_factory.mktemp("lists") / "shop", data=data, retrain={"age": None, "drift": False})
    for file in (shop.parent / "deliveries").iterdir():
        pl.read_csv(file).with_columns(units=1).write_csv(file)
    return shop


def change(shop: Path, **settings: object) -> None:
    content = yaml.safe_load(shop.read_text())
    shop.write_text(yaml.safe_dump(content | settings, sort_keys=False))


def test_lists_of_an_earlier_attempt_of_the_night_are_removed_if_they_cannot_be_made_again(shop: Path) -> None:
    deliver(shop, 0)
    first = pl.read_csv(shop.parent / "deliveries/sales-2024-02-20.csv").with_columns(units=1)
    bought = pl.read_csv(shop.parent / "deliveries/sales-2024-02-19.csv").filter(pl.col("paid") > 0).head(1)
    returned = bought.with_columns(day=pl.lit("2024-02-20"), units=-1, paid=-pl.col("paid"))
    orphan = returned.with_columns(sku=pl.lit("never sold"))
    pl.concat([first, returned.select(first.columns), orphan.select(first.columns)], how="vertical_relaxed").write_csv(
        shop.parent / "deliveries/sales-2024-02-20.csv"
    )
    outcome = run(shop, 2)
    rows = outcome.summary["deliveries"][1]["rows"]
    assert (rows["used"], rows["quarantined"]) == (first.height + 1, {"return_before_purchase": 1})
    assert sum(each["rows"]["used"] for each in outcome.summary["deliveries"]) == outcome.summary["log"]["events"]
    assert "the log is stale: it ends on 2024-02-20, 2 days before the cutoff" in outcome.summary["notes"]
    lists = outcome.page.parent / "decisions"
    assert list(lists.rglob("*.csv"))
    change(shop, score={"top_per_customer": -1})
    outcome = run(shop, 2)
    assert [each["step"] for each in outcome.summary["problems"]] == ["score"]
    assert not lists.exists() and outcome.summary["decisions"] == []
    change(shop, score={})
    run(shop, 2).require()
    assert list(lists.rglob("*.csv"))
