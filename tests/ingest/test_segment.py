"""A log with segments equals the log built whole, before and after it is compacted; a damaged one is refused."""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deliveries import Delivery, between, without_tables
from propensity.checksum import signed
from propensity.data.event_log import EventLog, fingerprint
from propensity.data.segment import list_segments
from propensity.errors import ConfigurationError, DamageError, DataError
from propensity.ingest.append import append
from propensity.ingest.build import build_log, prepare
from propensity.ingest.compact import compact
from propensity.ingest.erasure import erase_customer
from propensity.ingest.privacy import read_key
from propensity.ingest.rotation import rotate_key
from propensity.ingest.sent import append_contacts
from propensity.ingest.source import Tables
from propensity.serving.damage import verify_log
from random_log import date_of, random_tables

DAYS = (200, 100, 50, 20)  # before the end, at which deliveries begin


def appended(tables: Tables, folder: Path, key: bytes | None = None, most: int = 32) -> EventLog:
    """The log of the tables in five deliveries."""
    log = build_log(tables)
    first, end = log.first_day, int(log.day.max()) + 1
    days = [first, *(end - day for day in DAYS), end]
    prepare(Delivery(between(tables, first, days[1])), folder, {"origin.json": "{}"}, key)
    for start, stop in zip(days[1:], days[2:], strict=False):
        append(Delivery(between(tables, start, stop)), folder, key, max_segments=most)
    return EventLog.open(folder, verify=True)


def assert_same_events(one: EventLog, other: EventLog) -> None:
    assert one.customers.equals(other.customers) and one.items.equals(other.items)
    for name in ("offsets", *other.column_types):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def day_after(log: Path) -> Tables:
    """Nine purchases on the day after the end of a log."""
    tables = random_tables(5)
    day = date_of(EventLog.open(log).last_event_day + 1)
    events = tables.events.filter(kind="purchase").head(9).with_columns(day=day)
    return tables._replace(events=events, read=None, dropped={})


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with four segments, which a test copies."""
    folder = tmp_path_factory.mktemp("segmented") / "log"
    appended(random_tables(5), folder)
    return folder


@pytest.fixture
def log(segmented: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(segmented, tmp_path / "log"))


@pytest.mark.parametrize("tables", [random_tables(0), without_tables(random_tables(1))])
def test_appending_and_compacting_gives_the_files_of_the_log_built_whole(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Holds for columns that are gathered in memory, and for longer ones, in files."""
    monkeypatch.setattr("propensity.data.gathered_columns.IN_MEMORY", 10**6 if tables.items is not None else 0)
    segmented = appended(tables, tmp_path / "log")
    whole = prepare(Delivery(between(tables, 0, 10**5)), tmp_path / "whole", {"origin.json": "{}"})
    assert len(json.loads((tmp_path / "log/segments.json").read_text())["segments"]) == len(DAYS)
    assert_same_events(segmented, whole)
    day = whole.last_day - 70
    past = EventLog.open(tmp_path / "log").before(day)  # gathered with a mask, not from a gathered column
    assert_same_events(past, whole.before(day))
    assert past.fingerprint == whole.fingerprint and past.folder is None and segmented.folder == tmp_path / "log"
    compacted = compact(tmp_path / "log")
    compared = filecmp.dircmp(tmp_path / "log", tmp_path / "whole")
    assert not compared.left_only and not compared.right_only
    names = [name for name in compared.common_files if name != "meta.json"]
    assert filecmp.cmpfiles(tmp_path / "log", tmp_path / "whole", names, shallow=False)[0] == names
    metas = [json.loads((tmp_path / name / "meta.json").read_text()) for name in ("log", "whole")]
    differ = {name for name in metas[0] | metas[1] if metas[0].get(name) != metas[1].get(name)}
    assert differ <= {"rows", "formerly", "checksum"}, "each delivery has a damaged row of its own"
    assert compacted.fingerprint == segmented.fingerprint == whole.fingerprint


def test_compacting_a_log_without_segments_changes_nothing(log: Path) -> None:
    compact(log)
    before = {path: path.stat().st_mtime_ns for path in log.iterdir()}
    compact(log)
    assert {path: path.stat().st_mtime_ns for path in log.iterdir()} == before


def test_a_log_knows_the_fingerprints_that_it_had_between_appends(log: Path) -> None:
    former = []
    for _ in range(2):
        former.append(EventLog.open(log).fingerprint)
        append(Delivery(day_after(log)), log)
    assert former == EventLog.open(log).meta["formerly"][-2:] == EventLog.open(log).meta["formerly"][1:]
    assert EventLog.open(log).fingerprint == fingerprint(EventLog.open(log)) not in former
    assert not verify_log(log).count("have no checksum")
    assert {*former} < {*compact(log).meta["formerly"]} and not (log / "segment_fingerprints.json").exists()


