"""Draft of the column mapping of a table, from the names, types and first values of its columns."""

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
from propensity.ingest.contract import EVENTS, Column, mandatory
from propensity.ingest.rule.day import PARTS, DayFormat, read_day
from propensity.ingest.rule.number import MarkEvidence, clean_text, mark_evidence, read_number
from propensity.ingest.rule.product import describes_items
from propensity.ingest.source.column_mapping import ColumnMapping
from propensity.ingest.source.column_name import CANCELLED, CATEGORY, PRICE, UNIT_PRICE, names_of, normalised_name
from propensity.ingest.source.evidence import findings
from propensity.ingest.source.file_format import detect_format
from propensity.ingest.source.line_refund import REFUNDS
from propensity.ingest.source.reading import KIND_OF, WITH_PERCENT
from propensity.ingest.source.table_role import RawTable, assign_roles, open_tables, table_settings
from propensity.ingest.source.unit_price import unit_votes
from propensity.kernel.event import KINDS

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
# a name does not tell whether they are of an order or a line, and before or after discounts
NOT_DRAFTED = ("order_discount", "order_total", "order_refund", *REFUNDS)
EXACT = ("description", "parent", "event_id")  # drafted by their full names only
MIN_PRODUCTS = 5  # rows with several units from which a unit price is recognised
MIN_READABLE = 0.95  # share of values that must have the type of the column
DURATIONS = ("since", "gap", "diff", "ago", "until")
PLAIN = r"[A-Za-z_][\w./-]*"  # a name that shells and Hydra read as it is
RESERVED = ("null", "true", "false", "yes", "no", "on", "off", "nan", "inf", "none")
MOST_CATEGORIES = 500
MOST_STATES = 20  # distinct words of a column that holds the state of orders
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


def draft_mapping(rows: pl.DataFrame) -> dict[str, str]:
    """Assign columns of a table to the columns of the contract.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the table.

    Returns
    -------
    dict of str to str
        Contract column -> table column: the most similar name whose values fit. Each table column is used once.
    """
    mapping: dict[str, str] = {}
    for column in EVENTS:
        if column.name in NOT_DRAFTED:
            continue
        free = [name for name in rows.columns if name not in mapping.values()]
        candidates = [name for name in free if name_similarity(column, name) > 0 or column.name == "day"]
        candidates = [name for name in candidates if fits(column, rows[name])]
        ranked = sorted(((name_similarity(column, name), name) for name in candidates), key=lambda pair: -pair[0])
        if ranked and ranked[0][0] > (1 if column.name in EXACT else 0):
            mapping[column.name] = ranked[0][1]
        elif ranked and column.name == "day":
            mapping["day"] = ranked[0][1]  # the only kind of column that reads as dates
    revenue = next(column for column in EVENTS if column.name == "revenue")
    if "revenue" not in mapping and name_similarity(revenue, mapping.get("quantity", "")) > 1:
        mapping["revenue"] = mapping.pop("quantity")  # an amount alone is money
    return mapping


def line_total(rows: pl.DataFrame, mapping: dict[str, str]) -> str | None:
    """Find the column that is the product of quantity and revenue, so that revenue is the price of one unit.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the table.
    mapping : dict of str to str
        Mapping of `draft_mapping`.

    Returns
    -------
    str or None
        Name of the column, None without one.
    """
    if not {"quantity", "revenue"} <= mapping.keys():
        return None
    for name in rows.columns:
        if name in (mapping["quantity"], mapping["revenue"]) or rows.schema[name].is_temporal():
            continue
        columns = {"units": mapping["quantity"], "price": mapping["revenue"], "total": name}
        numbers = rows.select(_number(rows, column).alias(key) for key, column in columns.items())
        numbers = numbers.drop_nulls().filter((pl.col("units") != 1) & (pl.col("price") != 0))
        equal = ((pl.col("units") * pl.col("price") - pl.col("total")).abs() <= 0.01).mean()
        if numbers.height >= MIN_PRODUCTS and numbers.select(equal).item() >= MIN_READABLE:
            return name
    return None


