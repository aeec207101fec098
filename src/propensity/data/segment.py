"""Segments: the deliveries that were appended to a log since it was written whole, each in a folder of its own.

The log lists them in `segments.json`, which is replaced in one step: a segment belongs to the log from then on. It
names its log, its number and the segment before it, so that one of another log or in another place is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from propensity.atomic import only_writer, sync, whole_file
from propensity.checksum import Damage, check_files, covered_files, file_records, is_signed, note_written, signed
from propensity.data.log_column import COLUMNS, CONTACTS, ENGAGEMENT, KEYS, OPTIONAL
from propensity.data.log_folder import FINGERPRINTS, META, SEGMENT_LIST, UNREADABLE, first_line, log_damage, read_meta
from propensity.data.valid import check_columns, check_engagement, check_optional
from propensity.errors import ConfigurationError, DamageError
from propensity.kernel.ragged import offsets_of

SEGMENTS = "segments"  # folder of the segments
FORMAT = 1
EVENTS = "events"
CHANGED = "?changed"  # rows of the tables of a segment with the attributes of a customer or item; others only name one
COUNTS = ("?events", "?engagement")  # number of a customer's events in a segment
BY_DAY = "orders_by_day"  # in the metadata: the source has no ids of orders, so all purchases of a day are one order
REMOVED = "removed"  # table of the events of earlier parts that a segment replaces
KNOWN = "?known"  # see `propensity.data.event_log.EventLog.item_known`


class Segment(NamedTuple):
    """The content of a segment: C customers and E events sorted by customer and day.

    Parameters
    ----------
    meta : dict
        What `propensity.ingest.build` says on the rows of the delivery, with the place of the segment in its log.
    customers : polars.DataFrame
        C rows: `customer`, `COUNTS`, `CHANGED` and attributes, null where they are not changed.
    items : polars.DataFrame
        Items of the delivery: `item`, `known`, `CHANGED` and attributes, null where they are not changed.
    columns, engagement : dict of str to numpy.ndarray
        Columns (E,) of the events and of those that are stored apart. Items are rows of `items`, channels of
        `meta["channels"]` and contacts of `contacts`; orders of a customer are numbered from 0.
    contacts : polars.DataFrame, optional
        Contacts of the delivery.
    removed : polars.DataFrame, optional
        Events that the delivery replaces: `part`, 0 for the base and k for segment k; `apart`, whether they are stored
        apart; and `event`, their position in the columns of that part.
    """

    meta: dict[str, Any]
    customers: pl.DataFrame
    items: pl.DataFrame
    columns: dict[str, np.ndarray]
    engagement: dict[str, np.ndarray]
    contacts: pl.DataFrame | None
    removed: pl.DataFrame | None = None


class SegmentList(NamedTuple):
    """The segments of a log as its folder lists them.

    Parameters
    ----------
    folder : Path
        Folder of the log.
    base : str
        Checksum of the log's `meta.json`.
    names : tuple of str
        Folders of the segments, in their order.
    metas : tuple of dict
        Content of their `meta.json`.
    """

    folder: Path
    base: str
    names: tuple[str, ...] = ()
    metas: tuple[dict[str, Any], ...] = ()

    def place(self, k: int) -> Path:
        """Folder of segment k."""
        return self.folder / SEGMENTS / self.names[k]

    @property
    def files(self) -> list[str]:
        """Files of the segments and the list of them, as paths inside the log; empty without segments."""
        if not self.names:
            return [SEGMENT_LIST] if (self.folder / SEGMENT_LIST).is_file() else []
        noted = [FINGERPRINTS] if (self.folder / FINGERPRINTS).is_file() else []
        own = [
            f"{SEGMENTS}/{name}/{file}"
            for name, meta in zip(self.names, self.metas, strict=True)
            for file in (*meta["files"], META)
        ]
        return [SEGMENT_LIST, *noted, *own]


def list_segments(folder: Path, meta: Mapping[str, Any]) -> SegmentList:
    """List the segments of a log.

    Parameters
    ----------
    folder : Path
        Folder of the log.
    meta : mapping
        Content of its `meta.json`.

    Returns
    -------
    SegmentList
        Empty for a log without segments.

    Raises
    ------
    DamageError
        If the list or a segment is missing, damaged, of another log or in another place.
    """
    damage, base, path = log_damage(folder), str(meta.get("checksum")), folder / SEGMENT_LIST
    if not path.is_file():
        if (folder / SEGMENTS).is_dir():
            raise damage(SEGMENT_LIST, "it is missing")
        return SegmentList(folder, base)
    try:
        content = json.loads(path.read_text())
        right = is_signed(content) and content["format"] == FORMAT
        entries = [(str(each["name"]), str(each["checksum"])) for each in content["segments"]] if right else []
    except UNREADABLE as error:
        raise damage(SEGMENT_LIST, first_line(error)) from None
    if not right:
        raise damage(SEGMENT_LIST, "its content has another checksum")
    if content["base"] != base:
        raise damage(SEGMENT_LIST, "it lists the segments of another log")
    metas: list[dict[str, Any]] = []
    for name, checksum in entries:
        previous = metas[-1]["checksum"] if metas else base
        metas.append(_segment_meta(folder, name, len(metas) + 1, base, previous, checksum))
    return SegmentList(folder, base, tuple(name for name, _ in entries), tuple(metas))


def _segment_meta(folder: Path, name: str, number: int, base: str, previous: str, checksum: str) -> dict[str, Any]:
    """Read `meta.json` of a segment; DamageError if it is not this segment of the log."""
    damage, place = log_damage(folder), f"{SEGMENTS}/{name}/{META}"
    try:
        meta: dict[str, Any] = json.loads((folder / place).read_text())
        right, own = is_signed(meta), (meta["base"], meta["number"], meta["previous"], meta["checksum"])
    except FileNotFoundError:
        raise damage(place, "it is missing") from None
    except UNREADABLE as error:
        raise damage(place, first_line(error)) from None
    if not right:
        raise damage(place, "its content has another checksum")
    if own[0] != base:
        raise damage(place, "it is a segment of another log")
    if own[1] != number:
        raise damage(place, f"it is segment {own[1]} of the log, not {number}")
    if own[2] != previous or own[3] != checksum:
        raise damage(place, "it is not the segment that the log lists")
    return meta


def read_segment(segments: SegmentList, k: int) -> Segment:
    """Read a segment; it is compared with its checksums.

    Parameters
    ----------
    segments : SegmentList
        The segments of a log.
    k : int
        Which of them.

    Returns
    -------
    Segment
        Its content.

    Raises
    ------
    DamageError
        If it is damaged.
    """
    place, meta, damage = segments.place(k), segments.metas[k], _damage_of(segments, k)
    check_files(place, meta["files"], damage)
    try:
        tables = {
            each: pl.read_parquet(place / f"{each}.parquet")
            for each in ("customers", "items", EVENTS, ENGAGEMENT, CONTACTS, REMOVED)
            if f"{each}.parquet" in meta["files"]
        }
        columns, engagement = ({c.name: c.to_numpy() for c in tables[each]} if each in tables else {}
                               for each in (EVENTS, ENGAGEMENT))  # fmt: skip
        own = tables["customers"], tables["items"], columns, engagement, tables.get(CONTACTS), tables.get(REMOVED)
        segment = Segment(meta, *own)
        _check(segment, damage)
    except DamageError:
        raise
    except UNREADABLE as error:
        raise damage("", first_line(error)) from None
    return segment


def read_table(segments: SegmentList, k: int, name: str, columns: list[str] | None = None) -> pl.DataFrame:
    """Read one table of a segment; it is compared with its checksum.

    Parameters
    ----------
    segments : SegmentList
        The segments of a log.
    k : int
        Which of them.
    name : {"customers", "items", "events"}
        Which table.
    columns : list of str, optional
        Columns to read; by default all.

    Returns
    -------
    polars.DataFrame
        The table, see `Segment`.

    Raises
    ------
    DamageError
        If it is damaged.
    """
    place, file, damage = segments.place(k), f"{name}.parquet", _damage_of(segments, k)
    check_files(place, {file: segments.metas[k]["files"][file]}, damage)
    try:
        return pl.read_parquet(place / file, columns=columns)
    except UNREADABLE as error:
        raise damage(file, first_line(error)) from None


def removed_events(segments: Sequence[Segment], part: int, apart: bool) -> np.ndarray:
    """The events of a part of a log that its segments replace.

    Parameters
    ----------
    segments : sequence of Segment
        All segments.
    part : int
        0 for the base, k for segment k.
    apart : bool
        Whether those that are stored apart are meant.

    Returns
    -------
    numpy.ndarray of int64
        Ascending positions in the columns of the part.
    """
    return removed_in([each.removed for each in segments if each.removed is not None], part, apart)


def removed_in(tables: Sequence[pl.DataFrame], part: int, apart: bool) -> np.ndarray:
    """The events of a part that tables of replaced events name: ascending positions."""
    own = [each.filter(part=part, apart=apart)["event"].to_numpy() for each in tables]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *own]))


def _damage_of(segments: SegmentList, k: int) -> Damage:
    """Errors that name a damaged file of a segment."""
    raised, name = log_damage(segments.folder), f"{SEGMENTS}/{segments.names[k]}"
    return lambda file, reason: raised(f"{name}/{file}" if file else name, reason)


def _check(segment: Segment, damage: Damage) -> None:
    """Check the columns of a segment as those of a log are checked."""
    meta, items, customers = segment.meta, segment.items.height, segment.customers
    channels, contacts = len(meta["channels"]), 0 if segment.contacts is None else segment.contacts.height
    columns = segment.columns | {"offsets": offsets_of(customers[COUNTS[0]].to_numpy())}
    known = segment.items[KNOWN].to_numpy()
    days = int(meta["first_day"]), int(meta["last_day"])
    check_columns(columns | {"item_known": known}, items, channels, days, damage)
    check_optional(columns, contacts, damage)
    if segment.engagement:
        engagement = segment.engagement | {"offsets": offsets_of(customers[COUNTS[1]].to_numpy())}
        check_engagement(engagement, items, channels, customers.height, damage)
        check_optional(engagement, contacts, damage)


def write_segment(draft: Path, segment: Segment, segments: SegmentList) -> None:
    """Write a segment that follows those of a log; `meta.json` is last.

    Parameters
    ----------
    draft : Path
        Empty folder, or one with quarantined rows.
    segment : Segment
        Its content, `meta` without its place in the log.
    segments : SegmentList
        The segments of the log.
    """
    tables: dict[str, pl.DataFrame | None] = {
        "customers": segment.customers, "items": segment.items, EVENTS: _table(segment.columns),
        ENGAGEMENT: _table(segment.engagement) if segment.engagement else None, CONTACTS: segment.contacts,
        REMOVED: segment.removed,
    }  # fmt: skip
    for name, table in tables.items():
        if table is not None:
            table.write_parquet(draft / f"{name}.parquet", compression="zstd")
    place = {
        "format": FORMAT,
        "base": segments.base,
        "number": len(segments.names) + 1,
        "previous": segments.metas[-1]["checksum"] if segments.metas else segments.base,
        "files": file_records(draft, [name for name in covered_files(draft) if name != META]),
    }
    (draft / META).write_text(json.dumps(signed({**segment.meta, **place}), indent=1))


def _table(columns: Mapping[str, np.ndarray]) -> pl.DataFrame:
    """The columns of events as a table."""
    return pl.DataFrame({name: np.asarray(columns[name]) for name in (*COLUMNS, *OPTIONAL, *KEYS) if name in columns})


def add_segment(draft: Path, segments: SegmentList) -> None:
    """Add a written segment to a log. The log has it from the moment in which `segments.json` is replaced.

    Parameters
    ----------
    draft : Path
        Folder of the segment, on the same file system as the log; it is moved.
    segments : SegmentList
        The segments of the log, which no other process may change meanwhile.
    """
    folder = segments.folder
    if not (folder / SEGMENT_LIST).is_file():  # first, so that a folder of segments without a list is damage
        _write_manifest(segments, [])
    for path in draft.rglob("*"):
        sync(path)
    meta = json.loads((draft / META).read_text())
    place = folder / SEGMENTS / f"{meta['number']:05d}"
    place.parent.mkdir(exist_ok=True)
    if place.exists():  # of an append that was killed
        shutil.rmtree(place)
    os.rename(draft, place)
    _sync_folder(place.parent)
    entries = [{"name": name, "checksum": each["checksum"]} for name, each in zip(*segments[2:], strict=True)]
    _write_manifest(segments, [*entries, {"name": place.name, "checksum": meta["checksum"]}])
    note_written(place)


def known_fingerprints(segments: SegmentList) -> list[str | None]:
    """Fingerprints of a log that were computed, after each of its segments.

    Parameters
    ----------
    segments : SegmentList
        The segments of the log.

    Returns
    -------
    list of str or None
        One for each segment; None where nobody asked for it while the segment was the last.
    """
    noted = _noted(segments.folder)
    return [noted.get(meta["checksum"]) for meta in segments.metas]


def _noted(folder: Path) -> dict[str, str]:
    """Fingerprints by the checksum of the last segment, also of segments that another process has appended since."""
    try:
        content = json.loads((folder / FINGERPRINTS).read_text())
        return dict(content["fingerprints"]) if is_signed(content) else {}
    except UNREADABLE:
        return {}


def note_fingerprint(segments: SegmentList, fingerprint: str) -> None:
    """Write down the fingerprint of a log, so that it knows later what was made from it; not on a read-only disk.

    Parameters
    ----------
    segments : SegmentList
        All segments of the log.
    fingerprint : str
        Fingerprint of the log with these.
    """
    if not (segments.folder / SEGMENT_LIST).is_file():
        return  # it was compacted meanwhile
    noted = {**_noted(segments.folder), segments.metas[-1]["checksum"]: fingerprint}
    with contextlib.suppress(ConfigurationError, OSError), whole_file(segments.folder / FINGERPRINTS) as draft:
        draft.write_text(json.dumps(signed({"fingerprints": noted}), indent=1))


def remove_unlisted(segments: SegmentList) -> None:
    """Remove the segment that a killed append left unlisted, unless another process is writing to the log.

    Parameters
    ----------
    segments : SegmentList
        The segments of a log.
    """
    if not _unlisted(segments):
        return
    folder = segments.folder
    with contextlib.suppress(ConfigurationError, OSError), only_writer(folder):
        for place in _unlisted(list_segments(folder, read_meta(folder))):
            shutil.rmtree(place)
            print(
                f"propensity: an interrupted append left {place}, which is not of the log; it is removed",
                file=sys.stderr,
            )


def _unlisted(segments: SegmentList) -> list[Path]:
    """Folders of segments that the log does not list."""
    place = segments.folder / SEGMENTS
    present = sorted(place.iterdir()) if place.is_dir() else []
    return [each for each in present if each.is_dir() and each.name not in segments.names]


def _write_manifest(segments: SegmentList, entries: Sequence[Mapping[str, str]]) -> None:
    """Replace the list of a log's segments in one step."""
    content = {"format": FORMAT, "base": segments.base, "segments": list(entries)}
    with whole_file(segments.folder / SEGMENT_LIST) as draft:
        draft.write_text(json.dumps(signed(content), indent=1))
    _sync_folder(segments.folder)


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def quarantine_files(folder: str | Path, segments: SegmentList | None = None) -> list[Path]:
    """List the tables of quarantined rows of a log, those of the base first.

    Parameters
    ----------
    folder : str or Path
        Folder of the log.
    segments : SegmentList, optional
        Its segments.

    Returns
    -------
    list of Path
        Parquet files.
    """
    places = [Path(folder), *([] if segments is None else map(segments.place, range(len(segments.names))))]
    return [file for place in places for file in sorted((place / "quarantine").glob("*.parquet"))]
