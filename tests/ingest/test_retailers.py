"""Common table layouts of retailers become event logs with a column mapping only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.build import prepare
from propensity.ingest.rule import UNUSED_OUTCOMES
from propensity.ingest.source.suggestion import suggest
from propensity.ingest.source.table import Table
from propensity.kernel.event import EVERY_KIND, KINDS


def log_of(folder: Path, files: dict[str, str], **settings: Any) -> EventLog:
    """The log of some files, after checking that every row is accounted for."""
    for name, text in files.items():
        (folder / name).write_text(text)
    log = prepare(Table(next(iter(files)), folder=str(folder), **settings), folder / "log")
    rows = log.meta["rows"]
    assert rows["in"] == rows["used"] + sum(sum(rows[way].values()) for way in UNUSED_OUTCOMES) == files_rows(files)
    return log


def files_rows(files: dict[str, str]) -> int:
    return len(next(iter(files.values())).splitlines()) - 1


def kinds(log: EventLog) -> list[str]:
    return sorted(np.array(KINDS)[log.kind].tolist())


INVOICES = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,WHITE HANGING HEART T-LIGHT HOLDER,6,12/1/2010 8:26,2.55,17850.0,United Kingdom
536366,22633,HAND WARMER UNION JACK,6,12/13/2010 8:28,1.85,17850.0,United Kingdom
536370,POST,POSTAGE,3,12/1/2010 8:45,18,12583.0,France
C536379,85123A,WHITE HANGING HEART T-LIGHT HOLDER,-1,12/15/2010 9:41,2.55,17850.0,United Kingdom
536380,M,Manual,1,12/1/2010 9:41,4.95,17850.0,United Kingdom
536414,22139,,56,12/1/2010 11:52,0,,United Kingdom
536415,22139,RETROSPOT TEA SET,1,12/1/2010 11:53,4.25,,United Kingdom
A563185,B,Adjust bad debt,1,8/12/2011 14:50,-11062.06,,United Kingdom
581483,23843,PAPER CRAFT,80995,12/9/2011 9:15,2.08,16446.0,United Kingdom
C581484,23843,PAPER CRAFT,-80995,12/9/2011 9:27,2.08,16446.0,United Kingdom
"""


def test_invoices_with_cancellations_postage_guests_and_unit_prices_are_read(tmp_path: Path) -> None:
    columns = {"customer": "CustomerID", "day": "InvoiceDate", "item": "StockCode", "quantity": "Quantity",
               "revenue": "UnitPrice", "order": "InvoiceNo"}  # fmt: skip
    settings: dict[str, Any] = {"revenue_is": "unit", "cancelled": "^C", "item_columns": ["Description"]}
    wanted = {"not_products": ["POST", "M", "D", "B", "DOT"], "columns": columns}
    log = log_of(tmp_path, {"retail.csv": INVOICES}, **settings, **wanted)
    rows, notes = log.meta["rows"], log.meta["warnings"]
    assert rows["dropped"] == {"not_a_product": 3} and rows["quarantined"] == {"line_in_bulk": 2}
    assert kinds(log) == ["purchase"] * 4 + ["return"] and notes["guest"] == 2 and notes["price_zero"] == 1
    assert log.customers["customer"].to_list() == ["17850", "guest:536414", "guest:536415"]
    assert sorted(log.revenue.round(2).tolist()) == pytest.approx([-2.55, 0.0, 4.25, 11.1, 15.3])
    assert dict(log.items.select("item", "Description").iter_rows())["22139"] == "RETROSPOT TEA SET"


def test_clicks_in_milliseconds_without_amounts_are_read(tmp_path: Path) -> None:
    text = ("timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
            "1433224214164,992329,addtocart,248676,\n1433221999827,121688,transaction,15335,7063\n")  # fmt: skip
    columns = {"customer": "visitorid", "day": "timestamp", "item": "itemid", "kind": "event", "order": "transactionid"}
    log = log_of(tmp_path, {"events.csv": text}, columns=columns | {"revenue": None})
    assert kinds(log) == ["purchase", "view"] and log.revenue[log.kind == 0].tolist() == [1.0]
    assert log.engagement is not None and [EVERY_KIND[kind] for kind in log.engagement.kind] == ["cart"]