def _number(rows: pl.DataFrame, column: str) -> pl.Expr:
    """A column read as numbers with the decimal mark that its values show."""
    counts = rows.select(mark_evidence(pl.col(column).cast(pl.String))).item()
    return read_number(pl.col(column).cast(pl.String), MarkEvidence(**counts).mark() or ".")


def name_similarity(column: Column, name: str) -> float:
    """Compare a name with a column of the contract.

    Parameters
    ----------
    column : Column
        Column of the contract.
    name : str
        Column of a table.

    Returns
    -------
    float
        3 for the same name, about 2 for an alias, below 1 for a name that contains one, 0 otherwise.
    """
    normalised = normalised_name(name)
    squeezed = normalised.replace("_", "")
    names = (column.name, *column.aliases, *names_of(column.name))
    if squeezed == column.name.replace("_", ""):
        return 3.0
    positions = [k for k, alias in enumerate(names) if alias.replace("_", "") == squeezed]
    if positions:
        return max(1.1, 2.0 - 0.01 * positions[0])
    parts = (alias for alias in names if len(alias) > 2 and alias in normalised)
    return max((len(alias) / (len(normalised) + 10) for alias in parts), default=0.0)


def fits(column: Column, values: pl.Series) -> bool:
    """Tell whether values have the type of a column of the contract.

    Parameters
    ----------
    column : Column
        Column of the contract.
    values : polars.Series
        Values of a table column.

    Returns
    -------
    bool
        True if they can be read as the column's type.
    """
    frame, name = values.to_frame(), values.name
    if column.type == "date":
        if any(word in name.lower() for word in DURATIONS):
            return False
        day = read_day(name, values.dtype, DayFormat(first="month"))
        other = read_day(name, values.dtype, DayFormat(first="day"))
        return max(_readable_share(frame.select(date).to_series(), values) for date in (day, other)) >= MIN_READABLE
    if column.type == "number":
        dates = values.dtype.is_temporal()
        text = pl.col(name).cast(pl.String)
        text = text.str.replace(r"\s*%\s*$", "") if column.name in WITH_PERCENT else text
        return not dates and _readable_share(frame.select(read_number(text, ".")).to_series(), values) >= MIN_READABLE
    if column.type == "id":
        return not values.dtype.is_temporal() and not (values.dtype.is_float() and (values % 1 != 0).any())
    if column.name == "description":
        return values.dtype == pl.String
    words = frame.select(clean_text(pl.col(name))).to_series()
    if column.name == "kind":
        known = words.str.to_lowercase().drop_nulls().is_in([*KIND_OF, *KINDS])
        return bool(known.sum() > 0.5 * len(known))
    return not values.dtype.is_temporal() and words.n_unique() <= 50


def _readable_share(read: pl.Series, values: pl.Series) -> float:
    """Share of the present values that could be read."""
    present = values.to_frame().select(clean_text(pl.col(values.name)).is_not_null().sum()).item()
    return (len(read) - read.null_count()) / present if present else 0.0


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


