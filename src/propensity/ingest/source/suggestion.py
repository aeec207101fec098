"""Draft of the configuration of a source, from the names, types and first values of its columns."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import yaml

from propensity.errors import DataError
from propensity.ingest.contract import EVENTS, mandatory
from propensity.ingest.rule.day import PARTS
from propensity.ingest.rule.number import clean_text
from propensity.ingest.rule.product import describes_items
from propensity.ingest.source.amount_draft import MIN_PRODUCTS, cancelled_rows, decisions
from propensity.ingest.source.column_mapping import ColumnMapping
from propensity.ingest.source.column_name import CATEGORY, normalised_name
from propensity.ingest.source.evidence import findings
from propensity.ingest.source.file_format import detect_format
from propensity.ingest.source.mapping_draft import DURATIONS, MIN_READABLE, draft_mapping
from propensity.ingest.source.table_role import RawTable, assign_roles, open_tables, table_settings

SIGNATURES = {
    "shopify": {
        "Name",
        "Email",
        "Financial Status",
        "Created at",
        "Lineitem quantity",
        "Lineitem price",
        "Lineitem sku",
    },
    "magento": {"item_id", "order_id", "parent_item_id", "sku", "qty_ordered", "base_row_total"},
    "square_pos": {"Date", "Item", "Qty", "Net Sales", "Transaction ID", "Customer ID"},
}
TAKEN = ("table", "none", "synthetic")
HEAD = 2_000  # rows that are read
WITHOUT = {  # columns that the configuration asks for, null included, and what null means
    "item": "with null all lines are of one item",
    "revenue": "with null revenue counts units, not money",
}
PLAIN = r"[A-Za-z_][\w./-]*"  # a name that shells and Hydra read as it is
RESERVED = ("null", "true", "false", "yes", "no", "on", "off", "nan", "inf", "none")
MOST_CATEGORIES = 500
NO_WORDS = r"@\w|^[+-]?\d+[.,]\d+$|^\d{4}-\d\d-\d\d"  # addresses, amounts and dates
PREPARE = "propensity prepare"


class Draft(NamedTuple):
    """Draft of the configuration of a source."""

    name: str  # of the configuration
    base: str  # configuration that it extends
    settings: dict[str, Any]  # of `data.source`
    notes: list[str]  # what the user must know or decide
    runs: bool  # whether all required columns were found
    formats: list[dict[str, Any]]  # formats of the first file of events


def suggest(path: str | Sequence[str], conf: Path | None = None) -> str:
    """Draft the command that prepares a log from tables.

    Parameters
    ----------
    path : str or sequence of str
        Files or patterns of files: the events, and tables of items, customers, consents and contacts beside them, in
        any order. Files with the same columns are one table.
    conf : Path, optional
        Folder of configurations into which the draft is written as `data/source/<name>.yaml`; the command then names
        it. By default the command holds all settings.

    Returns
    -------
    str
        Shell comments about what was found and what the user must decide, and the command. A required column without a
        candidate is a question mark, and the comments say so.

    Raises
    ------
    ConfigurationError
        If there is no file.
    DataError
        If a file has no rows or cannot be read.
    """
    draft = draft_source([path] if isinstance(path, str) else list(path))
    found = [f"# {each['what']}: {each['value']} ({each['evidence']})" for each in draft.formats]
    notes = [f"# {line}" for line in draft.notes]
    if conf is None or not draft.runs:
        return "\n".join([*notes, *found, *_command(draft)])
    file = write_draft(draft, conf)
    command = f"{PREPARE} data/source={file.stem} out=data/{file.stem} check=true"
    return "\n".join([*notes, *found, f"# written: {file}; correct it, then leave out check=true", command])


def draft_source(paths: Sequence[str]) -> Draft:
    """Draft the configuration of a source from its tables.

    Parameters
    ----------
    paths : sequence of str
        Files or patterns of files.

    Returns
    -------
    Draft
        The draft.

    Raises
    ------
    ConfigurationError
        If there is no file.
    DataError
        If a file has no rows or cannot be read.
    """
    tables = open_tables(paths)
    events, others, notes = assign_roles(tables)
    rows = events.rows
    joins = others.pop("joins", [])
    if preset := preset_of(rows.columns):
        notes = [f"the columns of {events.file} are those of data/source={preset}", *address_advice(rows), *notes]
        return Draft(f"my_{preset}", preset, {"events": events.path}, notes, True, [])
    mapping = draft_mapping(rows)
    settings: dict[str, Any] = {"events": events.path} | ({"joins": joins} if joins else {})
    required = {c.name: mapping.get(c.name) for c in EVENTS if c.default is None or c.name in WITHOUT}
    settings["columns"] = required | {c.name: mapping[c.name] for c in EVENTS if c.name in mapping}
    settings |= described_columns(rows, mapping, others) | table_settings(others, mapping)
    decided, advice = decisions(rows, mapping)
    settings |= decided
    left_out, cancelled = cancelled_rows(rows, mapping)
    settings |= left_out
    advice += [*cancelled, *unused_columns(rows, settings)]
    first = f"a draft, from the first {rows.height:,} rows of {events.file}; correct it, then try check=true"
    missing = mapping_warnings(rows, mapping, Path(events.path).name)
    customer = rows.select(mapping["customer"]) if "customer" in mapping else rows.select()
    notes = [first, *notes, *missing, *advice, *address_advice(customer), *offer_advice(rows, settings)]
    runs = all(mapping.get(name) for name in mandatory(EVENTS))
    return Draft(_configuration_name(events.file), "table", settings, notes, runs, formats_of(events, settings, runs))


def preset_of(columns: Sequence[str]) -> str | None:
    """Find the preset for a table.

    Parameters
    ----------
    columns : sequence of str
        Columns of the events.

    Returns
    -------
    str or None
        Name of a configuration of `data/source`, None if the columns are those of no platform.

    Examples
    --------
    >>> preset_of(["Date", "Time", "Category", "Item", "Qty", "Net Sales", "Transaction ID", "Customer ID"])
    'square_pos'
    """
    return next((name for name, signature in SIGNATURES.items() if signature <= {*columns}), None)


def address_advice(rows: pl.DataFrame) -> list[str]:
    """Say that a key is needed where customers are e-mail addresses.

    Parameters
    ----------
    rows : polars.DataFrame
        Rows with the columns that may be the customer's.

    Returns
    -------
    list of str
        One note, or none.
    """
    texts = [name for name, kind in rows.schema.items() if kind == pl.String]
    if not any(rows[name].str.contains(r"^[^@\s]+@[^@\s]+$").any() for name in texts):
        return []
    return ["customer ids are e-mail addresses: the command needs data.pseudonym=file:<key> or env:<name> to run"]


def formats_of(events: RawTable, settings: Mapping[str, Any], runs: bool) -> list[dict[str, Any]]:
    """List the formats of the events with their evidence; DataError of split evidence becomes the only finding.

    Parameters
    ----------
    events : RawTable
        Table of events.
    settings : mapping
        Drafted settings.
    runs : bool
        Whether the required columns are mapped.

    Returns
    -------
    list of dict
        See `propensity.ingest.source.evidence.findings`.
    """
    columns = {name: column for name, column in settings["columns"].items() if column in events.delivery.schema}
    mapping = ColumnMapping(columns=columns)
    try:
        return findings(events.delivery, mapping, detect_format(events.delivery, mapping))
    except DataError as error:
        return [{"what": "to decide", "value": str(error), "evidence": "two readings"}] if runs else []


def _configuration_name(file: Path) -> str:
    """Name of a configuration after its file."""
    name = re.sub(r"[^a-z0-9]+", "_", normalised_name(file.name.split(".")[0])).strip("_")
    return name if name and not name[0].isdigit() and name not in TAKEN else f"my_{name or 'shop'}"


def write_draft(draft: Draft, conf: Path) -> Path:
    """Write a draft as a configuration; a file of the name that holds something else is left alone.

    Parameters
    ----------
    draft : Draft
        Draft.
    conf : Path
        Folder of configurations.

    Returns
    -------
    Path
        The file.
    """
    folder = conf / "data" / "source"
    folder.mkdir(parents=True, exist_ok=True)
    names = (f"{draft.name}{f'_{k}' if k > 1 else ''}.yaml" for k in count(1))
    comments = "".join(f"# {line}\n" for line in draft.notes)
    body = yaml.safe_dump(draft.settings, sort_keys=False, allow_unicode=True, width=100)
    text = f"{comments}defaults:\n  - {draft.base}\n  - _self_\n{body.replace('${', chr(92) + '${')}"
    for name in names:
        file = folder / name
        if not file.exists() or file.read_text() == text:
            file.write_text(text)
            return file
    raise AssertionError("there is always a further name")


def _command(draft: Draft) -> list[str]:
    """The command with all settings of a draft."""
    settings = dict(draft.settings)
    columns = settings.pop("columns", {})
    lines = [f"{PREPARE} data/source={draft.base} out=data/mine", _argument("events", settings.pop("events"))]
    for name, column in columns.items():
        required = name in mandatory(EVENTS)
        value = "?" if column is None and required else column
        lines.append(_argument(f"columns.{name}", value) if value != "?" else f"data.source.columns.{name}=?")
    lines += [_argument(name, value) for name, value in settings.items()]
    return ["    ".join(["", line])[4 * (k == 0) :] + " \\" * (k < len(lines) - 1) for k, line in enumerate(lines)]


def _argument(key: str, value: Any) -> str:
    """A setting as shells and Hydra read it.

    >>> print(_argument("columns.day", "Created at"), _argument("columns.item", "sku"))
    "data.source.columns.day='Created at'" data.source.columns.item='sku'
    """
    if value is None:
        return f"data.source.{key}=null"
    if isinstance(value, str) and re.fullmatch(PLAIN, value) and value.isascii() and value.lower() not in RESERVED:
        return f"data.source.{key}='{value}'"
    text = f"data.source.{key}={_hydra(value)}"
    if {*text} & {*'$`"\\!'}:
        return shlex.quote(text)
    return f'"{text}"'


def _hydra(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_hydra(str(k))}: {_hydra(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_hydra, value)) + "]"
    if not isinstance(value, str):
        return str(value).lower()
    if re.fullmatch(PLAIN, value) and value.isascii() and value.lower() not in RESERVED:
        return value
    text = re.sub(r"(\\*)'", r"\1\1\\'", value)
    return "'" + re.sub(r"(\\+)$", r"\1\1", text).replace("${", "\\${") + "'"


def described_columns(rows: pl.DataFrame, mapping: dict[str, str], others: Mapping[str, Any]) -> dict[str, Any]:
    """Find columns of the events that describe items or customers.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the table.
    mapping : dict of str to str
        Mapping of `draft_mapping`.
    others : mapping
        Tables beside the events, by role.

    Returns
    -------
    dict
        `item_columns` and `customer_columns`: columns with one value for nearly every item, or customer, with several
        rows; not for a role that has a table.
    """
    used = {column for name, column in mapping.items() if name != "description"}
    free = [name for name in rows.columns if name not in used and _may_describe(rows[name])]
    settings: dict[str, Any] = {}
    for key in ("item", "customer"):
        if key in mapping and f"{key}s" not in others:
            names = [name for name in free if _depends(rows, mapping[key], name, key)]
            names = names if key == "item" else [n for n in names if n not in settings.get("item_columns", [])]
            if names:
                settings[f"{key}_columns"] = names
    return settings


def _depends(rows: pl.DataFrame, key: str, name: str, role: str) -> bool:
    """Whether a column has one value for nearly each key; by its name where no key has several rows."""
    counts = rows.select(pl.col(key).alias("key"), clean_text(pl.col(name)).alias("value")).drop_nulls().group_by("key")
    several = counts.agg(rows=pl.len(), values=pl.col("value").n_unique()).filter(pl.col("rows") > 1)
    if several.height < MIN_PRODUCTS:
        named = describes_items(name) or re.search(CATEGORY, normalised_name(name)) is not None
        consistent = several.filter(pl.col("values") > 1).is_empty()
        return role == "item" and (named or several.height > 0) and consistent
    return bool(several.select((pl.col("values") == 1).mean()).item() >= MIN_READABLE)


def _may_describe(values: pl.Series) -> bool:
    """Whether a column holds several texts or codes."""
    kind = values.dtype
    if kind == pl.String and int(values.str.contains(NO_WORDS).sum()) > 0.5 * len(values):
        return False
    return (kind == pl.String or kind.is_integer()) and values.drop_nulls().n_unique() > 1


def offer_advice(rows: pl.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    """Propose the column of offers.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the events.
    settings : mapping
        Drafted settings.

    Returns
    -------
    list of str
        The column that describes items with the most values up to a limit, if there is one.
    """
    counts = {name: rows[name].n_unique() for name in settings.get("item_columns", [])}
    fitting = {name: values for name, values in counts.items() if 1 < values <= MOST_CATEGORIES}
    named = {name: values for name, values in fitting.items() if re.search(CATEGORY, normalised_name(name))}
    if not (choice := named or fitting):
        return []
    name = max(choice, key=lambda each: choice[each])
    argument = _argument("x", name).replace("data.source.x", "data.offer.column")
    return [f"offers: {name} has {choice[name]} values here: train with {argument}"]


def mapping_warnings(rows: pl.DataFrame, mapping: dict[str, str], file: str) -> list[str]:
    """List what the user must decide about a draft.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the table.
    mapping : dict of str to str
        Mapping of `draft_mapping`.
    file : str
        Name of the file.

    Returns
    -------
    list of str
        Notes about missing columns and the order of dates.
    """
    lines = [f"{name}: no column of {file} matches" for name in mandatory(EVENTS) if name not in mapping]
    lines += [f"{name}: no column of {file} matches; {WITHOUT[name]}" for name in WITHOUT if name not in mapping]
    if "day" not in mapping:
        durations = [name for name in rows.columns if any(word in name.lower() for word in DURATIONS)]
        details = f"; {', '.join(durations)} holds durations between dates, not dates" if durations else ""
        lines.append(f"calendar dates are required, and {file} has none{details}")
    elif rows.schema[mapping["day"]] == pl.String:
        text = rows.select(clean_text(pl.col(mapping["day"])).str.contains(PARTS).any()).item()
        if text:
            lines.append(f"{mapping['day']}: if the order of day and month is unclear, add data.source.day_format")
    return lines


def unused_columns(rows: pl.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    """Name the columns of the events that a draft does not use.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the events.
    settings : mapping
        Drafted settings.

    Returns
    -------
    list of str
        One note, or none.
    """
    used = {*settings["columns"].values(), *settings.get("leave_out", {})}
    used |= {*settings.get("item_columns", []), *settings.get("customer_columns", [])}
    names = [name for name in rows.columns if name not in used]
    return [f"not used: {', '.join(names)}"] if names else []