def test_a_log_is_compacted_past_its_number_of_segments(log: Path) -> None:
    other = Path(shutil.copytree(log, log.parent / "other"))
    delivery = Delivery(day_after(log))
    append(delivery, log, max_segments=len(DAYS) + 1)
    append(delivery, other, max_segments=len(DAYS))
    assert (log / "segments").exists() and not (other / "segments").exists()
    assert not (other / "segments.json").exists()
    assert EventLog.open(log).fingerprint == EventLog.open(other, verify=True).fingerprint


def test_an_append_reads_no_event_of_the_log_and_damage_is_found_by_verifying(log: Path) -> None:
    delivery, last_day = day_after(log), EventLog.open(log).last_event_day
    column = np.zeros_like(np.load(log / "day.npy"))
    np.save(log / "day.npy", column)
    extended = append(Delivery(delivery), log)
    assert extended.last_day == last_day + 1
    np.testing.assert_array_equal(np.load(log / "day.npy"), column)
    for read in (verify_log, compact):
        with pytest.raises(DamageError, match="day.npy: its checksum is"):
            read(log)


def test_verifying_compares_every_file_of_a_segment(log: Path) -> None:
    assert verify_log(log).endswith("files are as they were written")
    for file in sorted((log / "segments").rglob("*.*")):
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(DamageError, match=r"is damaged \(segments/") as caught:
            verify_log(log)
        assert caught.value.exit_code == 5
        file.write_bytes(whole)


def swap(log: Path) -> None:
    one, other = log / "segments/00001", log / "segments/00002"
    one.rename(log / "aside")
    other.rename(one)
    (log / "aside").rename(other)


def list_in_another_order(log: Path) -> None:
    path = log / "segments.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"segments": content["segments"][::-1]}))


def of_another_log(name: str) -> Callable[[Path], None]:
    def change(log: Path) -> None:
        other = Path(shutil.copytree(log, log.parent / "other"))
        shutil.rmtree(other / "segments")
        (other / "segments.json").unlink()
        (other / "meta.json").write_text(
            json.dumps(signed(json.loads((other / "meta.json").read_text()) | {"currency": "X"}))
        )
        for _ in range(3):
            append(Delivery(day_after(other)), other)
        place, other = log / name, log.parent / "other" / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        other.rename(place)

    return change


DAMAGES: list[tuple[Callable[[Path], Any], str]] = [
    (lambda log: shutil.rmtree(log / "segments/00002"), r"segments/00002/meta.json: it is missing"),
    (lambda log: (log / "segments/00002/events.parquet").unlink(), r"segments/00002/events.parquet: it is missing"),
    (lambda log: (log / "segments.json").unlink(), r"segments.json: it is missing"),
    (lambda log: (log / "segments.json").write_text("{"), r"segments.json: "),
    (lambda log: (log / "segments.json").write_text("[]"), r"segments.json: "),
    (list_in_another_order, r"segments.json: its content has another checksum"),
    (swap, r"segments/00001/meta.json: it is segment 2 of the log, not 1"),
    (of_another_log("segments.json"), r"segments.json: it lists the segments of another log"),
    (of_another_log("segments/00003"), r"segments/00003/meta.json: it is a segment of another log"),
]


@pytest.mark.parametrize(("change", "words"), DAMAGES)
def test_a_segment_that_is_not_what_was_appended_is_refused(
    log: Path, change: Callable[[Path], Any], words: str
) -> None:
    change(log)
    delivery = Delivery(random_tables(5))
    for use in (EventLog.open, verify_log, compact, lambda place: append(delivery, place)):
        with pytest.raises(DamageError, match=words) as caught:
            if "events.parquet" in words and use is not EventLog.open:
                EventLog.open(log)  # an append does not read the events of a segment
            use(log)
        assert caught.value.exit_code == 5 and "\n" not in str(caught.value)


def test_a_refused_delivery_leaves_the_segments_as_they_are(log: Path) -> None:
    before = EventLog.open(log).fingerprint
    tables = random_tables(5)
    end = EventLog.open(log).last_event_day
    with pytest.raises(DataError, match="prepare both together"):
        append(Delivery(between(tables, end, end + 1)), log)
    assert EventLog.open(log).fingerprint == before
    assert [path.name for path in log.parent.iterdir()] == ["log"]


def without_segments(log: Path) -> Path:
    whole = Path(shutil.copytree(log, log.parent / "whole"))
    compact(whole)
    return whole


def test_a_log_with_segments_forgets_a_customer_as_a_whole_one_does(log: Path) -> None:
    whole, runs = without_segments(log), log.parent / "runs"
    runs.mkdir()
    customer = str(EventLog.open(log).customers["customer"][2])
    results = [erase_customer(customer, folder, runs).removed[str(folder)] for folder in (log, whole)]
    assert results[0] == results[1] > 0 and not (log / "segments").exists()
    assert EventLog.open(log, verify=True).fingerprint == EventLog.open(whole).fingerprint


