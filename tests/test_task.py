"""A log is prepared when it is missing or out of date, and only then."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from propensity.data.offer.column import ColumnOffers
from propensity.errors import ConfigurationError
from propensity.ingest.source import Tables
from propensity.ingest.source.table import Table
from propensity.task import Task, resolved


@dataclass
class Shop:
    """A source with one file that counts how often it is read."""

    file: str
    factor: float = 1.0
    reads: list[int] = field(default_factory=list, compare=False)

    def files(self) -> list[Path]:
        return [Path(self.file)]

    def load(self) -> Tables:
        self.reads.append(1)
        amount = float(Path(self.file).read_text()) * self.factor
        events = pl.DataFrame({"customer": [1], "day": [date(2024, 1, 1)], "item": ["a"], "revenue": [amount]})
        items = pl.DataFrame({"item": ["a"], "category": ["x"]})
        return Tables(events.lazy(), items.lazy(), None, {}, 1)


def task(source: Shop, **settings: object) -> Task:
    return Task(ColumnOffers("category"), source, **settings)  # type: ignore[arg-type]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sales.txt").write_text("5")
    return Shop("sales.txt")


def test_a_log_is_prepared_once_and_again_when_its_file_changes(shop: Shop, tmp_path: Path) -> None:
    assert task(shop).open().revenue[0] == 5
    task(shop).open()
    assert len(shop.reads) == 1
    (tmp_path / "sales.txt").write_text("7.5")
    assert task(shop).open().revenue[0] == 7.5
    assert len(shop.reads) == 2


def test_each_setting_of_a_source_has_its_own_log(shop: Shop) -> None:
    plain, doubled = task(shop), task(Shop("sales.txt", factor=2.0))
    assert plain.default_log != doubled.default_log
    assert (plain.open().revenue[0], doubled.open().revenue[0], plain.open().revenue[0]) == (5, 10, 5)
    assert len(shop.reads) == 1


def test_a_configured_log_is_used_unchanged(shop: Shop) -> None:
    task(shop).prepare("named")
    Path("sales.txt").write_text("9")
    assert task(shop, log="named").open().revenue[0] == 5
    with pytest.raises(ConfigurationError, match="no event log at elsewhere; make one with propensity prepare"):
        task(shop, log="elsewhere").open()


def test_a_horizon_without_days_is_refused(shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match="data.horizon=0 is too short; use 1 day or more"):
        task(shop, horizon=0)


def test_a_log_of_delivered_tables_is_out_of_date_when_another_is_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    columns: dict[str, str | None] = {"customer": "who", "day": "on", "item": "sku", "revenue": "paid"}
    source = Table("sales-*.csv", columns, item_columns=["aisle"])
    for k, sold in enumerate((1, 2)):
        (tmp_path / f"sales-{k}.csv").write_text(f"who,on,sku,paid,aisle\n{k},2024-01-0{k + 1},milk,3,dairy\n")
        assert Task(ColumnOffers("aisle"), source).open().day.size == sold


def test_data_that_were_not_named_are_asked_for_in_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match="no data was named; give data.log=.*, or data/source=<kind>"):
        Task(ColumnOffers("category")).open()


def test_the_only_categorical_column_makes_the_offers_and_is_written_out(
    small_world: dict[str, Any],
) -> None:
    log = small_world["log"]
    lone = replace(log, items=log.items.select("item", "category"))
    task = Task(ColumnOffers())
    assert resolved({"offer": {"column": None}}, task, lone)["offer"]["column"] == "category"
    assert task.offer.all(lone).name == ColumnOffers("category").all(lone).name


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (("item",), "items have no categorical column to make offers of; .*data.offer.column=item for single products"),
        (("item", "category", "brand"), "items have 2 categorical columns; give .*column one of: category, brand"),
    ],
)
def test_an_offer_column_that_cannot_be_told_is_asked_for(
    small_world: dict[str, Any], columns: tuple[str, ...], sentence: str
) -> None:
    log = small_world["log"]
    with pytest.raises(ConfigurationError, match=sentence):
        ColumnOffers().all(replace(log, items=log.items.select(*columns)))
