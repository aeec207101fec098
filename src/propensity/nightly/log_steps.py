"""Steps from delivered files to a verified log."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from propensity.atomic import whole_file
from propensity.command import configuration
from propensity.config import PrepareConfig
from propensity.data.event_log import META, EventLog, to_date
from propensity.data.log_head import LogHead
from propensity.errors import ConfigurationError, DataError, IntegrityError, PropensityError
from propensity.ingest.append import earlier_log
from propensity.ingest.key_chain import key_chain
from propensity.ingest.source.table import Table
from propensity.nightly.delivery import (
    APPENDED,
    DUPLICATE,
    EMPTY,
    LEDGER,
    PENDING,
    Delivered,
    LedgerEntry,
    chosen,
    delivered,
    in_order,
)
from propensity.nightly.night import Night, Results
from propensity.nightly.shop import DATE
from propensity.serving.damage import verify_log
from propensity.task import Task

EVENTS = "data.source.events"
AHEAD = 7  # days after the night up to which an event is a mistake of the delivery, and not of the row
STAGING = "incoming"


def fetch(night: Night, results: Results) -> dict[str, Any]:
    """Which files are new, which repeat an earlier one, and which are of a later day."""
    finish_append(night)
    require_log(night)
    settings = night.shop.deliveries
    return chosen(delivered(settings, night.folder), night.ledger, night.date, DATE in settings.files)


def require_log(night: Night) -> None:
    """Refuse a log that lacks deliveries of the ledger, such as an older copy.

    Raises
    ------
    IntegrityError
        If the log was removed, or is none that a delivery of the ledger was appended to.
    """
    appended = [each.log for each in night.ledger.entries if each.state == APPENDED]
    if not appended:
        return
    way_out = f"restore it from a copy, or remove {night.state / LEDGER} and the log to read all deliveries again"
    if not (night.log / META).is_file():
        raise IntegrityError(f"{night.log}, the log of {len(appended)} deliveries, was removed; {way_out}")
    log = EventLog.open(night.log)
    if appended[-1] not in (log.fingerprint, *log.meta.get("formerly", [])):
        raise IntegrityError(f"{night.log} lacks deliveries that {night.state / LEDGER} says are in it; {way_out}")


def check(night: Night, results: Results) -> dict[str, Any]:
    """Read every new file by the data contract, without a change of the log."""
    deliveries: list[dict[str, Any]] = []
    for each in results["fetch"]["new"]:
        file = Delivered(each["file"], each["sha256"], each["day"])
        night.say(f"checking {file.file}")
        settled = night.ledger.by_file(file.file, file.sha256)
        if settled is not None:
            deliveries.append({**each, **facts_of(settled)})
        else:
            deliveries.append({**each, **checked(night, file)})
    return {"deliveries": deliveries, "log": night.fingerprint()}


def checked(night: Night, file: Delivered) -> dict[str, Any]:
    """What a file holds, or why it is held back."""
    staging = night.state / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    try:
        path = night.folder / file.file
        if has_no_rows(path):
            if night.shop.deliveries.empty == "accept":
                if unread := tables_beside(night, file):
                    return held(
                        f"{file.file} has no rows, so that {unread[0]} of the same date would not be read; deliver the "
                        "rows of that table with a file that has sales, and remove it"
                    )
                return {"state": "empty", "first_day": None, "last_day": None, "rows": {}}
            return held(f"{file.file} has no rows; deliver it again, or set deliveries.empty: accept")
        latest = date.fromisoformat(night.date) + timedelta(AHEAD)
        log = beside_log(night, task_of(night, file, latest.isoformat())).prepare(staging / file.sha256[:12])
        first, last = (to_date(day).isoformat() for day in (log.first_event_day, log.last_event_day))
        if last > night.date:
            return held(
                f"{file.file} has rows of {last}, after the night of {night.date}; deliver it again, or run the night "
                "of a later date"
            )
        return {"state": "ok", "first_day": first, "last_day": last, "rows": log.meta["rows"]}
    except IntegrityError:
        raise
    except (DataError, ConfigurationError) as error:
        if not (night.log / META).is_file() and isinstance(error, ConfigurationError):
            raise  # nothing was ever read by these settings, so they are more likely to be wrong than the file
        return held(str(error))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def beside_log(night: Night, task: Task) -> Task:
    """The task with a source that knows the log: its customers may withdraw a consent without an event, or return."""
    if isinstance(task.tables, Table) and (night.log / META).is_file():
        head = LogHead(night.log)
        task.tables.earlier = earlier_log(head, key_chain(head.meta, task.key))
    return task


def tables_beside(night: Night, file: Delivered) -> list[str]:
    """Files with rows that the settings of `data` name by the date of a delivery, such as its consents."""
    names = [name for name in texts_in(night.shop.data) if DATE in name]
    paths = [str(filled(name, file, night.shop.deliveries.date_format)) for name in names] if file.day else []
    return [name for name in paths if (night.folder / name).is_file() and not has_no_rows(night.folder / name)]


def texts_in(settings: Any) -> list[str]:
    """All texts in nested containers."""
    if isinstance(settings, Mapping | list | tuple):
        children = settings.values() if isinstance(settings, Mapping) else settings
        return [text for child in children for text in texts_in(child)]
    return [settings] if isinstance(settings, str) else []


def held(reason: str) -> dict[str, Any]:
    """A delivery that stays where it is, with the reason."""
    return {"state": "held", "reason": reason, "first_day": None, "last_day": None, "rows": {}}


def has_no_rows(path: Path) -> bool:
    """Whether a plain text file is empty or has a header only; other formats are read to find out."""
    if path.stat().st_size == 0:
        return True
    if path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        return False
    with path.open("rb") as file:
        lines = 0
        for line in file:
            lines += bool(line.strip(b" \t\r\n\0\xff\xfe\xef\xbb\xbf"))
            if lines > 1 or b"\r" in line.rstrip(b"\r\n"):
                return False
    return True


def task_of(night: Night, file: Delivered, latest: str) -> Task:
    """The task of `prepare` and `append` for one file.

    Parameters
    ----------
    night : Night
        The night.
    file : Delivered
        The file; its date is put for `{date}` in the other settings.
    latest : str
        Last valid day, where the source has such a setting and it is not set, YYYY-MM-DD.
    """
    settings = night.shop.data | {EVENTS: "events", "plugins": list(night.shop.plugins)}
    data = filled(composed(json.dumps(settings), str(night.folder)), file, night.shop.deliveries.date_format)
    source = data["source"] | {"events": str((night.folder / file.file).resolve())}
    if source.get("latest", latest) is None:
        source["latest"] = latest
    task: Task = instantiate(data | {"source": source}, _convert_="all")
    return task


@cache
def composed(settings: str, folder: str) -> dict[str, Any]:
    """The group `data` of `propensity prepare` with settings, as JSON, and the YAML of a folder; composed once."""
    cfg: PrepareConfig = configuration("prepare", json.loads(settings))
    return dict(cfg.data)


def filled(settings: Any, file: Delivered, date_format: str) -> Any:
    """Settings with the date of a delivery in place of `{date}`."""
    if isinstance(settings, Mapping):
        return {key: filled(value, file, date_format) for key, value in settings.items()}
    if isinstance(settings, list):
        return [filled(value, file, date_format) for value in settings]
    if not isinstance(settings, str) or DATE not in settings:
        return settings
    if file.day is None:
        raise ConfigurationError(f"{settings} needs the date of a delivery; write {DATE} in deliveries.files too")
    return settings.replace(DATE, date.fromisoformat(file.day).strftime(date_format))


def append(night: Night, results: Results) -> dict[str, Any]:
    """Append the checked deliveries in the order of their events; the first makes the log.

    What the check held back is then checked again against the log with the others, until nothing more can be appended.
    """
    ledger = night.ledger
    for each in results["fetch"]["duplicates"]:
        if ledger.by_file(each["file"], each["sha256"]) is None:
            ledger.add(LedgerEntry(each["file"], each["sha256"], each["day"], night.date, DUPLICATE))
    checked_files = {each["file"]: dict(each) for each in results["check"]["deliveries"]}
    refused: dict[str, str] = {}
    append_all(night, [each for each in checked_files.values() if each["state"] != "held"], refused)
    before = results["check"]["log"]
    while (log := night.fingerprint()) != before:
        before = log
        accepted = [again for each in checked_files.values() if (again := checked_again(night, each)) is not None]
        checked_files |= {each["file"]: each for each in accepted}
        append_all(night, accepted, refused)
    settled = {each.file: each for each in night.ledger.entries if each.file in checked_files}
    for each in results["check"]["deliveries"]:  # as the log took it, whether the night was interrupted or not
        if each["state"] == "held" and each["file"] in settled:
            checked_files[each["file"]] |= facts_of(settled[each["file"]])
    entries = [each for each in settled.values() if each.state == APPENDED]
    appended = [
        {name: getattr(each, name) for name in ("file", "first_day", "last_day", "rows", "log")} for each in entries
    ]
    held_back = [{"file": file, "reason": reason} for file, reason in refused.items()]
    deliveries = [*checked_files.values()]
    return {"appended": appended, "refused": held_back, "deliveries": deliveries, "log": night.fingerprint()}


def append_all(night: Night, deliveries: Sequence[Mapping[str, Any]], refused: dict[str, str]) -> None:
    """Append deliveries in the order of their events; those that the log refuses are added to `refused`."""
    for each in in_order(deliveries):
        file = Delivered(each["file"], each["sha256"], each["day"])
        try:
            if night.ledger.by_file(file.file, file.sha256) is None:
                append_one(night, file, each)
        except IntegrityError:
            raise
        except DataError as error:
            refused[file.file] = f"{file.file}: {error}"


def checked_again(night: Night, delivery: Mapping[str, Any]) -> dict[str, Any] | None:
    """A delivery that was held back, checked against the log as it is now; None if it still is, or was not."""
    if delivery["state"] != "held" or night.fingerprint() is None:
        return None
    file = Delivered(delivery["file"], delivery["sha256"], delivery["day"])
    entry = night.ledger.by_file(file.file, file.sha256)
    facts = checked(night, file) if entry is None else facts_of(entry)
    return None if facts["state"] == "held" else {**delivery, "reason": None, **facts}


def facts_of(entry: LedgerEntry) -> dict[str, Any]:
    """What a check says of a delivery that is settled."""
    facts = {"first_day": entry.first_day, "last_day": entry.last_day, "rows": entry.rows}
    return {"state": "empty" if entry.state == EMPTY else "ok", **facts}


def append_one(night: Night, file: Delivered, facts: Mapping[str, Any]) -> LedgerEntry:
    """Append a delivery; it is noted before, so that an interrupted night knows afterwards whether it is in the log.

    A delivery without rows is entered into the ledger only.
    """
    if facts["state"] == "empty":
        empty = LedgerEntry(file.file, file.sha256, file.day, night.date, EMPTY)
        night.ledger.add(empty)
        return empty
    night.say(f"appending {file.file}")
    entry = LedgerEntry(
        file.file, file.sha256, file.day, night.date, APPENDED, facts["first_day"], facts["last_day"], facts["rows"]
    )
    with noted(night, entry):
        task = task_of(night, file, night.date)
        task.append(night.log) if night.fingerprint() is not None else task.prepare(night.log)
    return finish_append(night) or entry


@contextmanager
def noted(night: Night, entry: LedgerEntry) -> Iterator[None]:
    """Note a delivery that is about to be appended; the note is removed if it is refused."""
    file = night.state / PENDING
    with whole_file(file) as draft:
        draft.write_text(json.dumps({"before": night.fingerprint(), "rows": rows_of(night), "entry": asdict(entry)}))
    try:
        yield
    except PropensityError:
        file.unlink(missing_ok=True)
        raise


def finish_append(night: Night) -> LedgerEntry | None:
    """Enter a delivery into the ledger that was noted and is in the log; returns its entry.

    Notes
    -----
    A log names the fingerprints of the logs that it was appended to, so that it says itself whether the append that was
    noted has happened.
    """
    file = night.state / PENDING
    if not file.is_file():
        return None
    note = json.loads(file.read_text())
    now, entry = night.fingerprint(), None
    if now is not None and now != note["before"]:
        formerly = EventLog.open(night.log).meta.get("formerly", [])
        if note["before"] is None or note["before"] in formerly:
            rows = rows_between(note.get("rows"), rows_of(night)) or note["entry"]["rows"]
            entry = LedgerEntry(**{**note["entry"], "rows": rows, "log": now})
            ledger = night.ledger
            if ledger.by_file(entry.file, entry.sha256) is None:
                ledger.add(entry)
    file.unlink(missing_ok=True)
    return entry


def rows_of(night: Night) -> dict[str, Any] | None:
    """What became of the rows of all deliveries, empty without a log; None if old events leave it at each append."""
    if not (night.log / META).is_file():
        return {}
    meta = LogHead(night.log).meta
    return dict(meta["rows"]) if meta.get("keep") is None else None


def rows_between(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What became of the rows of a delivery, as the log took it and not as it was checked apart from the log.

    Examples
    --------
    >>> rows_between({"in": 5, "dropped": {"a": 2}}, {"in": 7, "dropped": {"a": 2, "b": 1}})
    {'in': 2, 'dropped': {'b': 1}}
    """
    if before is None or after is None:
        return None
    rows: dict[str, Any] = {}
    for name, count in after.items():
        if isinstance(count, Mapping):
            earlier = before.get(name, {})
            rows[name] = {code: new for code, each in count.items() if (new := each - earlier.get(code, 0))}
        else:
            rows[name] = count - before.get(name, 0)
    return rows


def verify(night: Night, results: Results) -> dict[str, Any]:
    """Compare the log with its checksums, and say what it holds."""
    if night.fingerprint() is None:
        reasons = [each["reason"] for each in results["append"]["deliveries"] if each["state"] == "held"]
        reasons += [each["reason"] for each in results["append"]["refused"]]
        if reasons:
            raise DataError(f"there is no log yet, and no delivery could be accepted: {reasons[0]}")
        raise DataError(
            f"there is no log yet, and nothing to read for the night of {night.date}; deliver a file that "
            f"deliveries.files={night.shop.deliveries.files} matches"
        )
    verify_log(night.log)
    log = EventLog.open(night.log)
    return {
        "fingerprint": log.fingerprint,
        "customers": len(log),
        "items": log.items.height,
        "events": int(log.day.size),
        "first_day": to_date(log.first_event_day).isoformat(),
        "last_day": to_date(log.last_event_day).isoformat(),
        "last_purchase": to_date(log.last_day).isoformat(),
        "currency": log.meta.get("currency"),
    }
