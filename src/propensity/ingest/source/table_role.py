"""Roles of delivered tables: events, items, customers, consents, contacts, and tables to join."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from propensity.data.consent import NO_WORDS, YES_WORDS
from propensity.errors import DataError
from propensity.ingest.contract import CONTACTS
from propensity.ingest.rule.number import clean_text
from propensity.ingest.source.collection import collect
from propensity.ingest.source.column_name import contact_names, normalised_name
from propensity.ingest.source.consent import REFUSED
from propensity.ingest.source.delivery import ROW, Delivery, open_file
from propensity.ingest.source.file_search import find_files

HEAD = 2_000  # rows that are read
MIN_SHARED = 0.3  # share of a table's keys that the events must have, or the other way round
MAX_CONSENT_COLUMNS = 5  # a wider table with one row for each customer describes customers
CONSENT_NAMES = (
    "consent", "optin", "opt_in", "allowed", "marketing", "einwilligung", "newsletter", "consentement",
    "consentimiento", "consenso", "toestemming", "zgoda", "souhlas", "onay", "hozzájárulás",
    "hozzajarulas", "hírlevél", "hirlevel",
)  # fmt: skip
CONSENT_WORDS = {*YES_WORDS, *NO_WORDS, *REFUSED}


class RawTable(NamedTuple):
    """Files with the same columns."""

    path: str  # as given, or the file
    file: Path
    delivery: Delivery  # of the first file
    rows: pl.DataFrame  # its first rows


def open_tables(paths: Sequence[str]) -> list[RawTable]:
    """Open tables; the files of one pattern that differ in their columns are several tables.

    Parameters
    ----------
    paths : sequence of str
        Files or patterns.

    Returns
    -------
    list of RawTable
        Tables with at least one row.

    Raises
    ------
    ConfigurationError
        If a pattern has no file.
    DataError
        If a file cannot be read, or no file has rows.
    """
    tables = []
    for path in paths:
        groups: dict[tuple[str, ...], list[Delivery]] = {}
        for file in find_files(path, "suggest"):
            delivery = open_file(file)
            groups.setdefault(tuple(sorted(delivery.schema.names())), []).append(delivery)
        for files in groups.values():
            rows = collect(files[0].frame.head(HEAD), str(files[0].file)).drop(ROW)
            if rows.height:
                whole = path if len(groups) == 1 else str(files[0].file)
                tables.append(RawTable(whole, files[0].file, files[0], rows))
    if not tables:
        raise DataError(f"{', '.join(paths)} has no rows to read; choose a file with rows")
    return tables


def assign_roles(tables: Sequence[RawTable]) -> tuple[RawTable, dict[str, Any], list[str]]:
    """Find the role of each table.

    Parameters
    ----------
    tables : sequence of RawTable
        Tables.

    Returns
    -------
    events : RawTable
        The table of events: the one with the most columns of a purchase. Its rows have the columns of joined tables.
    others : dict
        Role -> table and key, for items, customers, consents and contacts, and `joins`. Further events have no role.
    notes : list of str
        What each table was taken for.
    """
    from propensity.ingest.source.suggestion import draft_mapping

    drafts = [draft_mapping(table.rows) for table in tables]
    wanted = ("day", "item", "customer", "revenue", "quantity", "order")
    scores = [sum(name in draft for name in wanted) for draft in drafts]
    place = max(range(len(tables)), key=lambda k: (scores[k], tables[k].rows.height))
    events, mapping = tables[place], drafts[place]
    others: dict[str, Any] = {}
    notes: list[str] = []
    rows = events.rows
    for k, table in enumerate(tables):
        key = _join_key(table, drafts[k], rows, mapping) if k != place else None
        if key is not None:
            others.setdefault("joins", []).append({"table": table.path, "by": key})
            notes.append(f"{table.path}: joined by {key}")
            new = [c for c in table.rows.columns if c == key or c not in rows.columns]
            rows = rows.join(table.rows.select(new), on=key, how="left", maintain_order="left")
            mapping = draft_mapping(rows)
    joined = {join["table"] for join in others.get("joins", [])}
    for k, table in enumerate(tables):
        if k == place or table.path in joined:
            continue
        role, key, more = _role(table, drafts[k], rows, mapping)
        if role is None:
            notes.append(f"{table.path}: no column has the values of a column of {events.path}; it is not used")
        elif role == "events":
            way = "data.source.events takes a pattern of files, data.source.rename the names that differ"
            notes.append(f"{table.path}: further events of customers; it is not used; {way}")
        elif role in others:
            notes.append(f"{table.path}: {role} by {key}, as is {others[role]['path']}; it is not used")
        else:
            others[role] = {"path": table.path, "key": key} | more
            notes.append(f"{table.path}: {role} by {key}")
    return events._replace(rows=rows), others, notes


def _join_key(table: RawTable, draft: Mapping[str, str], rows: pl.DataFrame, mapping: Mapping[str, str]) -> str | None:
    """Key by which a table supplies a column that the events lack, None without one."""
    if not any(name in draft for name in ("customer", "day", "item") if name not in mapping):
        return None
    shared = [key for key in table.rows.columns if key in rows.columns and _is_key(table.rows[key])]
    return next((key for key in shared if _shared(table.rows[key], rows[key]) >= MIN_SHARED), None)


def _role(
    table: RawTable, draft: Mapping[str, str], rows: pl.DataFrame, mapping: Mapping[str, str]
) -> tuple[str | None, str, dict[str, Any]]:
    """Role of a table beside the events, its key, and further columns of the role."""
    best: dict[str, tuple[float, str]] = {}
    for name in ("item", "customer"):
        if name in mapping:
            values = rows[mapping[name]]
            shares = [(_shared(table.rows[key], values), key) for key in table.rows.columns]
            best[name] = max(shares, key=lambda pair: pair[0])
    if _is_events(table, draft, best):
        return "events", "", {}
    share, key = best.get("customer", (0.0, ""))
    if share >= MIN_SHARED and share >= best.get("item", (0.0, ""))[0]:
        dates = {"day": draft["day"]} if "day" in draft and draft["day"] != key else {}
        consent = next((c for c in table.rows.columns if c != key and _is_consent(c, table.rows[c])), None)
        if consent and (table.rows.width <= MAX_CONSENT_COLUMNS or not _is_key(table.rows[key])):
            channel = {"channel": draft["channel"]} if draft.get("channel") not in (None, consent, key) else {}
            return "consents", key, {"consent": consent} | channel | dates
        sent = _contact_columns(table.rows, {key, *dates.values()})
        if dates and "revenue" not in draft and (not _is_key(table.rows[key]) or len(sent) > 1):
            channel = {"channel": draft["channel"]} if draft.get("channel") not in (None, key) else {}
            return "contacts", key, dates | channel | sent
        return "customers", key, {}
    share, key = best.get("item", (0.0, ""))
    return ("items", key, {}) if share >= MIN_SHARED else (None, "", {})


def _is_events(table: RawTable, draft: Mapping[str, str], best: Mapping[str, tuple[float, str]]) -> bool:
    """Whether a table has several rows of customers and items of the events, with dates, such as views."""
    keys = [key for share, key in best.values() if share > 0 and not _is_key(table.rows[key])]
    shared = max((share for share, _ in best.values()), default=0.0) >= MIN_SHARED
    named = {"customer", "day", "item"} <= draft.keys() and {draft["customer"], draft["item"]} == {*keys}
    return named and shared and not _contact_columns(table.rows, {*keys, draft["day"]})


def _contact_columns(rows: pl.DataFrame, used: set[str]) -> dict[str, str]:
    """Columns of campaign, offer, arm, experiment, probability and cost in a table of messages, by their names."""
    from propensity.ingest.source.suggestion import fits

    found: dict[str, str] = {}
    for column in CONTACTS:
        for name in contact_names(column.name):
            free = [each for each in rows.columns if each not in (*used, *found.values())]
            named = next((each for each in free if normalised_name(each) == name and fits(column, rows[each])), None)
            if named is not None:
                found[column.name] = named
                break
    return found


def _shared(values: pl.Series, others: pl.Series) -> float:
    """Share of the fewer distinct values of two columns that both have."""
    sets = [
        set(each.to_frame("x").select(clean_text(pl.col("x"))).to_series().drop_nulls()) for each in (values, others)
    ]
    least = min(map(len, sets))
    return len(sets[0] & sets[1]) / least if least > 1 or (least and max(map(len, sets)) < 3) else 0.0


def _is_key(values: pl.Series) -> bool:
    """Whether a column has another value in each row."""
    return values.null_count() == 0 and values.n_unique() == len(values)


def _is_consent(name: str, values: pl.Series) -> bool:
    """Whether a column says yes or no to messages."""
    words = set(values.drop_nulls().cast(pl.String).str.to_lowercase().unique())
    called = any(part in name.lower() for part in CONSENT_NAMES)
    return bool(words) and words <= CONSENT_WORDS and called


def table_settings(others: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """Settings of the tables beside the events.

    Parameters
    ----------
    others : mapping
        Roles of `assign_roles`.
    mapping : mapping of str to str
        Columns of the events.

    Returns
    -------
    dict
        Settings of `data.source`.
    """
    settings: dict[str, Any] = {}
    for role, table in others.items():
        if role in ("items", "customers"):
            settings[role] = table["path"]
            if table["key"] != mapping.get(role.removesuffix("s")):
                settings[f"{role.removesuffix('s')}_key"] = table["key"]
        elif role in ("consents", "contacts"):
            more = {name: column for name, column in table.items() if name not in ("path", "key")}
            settings[role] = {"path": table["path"], "customer": table["key"], **more}
    return settings
