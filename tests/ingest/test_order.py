"""Orders are objects: facts of their first line, refunds of their own, whatever the shape of the export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from propensity.data.event_log import EventLog
from propensity.errors import DataError
from propensity.ingest.build import prepare
from propensity.ingest.source.table import Table

COLUMNS = {"customer": "mail", "day": "on", "item": "sku", "quantity": "n", "revenue": "sum", "order": "no"}
HEAD = "no,mail,on,state,money,sku,n,sum"
HEADER_ONCE = """1,ann,2024-02-03,paid,EUR,lamp,1,20
1,,2024-02-03,,,bulb,2,10
2,bob,2024-02-04,refunded,EUR,lamp,1,20
2,,2024-02-04,,,chair,2,40
3,dee,2024-02-06,paid,USD,lamp,2,40
3,,2024-02-06,,,bulb,1,5
4,cy,2024-02-05,paid,EUR,lamp,1,20
"""


def log_of(folder: Path, rows: str, head: str = HEAD, columns: dict[str, str] | None = None, **more: Any) -> EventLog:
    (folder / "sales.csv").write_text(f"{head}\n{rows}")
    return prepare(Table("sales.csv", {**COLUMNS, **(columns or {})}, folder=str(folder), **more), folder / "log")


def test_a_status_on_the_first_line_leaves_out_the_whole_order(tmp_path: Path) -> None:
    log = log_of(tmp_path, HEADER_ONCE, leave_out={"state": ["refunded"]})
    assert log.meta["rows"]["dropped"] == {"left_out": 2} and log.revenue.sum() == 95
    assert log.meta["warnings"]["line_completed"] == 2
    assert log.customer_id.tolist() == ["ann", "cy", "dee"]


def test_a_currency_on_the_first_line_converts_the_whole_order(tmp_path: Path) -> None:
    log = log_of(tmp_path, HEADER_ONCE, columns={"currency": "money"}, rates={"EUR": 1, "USD": 0.5})
    assert log.meta["rows"]["quarantined"] == {} and log.revenue.sum() == 30 + 60 + 22.5 + 20


def test_a_number_that_starts_again_takes_the_facts_of_its_own_first_line(tmp_path: Path) -> None:
    rows = (
        "1,ann,2024-02-03,,,lamp,1,1\n1,,2024-02-03,,,bulb,1,1\n1,bob,2024-02-03,,,lamp,1,1\n2,,2024-02-03,,,tea,1,1\n"
    )
    log = log_of(tmp_path, rows + "1,cy,2024-03-03,,,lamp,1,1\n1,,2024-03-03,,,bulb,1,1\n")
    assert log.customer_id.tolist() == ["ann", "bob", "cy", "guest:2"]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_facts_are_completed_across_batches(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"{k},c{k},2024-02-03,x,,i0,1,1\n" + f"{k},,,,,i1,1,1\n" * (k % 4) for k in range(40))
    whole = pl.LazyFrame.collect_batches
    monkeypatch.setattr(
        pl.LazyFrame, "collect_batches", lambda self, **more: whole(self, **more | {"chunk_size": size})
    )
    log = log_of(tmp_path, rows)
    assert log.meta["rows"]["used"] == 100 and len(log) == 40


@pytest.mark.parametrize("setting", [None, True, False])
def test_two_layouts_in_one_file_are_refused_unless_the_setting_decides(setting: bool | None, tmp_path: Path) -> None:
    rows = HEADER_ONCE + "".join(f"{k},eve,2024-02-05,,,lamp,1,1\n{k},eve,2024-02-05,,,tea,1,1\n" for k in range(5, 8))
    if setting is None:
        with pytest.raises(
            DataError, match="has mail on the first line only in 3 orders and on every line in 3 orders"
        ):
            log_of(tmp_path, rows)
    else:
        log = log_of(tmp_path, rows, header_once=setting)
        assert log.meta["warnings"].get("guest", 0) == (0 if setting else 3)


def test_gaps_on_any_line_are_no_layout(tmp_path: Path) -> None:
    rows = "1,ann,2024-02-03,,web,lamp,1,1\n1,ann,2024-02-03,,,tea,1,1\n"
    rows += "2,ann,2024-02-04,,,tea,1,1\n2,ann,2024-02-04,,web,lamp,1,1\n"
    assert "line_completed" not in log_of(tmp_path, rows, columns={"channel": "money"}).meta["warnings"]


def test_a_refund_that_is_an_order_of_its_own_is_its_customers(tmp_path: Path) -> None:
    head, rows = "no,parent,mail,on,sku,n,sum", "501,,ann,2024-01-05,m,2,20\n502,,ann,2024-01-06,n,1,8\n"
    refunds = "503,501,,2024-01-09,m,-1,-10\n"
    log = log_of(tmp_path, rows + refunds, head, {"parent": "parent"})
    assert log.customer_id.tolist() == ["ann"] and log.revenue.sum() == 18


def test_a_refund_of_a_guest_is_the_same_guests(tmp_path: Path) -> None:
    head, rows = "no,parent,mail,on,sku,n,sum", "500,,bob,2024-01-05,m,1,10\n501,,,2024-01-05,m,2,20\n"
    log = log_of(tmp_path, rows + "503,501,,2024-01-09,m,-1,-10\n", head, {"parent": "parent"})
    assert log.customer_id.tolist() == ["bob", "guest:501"] and log.revenue.sum() == 20


def test_a_refund_of_a_number_with_two_customers_is_nobodys(tmp_path: Path) -> None:
    head = "no,parent,mail,on,sku,n,sum"
    rows = "501,,ann,2024-01-05,m,2,20\n501,,bob,2024-01-06,m,1,8\n503,501,,2024-01-09,m,-1,-10\n"
    log = log_of(tmp_path, rows, head, {"parent": "parent"})
    assert log.meta["rows"]["quarantined"] == {"return_before_purchase": 1} and log.revenue.sum() == 28
