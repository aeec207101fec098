"""A log in shards is the log without them: the same events, customers, items, metadata and fingerprint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from deliveries import Delivery, between, tables_of_all_columns
from propensity.checksum import signed
from propensity.data.event_log import EventLog, fingerprint
from propensity.data.log_folder import META
from propensity.data.shard import is_sharded, shard_of
from propensity.errors import ConfigurationError, DamageError
from propensity.ingest.append import append
from propensity.ingest.build import prepare
from propensity.ingest.compact import compact
from propensity.ingest.divide import number_of_shards
from propensity.ingest.erasure import erase_customer
from propensity.serving.damage import verify_log
from random_log import random_tables

OWN = ("format", "files", "shards", "checksum")  # metadata in which the two differ


def assert_same_log(one: EventLog, other: EventLog) -> None:
    assert one.fingerprint == other.fingerprint == fingerprint(one)
    assert one.arrays.keys() == other.arrays.keys()
    for name, column in other.arrays.items():
        np.testing.assert_array_equal(one.arrays[name], column, strict=True)
    assert_frame_equal(one.customers, other.customers)
    assert_frame_equal(one.items, other.items)
    assert {k: v for k, v in one.meta.items() if k not in OWN} == {k: v for k, v in other.meta.items() if k not in OWN}


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of a log without shards, and of the same log in five."""
    prepare(Delivery(random_tables(0)), tmp_path / "whole", {"origin.json": "{}"})
    prepare(Delivery(random_tables(0)), tmp_path / "shards", {"origin.json": "{}"}, shards=5)
    return tmp_path / "whole", tmp_path / "shards"


