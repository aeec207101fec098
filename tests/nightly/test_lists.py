"""What a night leaves is of its last attempt, and what it says of a delivery is what the log took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from nightly.tiny_shop import SETTINGS, deliver, make_shop, run
from propensity.data.event_log import EventLog
from propensity.nightly.delivery import Delivered
from propensity.nightly.log_steps import append, check, checked, fetch, task_of
from propensity.nightly.night import Night
from propensity.nightly.shop import read_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop without a night, with quantities, in which no model is trained again."""
    data = {**SETTINGS["data"], "data.source.columns.quantity": "units"}
    shop = make_shop(tmp_path_factory.mktemp("lists") / "shop", data=data, retrain={"age": None, "drift": False})
    for file in (shop.parent / "deliveries").iterdir():
        pl.read_csv(file).with_columns(units=1).write_csv(file)
    return shop


def change(shop: Path, **settings: object) -> None:
    content = yaml.safe_load(shop.read_text())
    shop.write_text(yaml.safe_dump(content | settings, sort_keys=False))


@pytest.mark.slow
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


def test_an_empty_delivery_is_held_back_if_a_table_of_its_date_has_rows(tmp_path: Path) -> None:
    settings = {"files": "deliveries/sales-{date}.csv", "empty": "accept"}
    consents = {"data.source.consents": {"path": "deliveries/consents-{date}.csv", "customer": "card", "consent": "ok"}}
    shop = make_shop(tmp_path / "shop", deliveries=settings, data={**SETTINGS["data"], **consents})
    sales, words = (shop.parent / f"deliveries/{name}-2024-02-20.csv" for name in ("sales", "consents"))
    sales.write_text("card,day,sku,paid,category\n")
    words.write_text("card,ok\n")
    night = Night(read_shop(shop), shop.parent, "2024-02-21", None, print)
    delivery = Delivered("deliveries/sales-2024-02-20.csv", "0" * 64, "2024-02-20")
    assert checked(night, delivery)["state"] == "empty"
    words.write_text("card,ok\n7,no\n")
    result = checked(night, delivery)
    assert (
        result["state"] == "held" and "so that deliveries/consents-2024-02-20.csv of the same date" in result["reason"]
    )


def test_a_consent_may_be_withdrawn_by_a_customer_of_the_log_without_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"files": "deliveries/sales-{date}.csv"}
    consents = {"data.source.consents": {"path": "deliveries/consents-{date}.csv", "customer": "card", "consent": "ok"}}
    shop = make_shop(tmp_path / "shop", deliveries=settings, data={**SETTINGS["data"], **consents})
    monkeypatch.chdir(shop.parent)
    night = Night(read_shop(shop), shop.parent, "2024-02-22", None, print)
    for day, card, word in (("2024-02-20", 7, "yes"), ("2024-02-21", 8, "no")):
        (shop.parent / f"deliveries/sales-{day}.csv").write_text(f"card,day,sku,paid,category\n{card},{day},a,2.5,k\n")
        (shop.parent / f"deliveries/consents-{day}.csv").write_text(f"card,ok\n7,{word}\n")
        delivery = Delivered(f"deliveries/sales-{day}.csv", "0" * 64, day)
        assert checked(night, delivery)["state"] == "ok"
        if not night.log.exists():
            task_of(night, delivery, "2024-02-22").prepare(night.log)


def test_deliveries_that_wait_together_are_checked_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of two files of one day withdraws a consent of a customer who is in the first delivery only."""
    settings = {"files": "deliveries/sales-{date}*.csv"}
    consents = {"data.source.consents": {"path": "deliveries/consents-{date}.csv", "customer": "card", "consent": "ok"}}
    shop = make_shop(tmp_path / "shop", deliveries=settings, data={**SETTINGS["data"], **consents})
    monkeypatch.chdir(shop.parent)
    folder = shop.parent / "deliveries"
    (folder / "sales-2024-02-19.csv").unlink()
    sales = {"2024-02-20": "7,2024-02-20,a", "2024-02-21": "8,2024-02-21,a", "2024-02-21-late": "9,2024-02-19,b"}
    for name, line in sales.items():
        (folder / f"sales-{name}.csv").write_text(f"card,day,sku,paid,category\n{line},2.5,k\n")
    for day, line in (("2024-02-20", "7,yes"), ("2024-02-21", "7,no")):
        (folder / f"consents-{day}.csv").write_text(f"card,ok\n{line}\n")
    night = Night(read_shop(shop), shop.parent, "2024-02-23", None, lambda text: None)
    results: dict[str, dict[str, Any]] = {"fetch": fetch(night, {})}
    results["check"] = check(night, results)
    assert [each["state"] for each in results["check"]["deliveries"]].count("held") == 2
    results["append"] = append(night, results)
    assert [each["state"] for each in results["append"]["deliveries"]] == ["ok"] * 3
    assert [each["file"][-8:-4] for each in results["append"]["appended"]] == ["2-20", "late", "2-21"]
    assert results["append"] == append(night, results)
    log = EventLog.open(night.log)
    assert (len(log), log.size, log.customers.filter(customer="7")["suppressed"].to_list()) == (3, 3, [True])
