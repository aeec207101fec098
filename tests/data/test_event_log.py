"""Laws of the event log: saving and opening are inverse, a cut log is a log, and damage is reported."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from propensity.data.event_log import COLUMNS, EventLog, fingerprint, to_date, to_day
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.build import build_log
from propensity.kernel.event import PURCHASE
from random_log import BUSY, NOBODY, columns, cut, random_log, random_tables, rewritten


def assert_same(one: EventLog, other: EventLog) -> None:
    for name in ("offsets", *COLUMNS, "item_known"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert_frame_equal(one.customers, other.customers)
    assert_frame_equal(one.items, other.items)


def test_an_opened_log_equals_the_saved_log(tmp_path: Path) -> None:
    log = random_log(0)
    saved = log.save(tmp_path / "deep" / "log", {"note.txt": "made by hand"})
    again = EventLog.open(tmp_path / "deep" / "log")
    for other in (saved, again):
        assert_same(other, log)
        assert other.meta["rows"] == log.meta["rows"] and other.fingerprint == log.fingerprint
    assert isinstance(again.day, np.memmap) and not again.day.flags.writeable
    assert (tmp_path / "deep" / "log" / "note.txt").read_text() == "made by hand"


def test_the_fingerprint_changes_with_any_event_customer_or_item() -> None:
    log = random_log(0)
    others = [random_log(1), build_log(rewritten(random_tables(0), log.last_day, 1, "altered"))]
    for name in COLUMNS:
        changed = {column: values.copy() for column, values in columns(log).items()}
        changed[name][7] += 1
        others.append(EventLog(**(vars(log) | changed)))
    others += [EventLog(**(vars(log) | {name: getattr(log, name)[::-1]})) for name in ("items", "customers")]
    assert len({fingerprint(log), *map(fingerprint, others)}) == 1 + len(others)
    assert fingerprint(log) == fingerprint(random_log(0))


@pytest.mark.parametrize("seed", range(5))
def test_the_past_equals_a_log_built_from_tables_that_end_there(seed: int) -> None:
    """Only customers with an event before the day are compared; channel codes may differ, their names may not."""
    tables = random_tables(seed)._replace(customers=None)
    log = build_log(tables)
    for day in (log.first_day + 1, log.first_day + 60, log.last_day, log.last_day + 1, log.last_day + 400):
        past, built = log.before(day), build_log(cut(tables, day))
        for name in ("offsets", *COLUMNS):
            if name != "channel":
                np.testing.assert_array_equal(getattr(past, name), getattr(built, name), err_msg=name)
        names = [np.array([*each.meta["channels"], None])[each.channel].tolist() for each in (past, built)]
        assert names[0] == names[1]
        assert_frame_equal(past.customers, built.customers)
        assert_frame_equal(past.items, built.items)
        assert (past.first_day, past.last_day) == (built.first_day, built.last_day)


def test_the_past_of_the_past_is_the_past() -> None:
    log = random_log(2)
    assert_same(log.before(log.first_day + 200).before(log.first_day + 90), log.before(log.first_day + 90))
    assert len(log.before(log.first_day)) == 0
    assert len(log.before(log.last_day + 1)) == (np.diff(log.offsets) > 0).sum()


def test_purchasers_are_the_customers_with_a_purchase_before_a_day() -> None:
    log = random_log(3)
    owner = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    for day in (log.first_day, log.first_day + 1, log.first_day + 30, log.last_day + 1):
        expected = np.unique(owner[(log.kind == PURCHASE) & (log.day < day)])
        np.testing.assert_array_equal(log.purchasers(day), expected)
    assert NOBODY not in log.purchasers(log.last_day + 1) and BUSY in log.purchasers(log.last_day + 1)


def cut_short(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "log"
    random_log(0).save(folder)
    return folder


FILES = sorted(["customers.parquet", "items.parquet", *(f"{name}.npy" for name in ("offsets", *COLUMNS, "item_known"))])


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99, None])
@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_or_gone_is_a_data_error(saved: Path, tmp_path: Path, name: str, share: float | None) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "log"))
    if share is None:
        (folder / name).unlink()
    else:
        cut_short(folder / name, share)
    with pytest.raises(DataError, match=r"the event log at .*log is damaged \(.+\); prepare it again") as raised:
        EventLog.open(folder)
    assert str(folder) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_record_cut_short_is_a_data_error(saved: Path, tmp_path: Path, share: float) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "log"))
    cut_short(folder / "meta.json", share)
    with pytest.raises(DataError, match=r"the event log at .*log is damaged \(.+\); prepare it again"):
        EventLog.open(folder)


@pytest.mark.parametrize("damage", [{"format": 0}, {"columns": {}}, {"columns": None}])
def test_a_record_of_another_shape_is_a_data_error(saved: Path, tmp_path: Path, damage: dict[str, object]) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "log"))
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | damage))
    with pytest.raises(DataError, match=r"the event log at .*log (is damaged|has format 0, not 2).*; prepare it again"):
        EventLog.open(folder)


@pytest.mark.parametrize("name", ["day.npy", "offsets.npy", "customers.parquet"])
def test_a_file_of_another_log_is_a_data_error(saved: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "log"))
    random_log(1, customers=60).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / name, folder / name)
    with pytest.raises(DataError, match=r"the event log at .*log is damaged \(.+\); prepare it again"):
        EventLog.open(folder)


def test_a_missing_log_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no event log at .*nowhere; make one with propensity prepare out=.*"):
        EventLog.open(tmp_path / "nowhere")


@pytest.mark.parametrize("fault", ["np.save", "os.rename"])
def test_a_failing_save_leaves_the_old_log_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """The disk fills up while the third column is written, or the final rename fails."""
    old = random_log(0).save(tmp_path / "log")
    module, name = {"np": np, "os": os}[fault.split(".")[0]], fault.split(".")[1]
    work, calls = getattr(module, name), []

    def failing(*args: object, **settings: object) -> object:
        calls.append(args)
        if len(calls) == {"save": 3, "rename": 2}[name]:
            raise OSError(28, "No space left on device")
        return work(*args, **settings)

    with monkeypatch.context() as patch, pytest.raises(ConfigurationError, match="no space left to write .*log; free"):
        patch.setattr(module, name, failing)
        patch.setattr(
            "propensity.atomic.exchange_folders", lambda a, b: False
        )  # of a system that cannot do it in one step
        random_log(1).save(tmp_path / "log")
    assert_same(EventLog.open(tmp_path / "log"), old)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_log_replaces_a_log_and_nothing_else(tmp_path: Path) -> None:
    random_log(0).save(tmp_path / "log")
    assert_same(random_log(1).save(tmp_path / "log"), random_log(1))
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(ConfigurationError, match="home holds something other than an event log; choose another folder"):
        random_log(0).save(tmp_path / "home")
    with pytest.raises(ConfigurationError, match="letter.txt is a file; choose another folder"):
        random_log(0).save(tmp_path / "home" / "letter.txt")
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"


def test_days_and_dates_convert_to_each_other() -> None:
    for day in (-1, 0, 19000, to_day("2024-02-29")):
        assert to_day(to_date(day)) == day and to_day(to_date(day).isoformat()) == day
    with pytest.raises(ConfigurationError, match="'31.12.2024' is not a date; write it as YYYY-MM-DD"):
        to_day("31.12.2024")


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_purchasers_of_parts_are_those_of_the_whole_without_guests(step: int) -> None:
    log = random_log(2)
    day = log.last_day - 30
    guest = np.arange(len(log)) % 5 == 0
    known = replace(log, customers=log.customers.with_columns(guest=pl.Series(guest)))
    parts = [known.purchasers(day, start, start + step) for start in range(0, len(log), step)]
    np.testing.assert_array_equal(np.concatenate(parts), known.purchasers(day))
    np.testing.assert_array_equal(known.purchasers(day), [row for row in log.purchasers(day) if not guest[row]])