def test_articles_with_leading_zeros_match_their_table(tmp_path: Path) -> None:
    files = {"transactions.csv": "t_dat,customer_id,article_id,price,sales_channel_id\n"
                                 "2018-09-20,000058a12d5b43e6,0663713001,0.0508,2\n"
                                 "2018-09-21,000058a12d5b43e6,0541518023,0.0304,1\n",
             "articles.csv": "article_id,product_type_name\n0663713001,Underwear\n0541518023,Bra\n"}  # fmt: skip
    columns = {"customer": "customer_id", "day": "t_dat", "item": "article_id", "revenue": "price",
               "channel": "sales_channel_id"}  # fmt: skip
    log = log_of(tmp_path, files, columns=columns, items="articles.csv")
    assert log.items["product_type_name"].to_list() == ["Bra", "Underwear"] and log.meta["channels"] == ["1", "2"]


BASKETS = "user_id,order_id,product_id,days_since_prior_order\n1,10,5,\n1,11,5,15.0\n1,12,6,21.0\n"


def test_durations_instead_of_dates_are_refused_in_one_sentence(tmp_path: Path) -> None:
    columns = {"customer": "user_id", "day": "days_since_prior_order", "item": "product_id", "order": "order_id"}
    with pytest.raises(DataError, match="holds numbers from 15 to 21, which are not calendar dates; map data.source"):
        log_of(tmp_path, {"orders.csv": BASKETS}, columns=columns)
    with pytest.raises(ConfigurationError, match="data.source.columns.day is null; set it to the name of the column"):
        log_of(tmp_path, {"orders.csv": BASKETS}, columns=columns | {"day": None})
    command = suggest(str(tmp_path / "orders.csv"))
    assert "orders.csv has none; days_since_prior_order holds durations between dates" in command


def test_joins_neither_lose_nor_duplicate_events(tmp_path: Path) -> None:
    files = {"lines.csv": "order,product,price\no1,p1,5\no1,p2,6\no2,p1,5\no3,p1,5\no9,p1,5\n",
             "orders.csv": "order,person,at,state\no1,c1,2024-03-01 10:00:00,paid\no2,c2,2024-03-02 10:00:00,paid\n"
                           "o3,c3,2024-03-03 10:00:00,canceled\no1,c1,2024-03-01 11:00:00,paid\n",
             "people.csv": "person,human\nc1,h1\nc2,h1\nc3,h3\n"}  # fmt: skip
    joins = [
        {"table": "orders.csv", "by": "order", "keep": "last"},
        {"table": "people.csv", "left": "person", "right": "person"},
    ]
    columns = {"customer": "human", "day": "at", "item": "product", "revenue": "price", "order": "order"}
    log = log_of(tmp_path, files, columns=columns, joins=joins, leave_out={"state": ["canceled"]})
    assert log.customers["customer"].to_list()[-1] == "h1" and log.meta["rows"]["dropped"] == {"left_out": 1}
    assert log.meta["rows"]["used"] == 3 and log.meta["rows"]["quarantined"] == {"day_missing": 1}


PRICES = "sku,valid_from,price\nm,2024-06-01,9\nm,2024-01-02,1\nn,2024-01-01,2\n"
SALES = {"customer": "who", "day": "on", "item": "sku", "quantity": "n", "revenue": "price"}
LINES = "who,on,sku,n\na,2024-01-05,m,1\nb,2024-06-05,m,3\nc,2024-06-01,m,1\nd,2024-01-01,m,1\nd,2024-01-01,n,1\n"


def test_a_dated_price_list_gives_each_event_the_price_of_its_day(tmp_path: Path) -> None:
    files = {"lines.csv": LINES + "d,soon,n,1\nd,2024-01-01,x,1\n", "prices.csv": PRICES}
    joins = [{"table": "prices.csv", "by": "sku", "from": "valid_from"}]
    log = log_of(tmp_path, files, columns=SALES, joins=joins, revenue_is="unit")
    assert log.revenue.tolist() == [1, 27, 9, 2]
    assert log.meta["rows"]["quarantined"] == {"day_unreadable": 1, "revenue_unreadable": 2}


def test_a_key_with_contradicting_rows_is_refused_unless_the_join_says_which_counts(tmp_path: Path) -> None:
    files, join = {"lines.csv": LINES, "prices.csv": PRICES}, {"table": "prices.csv", "by": "sku"}
    with pytest.raises(DataError, match="has several rows for sku=m, with 2 values of price; set from to"):
        log_of(tmp_path, files, columns=SALES, joins=[join])
    for keep, total in (("first", 9), ("last", 1)):
        log = log_of(tmp_path, files, columns=SALES, joins=[join | {"keep": keep}])
        assert log.revenue.sum() == 4 * total + 2
    log = log_of(tmp_path, files, columns=SALES | {"revenue": None}, joins=[join])
    assert log.meta["rows"]["used"] == 5


