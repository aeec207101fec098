"""Rows of earlier days in an appended delivery give the log that is built of all deliveries at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from deliveries import Delivery, between, without_tables
from propensity.data.event_log import EventLog
from propensity.data.merged_columns import MergedColumns
from propensity.errors import DataError
from propensity.ingest.append import append
from propensity.ingest.build import build_log, prepare
from propensity.ingest.compact import compact
from propensity.ingest.source import Tables
from propensity.ingest.source.table import Table
from propensity.kernel.event import EVERY_KIND
from random_log import random_tables

COLUMNS = {"customer": "card", "day": "day", "item": "sku", "quantity": "units", "revenue": "paid"}
ORDERS, LINES = {"order": "receipt"}, {"event_id": "line"}
HEADER = "card,day,sku,units,paid,receipt,line,aisle,town\n"


def assert_same_log(one: EventLog, other: EventLog) -> None:
    """Columns and tables are equal, hashes of ids among them."""
    assert one.customers.equals(other.customers) and one.items.equals(other.items)
    assert one.column_types == other.column_types
    for name in ("offsets", "item_known", *other.column_types):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.fingerprint == other.fingerprint


def assert_appended_equals_whole(tables: Tables, ends: list[tuple[int, int]], folder: Path) -> EventLog:
    """Deliveries of days [start, stop), relative to the first day of the log, in any order."""
    first = build_log(tables).first_day
    days = [(first + start, first + stop) for start, stop in ends]
    prepare(Delivery(between(tables, *days[0])), folder / "log")
    for start, stop in days[1:]:
        append(Delivery(between(tables, start, stop)), folder / "log")
    events = pl.concat([between(tables, *each).events for each in days])
    whole = prepare(Delivery(between(tables, *days[0])._replace(events=events)), folder / "whole")
    appended = EventLog.open(folder / "log", verify=True)
    assert len(appended.meta["formerly"]) == 1, "the base, as nobody asked for the fingerprints between"
    assert_same_log(appended, whole)
    return appended


@pytest.mark.parametrize("tables", [random_tables(0), without_tables(random_tables(2))])
def test_deliveries_of_any_days_give_the_log_built_whole_also_compacted(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("propensity.data.merged_columns.CHUNK", 300)
    appended = assert_appended_equals_whole(
        tables, [(150, 300), (300, 360), (0, 150), (370, 451), (360, 370)], tmp_path
    )
    day = appended.last_day - 200
    past = EventLog.open(tmp_path / "log").before(day)
    assert past.fingerprint == EventLog.open(tmp_path / "whole").before(day).fingerprint
    assert_same_log(compact(tmp_path / "log"), EventLog.open(tmp_path / "whole"))


def test_a_delivery_that_is_later_reads_and_sorts_no_event_of_the_base(tmp_path: Path) -> None:
    tables = random_tables(3)
    first = build_log(tables).first_day
    prepare(Delivery(between(tables, first, first + 300)), tmp_path / "log")
    append(Delivery(between(tables, first + 300, first + 451)), tmp_path / "log")
    gathered = EventLog.open(tmp_path / "log").gathered
    assert isinstance(gathered, MergedColumns) and gathered.late is None


def written(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).write_text(HEADER + text)


def table(folder: Path, name: str, **settings: object) -> Table:
    more = {"columns": COLUMNS | ORDERS, "item_columns": ["aisle"], "customer_columns": ["town"]} | settings
    return Table(events=str(folder / name), **more)  # type: ignore[arg-type]


def both(
    folder: Path, texts: list[str], key: bytes | None = None, keep: int | None = None, **settings: object
) -> tuple[EventLog, EventLog]:
    """The log that the deliveries are appended to one after the other, and the log built of all."""
    written(folder, {f"day-{k}.csv": text for k, text in enumerate(texts)})
    whole = prepare(table(folder, "day-*.csv", **settings), folder / "whole", key=key, keep=keep)
    prepare(table(folder, "day-0.csv", **settings), folder / "log", key=key, keep=keep)
    for k in range(1, len(texts)):
        append(table(folder, f"day-{k}.csv", **settings), folder / "log", key)
    return EventLog.open(folder / "log", verify=True), whole


FIRST = (
    "01,2024-03-01,milk,1,2,a1,l1,dairy,Graz\n01,2024-03-01,bread,1,3,a1,l2,bakery,Graz\n02,2024-03-01,milk,2,4,a2,l3,dairy,Linz\n"
    "02,2024-03-01,bread,1,3,a2,l6,bakery,Linz\n03,2024-03-04,cake,1,9,a4,l7,bakery,Wels\n"
    "01,2024-03-04,tea,1,5,a3,l4,drinks,Graz\n03,2024-03-04,milk,1,2,a4,l5,dairy,Wels\n"
)
LATE = (
    "02,2024-03-03,tea,1,5,b1,m1,hot drinks,Steyr\n01,2024-03-01,cake,1,9,b2,m2,bakery,Graz\n"
    "03,2024-03-01,tea,1,5,b3,m3,tea,Enns\n01,2024-03-04,milk,1,2,a3,m4,dairy,Graz\n"
    "04,2024-03-05,tea,1,5,b5,m5,drinks,Graz\n04,2024-02-28,rice,1,5,b6,m6,dry,Ried\n"
)


@pytest.mark.parametrize("key", [None, b"k" * 16])
@pytest.mark.parametrize("columns", [COLUMNS | ORDERS, COLUMNS, COLUMNS | LINES, COLUMNS | ORDERS | LINES])
def test_late_rows_give_the_log_built_whole(columns: dict[str, str], key: bytes | None, tmp_path: Path) -> None:
    """Lines of an order of the log, orders without a number, and attributes of earlier days among them."""
    log, whole = both(tmp_path, [FIRST, LATE, "01,2024-03-02,milk,1,2,c1,n1,dairy,Graz\n"], key, columns=columns)
    assert_same_log(log, whole)
    assert {name: log.meta[name] for name in ("rows", "money")} == {
        name: whole.meta[name] for name in ("rows", "money")
    }


CORRECTED = [  # second delivery, rule, whether the order a1 is replaced
    ("01,2024-03-01,milk,2,4,a1,x1,dairy,Graz\n01,2024-03-01,bread,1,3,a1,x2,bakery,Graz\n", "overlap", True),
    ("01,2024-03-01,milk,2,4,a1,x1,dairy,Graz\n", "overlap", True),
    ("01,2024-03-01,cake,2,4,a1,x1,bakery,Graz\n", "overlap", False),
    ("01,2024-03-01,cake,2,4,a1,x1,bakery,Graz\n", "always", True),
    ("01,2024-03-01,milk,2,4,a1,x1,dairy,Graz\n", "never", False),
    ("01,2024-03-02,milk,2,4,a1,x1,dairy,Graz\n", "overlap", False),
]


@pytest.mark.parametrize(("text", "rule", "replaces"), CORRECTED)
def test_an_order_that_is_delivered_again_is_corrected_as_in_a_log_built_whole(
    text: str, rule: str, replaces: bool, tmp_path: Path
) -> None:
    log, whole = both(tmp_path, [FIRST, LATE, text, "05,2024-03-06,milk,1,2,d1,o1,dairy,Graz\n"], corrections=rule)
    assert_same_log(log, whole)
    assert ("order_again" in whole.meta["rows"]["merged"]) == replaces
    assert {name: log.meta[name] for name in ("rows", "money")} == {
        name: whole.meta[name] for name in ("rows", "money")
    }
    assert_same_log(compact(tmp_path / "log"), whole)


def test_a_line_that_is_delivered_again_replaces_that_of_the_log_on_whatever_day_it_is_now(tmp_path: Path) -> None:
    text = "01,2024-03-07,milk,1,2,a1,l1,dairy,Graz\n02,2024-03-01,milk,3,6,a2,l3,dairy,Linz\n"
    text += "03,2024-03-03,jam,1,7,a9,l5,jam,Enns\n"
    log, whole = both(tmp_path, [FIRST, LATE, text], columns=COLUMNS | LINES)
    assert_same_log(log, whole)
    assert log.meta["rows"] == whole.meta["rows"] and log.meta["rows"]["merged"] == {"event_again": 3}
    assert log.meta["money"] == whole.meta["money"]


def test_a_correction_of_a_correction_replaces_what_is_in_a_segment(tmp_path: Path) -> None:
    texts = [f"01,2024-03-01,milk,{units},{units},a1,x{units},dairy,Graz\n" for units in (3, 5, 2)]
    log, whole = both(tmp_path, [FIRST, *texts])
    assert_same_log(log, whole)
    assert log.meta["rows"] == whole.meta["rows"] and log.meta["rows"]["merged"] == {"order_again": 4}


def test_a_late_return_needs_a_purchase_until_its_day(tmp_path: Path) -> None:
    text = "01,2024-03-02,tea,-1,-5,r1,s1,drinks,Graz\n01,2024-03-02,milk,-1,-2,r1,s2,dairy,Graz\n"
    text += "02,2024-03-05,tea,1,5,r2,s3,drinks,Linz\n"
    log, whole = both(tmp_path, [FIRST, text])
    assert_same_log(log, whole)
    assert log.meta["rows"]["quarantined"] == whole.meta["rows"]["quarantined"] == {"return_before_purchase": 1}
    assert (log.kind == EVERY_KIND.index("return")).sum() == 1


def test_a_log_with_a_retention_takes_late_rows_and_leaves_out_the_expired_ones(tmp_path: Path) -> None:
    log, whole = both(tmp_path, [FIRST, LATE], keep=5)
    assert_same_log(log, whole)
    assert log.first_event_day == log.last_day - 4 and not (tmp_path / "log/segments").exists()
    assert log.meta["rows"] == whole.meta["rows"]


@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS | ORDERS, COLUMNS | LINES])
@pytest.mark.parametrize("again", [0, 1])
def test_a_delivery_that_the_log_has_is_refused_also_compacted(
    columns: dict[str, str], again: int, tmp_path: Path
) -> None:
    log, _ = both(tmp_path, [FIRST, LATE], columns=columns)
    before = log.fingerprint
    for change in (lambda: None, lambda: compact(tmp_path / "log")):
        change()
        with pytest.raises(
            DataError, match="events already; prepare both together if they are others that look the same"
        ):
            append(table(tmp_path, f"day-{again}.csv", columns=columns), tmp_path / "log")
    assert EventLog.open(tmp_path / "log").fingerprint == before


def test_a_line_that_the_log_has_is_kept_and_counted_where_nothing_tells_it_apart(tmp_path: Path) -> None:
    again = "01,2024-03-01,milk,1,2,,,dairy,Graz\n04,2024-03-02,milk,1,2,,,dairy,Graz\n"
    log, whole = both(tmp_path, [FIRST, again], columns=COLUMNS)
    assert_same_log(log, whole)
    assert log.meta["warnings"] == whole.meta["warnings"] and log.meta["warnings"]["line_twice"] == 1


def test_a_log_without_hashes_takes_late_rows_by_the_numbers_of_its_orders(tmp_path: Path) -> None:
    """As a log of a source without a rule for corrections, or of an earlier version."""
    tables = random_tables(5)
    first = build_log(tables).first_day
    day = between(tables, first + 100, first + 101).events.collect()
    log = prepare(Delivery(between(tables, first, first + 100)), tmp_path / "log")
    assert "order_key" not in log.column_types and not (tmp_path / "log/order_key.npy").exists()
    append(Delivery(between(tables, first + 101, first + 451)), tmp_path / "log")
    extended = append(Delivery(between(tables, first + 100, first + 101)), tmp_path / "log")
    assert day.height and json.loads((tmp_path / "log/segments.json").read_text())["segments"][1]
    assert extended.fingerprint == build_log(between(tables, first, first + 451)).fingerprint


def test_an_order_of_a_segment_that_is_delivered_again_with_a_line_less_loses_the_line(tmp_path: Path) -> None:
    day = "01,2024-03-05,milk,1,2,e1,x1,dairy,Graz\n01,2024-03-05,bread,1,3,e1,x2,bakery,Graz\n"
    other = "02,2024-03-05,tea,1,5,e2,x3,drinks,Linz\n"
    shorter = day.splitlines(keepends=True)[0] + other
    log, whole = both(tmp_path, [FIRST, day + other, shorter])
    assert_same_log(log, whole)
    assert log.meta["rows"] == whole.meta["rows"] and log.meta["rows"]["merged"] == {"order_again": 3}
    assert log.meta["money"] == whole.meta["money"]
    with pytest.raises(DataError, match="has its 2 events already"):
        append(table(tmp_path, "day-2.csv"), tmp_path / "log")


def test_an_order_of_the_base_with_a_line_less_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """The base may be made of several deliveries, so that the shorter order may be one that it has already."""
    written(tmp_path, {"day-0.csv": FIRST, "day-1.csv": "01,2024-03-01,milk,1,2,a1,l1,dairy,Graz\n"})
    prepare(table(tmp_path, "day-0.csv"), tmp_path / "log")
    with pytest.raises(DataError, match="prepare both together .* or if a line of an order was deleted"):
        append(table(tmp_path, "day-1.csv"), tmp_path / "log")


def test_a_part_of_an_order_that_is_delivered_again_is_refused_where_each_part_stays(tmp_path: Path) -> None:
    part = "01,2024-03-05,cake,1,9,e1,x3,bakery,Graz\n"
    day = "01,2024-03-05,milk,1,2,e1,x1,dairy,Graz\n01,2024-03-05,bread,1,3,e1,x2,bakery,Graz\n"
    log, whole = both(tmp_path, [FIRST, day, part])
    assert_same_log(log, whole)
    for again in ("day-1.csv", "day-2.csv"):
        with pytest.raises(DataError, match="events already"):
            append(table(tmp_path, again), tmp_path / "log")


def test_the_same_line_number_of_another_customer_is_another_line_whatever_rows_are_sorted_together(
    tmp_path: Path,
) -> None:
    text = "02,2024-03-05,milk,1,2,e1,l1,dairy,Graz\n03,2024-03-05,tea,1,5,e2,l2,drinks,Wels\n"
    log, whole = both(tmp_path, [FIRST, text], columns=COLUMNS | LINES)
    assert_same_log(log, whole)
    assert whole.meta["rows"]["merged"] == {} and log.meta["rows"] == whole.meta["rows"]
    tables = table(tmp_path, "day-*.csv", columns=COLUMNS | LINES).load()
    assert build_log(tables, range_rows=1).fingerprint == whole.fingerprint