def test_an_append_during_an_erasure_is_not_lost(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, delivery, before = log.parent / "runs", Delivery(day_after(log)), EventLog.open(log)
    runs.mkdir()
    customer = str(before.customers["customer"][2])
    with monkeypatch.context() as patched:
        patched.setattr("propensity.ingest.erasure.add_tombstones", lambda *_: append(delivery, log))
        with pytest.raises(ConfigurationError, match="has changed the event log at .* meanwhile"):
            erase_customer(customer, log, runs)
    assert EventLog.open(log).last_event_day == before.last_event_day + 1
    erase_customer(customer, log, runs)
    assert EventLog.open(log).last_event_day == before.last_event_day + 1


def test_a_process_with_older_segments_keeps_the_fingerprints_of_later_ones(log: Path) -> None:
    before = EventLog.open(log)
    append(Delivery(day_after(log)), log)
    between = EventLog.open(log).fingerprint
    assert before.fingerprint != between
    append(Delivery(day_after(log)), log)
    assert EventLog.open(log).meta["formerly"][-1] == between


def test_messages_enter_a_log_with_segments_as_a_whole_one(log: Path) -> None:
    whole, opened = without_segments(log), EventLog.open(log)
    contacts = opened.customers.head(3).select(customer_id="customer").with_columns(
        day=date_of(opened.last_day - 30), campaign=np.array(["spring"] * 3)
    )  # fmt: skip
    for folder in (log, whole):
        assert append_contacts(contacts, folder)[1] == 3
    assert EventLog.open(log, verify=True).fingerprint == EventLog.open(whole).fingerprint


def test_the_key_of_a_log_with_segments_is_rotated_as_that_of_a_whole_one(tmp_path: Path) -> None:
    keys = [f"file:{tmp_path / name}" for name in ("old.key", "new.key")]
    for name in ("old.key", "new.key"):
        (tmp_path / name).write_text(name[0] * 64)
    log = tmp_path / "log"
    prepare(Delivery(between(random_tables(3), 0, 10**5)), log, key=read_key(keys[0]))
    append(Delivery(day_after(log)), log, read_key(keys[0]))
    whole = without_segments(log)
    for folder in (log, whole):
        rotate_key(folder, keys[0], keys[1], tmp_path)
    assert EventLog.open(log, verify=True).fingerprint == EventLog.open(whole).fingerprint
    assert not (log / "segments").exists()


def test_a_retention_writes_the_log_whole(log: Path) -> None:
    kept = append(Delivery(day_after(log)), log, keep=100)
    assert kept.first_event_day >= kept.last_day - 99 and not (log / "segments").exists()
    assert list_segments(log, kept.meta).names == ()


class Killed(BaseException):
    """Stands for the end of the process: nothing on the disk changes after it, not even by what cleans up."""


def killed_at(moment: int, monkeypatch: pytest.MonkeyPatch, action: Callable[[], Any]) -> int:
    """Run an action whose changes of the disk end with the one of that number; returns the number of changes."""
    changes = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal changes
            changes += 1
            if changes > moment:
                raise Killed
            return function(*arguments, **more)

        return call

    with monkeypatch.context() as patched:
        for name in ("rename", "replace", "unlink", "mkdir", "rmdir", "fsync"):
            patched.setattr(os, name, counted(getattr(os, name)))
        patched.setattr(Path, "write_text", counted(Path.write_text))
        with contextlib.suppress(Killed):
            action()
    return changes


def assert_old_or_new(log: Path, moments: int, monkeypatch: pytest.MonkeyPatch, most: int = 32) -> None:
    """A killed append leaves the old log or the new one, whatever changed last; afterwards it can be made again."""
    delivery = Delivery(day_after(log))
    work = log.parent / "work"
    shutil.copytree(log, work)
    total = killed_at(10**6, monkeypatch, lambda: append(delivery, work, max_segments=most))
    known = {EventLog.open(log).fingerprint: "old", EventLog.open(work).fingerprint: "new"}
    states = []
    for moment in np.unique(np.linspace(0, total - 1, moments).astype(int)).tolist():
        shutil.rmtree(work)
        shutil.copytree(log, work)
        killed_at(moment, monkeypatch, lambda: append(delivery, work, max_segments=most))
        states.append(known[EventLog.open(work, verify=True).fingerprint])
        assert {path.name for path in log.parent.iterdir()} == {"log", "work"}
        assert not verify_log(work).count("have no checksum"), "an unlisted segment is removed"
        if states[-1] == "old":
            append(delivery, work, max_segments=most)
            assert known[EventLog.open(work).fingerprint] == "new"
    assert states == sorted(states, reverse=True) and {*states} == {"old", "new"}


def test_an_append_that_is_killed_leaves_the_old_log_or_the_new_one(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_old_or_new(log, 5, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("most", [32, 0])
def test_an_append_that_is_killed_at_fifty_moments_leaves_the_old_log_or_the_new_one(
    log: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    assert_old_or_new(log, 50, monkeypatch, most)