def test_several_files_of_a_joined_table_do_not_repeat_events(tmp_path: Path) -> None:
    files = {"lines.csv": LINES, "price-a.csv": "sku,price\nm,1\nn,2\n", "price-b.csv": "sku,price\nm,1\n"}
    log = log_of(tmp_path, files, columns=SALES, joins=[{"table": "price-*.csv", "by": "sku"}])
    assert log.revenue.sum() == 6


@pytest.mark.parametrize(
    ("joins", "words"),
    [
        ([{"table": "orders.csv"}], r"data.source.joins\[0\] needs table and by, or left and right"),
        (
            [{"table": "orders.csv", "by": "ordr"}],
            "ordr is not a column of .*orders.csv; the closest of its 3 columns is 'order'",
        ),
        (
            [{"tabel": "orders.csv", "by": "order"}],
            r"data.source.joins\[0\] has no key 'tabel'; the closest key is 'table'",
        ),
        ([{"table": "none.csv", "by": "order"}], "matches no file"),
        ([{"table": "orders.csv", "by": "order", "keep": "all"}], r"joins\[0\].keep=all is unknown; use first or last"),
        ([{"table": "orders.csv", "by": "order", "sum": ["at"]}], r"joins\[0\] has no key 'sum'"),
    ],
)
def test_an_impossible_join_is_a_configuration_error(joins: list[Any], words: str, tmp_path: Path) -> None:
    files = {"lines.csv": "order,product,price\no1,p1,5\n", "orders.csv": "order,person,at\no1,c1,2024-03-01\n"}
    columns = {"customer": "person", "day": "at", "item": "product", "revenue": "price"}
    with pytest.raises(ConfigurationError, match=words):
        log_of(tmp_path, files, columns=columns, joins=joins)


def test_purchases_without_items_have_one_item_that_is_an_offer(tmp_path: Path) -> None:
    text = "id,date,units,dollars\n00001,1997-01-01,1,11.77\n00002,1997-01-12,1,12.0\n00002,1997-01-12,5,77.0\n"
    columns = {"customer": "id", "day": "date", "item": None, "quantity": "units", "revenue": "dollars"}
    log = log_of(tmp_path, {"purchases.csv": text}, columns=columns)
    assert log.items.rows() == [("anything", "anything")] and log.meta["rows"]["used"] == 3
    with pytest.raises(ConfigurationError, match="columns.item is null but items are described; set it to the name"):
        log_of(tmp_path, {"purchases.csv": text}, columns=columns, item_columns=["units"])


def test_a_draft_names_the_columns_and_the_open_decisions(tmp_path: Path) -> None:
    (tmp_path / "retail.csv").write_text(INVOICES)
    command = suggest(str(tmp_path / "retail.csv"))
    for ours, theirs in {"customer": "CustomerID", "day": "InvoiceDate", "item": "StockCode", "quantity": "Quantity",
                         "revenue": "UnitPrice", "order": "InvoiceNo"}.items():  # fmt: skip
        assert f"data.source.columns.{ours}='{theirs}'" in command
    assert "add \"data.source.cancelled='^C'\"" in command and "add data.source.revenue_is=unit" in command


@pytest.mark.parametrize("folder", ["ta_feng/transactions.parquet", "olist_sample/order_items.parquet"])
def test_a_draft_of_a_real_table_names_its_item(folder: str) -> None:
    file = Path(__file__).parents[3] / "shared/data" / folder
    if not file.is_file():
        pytest.skip(f"{folder} is not beside the repository, in ../shared/data")
    assert "data.source.columns.item='product_id'" in suggest(str(file))


def test_every_row_of_olist_is_accounted_for(tmp_path: Path) -> None:
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    from propensity.config import conf_folder

    folder = Path(__file__).parents[3] / "shared/data/olist_sample"
    if not folder.is_dir():
        pytest.skip("the Olist tables are not beside the repository, in ../shared/data/olist_sample")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg = compose("prepare", overrides=["data/source=olist", f"data.source.folder={folder}"])
    log = prepare(instantiate(cfg.data["source"], _convert_="all"), tmp_path / "log")
    rows = log.meta["rows"]
    assert rows["in"] == 8_365 == rows["used"] + sum(sum(rows[way].values()) for way in UNUSED_OUTCOMES)
    lines = pl.read_parquet(folder / "order_items.parquet")
    assert rows["used"] == log.day.size == lines.height - sum(rows["dropped"].values())
