"""Every cleaning rule has a delivery that breaks it, and its rows have the outcome of the rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.append import append
from propensity.ingest.build import prepare
from propensity.ingest.privacy import pseudonym
from propensity.ingest.rule import RULE_BY_CODE, RULES, UNUSED_OUTCOMES
from propensity.ingest.source.table import Table
from propensity.kernel.event import KINDS, MESSAGE

COLUMNS = {"customer": "who", "day": "when", "item": "sku", "quantity": "units", "revenue": "paid"}
HEAD = "who,when,sku,units,paid"
GOOD = "anna,2024-03-01,milk,1,2.5\nbert,2024-03-02,soap,2,4.0\n"  # two rows that nothing is wrong with
ORDER = {"order": "receipt"}


@dataclass
class Case:
    """A delivery of two valid rows and further lines, and the expected count of one rule."""

    code: str
    rows: str = ""
    count: int = 1
    head: str = HEAD
    good: str = GOOD
    columns: Mapping[str, str | None] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str | bytes] = field(default_factory=dict)
    name: str = ""

    def __str__(self) -> str:
        return self.code + (f" {self.name}" if self.name else "")


def ordered(code: str, rows: str, count: int = 1, name: str = "", **more: Any) -> Case:
    """The same with a column of orders."""
    good = "anna,2024-03-01,milk,1,2.5,r1\nbert,2024-03-02,soap,2,4.0,r2\n"
    columns = ORDER | more.pop("columns", {})
    return Case(code, rows, count, head=f"{HEAD},receipt", good=good, columns=columns, name=name, **more)


def extended(code: str, column: str, good: str, rows: str, name: str = "", count: int = 1, **more: Any) -> Case:
    """The same with one more column, whose value in the valid rows is `good`."""
    lines = "".join(f"{line},{good}\n" for line in GOOD.splitlines())
    return Case(code, rows, count, head=f"{HEAD},{column}", good=lines, name=name, **more)


CASES = [
    extended("time_unreadable", "at", "10:30", "anna,2024-03-03,milk,1,2.5,25:00\n", columns={"time": "at"}),
    extended("cost_unreadable", "cost", "1.2", "anna,2024-03-03,milk,1,2.5,dear\n", columns={"cost": "cost"}),
    extended("probability_unreadable", "p", "0.5", "anna,2024-03-03,milk,1,2.5,1.2\n", columns={"probability": "p"}),
    Case(
        "acquisition_unreadable", settings={"customers": "people.csv", "acquisition": {"day": "since"}},
        files={"people.csv": "who,since\nanna,2024-01-05\nbert,soon\n"},
    ),
    Case("file_twice", files={"sales-b.csv": f"{HEAD}\n{GOOD}"}, count=2),
    Case("file_transcoded", files={"sales-a.csv": f"{HEAD}\nrené,2024-03-01,café,1,2\n".encode("latin-1")}),
    Case("file_transcoded", files={"sales-a.csv": f"{HEAD}\nrené,2024-03-01,café,1,2\n".encode("utf-16")}, name="16"),
    Case("line_blank", "\n"),
    Case("line_ragged", "anna,2024-03-03,milk,1,2,5\n", name="too many"),
    Case("line_ragged", "anna,2024-03-03,milk\n", name="too few"),
    Case("line_ragged", '"anna,2024-03-03,milk,1,2"\n"anna,2024-03-03,""milk, big"",1,2"\n', count=2, name="whole"),
    Case("line_ragged", '"an,na",2024-03-03,milk,1,2\nanna,2024-03-03,milk,1\n', name="beside quotes"),
    extended("left_out", "state", "sent", "anna,2024-03-04,milk,1,2,cancelled\n",
             settings={"leave_out": {"state": ["cancelled"]}}),
    extended("kind_unknown", "event", "purchase", "anna,2024-03-04,milk,1,2,tickle\n", columns={"kind": "event"}),
    Case("not_a_product", "anna,2024-03-04,POST,1,2\nanna,2024-03-04,Bank Charges,1,2\n", count=2),
    Case("not_a_product", "anna,2024-03-04,M,1,2\n", settings={"not_products": ["M", "D"]}, name="by name"),
    Case("not_a_product", "anna,2024-03-04,Frais de port,1,2\nanna,2024-03-04,Pfand,1,1\nanna,2024-03-04,Kargo,1,1\n",
         count=3, name="in other languages"),
    extended("not_a_product", "Description", "thing", "anna,2024-03-04,x7,1,2,Next Day Carriage\n",
             columns={"description": "Description"}, name="by description"),
    extended("not_a_product", "Description", "thing", "anna,2024-03-04,x7,1,2,Poštovné\n",
             settings={"item_columns": ["Description"]}, name="by a description of items"),
    Case("customer_unlisted", settings={"customers": "people.csv"}, count=2,
         files={"people.csv": "who,age\nANNA,30\nBERT,40\n"}),
    Case("not_product_kept", "anna,2024-03-04,POST,1,2\nanna,2024-03-04,Bank Charges,1,2\n", count=2,
         settings={"not_products": []}),
    Case("not_product_kept", "anna,2024-03-04,p9,1,2\n", settings={"not_products": [], "items": "goods.csv"},
         files={"goods.csv": "sku,name\nmilk,Milk\nsoap,Soap\np9,Postage\n"}, name="by the table of items"),
    Case("not_a_product", "anna,2024-03-04,p9,1,2\n", settings={"items": "goods.csv"},
         files={"goods.csv": "sku,name\nmilk,Milk\nsoap,Soap\np9,Postage\n"}, name="by the table of items"),
    extended("refunded", "back", "0", "anna,2024-03-04,milk,2,9,9\nanna,2024-03-04,milk,2,9,-9.00\n",
             columns={"refund": "back"}, count=2),
    extended("refunded", "units_back", "", "anna,2024-03-04,milk,2,9,2\n", columns={"refunded_quantity": "units_back"},
             name="in units"),
    extended("refund_deducted", "back", "", "anna,2024-03-04,milk,2,9,4\n", columns={"refund": "back"}),
    extended("discount_unreadable", "back", "", "anna,2024-03-04,milk,2,9,x\n", columns={"refund": "back"},
             name="refund"),
    Case("sale_undone", "anna,2024-03-04,desk,1,500\nanna,2024-03-05,Manual,-1,-500\n"),
    Case("sale_implausible",
         "".join(f"c{k % 7},2024-03-04,i{k},1,{k}\n" for k in range(1, 300)) + "bert,2024-03-04,x,1,1e6\n"),
    Case("customer_dominant", "".join(f"0001,2024-03-{k % 28 + 1:02},i{k},1,2\n" for k in range(100)), count=100),
    Case("discount_divided", "anna,2024-03-04,milk,1,3,r3,1\nanna,2024-03-04,soap,2,7,r3,1\n", count=2,
         head=f"{HEAD},receipt,cart", good="anna,2024-03-01,milk,1,2.5,r1,0\nbert,2024-03-02,soap,2,4.0,r2,\n",
         columns=ORDER | {"order_discount": "cart"}, settings={"revenue_is": "gross"}),
    ordered("guest", ",2024-03-04,milk,1,2,r3\nNULL,2024-03-04,milk,1,2,r4\n", count=2),
    ordered("guest", "-1,2024-03-04,milk,1,2,r3\nGuest,2024-03-04,milk,1,2,r4\n", count=2, name="stand-in"),
    ordered("guest", "77,2024-03-04,milk,1,2,r3\n-1,2024-03-04,milk,1,2,r4\n", settings={"guest_ids": [77]},
            name="stand-in by name"),
    Case("id_truncated", "1.23457E+12,2024-03-04,milk,1,2\nanna,2024-03-04,5.0001e+12,1,2\n", count=2),
    Case("customer_zero", "0,2024-03-04,milk,1,2\n"),
    ordered("guest", "".join(f"till,2024-03-04,milk,1,2,x{k}\n" for k in range(1200)), count=1200, name="shared id"),
    ordered("customer_missing", ",2024-03-04,milk,1,2,r3\n", settings={"guests": "quarantine"}, name="by option"),
    Case("customer_missing", ",2024-03-04,milk,1,2\nNaN,2024-03-04,milk,1,2\n", count=2),
    ordered("customer_shared", "".join(f"till,2024-03-04,milk,1,2,x{k}\n" for k in range(1200)), count=1200,
            settings={"guests": "quarantine"}),
    Case("day_missing", "anna,,milk,1,2\nanna,NULL,milk,1,2\n", count=2),
    Case("day_unreadable", "anna,2024-02-30,milk,1,2\nanna,soon,milk,1,2\n", count=2),
    Case("day_sentinel", "".join(f"anna,{d},milk,1,2\n" for d in ("1900-01-01", "1970-01-01", "9999-12-31")), count=3),
    Case("day_in_future", "anna,2024-03-09,milk,1,2\n", settings={"latest": "2024-03-05"}),
    Case("item_missing", "anna,2024-03-04,,1,2\nanna,2024-03-04,NULL,1,2\n", count=2),
    Case("item_unknown", "anna,2024-03-04,tea,1,2\n", settings={"unknown_items": "quarantine", "items": "goods.csv"},
         files={"goods.csv": "sku,aisle\nmilk,dairy\nsoap,care\n"}),
    Case("quantity_unreadable", "".join(f"anna,2024-03-04,milk,{q},2\n" for q in ("", "NaN", "inf", "NULL", "x")),
         count=5),
    Case("revenue_unreadable", "".join(f"anna,2024-03-04,milk,1,{q}\n" for q in ("", "NaN", "-inf", "NULL", "x")),
         count=5),
    Case("revenue_unreadable", 'anna,2024-03-04,milk,1,"1,234"\n', good="anna,2024-03-01,milk,1,2\n", name="1,234"),
    Case("revenue_unreadable", "anna,2024-03-04,milk,1,1e39\nanna,2024-03-04,milk,1,-4e38\n", count=2, name="large"),
    Case("quantity_unreadable", "anna,2024-03-04,milk,1e39,2\n", settings={"most_units": None}, name="too large"),
    Case("revenue_unreadable", "anna,2024-03-04,milk,1,abc\n", files={"mail.csv": "who,sent\nanna,2024-03-01\n"},
         settings={"contacts": {"path": "mail.csv", "customer": "who", "day": "sent"}}, name="beside contacts"),
    extended("currency_without_rate", "money", "EUR", "anna,2024-03-04,milk,1,2,XAU\n", columns={"currency": "money"},
             settings={"rates": {"EUR": 1.0},
                       "contacts": {"path": "mail.csv", "customer": "who", "day": "sent"}},
             files={"mail.csv": "who,sent\nanna,2024-03-01\n"}, name="beside contacts"),
    extended("currency_without_rate", "money", "EUR", "anna,2024-03-04,milk,1,2,XAU\n", columns={"currency": "money"},
             settings={"rates": {"EUR": 1.0}}),
    extended("discount_unreadable", "off", "", "".join(f"anna,2024-03-04,milk,1,2,{x}\n" for x in ("x", "inf", "x%")),
             columns={"discount": "off"}, count=3),
    Case("quantity_zero", "anna,2024-03-04,milk,0,2\n"),
    Case("price_negative", "anna,2024-03-04,milk,1,-2\n"),
    Case("line_in_bulk", "anna,2024-03-04,milk,80995,2\n"),
    extended("event_again", "line", "", "anna,2024-03-04,milk,1,2,e1\nanna,2024-03-04,milk,3,6,e1\n",
             columns={"event_id": "line"}),
    Case("order_again", columns=ORDER, head=f"{HEAD},receipt", good="anna,2024-03-01,milk,1,2,r1\n",
         files={"salesb.csv": f"{HEAD},receipt\nanna,2024-03-01,milk,2,4,r1\n"}),
    extended("order_again", "receipt,loaded", "r0,2024-03-02",
             "anna,2024-03-04,milk,1,2,r1,2024-03-05\nanna,2024-03-04,milk,2,4,r1,2024-03-06\n",
             columns={"order": "receipt", "available_at": "loaded"}, name="in one file"),
    Case("return_before_purchase", "anna,2024-02-01,milk,-1,-2\nbert,2024-03-08,tea,-1,-2\n", count=2),
    ordered("line_completed", "anna,2024-03-04,milk,1,2,r3\n,,tea,1,2,r3\n,,salt,1,2,r3\n", count=2),
    Case("id_rewritten", "' anna ',2024-03-04,milk,1,2\n12345.0,2024-03-04,milk,1,2\n".replace("'", ""), count=2),
    Case("id_rewritten", "00123,2024-03-04,milk,1,2\n123,2024-03-04,milk,1,2\n", name="padded"),
    Case("price_zero", "anna,2024-03-04,milk,1,0\n"),
    Case("quantity_fraction", "anna,2024-03-04,milk,0.345,2\n"),
    Case("amount_rewritten", 'anna,2024-03-04,milk,1,"€ 1.234,50"\nanna,2024-03-04,milk,1,3 EUR\n', count=2),
    extended("amount_converted", "money", "EUR", "anna,2024-03-04,milk,1,2,USD\n", columns={"currency": "money"},
             settings={"rates": {"EUR": 1.0, "USD": 0.5}}),
    Case("line_returned", "anna,2024-03-04,milk,-1,-2\n"),
    ordered("line_returned", "anna,2024-03-04,milk,1,2,C1\n", settings={"cancelled": "^C"}, name="cancellation"),
    Case("line_twice", "anna,2024-03-01,milk,1,2.5\n"),
    extended("discount_repeated", "off,receipt", "0,r1", "anna,2024-03-04,tea,1,5,1,r2\nanna,2024-03-04,tea,1,9,1,r2\n",
             columns={"discount": "off", "order": "receipt"}, settings={"revenue_is": "gross"}, count=2),
    extended("day_late", "loaded", "2024-03-01", "anna,2024-03-04,milk,1,2,2024-03-09\n",
             columns={"available_at": "loaded"}, count=1),
    Case("item_unlisted", "anna,2024-03-04,tea,1,2\n", settings={"items": "goods.csv"},
         files={"goods.csv": "sku,aisle\nmilk,dairy\nsoap,care\n"}),
    Case("item_without_category", settings={"items": "goods.csv"},
         files={"goods.csv": "sku,aisle\nmilk,dairy\nsoap,\n"}),
    Case("item_described_again", settings={"items": "goods.csv"},
         files={"goods.csv": "sku,aisle\nmilk,dairy\nsoap,care\nmilk,cold\n"}),
    extended("item_described_again", "aisle", "dairy", "anna,2024-03-04,milk,1,2,cold\n", name="by events",
             settings={"item_columns": ["aisle"]}),
    extended("item_reused", "aisle", "dairy", "anna,2024-08-04,milk,1,2,toys\n", settings={"item_columns": ["aisle"]}),
    Case("customer_described_again", settings={"customers": "people.csv"},
         files={"people.csv": "who,city\nanna,Rome\nanna,Oslo\n"}),
    Case("identity_cycle", settings={"identity_map": {"path": "map.csv", "alias": "old", "customer": "new"}}, count=2,
         files={"map.csv": "old,new\nanna,bert\nbert,anna\n"}),
    Case("identity_two_owners", settings={"identity_map": {"path": "map.csv", "alias": "old", "customer": "new"}},
         count=2, files={"map.csv": "old,new\nanna,carl\nanna,dora\n"}),
    Case("consent_withdrawn",
         settings={"consents": {"path": "yes.csv", "customer": "who", "consent": "ok", "day": "on"}},
         files={"yes.csv": "who,ok,on\nanna,no,2024-02-01\nanna,yes,2024-01-01\nbert,yes,2024-01-01\n"}),
    Case("consent_unclear", settings={"consents": {"path": "yes.csv", "customer": "who", "consent": "ok"}},
         files={"yes.csv": "who,ok\nanna,ano\nbert,jo\n"}),
    Case("consent_missing", settings={"consents": {"path": "yes.csv", "customer": "who", "consent": "ok"}},
         files={"yes.csv": "who,ok\nanna,yes\n"}),
]  # fmt: skip


def source(case: Case, folder: Path) -> Table:
    (folder / "sales.csv").write_text(f"{case.head}\n{case.good}{case.rows}", newline="")
    for name, content in case.files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    columns: dict[str, str | None] = {**COLUMNS, **case.columns}
    several = any(name.startswith("sales") for name in case.files)
    events = "sales*.csv" if several else "sales.csv"
    return Table(events, columns, folder=str(folder), **case.settings)


def log_of(case: Case, folder: Path) -> EventLog:
    return prepare(source(case, folder), folder / "log")


def conserved(log: EventLog) -> bool:
    rows = log.meta["rows"]
    return (
        rows["in"] == rows["used"] + sum(sum(rows[way].values()) for way in UNUSED_OUTCOMES)
        and rows["used"] == log.day.size
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_row_has_the_outcome_of_its_rule_and_all_rows_are_accounted_for(case: Case, tmp_path: Path) -> None:
    log = log_of(case, tmp_path)
    rows, action = log.meta["rows"], RULE_BY_CODE[case.code].action
    place = {"quarantine": "quarantined", "drop": "dropped", "merge": "merged"}
    counts = log.meta["warnings"] if action == "keep" else rows[place[action]]
    assert counts.get(case.code) == case.count
    assert conserved(log)
    if action == "quarantine":
        aside = pl.read_parquet(tmp_path / "log/quarantine/*.parquet").filter(pl.col("reason") == case.code)
        assert aside.height == case.count and min(aside["row"].to_list()) >= case.good.count("\n")
        assert set(aside["file"].cast(pl.String)) == {str(tmp_path / "sales.csv")}


REJECTED: list[tuple[str, Callable[[Path], Table], str]] = [
    ("file_empty", lambda f: _files(f, {"sales.csv": b""}), r"sales\.csv is empty \(0 bytes\); deliver it again"),
    ("file_without_rows", lambda f: _files(f, {"sales.csv": f"{HEAD}\n".encode()}), "has no rows; deliver it again"),
    ("file_unreadable", lambda f: _files(f, {"sales.parquet": b"PAR1 and no more"}), "sales.parquet cannot be read"),
    ("file_not_text", lambda f: _files(f, {"sales.csv": f"{HEAD}\n{GOOD}a\0".encode()}), "line 4 has a zero byte"),
    (
        "day_order_unclear",
        lambda f: _dated(f, "03/04/2024"),
        r"03/04/2024 in line 2, which may be day first or month first; set data",
    ),
    ("day_order_unclear", lambda f: _dated(f, "13/04/2024", "04/13/2024"), "13/04/2024 in line 2 and 04/13/2024 in"),
    ("day_not_a_date", lambda f: _dated(f, "7", "30", "0"), "holds numbers from 0 to 30, which are not calendar dates"),
    ("currencies_mixed", lambda f: _paid(f, "€ 2", "$ 2"), "has amounts in EUR, USD without exchange rates"),
    ("currencies_mixed", lambda f: _two_currencies(f), "has amounts in EUR, USD without exchange rates"),
    ("cents_mixed", lambda f: _cents(f), r"sales-b.csv may be in cents: its prices are 100 times"),
]  # fmt: skip


def _files(folder: Path, files: dict[str, bytes], events: str | None = None) -> Table:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return Table(events or next(iter(files)), dict(COLUMNS), folder=str(folder))


def _dated(folder: Path, *days: str) -> Table:
    rows = "".join(f"anna,{day},milk,1,2\n" for day in days)
    return _files(folder, {"sales.csv": f"{HEAD}\n{rows}".encode()})


def _paid(folder: Path, *amounts: str) -> Table:
    rows = "".join(f"anna,2024-03-01,milk,1,{amount}\n" for amount in amounts)
    return _files(folder, {"sales.csv": f"{HEAD}\n{rows}".encode()})


def _two_currencies(folder: Path) -> Table:
    files = {f"sales-{name}.csv": f"{HEAD}\nanna,2024-03-01,milk,1,2 {name}\n".encode() for name in ("EUR", "USD")}
    return _files(folder, files, "sales-*.csv")


def _cents(folder: Path) -> Table:
    prices = {"milk": 1.25, "soap": 3.5, "tea": 4.75}
    units = "".join(f"anna,2024-03-01,{item},1,{price}\n" for item, price in prices.items())
    cents = "".join(f"anna,2024-03-02,{item},2,{200 * price:.0f}\n" for item, price in prices.items())
    files = {"sales-a.csv": f"{HEAD}\n{units}".encode(), "sales-b.csv": f"{HEAD}\n{cents}".encode()}
    return _files(folder, files, "sales-*.csv")


@pytest.mark.parametrize(("code", "deliver", "words"), REJECTED, ids=[code for code, *_ in REJECTED])
def test_an_unusable_file_is_refused_in_one_line_that_names_it(
    code: str, deliver: Callable[[Path], Table], words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        prepare(deliver(tmp_path), tmp_path / "log")
    assert caught.value.exit_code == 3 and "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    assert RULE_BY_CODE[code].action == "reject" and not (tmp_path / "log").exists()


def test_every_rule_has_a_case() -> None:
    elsewhere = {
        "customer_erased",
        "personal_masked",
        "event_expired",
        "quarantine_expired",
    }  # test_privacy.py, test_retention.py
    assert {case.code for case in CASES} | {code for code, *_ in REJECTED} | elsewhere == {rule.code for rule in RULES}


def bought(log: EventLog) -> pl.DataFrame:
    """The events with their original ids."""
    owner = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    columns: dict[str, Any] = {"customer": log.customer_id[owner], "day": log.day, "kind": np.array(KINDS)[log.kind]}
    columns |= {"item": log.items["item"].to_numpy()[log.item], "quantity": log.quantity, "revenue": log.revenue}
    return pl.DataFrame(columns)


def events_of(code: str, folder: Path, name: str = "") -> pl.DataFrame:
    case = next(case for case in CASES if case.code == code and case.name == name)
    return bought(log_of(case, folder))


def test_a_return_is_negative_and_not_a_purchase(tmp_path: Path) -> None:
    back = events_of("line_returned", tmp_path).filter(pl.col("kind") == "return")
    assert back.select("quantity", "revenue").rows() == [(-1.0, -2.0)]


def test_a_cancellation_is_a_return_whatever_its_sign(tmp_path: Path) -> None:
    back = events_of("line_returned", tmp_path, "cancellation").filter(pl.col("kind") == "return")
    assert back.select("quantity", "revenue").rows() == [(-1.0, -2.0)]


def test_the_last_delivery_of_an_order_is_used(tmp_path: Path) -> None:
    assert events_of("order_again", tmp_path).select("quantity", "revenue").rows() == [(2.0, 4.0)]


def test_a_receipt_number_that_starts_again_is_another_order(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        f"sales-{month}.csv": f"{HEAD},receipt\nanna,{day},milk,1,{price},12\nanna,{day},tea,1,2,12\n"
        for month, day, price in (("1", "2024-01-05", "1.00"), ("2", "2024-02-05", "1.10"))
    }
    log = log_of(Case("", columns=ORDER, head=f"{HEAD},receipt", good="anna,2024-02-09,milk,1,3,12\n", files=files),
                 tmp_path)  # fmt: skip
    assert log.meta["rows"]["merged"] == {}
    assert log.order.tolist() == [0, 0, 1, 1, 2] and log.revenue.sum() == pytest.approx(9.1)


@pytest.mark.parametrize(
    ("revenue_is", "total"), [("total", 30), ("gross", 4 + 9 + 10), ("unit", 14 + 18 + 10), ("net_unit", 50)]
)
def test_a_discount_is_taken_off_where_the_amount_is_before_it(revenue_is: str, total: float, tmp_path: Path) -> None:
    rows = "anna,2024-03-01,milk,2,10,6\nanna,2024-03-02,milk,2,10,10%\nanna,2024-03-02,tea,1,10,\n"
    case = Case("", rows, head=f"{HEAD},off", good="", columns={"discount": "off"}, settings={"revenue_is": revenue_is})
    assert log_of(case, tmp_path).revenue.sum() == pytest.approx(total)


def test_the_discount_of_a_return_makes_it_smaller(tmp_path: Path) -> None:
    rows = "anna,2024-03-01,milk,2,10,5\nanna,2024-03-03,milk,-2,10,-5\n"
    case = Case("", rows, head=f"{HEAD},off", good="", columns={"discount": "off"}, settings={"revenue_is": "unit"})
    assert log_of(case, tmp_path).revenue.tolist() == [15, -15]


@pytest.mark.parametrize(
    ("amounts", "total"),
    [
        (("1.990", "12.990", "1.299.990", "990"), 1_315_960),
        (("1,990", "12,990", "1,299,990", "990"), 1_315_960),
        (("1.990", "2.5"), 4.49),
        (("1,990", "2,5"), 4.49),
        (("1.990", "0.125"), 2.115),
        (("1.990", "12345.678"), 12_347.668),
        (("1.990", "1.234,5"), 3_224.5),
    ],
)
def test_thousands_and_decimals_are_told_apart_by_the_whole_column(
    amounts: tuple[str, ...], total: float, tmp_path: Path
) -> None:
    rows = "".join(f'anna,2024-03-01,milk,1,"{amount}"\n' for amount in amounts)
    log = log_of(Case("", rows, good=""), tmp_path)
    assert log.meta["rows"]["quarantined"] == {} and log.revenue.sum() == pytest.approx(total)


def test_the_decimal_mark_is_the_files(tmp_path: Path) -> None:
    rows = 'anna,2024-03-01,screw,1.000,"12,50"\nanna,2024-03-02,screw,2.500,"30,00"\nbert,2024-03-02,lamp,2,"19,90"\n'
    assert log_of(Case("", rows, good=""), tmp_path).quantity.tolist() == [1000, 2500, 2]
    assert log_of(Case("", rows.replace(",", "!").replace('"', "").replace("!", ",").replace("12,50", "12.50")
                       .replace("30,00", "30.00").replace("19,90", "19.90"), good=""), tmp_path
                  ).quantity.tolist() == [1, 2.5, 2]  # fmt: skip


def test_an_amount_that_may_be_one_or_a_thousand_is_set_aside_unless_the_setting_decides(tmp_path: Path) -> None:
    case = Case("", "anna,2024-03-01,milk,1,1.990\n", good="anna,2024-03-01,milk,1,2\n")
    assert log_of(case, tmp_path).meta["rows"]["quarantined"] == {"revenue_unreadable": 1}
    for decimal, total in ((".", 3.99), (",", 1992)):
        assert log_of(replace(case, settings={"decimal": decimal}), tmp_path).revenue.sum() == pytest.approx(total)


def test_a_column_with_both_marks_is_refused_where_an_amount_depends_on_them(tmp_path: Path) -> None:
    rows = 'anna,2024-03-01,milk,1,"2,5"\nanna,2024-03-01,milk,1,2.5\n'
    assert log_of(Case("", rows, good=""), tmp_path).revenue.tolist() == [2.5, 2.5]
    with pytest.raises(
        DataError, match="paid has 1 amounts with a decimal comma and 1 with a decimal point, so that 1"
    ):
        log_of(Case("", rows + "anna,2024-03-01,milk,1,1.234\n", good=""), tmp_path)


def test_a_discount_of_each_line_is_no_discount_of_the_order(tmp_path: Path) -> None:
    rows = "anna,2024-03-04,milk,1,5,1,r2\nanna,2024-03-04,tea,1,9,2,r2\nbert,2024-03-05,tea,1,9,10%,r3\n"
    rows += "bert,2024-03-05,milk,1,5,10%,r3\n"
    case = extended("", "off,receipt", "0,r1", rows, columns={"discount": "off", "order": "receipt"},
                    settings={"revenue_is": "gross"})  # fmt: skip
    assert "discount_repeated" not in log_of(case, tmp_path).meta["warnings"]


def test_guests_need_no_consent_entry(tmp_path: Path) -> None:
    consents = {"path": "yes.csv", "customer": "who", "consent": "ok"}
    case = ordered("", ",2024-03-04,milk,1,2,r3\n", settings={"consents": consents})
    log = log_of(replace(case, files={"yes.csv": "who,ok\nanna,Ano\nbert,ne\n"}), tmp_path)
    assert not {"consent_missing", "consent_unclear"} & set(log.meta["warnings"])
    suppressed = dict(log.customers.select("customer", "suppressed").rows())
    assert suppressed == {"anna": False, "bert": True, "guest:r3": None}


@pytest.mark.parametrize("times", [1, 2])
def test_a_unit_price_is_not_taken_for_the_total_of_the_line(times: int, tmp_path: Path) -> None:
    lines = [(f"i{k}", q, (3 + k) * (1 + 0.1 * (q > 3))) for k in range(12) for q in (1, 2, 3, 4, 5)]
    unit = "".join(f"anna,2024-03-01,{item},{q},{price:.2f}\n" for item, q, price in lines)
    with pytest.raises(
        DataError, match="paid does not grow with units for 12 of 12 items, .*revenue_is=unit, or total"
    ):
        log_of(Case("", unit, good=""), tmp_path)
    for revenue_is, factor in (("unit", [q for _, q, _ in lines]), ("total", [1] * len(lines))):
        log = log_of(Case("", unit, good="", settings={"revenue_is": revenue_is}), tmp_path)
        assert log.revenue.sum() == pytest.approx(
            sum(f * price for f, (_, _, price) in zip(factor, lines, strict=True))
        )
    total = "".join(f"anna,2024-03-01,{item},{q},{q * price:.2f}\n" for item, q, price in lines)
    assert log_of(Case("", total * times, good=""), tmp_path).meta["rows"]["used"] == times * len(lines)


def test_a_column_name_that_occurs_twice_is_refused_where_it_is_mapped(tmp_path: Path) -> None:
    twice = Case("", head=f"{HEAD},paid", good="anna,2024-03-01,milk,1,2.5,9\n")
    with pytest.raises(DataError, match="the column paid .* twice, as columns 5 and 6; rename one of them"):
        log_of(twice, tmp_path)
    other = Case("", head=f"{HEAD},note,note", good="anna,2024-03-01,milk,1,2.5,x,y\n")
    assert log_of(other, tmp_path).revenue.tolist() == [2.5]


@pytest.mark.parametrize(("word", "setting"), [("1", 1), ("2", "2"), ("True", True)])
def test_a_word_of_the_column_of_kinds_may_be_a_number(word: str, setting: Any, tmp_path: Path) -> None:
    case = extended("", "what", "buy", f"anna,2024-03-04,milk,1,2,{word}\n", columns={"kind": "what"},
                    settings={"kinds": {setting: "return"}})  # fmt: skip
    assert bought(log_of(case, tmp_path)).filter(pl.col("kind") == "return")["revenue"].to_list() == [-2.0]


def test_an_unknown_time_zone_is_a_setting_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="timezone=Europe/Berlinn is not a time zone; .* Europe/Berlin$"):
        log_of(Case("", settings={"timezone": "Europe/Berlinn"}), tmp_path)


def test_an_amount_in_another_currency_is_converted_at_its_rate(tmp_path: Path) -> None:
    assert events_of("amount_converted", tmp_path)["revenue"].sort().to_list() == [1.0, 2.5, 4.0]


def test_a_late_event_is_dated_to_its_availability(tmp_path: Path) -> None:
    last = events_of("day_late", tmp_path)["day"].max()
    assert last == (date(2024, 3, 9) - date(1970, 1, 1)).days


def test_three_spellings_of_an_id_are_one_customer(tmp_path: Path) -> None:
    numbers = pl.DataFrame({"who": [123], "when": ["2024-03-01"], "sku": ["milk"], "units": [1], "paid": [2.0]})
    numbers.write_parquet(tmp_path / "sales-a.parquet")
    texts = pl.DataFrame({"who": [" 00123", "123.0"], "when": ["2024-03-01", "2024-03-02"], "sku": ["milk", "tea"],
                          "units": ["1", "2"], "paid": ["2,5", "€ 3"]})  # fmt: skip
    texts.write_parquet(tmp_path / "sales-b.parquet")
    log = prepare(Table("sales-*.parquet", dict(COLUMNS), folder=str(tmp_path)), tmp_path / "log")
    assert log.customers["customer"].to_list() == ["123"] and log.revenue.tolist() == [2.0, 2.5, 3.0]


def test_an_address_is_one_customer_in_any_case(tmp_path: Path) -> None:
    rows = "Ann@Example.org,2024-03-01,Milk,1,2\nann@example.org ,2024-03-02,milk,1,2\nAnn,2024-03-02,milk,1,2\n"
    (tmp_path / "sales.csv").write_text(f"{HEAD}\n{rows}")
    log = prepare(Table("sales.csv", dict(COLUMNS), folder=str(tmp_path)), tmp_path / "log", key=b"k" * 32)
    assert len(log) == 2 and log.items["item"].to_list() == ["Milk", "milk"]


def test_numbers_that_stand_for_nobody_are_guests_or_set_aside(tmp_path: Path) -> None:
    rows = pl.DataFrame({"who": [-1, 7, -1], "when": ["2024-03-01"] * 3, "sku": "milk", "units": 1, "paid": 2.0,
                         "receipt": [1, 2, 3]})  # fmt: skip
    rows.write_parquet(tmp_path / "sales.parquet")
    for columns, customers in ((dict(COLUMNS), [7]), (COLUMNS | ORDER, ["7", "guest:1", "guest:3"])):
        log = prepare(Table("sales.parquet", {**columns}, folder=str(tmp_path)), tmp_path / "log")
        assert log.customers["customer"].to_list() == customers


def test_floats_that_cannot_hold_an_id_are_set_aside(tmp_path: Path) -> None:
    rows = pl.DataFrame({"who": [2.0**53 + 2, 7.0], "when": ["2024-03-01"] * 2, "sku": "m", "units": 1, "paid": 2.0})
    rows.write_parquet(tmp_path / "sales.parquet")
    log = prepare(Table("sales.parquet", dict(COLUMNS), folder=str(tmp_path)), tmp_path / "log")
    assert log.meta["rows"]["quarantined"] == {"id_truncated": 1} and log.customers["customer"].to_list() == [7]


def test_unicode_forms_of_an_id_are_equal_and_case_only_with_fold_case(tmp_path: Path) -> None:
    rows = "Ren\u00e9,2024-03-01,milk,1,2\nRene\u0301,2024-03-02,milk,1,2\nREN\u00c9,2024-03-02,milk,1,2\n"
    for fold, customers in ((False, 2), (True, 1)):
        case = Case("", rows, good="", settings={"fold_case": fold})
        assert len(log_of(case, tmp_path)) == customers


@pytest.mark.parametrize(
    "day",
    ["1709251199", "1709251199000", "2024-02-29T23:59:59Z", "20240229", "20240229235959", "29-Feb-2024", "2024/2/29",
     "2024-02-29 02:30:00", "Feb 29, 2024"],
)  # fmt: skip
def test_common_date_formats_are_read(day: str, tmp_path: Path) -> None:
    quoted = f'anna,"{day}",milk,1,2\n'
    log = log_of(Case("", quoted, good=""), tmp_path)
    assert log.day.tolist() == [(date(2024, 2, 29) - date(1970, 1, 1)).days]


def test_seconds_and_milliseconds_are_distinguished(tmp_path: Path) -> None:
    rows = "anna,1709251199,milk,1,2\nanna,1709251199000,milk,1,2\n"
    assert len(set(log_of(Case("", rows, good=""), tmp_path).day.tolist())) == 1


def test_zoned_and_naive_times_share_the_calendar_of_the_shop(tmp_path: Path) -> None:
    times = ["2024-03-30T23:30:00Z", "2024-03-31 02:30:00", "2024-03-31T00:30:00+01:00", "2024-10-27T00:30:00Z"]
    rows = "".join(f"anna,{time},milk,1,2\n" for time in times)
    log = log_of(Case("", rows, good="", settings={"timezone": "Europe/Berlin"}), tmp_path)
    first, last = ((date(2024, *day) - date(1970, 1, 1)).days for day in ((3, 31), (10, 27)))
    assert log.day.tolist() == [first, first, first, last]


@pytest.mark.parametrize(
    "time",
    ["2024-03-10 23:30:00+00", "2024-03-10T23:30:00.000+0000", "2024-03-10 23:30Z", "2024-03-10 11:30:00 PM UTC",
     "2024-03-10 23:30:00 GMT", "Sun, 10 Mar 2024 23:30:00 +0000", "13/03/2024 23:30 -0000", "10/03/2024 18:30 EST",
     "2024-03-10T19:30:00-04:00[America/New_York]", "Sun Mar 10 2024 23:30:00 GMT+0000 (Greenwich)"],
)  # fmt: skip
def test_every_way_to_write_an_offset_is_honoured(time: str, tmp_path: Path) -> None:
    rows = f'anna,13/02/2024,milk,1,2\nanna,"{time}",milk,1,2\n'
    log = log_of(Case("", rows, good="", settings={"timezone": "Europe/Berlin"}), tmp_path)
    day = 14 if time.startswith("13/") else 11
    assert log.day.max() == (date(2024, 3, day) - date(1970, 1, 1)).days


def test_a_time_with_an_unknown_zone_is_set_aside_only_where_the_zone_matters(tmp_path: Path) -> None:
    case = Case("", "anna,2024-03-10 23:30 NPT,milk,1,2\n", settings={"timezone": "Europe/Berlin"})
    assert log_of(case, tmp_path).meta["rows"]["quarantined"] == {"day_unreadable": 1}
    assert log_of(replace(case, settings={}), tmp_path).meta["rows"]["quarantined"] == {}


def test_one_odd_day_among_many_is_set_aside_and_does_not_stop_the_delivery(tmp_path: Path) -> None:
    good = "".join(f"anna,{day:02d}/02/2024,milk,1,2\n" for day in range(1, 29)) * 2
    for odd in ("0", "02/13/2024"):
        rows = log_of(Case("", f"anna,{odd},milk,1,2\n", good=good), tmp_path).meta["rows"]
        assert (rows["used"], rows["quarantined"]) == (56, {"day_unreadable": 1})
    good = "".join(f"anna,2024-02-{day:02d},milk,1,2\n" for day in range(1, 29)) * 2
    rows = log_of(Case("", "anna,03/04/2024,milk,1,2\n", good=good), tmp_path).meta["rows"]
    assert (rows["used"], rows["quarantined"]) == (56, {"day_unreadable": 1})


def test_serial_dates_of_excel_are_read_and_shown(tmp_path: Path) -> None:
    case = Case("", "anna,45296,milk,1,2\nanna,45297.5,milk,1,2\n", good="")
    log = log_of(case, tmp_path)
    values = [each["value"] for each in log.meta["formats"] if each["what"] == "dates of when"]
    assert values == ["serial dates of Excel"]
    assert log.day.tolist() == [(date(2024, 1, day) - date(1970, 1, 1)).days for day in (5, 6)]
    early = replace(case, rows="anna,20100,milk,1,2\n")
    with pytest.raises(DataError, match="from 20100 to 20100, which look like serial dates of Excel; set data"):
        log_of(early, tmp_path)
    log = log_of(replace(case, settings={"day_format": "excel"}), tmp_path)
    assert log.day.tolist() == [(date(2024, 1, day) - date(1970, 1, 1)).days for day in (5, 6)]


def test_tables_beside_the_events_have_formats_of_their_own(tmp_path: Path) -> None:
    beside = {"contacts": {"path": "mail.csv", "customer": "who", "day": "sent"},
              "consents": {"path": "yes.csv", "customer": "who", "consent": "ok", "day": "on"}}  # fmt: skip
    files: dict[str, str | bytes] = {
        "mail.csv": "who,sent\nanna,13/02/2024\nanna,04/03/2024\n",
        "yes.csv": "who,ok,on\nanna,no,02/28/2024\nanna,yes,02/01/2024\nbert,yes,01/31/2024\n",
    }
    log = log_of(Case("", settings=beside, files=files), tmp_path)
    messages = bought(log).filter(pl.col("kind") == "message")["day"].to_list()
    assert messages == [(date(2024, *day) - date(1970, 1, 1)).days for day in ((2, 13), (3, 4))]
    assert log.customers.select("customer", "suppressed").rows() == [("anna", True), ("bert", False)]
    unclear = Case("", settings=beside, files=files | {"yes.csv": "who,ok,on\nanna,no,02/03/2024\n"})
    with pytest.raises(DataError, match="yes.csv column on has 02/03/2024 in line 2, which may be day first"):
        log_of(unclear, tmp_path)


def test_the_day_of_availability_has_a_format_of_its_own(tmp_path: Path) -> None:
    case = extended("", "loaded", "13/03/2024", "", columns={"available_at": "loaded"})
    assert set(log_of(case, tmp_path).day.tolist()) == {(date(2024, 3, 13) - date(1970, 1, 1)).days}


def test_zoned_timestamps_of_parquet_are_days_in_the_calendar_of_the_shop(tmp_path: Path) -> None:
    when = pl.Series([datetime(2024, 3, 30, 23, 30)]).dt.replace_time_zone("UTC")
    pl.DataFrame({"who": ["a"], "when": when, "sku": ["m"], "units": [1], "paid": [1]}).write_parquet(
        tmp_path / "sales.parquet"
    )
    for zone, day in ((None, 30), ("Europe/Berlin", 31)):
        log = prepare(Table("sales.parquet", dict(COLUMNS), folder=str(tmp_path), timezone=zone), tmp_path / "log")
        assert log.day.tolist() == [(date(2024, 3, day) - date(1970, 1, 1)).days]


@pytest.mark.parametrize(("first", "days"), [("13/02/2024", ["02/03/2024"]), ("02/13/2024", ["03/02/2024"])])
def test_one_unambiguous_date_determines_the_order_of_day_and_month(
    first: str, days: list[str], tmp_path: Path
) -> None:
    rows = "".join(f"anna,{day},milk,1,2\n" for day in (first, *days))
    log = log_of(Case("", rows, good=""), tmp_path)
    assert log.day.tolist() == [(date(2024, *day) - date(1970, 1, 1)).days for day in ((2, 13), (3, 2))]


def test_column_order_other_columns_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    text = "\ufeffpaid,extra,sku,units,when,who\n2.5,x,milk,1,2024-03-01,anna\n"
    (tmp_path / "sales.csv").write_text(text, encoding="utf-8")
    log = prepare(Table("sales.csv", dict(COLUMNS), folder=str(tmp_path)), tmp_path / "log")
    assert bought(log).select("customer", "item", "revenue").rows() == [("anna", "milk", 2.5)]


def test_the_order_of_delivery_does_not_change_the_events(tmp_path: Path) -> None:
    lines = [f"c{k % 7},2024-03-{k % 28 + 1:02d},i{k % 5},{k % 3 + 1},{k}\n" for k in range(60)]
    one = bought(log_of(Case("", "".join(lines), good=""), tmp_path))
    other = bought(log_of(Case("", "".join(lines[::-1]), good=""), tmp_path))
    order = ["customer", "day", "item", "revenue"]
    assert one.sort(order).equals(other.sort(order))


def test_customers_with_no_one_and_a_hundred_thousand_events_are_counted(tmp_path: Path) -> None:
    many = pl.DataFrame({"who": ["heavy"] * 100_000 + ["once"], "sku": "milk", "units": 1, "paid": 2.0}).with_columns(
        when=pl.date(2024, 1, 1) + pl.duration(days=pl.int_range(pl.len()) % 700)
    )
    many.write_parquet(tmp_path / "sales.parquet")
    (tmp_path / "people.csv").write_text("who,city\nnever,Rome\n")
    settings: dict[str, Any] = {"customers": "people.csv", "latest": "2026-01-01"}
    log = prepare(Table("sales.parquet", dict(COLUMNS), folder=str(tmp_path), **settings), tmp_path / "log")
    assert dict(zip(log.customer_id, np.diff(log.offsets), strict=True)) == {"heavy": 100_000, "never": 0, "once": 1}


def test_guests_count_for_items_and_are_not_scored(tmp_path: Path) -> None:
    log = log_of(next(case for case in CASES if case.code == "guest" and not case.name), tmp_path)
    day = log.last_day + 1
    assert log.customer_id[log.purchasers(day)].tolist() == ["anna", "bert"]
    assert log.customer_id[log.guests(day)].tolist() == ["guest:r3", "guest:r4"]


def test_messages_are_events_and_consents_are_columns_of_customers(tmp_path: Path) -> None:
    beside = {"contacts": {"path": "mail.csv", "customer": "who", "day": "sent", "channel": "how"},
              "consents": {"path": "yes.csv", "customer": "who", "consent": "ok", "channel": "how"}}  # fmt: skip
    files: dict[str, str | bytes] = {"mail.csv": "who,sent,how\nanna,2024-03-01,mail\n",
                                     "yes.csv": "who,ok,how\nanna,yes,mail\nbert,no,mail\n"}  # fmt: skip
    log = log_of(Case("", settings=beside, files=files), tmp_path)
    assert sorted(np.array(KINDS)[log.kind]) == ["message", "purchase", "purchase"] and conserved(log)
    assert log.customers.select("customer", "consent_mail").rows() == [("anna", True), ("bert", False)]


def test_further_columns_distinguish_products_of_one_code(tmp_path: Path) -> None:
    case = extended("", "ean", "1", "anna,2024-03-04,milk,1,2,2\n", settings={"item_identity": ["ean"]})
    assert log_of(case, tmp_path).items["item"].to_list() == ["milk|1", "milk|2", "soap|1"]


def test_aliases_are_one_customer(tmp_path: Path) -> None:
    settings = {"identity_map": {"path": "map.csv", "alias": "old", "customer": "new"}}
    case = Case("", settings=settings, files={"map.csv": "old,new\nbert,b2\nb2,anna\n"})
    assert log_of(case, tmp_path).customers["customer"].to_list() == ["anna"]


def consents(rows: str, **more: Any) -> dict[str, Any]:
    """Settings and files of a shop with an identity map and a dated consents file."""
    setting = {"path": "yes.csv", "customer": "who", "consent": "ok", "channel": "how", "day": "on"}
    people = {"path": "map.csv", "alias": "old", "customer": "new"}
    files = {"yes.csv": f"who,ok,how,on\n{rows}", "map.csv": "old,new\nann,anna\n"}
    return {"settings": {"consents": setting, "identity_map": people, **more}, "files": files}


@pytest.mark.parametrize(
    "withdrawal", ["ann,no,mail,2024-02-01", "anna,no,mail,soon", "anna,no,mail,", "anna,no,mail,2024-01-01",
                   "anna,perhaps,mail,2024-02-01", "anna,,mail,2024-02-01"],
)  # fmt: skip
def test_a_withdrawal_counts_whatever_is_unclear_about_it(withdrawal: str, tmp_path: Path) -> None:
    rows = f"{withdrawal}\nanna,yes,mail,2024-01-01\nbert,yes,mail,2024-01-01\n"
    log = log_of(Case("", **consents(rows)), tmp_path)
    assert log.customers["consent_mail"].to_list() == [False, True]
    assert log.customers["consented_mail"].to_list()[1] == date(2024, 1, 1)


def test_a_withdrawal_without_a_channel_suppresses_and_a_file_without_rows_is_no_consent(tmp_path: Path) -> None:
    log = log_of(Case("", **consents("anna,no,,2024-02-01\nbert,yes,mail,2024-01-01\n")), tmp_path)
    assert log.customers.select("suppressed", "consent_mail").rows() == [(True, None), (None, True)]
    (tmp_path / "none").mkdir()
    log = log_of(Case("", **consents("")), tmp_path / "none")
    assert log.customers["suppressed"].to_list() == [None, None]


def test_integer_ids_of_consents_are_those_of_padded_text_and_others_are_refused(tmp_path: Path) -> None:
    sold = "007,2024-03-04,milk,1,2\n008,2024-03-04,milk,1,2\n"
    beside = consents("7,no,mail,2024-01-01\n8,yes,mail,2024-01-01\n", ids="text")
    log = log_of(Case("", sold, good="", **beside), tmp_path)
    assert log.customers.select("customer", "consent_mail").rows() == [("007", False), ("008", True)]
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="0 of 2 customers of data.source.consents are among the 2 of the events"):
        log_of(Case("", sold, good="", **consents("x7,no,mail,\nx8,yes,mail,\n", ids="text")), tmp_path / "other")


def test_a_withdrawal_in_the_table_of_customers_or_in_the_consents_counts(tmp_path: Path) -> None:
    beside = consents("anna,yes,mail,2024-01-01\nbert,no,mail,2024-01-01\n", customers="people.csv")
    beside["files"]["people.csv"] = "who,consent_mail,guest\nanna,no,no\nbert,yes,no\n"
    log = log_of(Case("", **beside), tmp_path)
    assert log.customers["consent_mail"].to_list() == [False, False]
    assert log.guests(log.last_day + 1).size == 0, "a text column with no marks nobody as a guest"


def test_a_later_delivery_turns_around_nobody_elses_consent(tmp_path: Path) -> None:
    def deliver(folder: str, sold: str, rows: str) -> Table:
        (tmp_path / folder).mkdir()
        return source(Case("", sold, good="", **consents(rows)), tmp_path / folder)

    first = "anna,yes,mail,2024-01-01\nbert,no,mail,2024-02-01\ncarl,no,mail,soon\n"
    sold = "anna,2024-03-04,milk,1,2\nbert,2024-03-04,milk,1,2\ncarl,2024-03-04,milk,1,2\n"
    prepare(deliver("first", sold, first), tmp_path / "log")
    later = "dora,yes,mail,2024-03-01\nbert,yes,mail,2024-01-15\ncarl,yes,mail,2024-03-02\n"
    more = "".join(f"{who},2024-03-08,milk,1,2\n" for who in ("anna", "bert", "carl", "dora", "emil"))
    log = append(deliver("later", more, later), tmp_path / "log")
    words = dict(log.customers.select("customer", "consent_mail").iter_rows())
    assert words == {"anna": True, "bert": False, "carl": False, "dora": True, "emil": None}


def test_a_refusal_in_the_table_of_customers_counts_behind_an_alias(tmp_path: Path) -> None:
    beside = consents("", customers="people.csv")
    del beside["settings"]["consents"]
    beside["files"]["people.csv"] = "who,consent_mail,city\nanna,yes,Rome\nann,no,Oslo\nbert,yes,Rome\n"
    log = log_of(Case("", **beside), tmp_path)
    words = {row["customer"]: (row["consent_mail"], row["city"]) for row in log.customers.to_dicts()}
    assert words["anna"] == (False, "Rome") and words["bert"] == (True, "Rome")
    beside["files"]["people.csv"] = "who,consent_mail,city\nann,no,Oslo\nbert,yes,Rome\n"
    (tmp_path / "other").mkdir()
    log = log_of(Case("", **beside), tmp_path / "other")
    assert log.customers.filter(pl.col("customer") == "anna")["consent_mail"].to_list() == [False]


def test_a_withdrawal_that_is_delivered_without_a_purchase_counts(tmp_path: Path) -> None:
    sold = "".join(f"{who},2024-03-04,milk,1,2\n" for who in ("anna", "ann", "bert", "carl", "dora"))
    yes = "".join(f"{who},yes,mail,2024-01-01\n" for who in ("anna", "bert", "carl", "dora"))
    for name, key in (("plain", None), ("keyed", b"k" * 32)):
        place = tmp_path / name
        (place / "first").mkdir(parents=True)
        setting: dict[str, Any] = consents(yes + "ann,no,mail,2024-01-05\n")
        del setting["settings"]["identity_map"]  # ann is not yet known to be anna
        prepare(source(Case("", sold, good="", **setting), place / "first"), place / "log", None, key)
        (place / "later").mkdir()
        later = consents("carl,no,mail,2024-03-06\ndora,yes,mail,2024-03-06\nstranger,no,mail,2024-03-06\n")
        case = Case("", "emil,2024-03-08,milk,1,2\n", good="", **later)
        log = append(source(case, place / "later"), place / "log", key)
        words = dict(log.customers.select("customer", "consent_mail").iter_rows())
        if key is not None:
            ids = {pseudonym(who, key): who for who in ("anna", "ann", "bert", "carl", "dora", "emil")}
            words = {ids[customer]: word for customer, word in words.items()}
        assert words == {"anna": False, "ann": False, "bert": True, "carl": False, "dora": True, "emil": None}


def test_messages_are_those_of_the_customer_who_replaces_an_alias(tmp_path: Path) -> None:
    beside = consents("", contacts={"path": "sent.csv", "customer": "who", "day": "on"})
    del beside["settings"]["consents"]
    beside["files"]["sent.csv"] = "who,on\nann,2024-02-01\nbert,2024-02-02\n"
    log = log_of(Case("", **beside), tmp_path)
    assert log.customer_id.tolist() == ["anna", "bert"]
    assert [(log.kind[log.offsets[n] : log.offsets[n + 1]] == MESSAGE).sum() for n in range(2)] == [1, 1]
    beside["files"]["sent.csv"] = "who,on\nc1,2024-02-01\nc2,2024-02-02\n"
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="0 of 2 customers of data.source.contacts are among the 2 of the events"):
        log_of(Case("", **beside), tmp_path / "other")


def test_of_two_rows_of_a_customer_the_refusal_counts(tmp_path: Path) -> None:
    beside = consents("", customers="people.csv")
    del beside["settings"]["consents"], beside["settings"]["identity_map"]
    beside["files"]["people.csv"] = "who,Consent_Mail,suppressed\nanna,0,no\nanna,1,no\nbert,1,\nbert,1,maybe\n"
    log = log_of(Case("", **beside), tmp_path)
    assert log.customers.select("customer", "consent_mail", "suppressed").rows() == [
        ("anna", False, False), ("bert", True, True),
    ]  # fmt: skip