@pytest.mark.parametrize("chunk", [1, 50, 1 << 22])
@pytest.mark.parametrize("shards", [1, 3, 8])
def test_a_log_in_shards_is_the_log_without_them(
    chunk: int, shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every optional column and events that are stored apart; for any number of values read at a time."""
    monkeypatch.setattr("propensity.data.shard.CHUNK", chunk)
    monkeypatch.setattr("propensity.data.gathered_columns.IN_MEMORY", chunk)
    whole = prepare(Delivery(tables_of_all_columns(1)), tmp_path / "whole")
    log = prepare(Delivery(tables_of_all_columns(1)), tmp_path / "shards", shards=shards)
    assert log.engagement is not None
    assert_same_log(log, whole)
    day = (log.first_day + log.last_day) // 2
    for name, column in whole.before(day).arrays.items():
        np.testing.assert_array_equal(log.before(day).arrays[name], column)
    assert log.folder == tmp_path / "shards"


def test_a_shard_is_a_log_of_the_customers_of_its_hash(both: tuple[Path, Path]) -> None:
    whole, log = EventLog.open(both[0]), EventLog.open(both[1])
    owner = shard_of(whole.customers["customer"], 5)
    for k in range(5):
        shard = EventLog.open(both[1] / f"shard-{k:05d}", verify=True)
        assert_frame_equal(shard.customers, whole.customers.filter(pl.Series(owner == k)))
        np.testing.assert_array_equal(shard.day, log.of_customers(owner == k).day)


def test_the_shard_of_a_customer_does_not_depend_on_the_type_of_the_ids() -> None:
    ids = pl.Series(range(2_000))
    shards = shard_of(ids, 8)
    np.testing.assert_array_equal(shards, shard_of(ids.cast(pl.String), 8))
    assert np.bincount(shards, minlength=8).min() > 200


def test_a_log_in_shards_can_be_verified(both: tuple[Path, Path]) -> None:
    assert "files are as they were written" in verify_log(both[1]) and "no checksum" not in verify_log(both[1])


def test_compacting_makes_one_log_of_the_shards(both: tuple[Path, Path]) -> None:
    compact(both[1])
    names = {path.relative_to(both[0]) for path in both[0].rglob("*") if path.is_file()}
    assert names == {path.relative_to(both[1]) for path in both[1].rglob("*") if path.is_file()}
    for name in names - {Path(META)}:
        assert (both[0] / name).read_bytes() == (both[1] / name).read_bytes()


def test_a_log_in_shards_forgets_a_customer_and_keeps_its_shards(both: tuple[Path, Path], tmp_path: Path) -> None:
    one = str(EventLog.open(both[0]).customers["customer"][1])
    for folder in both:
        erase_customer(one, folder, tmp_path / "runs")
    assert number_of_shards(both[1]) == 5
    assert_same_log(EventLog.open(both[1], verify=True), EventLog.open(both[0]))


def test_a_delivery_enters_a_log_in_shards_as_one_without(tmp_path: Path) -> None:
    tables = random_tables(3)
    first = prepare(Delivery(tables), tmp_path / "all")
    cut = first.last_event_day - 5
    for name, shards in (("whole", None), ("shards", 4)):
        prepare(Delivery(between(tables, first.first_event_day, cut)), tmp_path / name, shards=shards)
        append(Delivery(between(tables, cut, cut + 6)), tmp_path / name)
    compact(tmp_path / "whole")
    assert number_of_shards(tmp_path / "shards") == 4
    assert_same_log(EventLog.open(tmp_path / "shards", verify=True), EventLog.open(tmp_path / "whole"))


def test_a_refused_append_names_the_log_in_shards_and_leaves_it(tmp_path: Path) -> None:
    tables, key = random_tables(3), b"k" * 32
    log = prepare(Delivery(tables), tmp_path / "log", key=key, shards=2)
    meta = (tmp_path / "log" / META).read_bytes()
    for wrong in (None, b"w" * 32):
        with pytest.raises(ConfigurationError) as refused:
            append(Delivery(between(tables, log.last_day, log.last_day + 1)), tmp_path / "log", wrong)
        assert str(refused.value).startswith(f"{tmp_path / 'log'} stores customer ids under")
    assert (tmp_path / "log" / META).read_bytes() == meta
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["log"]


@pytest.mark.parametrize("shards", [20, 200])
def test_more_shards_than_hashes_of_customers_are_refused_and_nothing_is_written(shards: int, tmp_path: Path) -> None:
    tables = random_tables(0, customers=10)
    with pytest.raises(
        ConfigurationError, match=f"shards={shards} leaves .* without any of the 10 customers; give fewer"
    ):
        prepare(Delivery(tables), tmp_path / "log", shards=shards)
    assert not (tmp_path / "log").exists()


def test_customers_whose_ids_hash_to_one_shard_are_refused(tmp_path: Path) -> None:
    ids = pl.Series(range(100, 10_000))
    same = ids.filter(pl.Series(shard_of(ids, 4) == 2))[:50]
    tables = random_tables(0)
    assert tables.customers is not None
    renamed = {"customer": pl.col("customer").replace_strict(list(range(100, 150)), same)}
    tables = tables._replace(
        events=tables.events.with_columns(**renamed), customers=tables.customers.with_columns(**renamed)
    )
    with pytest.raises(ConfigurationError, match="shards=4 leaves 3 of them without any of the 50 customers"):
        prepare(Delivery(tables), tmp_path / "log", shards=4)


def remove_a_shard(log: Path, other: Path) -> None:
    shutil.rmtree(log / "shard-00002")


def take_a_shard_of_another_market(log: Path, other: Path) -> None:
    prepare(Delivery(random_tables(9)), other, shards=5)
    shutil.rmtree(log / "shard-00002")
    shutil.copytree(other / "shard-00002", log / "shard-00002")


def swap_shards(log: Path, other: Path) -> None:
    (log / "shard-00002").rename(other)
    (log / "shard-00001").rename(log / "shard-00002")
    other.rename(log / "shard-00001")


def copy_more_shards_over(log: Path, other: Path) -> None:
    prepare(Delivery(random_tables(0)), other, shards=7)
    for k in (5, 6):
        shutil.copytree(other / f"shard-{k:05d}", log / f"shard-{k:05d}")


def copy_a_manifest_over(log: Path, other: Path) -> None:
    prepare(Delivery(random_tables(0)), other, shards=3)
    shutil.copy(other / META, log / META)


def copy_the_metadata_of_a_whole_log_over(log: Path, other: Path) -> None:
    prepare(Delivery(random_tables(0)), other)
    shutil.copy(other / META, log / META)


def copy_a_whole_log_over(log: Path, other: Path) -> None:
    manifest = (log / META).read_text()
    prepare(Delivery(random_tables(0)), other)
    shutil.copytree(other, log, dirs_exist_ok=True)
    (log / META).write_text(manifest)


def append_to_one_shard(log: Path, other: Path) -> None:
    tables = random_tables(0)
    day = EventLog.open(log).last_event_day
    events = tables.events.head(3).with_columns(day=pl.lit(day + 1, pl.Int32).cast(pl.Date))
    append(Delivery(tables._replace(events=events, read=None)), log / "shard-00001")


def put_customers_elsewhere(log: Path, other: Path) -> None:
    """A manifest that names two shards in the other order, as of a program with another hash."""
    swap_shards(log, other)
    content = json.loads((log / META).read_text())
    shards = content["shards"]
    shards[1], shards[2] = {**shards[2], "name": "shard-00001"}, {**shards[1], "name": "shard-00002"}
    (log / META).write_text(json.dumps(signed(content)))


CHANGES = [
    (remove_a_shard, "shard-00002: the shard is missing"),
    (take_a_shard_of_another_market, "shard-00002: it is the shard of another log"),
    (swap_shards, "shard-00001: it is the shard of another log"),
    (copy_more_shards_over, "shard-00005: two logs lie in one folder, and meta.json names 5 shards"),
    (copy_a_manifest_over, "shard-00003: two logs lie in one folder, and meta.json names 3 shards"),
    (copy_the_metadata_of_a_whole_log_over, "shard-00000: two logs lie in one folder, and meta.json is of one without"),
    (copy_a_whole_log_over, "two logs lie in one folder, and meta.json is of one with shards"),
    (append_to_one_shard, "shard-00001: it was appended to on its own"),
    (put_customers_elsewhere, "shard-00001: it holds customers of another shard"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_shards_that_are_not_those_of_the_manifest_are_refused(
    change: Callable[[Path, Path], None], words: str, both: tuple[Path, Path], tmp_path: Path
) -> None:
    change(both[1], tmp_path / "other")
    with pytest.raises(DamageError, match=words):
        EventLog.open(both[1], verify=True)


def test_damage_of_a_shard_is_found_by_verifying(both: tuple[Path, Path]) -> None:
    file = both[1] / "shard-00003" / "revenue.npy"
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamageError, match="shard-00003 is damaged .revenue.npy"):
        verify_log(both[1])


def test_a_log_without_shards_is_not_in_shards(both: tuple[Path, Path]) -> None:
    assert not is_sharded(both[0]) and is_sharded(both[1])


def test_a_log_that_is_read_by_need_has_the_events_of_the_needed_customers(
    both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no others, in columns that were used before and after."""
    monkeypatch.setattr("propensity.data.gathered_columns.IN_MEMORY", 0)
    whole, log = EventLog.open(both[0]), EventLog.open(both[1])
    log.read_by_need()
    day = log.day
    for first, stop in ((10, 17), (3, 4), (10, 17), (48, 60)):
        log.need(first, stop)
    needed = np.repeat(np.isin(np.arange(len(log)), [3, *range(10, 17), 48, 49]), np.diff(log.offsets))
    for name in whole.column_types:
        expected = np.where(needed, getattr(whole, name), 0)
        np.testing.assert_array_equal(day if name == "day" else getattr(log, name), expected)
