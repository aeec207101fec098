"""Roles of delivered tables: events, items, customers, consents, contacts, and tables to join."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from propensity.data.consent import NO_WORDS, YES_WORDS
from propensity.errors import DataError
from propensity.ingest.contract import ACQUISITION, CONTACTS, Column
from propensity.ingest.rule.number import clean_text
from propensity.ingest.source.collection import collect
from propensity.ingest.source.column_name import (
    ACQUISITION_NAMES,
    CONTACT_NAMES,
    kind_of_word,
    names_of,
    normalised_name,
)
from propensity.ingest.source.consent import REFUSED
from propensity.ingest.source.delivery import ROW, Delivery, open_file
from propensity.ingest.source.file_search import find_files
from propensity.ingest.source.mapping_draft import draft_mapping, fits
from propensity.ingest.source.reading import KIND_OF

HEAD = 2_000  # rows that are read
MIN_SHARED = 0.3  # share of a table's keys that the events must have, or the other way round
OF_ANY_ROW = ("since", "created", "created_at", "date_created", "angelegt_am")  # not of registrations alone
MOST_KINDS = 12  # distinct words of a column of kinds
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
        elif role == "events" and "behaviour" not in others:
            others["behaviour"], words = behaviour_columns(table, drafts[k])
            notes += [f"{table.path}: views and other behaviour by {drafts[k]['customer']}", *words]
        elif role == "events":
            way = "data.source.events takes a pattern of files, data.source.rename the names that differ"
            notes.append(f"{table.path}: further events of customers; it is not used; {way}")
        elif role in others:
            notes.append(f"{table.path}: {role} by {key}, as is {others[role]['path']}; it is not used")
        else:
            others[role] = {"path": table.path, "key": key} | more
            notes.append(f"{table.path}: {role} by {key}")
            notes += _with_acquisition(table, role, others)
    return events._replace(rows=rows), others, notes


def _with_acquisition(table: RawTable, role: str, others: dict[str, Any]) -> list[str]:
    """Add the acquisition of customers to the roles; a table of consents that has it is one of customers too."""
    if role not in ("customers", "consents") or not _is_key(table.rows[others[role]["key"]]):
        return []
    key = others[role]["key"]
    won = acquisition_columns(table.rows, {key, others[role].get("consent", key)})
    dated = "day" in won and normalised_name(won["day"]) not in OF_ANY_ROW
    if role == "consents" and dated and "customers" not in others:
        others["customers"] = {"path": table.path, "key": key}
        others[role] = {name: column for name, column in others[role].items() if column != won["day"]}
    if not won or others.get("customers", {}).get("path") != table.path:
        return []
    others["acquisition"] = won
    as_well = "customers as well; " if role == "consents" else ""
    return [f"{table.path}: {as_well}{', '.join(won.values())} say when, how or at what cost they were won"]


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
    return _columns_named(CONTACTS, CONTACT_NAMES, rows, used)


def acquisition_columns(rows: pl.DataFrame, used: set[str]) -> dict[str, str]:
    """Find the columns of a table of customers that say when, how and at what cost they were won.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the table.
    used : set of str
        Columns that are something else.

    Returns
    -------
    dict of str to str
        Column of the contract -> column of the table, those whose name is usual and whose values fit.
    """
    return _columns_named(ACQUISITION, ACQUISITION_NAMES, rows, used)


def _columns_named(
    contract: Sequence[Column], names: Mapping[str, str], rows: pl.DataFrame, used: set[str]
) -> dict[str, str]:
    """Columns of a contract -> columns of a table that are not used, have one of the usual names, and values that fit.

    A column of the table is that of one column of the contract; of several the one with the first of the names.
    """
    columns: dict[str, str] = {}
    for column in contract:
        free = [each for each in rows.columns if each not in (*used, *columns.values())]
        usual = (each for name in names_of(column.name, names) for each in free if normalised_name(each) == name)
        if (first := next((each for each in usual if fits(column, rows[each])), None)) is not None:
            columns[column.name] = first
    return columns


def behaviour_columns(table: RawTable, draft: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Draft the settings of a table of views and other behaviour.

    Parameters
    ----------
    table : RawTable
        The table.
    draft : mapping of str to str
        Its columns by those of the contract; customer, day and item are among them.

    Returns
    -------
    setting : dict
        Path and columns, and under `kinds` the kinds of words that are not known without a setting.
    notes : list of str
        What each word is taken for, and which words are not known.
    """
    setting: dict[str, Any] = {"path": table.path} | {name: draft[name] for name in ("customer", "day", "item")}
    free = [c for c in table.rows.columns if c not in setting.values() and table.rows.schema[c] == pl.String]
    words = {
        c: table.rows.select(clean_text(pl.col(c)).unique().drop_nulls().sort()).to_series().to_list() for c in free
    }
    kinds = {
        c: {word: kind for word in words[c] if (kind := kind_of_word(word))}
        for c in free
        if len(words[c]) <= MOST_KINDS
    }
    name = max(kinds, key=lambda c: len(kinds[c]), default=None)
    if name is None or not kinds[name]:
        return setting, [f"{table.path}: it has no column of kinds; every row is taken for a view"]
    unknown = [word for word in words[name] if word not in kinds[name]]
    told = ", ".join(f"{word} is {kind}" for word, kind in kinds[name].items())
    more = f"; add {', '.join(unknown)} to kinds, or leave them to quarantine" if unknown else ""
    return setting | {"kind": name, "kinds": kinds[name]}, [f"{name}: {told}{more}"]


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
        elif role == "acquisition":
            settings[role] = dict(table)
        elif role == "behaviour":
            kinds = {word: kind for word, kind in table.get("kinds", {}).items() if KIND_OF.get(word.lower()) != kind}
            settings[role] = {name: column for name, column in table.items() if name != "kinds"}
            settings |= {"kinds": kinds} if kinds else {}
    return settings
