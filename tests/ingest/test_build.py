"""Laws of ingestion: all rows are accounted for, delivery order changes no code, order within a day is kept."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from propensity.data.event_log import EPOCH, EventLog, fingerprint, to_day
from propensity.data.segment import KNOWN
from propensity.errors import DataError
from propensity.ingest.build import build_log, ingest, prepare
from propensity.ingest.encode import ALWAYS, NEVER
from propensity.ingest.rule import UNUSED_OUTCOMES
from propensity.ingest.source import Settled, Tables
from propensity.ingest.source.synthetic import Synthetic
from propensity.ingest.source.table import Table
from propensity.kernel.event import KINDS
from random_log import NOBODY, START, random_log, random_tables


def tables_of(rows: list[dict[str, object]], **others: pl.DataFrame) -> Tables:
    """Raw tables of a few events; the defaults are a purchase of milk by customer 1 on 2024-05-01."""
    usual = {"customer": 1, "day": date(2024, 5, 1), "item": "milk", "kind": "purchase", "revenue": 2.0}
    schema = {"customer": pl.Int64, "day": pl.Date, "item": pl.String, "kind": pl.String, "revenue": pl.Float64}
    schema |= {name: pl.Int64 if name == "order" else pl.String for row in rows for name in row if name not in schema}
    events = pl.DataFrame([usual | row for row in rows], schema=schema)
    items, customers = (others[name].lazy() if name in others else None for name in ("items", "customers"))
    return Tables(events.lazy(), items, customers, {}, len(rows))


def decoded(log: EventLog) -> pl.DataFrame:
    """The events with their original names, in the order of the log."""
    owner = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    named: dict[str, object] = {"customer": log.customer_id[owner], "day": log.day}
    named["item"] = np.array([*log.items["item"], None], object)[log.item].tolist()
    named["kind"] = np.array(KINDS)[log.kind]
    named["channel"] = np.array([*log.meta["channels"], None], object)[log.channel].tolist()
    return pl.DataFrame(named | {name: getattr(log, name) for name in ("quantity", "revenue", "discount")})


@pytest.mark.parametrize("seed", range(5))
def test_events_are_sorted_by_customer_and_day_and_keep_their_delivery_order(seed: int) -> None:
    tables = random_tables(seed)
    names = ["customer", "day", "item", "kind", "channel", "quantity", "revenue", "discount"]
    expected = tables.events.select(names).sort("customer", "day", maintain_order=True).collect()
    expected = expected.with_columns(pl.col("day").to_physical(), pl.col(names[-3:]).cast(pl.Float32))
    assert_frame_equal(decoded(build_log(tables)), expected, check_dtypes=False)


def test_an_attribute_named_known_is_an_attribute_like_others() -> None:
    words = pl.DataFrame({"item": ["milk", "soap"], "known": ["yes", "no"]})
    log = build_log(tables_of([{}, {"item": "soap"}], items=words))
    assert log.items.to_dict(as_series=False) == {"item": ["milk", "soap"], "known": ["yes", "no"]}
    assert log.item_known.tolist() == [ALWAYS, ALWAYS]


def test_codes_do_not_depend_on_the_order_of_delivery() -> None:
    tables = random_tables(0)
    log = build_log(tables)
    assert tables.items is not None and tables.customers is not None
    for seed in range(5):
        mixed = [t.collect().sample(fraction=1.0, shuffle=True, seed=seed).lazy() for t in tables[:3] if t is not None]
        other = build_log(tables._replace(events=mixed[0], items=mixed[1], customers=mixed[2]))
        assert_frame_equal(other.items, log.items)
        assert_frame_equal(other.customers, log.customers)
        np.testing.assert_array_equal(other.offsets, log.offsets)
        np.testing.assert_array_equal(other.item_known, log.item_known)
        assert other.meta["channels"] == log.meta["channels"]
        assert_frame_equal(decoded(other), decoded(log), check_row_order=False)


def damaged_sales(folder: Path) -> Table:
    rows = pl.DataFrame(
        {
            "who": ["a", "b", None, "c", "a"],
            "when": ["2024-05-01", "31 May", "2024-05-02", "2024-05-03", "2024-05-04"],
            "sku": ["milk", "milk", "milk", None, "soap"],
            "paid": [1.0, 2.0, 3.0, 4.0, 5.0],
        }
    )
    rows.write_parquet(folder / "sales.parquet")
    columns: dict[str, str | None] = {"customer": "who", "day": "when", "item": "sku", "revenue": "paid"}
    return Table(str(folder / "sales.parquet"), columns)


def test_every_row_is_used_or_counted_under_a_named_rule(tmp_path: Path) -> None:
    synthetic = Synthetic(customers=60, items=10, categories=3, days=60)
    for source, folder in ((damaged_sales(tmp_path), "table"), (synthetic, "synthetic")):
        rows = prepare(source, tmp_path / folder).meta["rows"]
        assert rows["in"] == rows["used"] + sum(sum(rows[way].values()) for way in UNUSED_OUTCOMES) > 0
        assert rows["used"] == EventLog.open(tmp_path / folder).day.size
    assert EventLog.open(tmp_path / "table").meta["rows"]["quarantined"] == {
        "customer_missing": 1,
        "day_unreadable": 1,
        "item_missing": 1,
    }
    assert random_log(0).meta["rows"]["dropped"] == {"damaged": 3}


@pytest.mark.parametrize("seed", range(3))
def test_the_size_of_the_ranges_does_not_change_the_log(seed: int) -> None:
    tables = random_tables(seed)
    whole = build_log(tables)
    for rows in (1, 100, 700):
        assert build_log(tables, range_rows=rows).fingerprint == whole.fingerprint
    names = pl.col("customer").cast(pl.String) + " somebody", pl.col("order").cast(pl.String) + " receipt"
    texts = tables._replace(events=tables.events.with_columns(*names), customers=None)
    for log in (build_log(texts), build_log(texts, range_rows=100)):
        assert log.order.tolist() == whole.order.tolist() and log.item.tolist() == whole.item.tolist()


def rejected(events: pl.LazyFrame) -> pl.LazyFrame:
    dear, back = pl.col("revenue") > 12, pl.col("kind") == "return"
    return events.with_columns(reason=pl.when(dear).then(pl.lit("too dear")).when(back).then(pl.lit("no returns")))


def corrected(rows: pl.DataFrame) -> Settled:
    """Merges the lines of an order into the last one and quarantines item 3."""
    wrong = rows.filter(pl.col("item") == "item 003").with_columns(reason=pl.lit("item 3"))
    right = rows.filter(pl.col("item").ne_missing("item 003"))
    last = right.unique(["customer", "order"], keep="last", maintain_order=True)
    return Settled(last, {"corrected": right.height - last.height}, wrong)


@pytest.mark.parametrize("range_rows", [100, 10_000])
def test_a_rejected_row_is_quarantined_with_its_reason_and_every_row_is_counted_once(
    range_rows: int, tmp_path: Path
) -> None:
    tables = random_tables(1)._replace(read=None)
    screened = rejected(tables.events).collect()
    settled = corrected(screened.filter(pl.col("reason").is_null()).drop("reason"))
    expected = build_log(tables._replace(events=settled.accepted.lazy()))
    log = ingest(tables._replace(screen=rejected, settle=corrected), tmp_path, range_rows)
    assert fingerprint(log) == expected.fingerprint
    quarantine = pl.read_parquet(tmp_path / "quarantine" / "*.parquet")
    both = [screened.filter(pl.col("reason").is_not_null()), settled.quarantined]
    assert_frame_equal(quarantine, pl.concat(both), check_row_order=False)
    rows = log.meta["rows"]
    assert rows["quarantined"] == dict(sorted(quarantine["reason"].value_counts().iter_rows()))
    assert set(rows["quarantined"]) == {"too dear", "no returns", "item 3"} and rows["merged"] == settled.merged
    assert rows["in"] == screened.height + 3 == rows["used"] + rows["merged"]["corrected"] + quarantine.height + 3 > 3
    assert not [path for path in tmp_path.iterdir() if path.is_dir() and path.name != "quarantine"]


def test_rows_that_a_rule_loses_are_a_data_error() -> None:
    tables = random_tables(1)._replace(settle=lambda rows: Settled(rows[1:], {}, rows.clear()))
    with pytest.raises(
        DataError, match=r"\d+ rows were read but \d+ are accounted for; correct the source, which loses or repeats"
    ):
        build_log(tables)


def test_orders_are_numbered_by_first_appearance_and_lines_without_an_id_form_one_order_a_day() -> None:
    first, second = date(2024, 5, 1), date(2024, 5, 2)
    rows: list[dict[str, object]] = [
        {"day": second, "order": 70},
        {"day": second, "order": None},
        {"day": second, "order": 70},
        {"day": first, "order": 90},
        {"day": first, "order": 80},
        {"day": first, "order": None},
        {"day": first, "kind": "view", "order": 60},
        {"day": first, "order": 90},
        {"day": first, "order": None},
        {"day": second, "order": 80},  # another order than that of the day before
        {"day": first, "order": 90, "customer": 2},
    ]
    log = build_log(tables_of(rows))
    assert log.order.tolist() == [0, 1, 2, -1, 0, 2, 3, 4, 3, 5, 0]


@pytest.mark.parametrize("seed", range(5))
def test_order_numbers_are_consecutive_from_zero(seed: int) -> None:
    log = random_log(seed)
    for start, stop in zip(log.offsets[:-1], log.offsets[1:], strict=True):
        bought = log.kind[start:stop] == KINDS.index("purchase")
        number = log.order[start:stop]
        assert (number[~bought] == -1).all()
        _, begins = np.unique(number[bought], return_index=True)
        assert (np.diff(begins) > 0).all() and (np.unique(number[bought]) == np.arange(begins.size)).all()


def test_missing_columns_default_to_a_purchase_of_one_unit_without_discount_or_channel() -> None:
    log = build_log(Tables(tables_of([{}]).events.drop("kind"), None, None, {}, 1))
    assert (log.kind[0], log.quantity[0], log.discount[0], log.channel[0], log.order[0]) == (0, 1.0, 0.0, -1, 0)


def test_customers_from_either_the_events_or_their_table_are_in_the_log() -> None:
    log = random_log(0)
    assert len(log) == 50 and log.offsets[NOBODY] == log.offsets[NOBODY + 1]
    about = pl.DataFrame({"customer": [1, 5, 1], "segment": ["old", "new", "newest"]})
    named = build_log(tables_of([{"customer": 3}, {"customer": 1}], customers=about))
    assert named.customers.rows() == [(1, "newest"), (3, None), (5, "new")]
    assert named.offsets.tolist() == [0, 1, 2, 2]


MAY = to_day("2024-05-01")
STOCK = pl.DataFrame({"item": ["bread", "milk"], "shelf": ["bakery", "dairy"]})
SALES: list[dict[str, object]] = [{"day": date(2024, 5, 9)}, {}, {"item": "soap", "day": date(2024, 5, 4)}]


def test_delivered_items_are_always_known_and_other_items_from_their_first_event() -> None:
    known = {"table": build_log(tables_of(SALES, items=STOCK)), "events": build_log(tables_of(SALES))}
    assert known["table"].items["item"].to_list() == ["bread", "milk", "soap"]
    assert known["table"].item_known.tolist() == [ALWAYS, ALWAYS, MAY + 3]
    assert known["events"].items["item"].to_list() == ["milk", "soap"]
    assert known["events"].item_known.tolist() == [MAY, MAY + 3]


def test_items_derived_from_events_are_known_from_their_first_event_or_never() -> None:
    taken = STOCK.with_columns(pl.lit(date(2024, 4, 1)).alias(KNOWN))  # an earlier day does not count
    log = build_log(tables_of(SALES, items=taken))
    assert log.item_known.tolist() == [NEVER, MAY, MAY + 3]
    assert log.items.columns == ["item", "shelf"]


def test_item_attributes_may_have_any_name() -> None:
    odd = STOCK.with_columns(first=pl.lit("a"), item_code=pl.lit("b"), day=pl.lit("c"), kind=pl.lit("d"))
    log = build_log(tables_of(SALES, items=odd))
    assert log.items.row(0) == ("bread", "bakery", "a", "b", "c", "d")
    assert log.item.tolist() == [1, 2, 1]


@pytest.mark.parametrize("kind", ["refund", None])
def test_an_unknown_kind_is_a_data_error(kind: str | None) -> None:
    words = f"unknown event kind {kind!r}; map it to one of purchase, view, message, redemption, return"
    with pytest.raises(DataError, match=words):
        build_log(tables_of([{}, {"kind": kind}, {"kind": "view"}]))


@pytest.mark.parametrize("name", ["customer", "day"])
def test_an_accepted_event_without_customer_or_day_is_a_data_error(name: str) -> None:
    with pytest.raises(
        DataError, match="1 of 2 accepted events have no customer or no day; the source must reject them"
    ):
        build_log(tables_of([{}, {name: None}]))


def test_an_empty_table_is_a_data_error() -> None:
    empty = tables_of([{}])._replace(dropped={"day cannot be read": 8}, read=8)
    empty = empty._replace(events=empty.events.clear())
    with pytest.raises(DataError, match=r"no usable event among 8 rows \(rejected: .*day cannot be read.*\)"):
        build_log(empty)


def test_a_log_without_a_purchase_is_a_data_error() -> None:
    with pytest.raises(DataError, match="none of 1 events is a purchase"):
        build_log(tables_of([{"kind": "view"}]))


def test_more_channels_than_fit_are_a_data_error() -> None:
    with pytest.raises(
        DataError, match="the events have 200 channels, more than the maximum of 127; map channel to a coarser column"
    ):
        build_log(tables_of([{"channel": f"shop {k}"} for k in range(200)]))
    assert build_log(tables_of([{"channel": f"shop {k:03d}"} for k in range(127)])).channel.tolist() == [*range(127)]


def test_an_unreadable_table_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "sales.parquet").write_bytes(b"PAR1 and nothing after it")
    broken = tables_of([{}])._replace(events=pl.scan_parquet(tmp_path / "sales.parquet"))
    with pytest.raises(DataError, match=r"the raw tables cannot be read \(.*\); deliver them again"):
        build_log(broken)


def test_days_count_from_1970() -> None:
    log = random_log(0)
    assert log.first_day == (START - EPOCH).days == to_day(START)
