"""A log that is extended by deliveries equals the log of all deliveries built at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from deliveries import Delivery, between, without_tables
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.append import append
from propensity.ingest.build import build_log, prepare
from propensity.ingest.source import Tables
from propensity.ingest.tombstone import add_tombstones
from random_log import date_of, random_tables


@pytest.mark.parametrize(
    ("tables", "chunk"), [(random_tables(0), 50), (random_tables(1), 1 << 22), (without_tables(random_tables(2)), 1)]
)
def test_appending_day_by_day_gives_the_log_built_whole(
    tables: Tables, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Holds for any chunk size, down to one customer at a time."""
    monkeypatch.setattr("propensity.data.merged_columns.CHUNK", chunk)
    first, last = (build_log(tables).first_day, int(build_log(tables).day.max()))
    last_days = range(last - 12, last + 1)
    prepare(Delivery(between(tables, first, last - 12)), tmp_path / "log", {"origin.json": "{}"})
    for day in last_days:
        delivered = between(tables, day, day + 1)
        kinds = delivered.events.select("kind").collect()["kind"].to_list()
        if "purchase" in kinds:
            append(Delivery(delivered), tmp_path / "log")
    whole = between(tables, first, last + 1)
    extended = EventLog.open(tmp_path / "log")
    bought = whole.events.filter(pl.col("kind") == "purchase").select(pl.col("day").unique()).collect()["day"]
    late = pl.col("day") >= date_of(last - 12)
    events = whole.events.filter(~late | pl.col("day").is_in(bought.implode()))
    expected = build_log(whole._replace(events=events))
    assert extended.fingerprint == expected.fingerprint
    assert {k: extended.meta[k] for k in ("channels", "first_day", "last_day")} == {
        k: expected.meta[k] for k in ("channels", "first_day", "last_day")
    }
    rows = extended.meta["rows"]
    assert rows["used"] == extended.day.size and rows["in"] == rows["used"] + rows["dropped"]["damaged"]
    assert (tmp_path / "log" / "origin.json").is_file()


def test_a_delivery_replaces_the_attributes_of_items_that_it_describes_again(tmp_path: Path) -> None:
    tables = random_tables(3)
    log = build_log(tables)
    last = int(log.day.max())
    prepare(Delivery(between(tables, log.first_day, last)), tmp_path / "log")
    assert tables.items is not None
    renamed = between(tables, last, last + 1)._replace(items=tables.items.head(3).with_columns(brand=pl.lit("renamed")))
    extended = append(Delivery(renamed), tmp_path / "log")
    assert extended.items["brand"][:3].to_list() == ["renamed"] * 3
    np.testing.assert_array_equal(extended.items["brand"][3:].to_list(), log.items["brand"][3:].to_list())


def test_events_that_are_not_later_are_refused_and_the_log_stays(tmp_path: Path) -> None:
    tables = random_tables(0)
    log = prepare(Delivery(between(tables, 0, 10**5)), tmp_path / "log")
    with pytest.raises(DataError, match="the delivery begins on .*, but the log ends on .*; prepare both together"):
        append(Delivery(between(tables, log.last_day, 10**5)), tmp_path / "log")
    assert EventLog.open(tmp_path / "log").fingerprint == log.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_appending_needs_a_log(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no event log at"):
        append(Delivery(random_tables(0)), tmp_path / "log")


def test_a_later_delivery_of_an_erased_customer_is_dropped(tmp_path: Path) -> None:
    tables = random_tables(4)
    log = build_log(tables)
    last = int(log.day.max())
    row = int(np.searchsorted(log.offsets, np.argmax(log.day), "right")) - 1
    gone = log.customers["customer"][row]
    old = prepare(Delivery(between(tables, log.first_day, last - 9)), tmp_path / "log")
    add_tombstones([str(gone)], tmp_path / "log")
    extended = append(Delivery(between(tables, last - 9, last + 1)), tmp_path / "log")
    assert extended.meta["rows"]["dropped"]["customer_erased"] > 0
    for known in (old, extended):
        theirs = np.repeat(known.customers["customer"].to_numpy() == gone, np.diff(known.offsets))
        assert not (theirs & (known.day >= last - 9)).any()


def test_a_delivery_is_stored_under_the_key_of_the_log(tmp_path: Path) -> None:
    tables, key = random_tables(3), b"k" * 32
    log = build_log(tables)
    last = int(log.day.max())
    prepare(Delivery(between(tables, log.first_day, last)), tmp_path / "log", key=key)
    extended = append(Delivery(between(tables, last, last + 1)), tmp_path / "log", key)
    assert len(extended) == len(build_log(between(tables, log.first_day, last + 1)))
    assert not set(extended.customers["customer"].cast(pl.String)) & set(log.customers["customer"].cast(pl.String))