def decisions(rows: pl.DataFrame, mapping: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Decide what the values of a table show: cancelled orders, prices of one unit, and whether a mark is needed.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the table.
    mapping : dict of str to str
        Mapping of `draft_mapping`.

    Returns
    -------
    settings : dict
        Settings of `data.source`.
    advice : list of str
        What was decided and why, and what cannot be told.
    """
    settings: dict[str, Any] = {}
    lines = []
    if "order" in mapping and rows.schema[mapping["order"]] == pl.String:
        prefix = rows[mapping["order"]].str.extract(r"^([A-Za-z]+)\d+$")
        for letters in prefix.drop_nulls().unique().sort().to_list()[:3]:
            if (prefix == letters).sum() > 0.5 * len(prefix):  # ordinary orders
                continue
            lines.append(
                f"orders such as {letters}...: if they are cancellations, add \"data.source.cancelled='^{letters}'\""
            )
            if "quantity" in mapping and _only_negative(rows, mapping["quantity"], prefix == letters):
                settings["cancelled"] = f"^{letters}"
                lines[-1] += "; drafted so, because all their quantities are negative, and no others are"
    if not {"quantity", "revenue"} <= mapping.keys():
        return settings, lines
    revenue, quantity = mapping["revenue"], mapping["quantity"]
    unit, total = _unit_votes(rows, mapping)
    if name := line_total(rows, mapping):
        settings["revenue_is"] = "unit"
        lines.append(f"{name} is {quantity} x {revenue}: add data.source.revenue_is=unit, or map revenue to {name}")
    elif product := divided_total(rows, mapping):
        settings["revenue_is"] = "net"
        lines.append(f"{revenue} is {quantity} x {product}: it is the line's total, data.source.revenue_is=net")
    elif re.search(UNIT_PRICE, normalised_name(revenue)):
        settings["revenue_is"] = "unit"
        lines.append(f"{revenue} may be the price of one unit: if so, add data.source.revenue_is=unit; drafted so")
    elif unit >= MIN_PRODUCTS and unit >= 9 * total:
        settings["revenue_is"] = "unit"
        lines.append(f"{revenue} does not grow with {quantity} for {unit} items: it is the price of one unit")
    elif total >= MIN_PRODUCTS and total >= 9 * unit:
        settings["revenue_is"] = "net"
        lines.append(f"{revenue} grows with {quantity} for {total} items: it is the line's total")
    elif re.search(PRICE, normalised_name(revenue)) and not _number_is(rows, quantity, 1.0):
        lines.append(
            f"{revenue}: it cannot be told whether it is the line's total or the price of one unit; "
            "set data.source.revenue_is=net or unit"
        )
    return settings, lines


def cancelled_rows(rows: pl.DataFrame, mapping: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Find a column whose words say that an order was cancelled.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the events.
    mapping : mapping of str to str
        Mapping of `draft_mapping`.

    Returns
    -------
    settings : dict
        `leave_out` with the words that mean cancelled, empty without such a column.
    advice : list of str
        The words that are left out, and the others of the column.
    """
    settings: dict[str, Any] = {}
    lines = []
    for name in rows.columns:
        if name in mapping.values() or rows.schema[name] != pl.String:
            continue
        words = sorted(rows.select(clean_text(pl.col(name)).alias("word"))["word"].drop_nulls().unique().to_list())
        cancelled = [word for word in words if normalised_name(word) in CANCELLED]
        if cancelled and len(words) <= MOST_STATES:
            settings.setdefault("leave_out", {})[name] = cancelled
            others = ", ".join(word for word in words if word not in cancelled) or "nothing else"
            lines.append(
                f"{name}: rows with {', '.join(cancelled)} are left out as cancelled; it also holds {others}: "
                "add those that are no sales to leave_out"
            )
    return settings, lines


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


def _only_negative(rows: pl.DataFrame, quantity: str, cancelled: pl.Series) -> bool:
    """Whether the quantities of some rows, and of no others, are negative."""
    negative = rows.select(_number(rows, quantity) < 0).to_series()
    return bool(cancelled.any()) and bool((negative == cancelled).fill_null(False).all())


def _number_is(rows: pl.DataFrame, column: str, value: float) -> bool:
    """Whether a column holds one number only."""
    return bool(rows.select((_number(rows, column) == value).fill_null(True).all()).item())


def _unit_votes(rows: pl.DataFrame, mapping: dict[str, str]) -> tuple[int, int]:
    """Items whose amounts are prices of one unit, and items whose amounts are totals; 0 and 0 without items."""
    if "item" not in mapping:
        return 0, 0
    units, amount = _number(rows, mapping["quantity"]), _number(rows, mapping["revenue"])
    lines = rows.lazy().select(pl.col(mapping["item"]).alias("item"), units.alias("units"), amount.alias("amount"))
    unit, total = unit_votes(lines).collect().row(0)
    return unit, total


def divided_total(rows: pl.DataFrame, mapping: dict[str, str]) -> str | None:
    """Find the column of prices of one unit whose product with the quantity is the revenue.

    Parameters
    ----------
    rows : polars.DataFrame
        First rows of the table.
    mapping : dict of str to str
        Mapping of `draft_mapping`.

    Returns
    -------
    str or None
        Name of the column, None without one.
    """
    for name in rows.columns:
        used = name in (mapping["quantity"], mapping["revenue"]) or rows.schema[name].is_temporal()
        if not used and line_total(rows, {**mapping, "revenue": name}) == mapping["revenue"]:
            return name
    return None
