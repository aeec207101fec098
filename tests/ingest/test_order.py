"""Orders are objects: facts of their first line, refunds of their own, whatever the shape of the export."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

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
    assert log.meta["currency"] == "EUR"


def test_the_currency_of_the_log_is_the_given_one_or_the_only_one_and_unknown_without_any(tmp_path: Path) -> None:
    for name, more, currency in (
        ("none", {}, None),
        ("given", {"currency": "GBP"}, "GBP"),
        ("rates", {"rates": {"EUR": 0.9, "USD": 1}, "columns": {"currency": "money"}}, "USD"),
    ):
        (tmp_path / name).mkdir()
        assert log_of(tmp_path / name, HEADER_ONCE, **more).meta["currency"] == currency


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


class Order(NamedTuple):
    """An order of a made-up shop."""

    customer: str
    day: date
    number: int  # it starts again every month and at every till
    state: str
    lines: list[tuple[str, int, int]]  # item, units and price of one, in cents
    refunded: bool  # whether its first line comes back on 1 March, as an order without a customer


orders = st.builds(
    Order,
    customer=st.sampled_from(["ann", "bob", "cy"]),
    day=st.dates(date(2024, 1, 1), date(2024, 2, 29)),
    number=st.integers(1, 3),
    state=st.sampled_from(["paid", "paid", "void"]),
    lines=st.lists(st.tuples(st.sampled_from("mnop"), st.integers(1, 9), st.integers(1, 999)), min_size=1, max_size=4),
    refunded=st.booleans(),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shop=st.lists(orders, min_size=1, max_size=12), header_once=st.booleans())
def test_net_revenue_by_customer_day_and_item_is_that_of_a_plain_sum(
    shop: list[Order], header_once: bool, tmp_path: Path
) -> None:
    assume(any(order.state == "paid" for order in shop))
    expected: Counter[tuple[str, date, str]] = Counter()
    files = {1: [HEAD_OF_SHOP], 2: [HEAD_OF_SHOP]}
    refunds = []
    for k, order in enumerate(shop):
        refunded = order.refunded and order.state == "paid"
        number = f"U{k}" if refunded else str(order.number)
        for n, (item, units, cents) in enumerate(order.lines):
            facts = ",," if header_once and n else f"{order.customer},{order.day},{order.state}"
            files[order.day.month].append(f"{number},,{facts},{item},{units},{units * cents / 100}")
            if order.state == "paid":
                expected[order.customer, order.day, item] += units * cents
        if refunded:
            item, units, cents = order.lines[0]
            refunds.append(f"R{k},U{k},,2024-03-01,paid,{item},{-units},{-units * cents / 100}")
            expected[order.customer, date(2024, 3, 1), item] -= units * cents
    for month, lines in files.items():
        (tmp_path / f"sales-{month}.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "sales-3.csv").write_text("\n".join([HEAD_OF_SHOP, *refunds]) + "\n")
    columns: dict[str, str | None] = {**COLUMNS, "parent": "of"}
    more: dict[str, Any] = {"leave_out": {"state": ["void"]}, "header_once": header_once}
    log = prepare(Table("sales-*.csv", columns, folder=str(tmp_path), decimal=".", **more), tmp_path / "log")
    found: Counter[tuple[str, date, str]] = Counter()
    owner = log.customer_id[np.repeat(np.arange(len(log)), np.diff(log.offsets))]
    for customer, day, item, revenue in zip(owner, log.day, log.item, log.revenue, strict=True):
        found[customer, date.fromordinal(int(day) + 719_163), log.items["item"][int(item)]] += round(
            100 * float(revenue)
        )
    assert found == expected


HEAD_OF_SHOP = "no,of,mail,on,state,sku,n,sum"
