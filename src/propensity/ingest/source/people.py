"""Tables about customers beside the events: identity map, contacts, consents, guests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from propensity.data.consent import YES_WORDS
from propensity.errors import ConfigurationError
from propensity.ingest.contract import OPTIONAL_COLUMNS, Column, mandatory
from propensity.ingest.rule.day import DayFormat, day_evidence, day_format, read_day
from propensity.ingest.rule.identity import normalised_id, resolve_aliases
from propensity.ingest.rule.number import clean_text
from propensity.ingest.source.collection import collect
from propensity.ingest.source.column_mapping import ColumnMapping
from propensity.ingest.source.delivery import ROW, Delivery, open_files
from propensity.ingest.source.file_format import check_currencies, detect_format
from propensity.ingest.source.id_normalisation import GUEST, IdFormat
from propensity.ingest.source.known_name import check_keys
from propensity.ingest.source.optional import TimeColumn, optional_cells, with_time
from propensity.ingest.source.reading import read_amount


def open_table(
    setting: Mapping[str, str],
    columns: tuple[Column, ...],
    name: str,
    separator: str | None,
    encoding: str | None = None,
) -> list[Delivery]:
    """Open the files of a table beside the events and check its columns.

    Parameters
    ----------
    setting : mapping of str to str
        `path` and the name of each column.
    columns : tuple of Column
        Contract of the table.
    name : str
        Name of the setting in `data.source`.
    separator : str or None
        Field separator of text files; detected if None.
    encoding : str, optional
        Encoding of text files that are neither UTF-8 nor UTF-16; detected by default.

    Returns
    -------
    list of Delivery
        The files.

    Raises
    ------
    ConfigurationError
        If a key is unknown or missing, or a file or column does not exist.
    """
    full_name = f"data.source.{name}"
    check_keys(setting, ["path", *(column.name for column in columns)], full_name)
    for key in ("path", *mandatory(columns)):
        if not setting.get(key):
            raise ConfigurationError(f"{full_name} needs {', '.join(('path', *mandatory(columns)))}; {key} is missing")
    files = open_files(setting["path"], full_name, separator, encoding)
    for each in files:
        for key, column in setting.items():
            if key != "path" and column:
                each.column(column, f"{full_name}.{key}")
    return files


def detect_day_format(delivery: Delivery, column: str, style: DayFormat, setting: str) -> DayFormat:
    """Detect the format of a column of days in one pass.

    Parameters
    ----------
    delivery : Delivery
        File.
    column : str
        Column of days.
    style : DayFormat
        Configured format and time zone.
    setting : str
        Setting of the column, for error messages.

    Returns
    -------
    DayFormat
        The format.

    Raises
    ------
    DataError
        If the order of day and month is ambiguous, or the column holds no dates.
    """
    probes = [] if style.format else day_evidence(column, delivery.schema[column])
    if not probes:
        return style
    frame = delivery.frame.rename({ROW: "row"})
    evidence = collect(frame.select(probes), str(delivery.file)).row(0, named=True)
    return day_format(evidence, f"{delivery.file} column {column}", style.format, style.zone, setting, style.times_in)


class IdentityMap(NamedTuple):
    """An identity map."""

    aliases: pl.DataFrame  # replaced ids, see `propensity.ingest.rule.identity.resolve_aliases`
    ambiguous: pl.DataFrame  # ids with several replacements, which are not replaced, and each customer who may be meant
    warnings: dict[str, int]  # number of ids by rule


def read_identity_map(files: list[Delivery], setting: Mapping[str, str], ids: IdFormat) -> IdentityMap:
    """Read an identity map.

    Parameters
    ----------
    files : list of Delivery
        Files of the map.
    setting : mapping of str to str
        Names of the columns `alias` and `customer`.
    ids : IdFormat
        Format of customer ids.

    Returns
    -------
    IdentityMap
        Tables with the columns `alias` and `customer`.
    """
    parts = []
    for each in files:
        columns = {key: ids.read(setting[key], each.schema[setting[key]]) for key in ("alias", "customer")}
        parts.append(collect(each.frame.select(**columns), str(each.file)))
    pairs = pl.concat(parts, how="vertical_relaxed")
    aliases, warnings = resolve_aliases(pairs)
    pairs = pairs.drop_nulls().unique().filter(pl.col("alias") != pl.col("customer"))
    several = pairs.filter(pl.col("alias").is_duplicated())
    return IdentityMap(aliases, apply_identity_map(several.lazy(), aliases).collect(), warnings)


def apply_identity_map(frame: pl.LazyFrame, aliases: pl.DataFrame) -> pl.LazyFrame:
    """Replace the aliases in a column of customer ids.

    Parameters
    ----------
    frame : polars.LazyFrame
        Frame with a column `customer`.
    aliases : polars.DataFrame
        Table of `IdentityMap`.

    Returns
    -------
    polars.LazyFrame
        The frame with replaced ids.
    """
    if not aliases.height:
        return frame
    lookup = aliases.lazy().rename({"alias": "customer", "customer": "?replacement"})
    lookup = lookup.with_columns(pl.col(lookup.collect_schema().names()).cast(frame.collect_schema()["customer"]))
    joined = frame.join(lookup, on="customer", how="left", maintain_order="left")
    return joined.with_columns(customer=pl.coalesce("?replacement", "customer")).drop("?replacement")


def read_contacts(
    files: list[Delivery],
    setting: Mapping[str, str],
    ids: IdFormat,
    style: DayFormat,
    names: Sequence[str],
    decimal: str | None = None,
) -> list[pl.LazyFrame]:
    """Read sent messages as events.

    Parameters
    ----------
    files : list of Delivery
        Files of messages.
    setting : mapping of str to str
        Names of the columns `customer`, `day` and optionally `channel` and those of `OPTIONAL_COLUMNS`.
    ids : IdFormat
        Format of customer ids.
    style : DayFormat
        Configured format and time zone of days; the rest is detected in each file.
    names : sequence of str
        Names of all delivered files, the categories of the column `file`.
    decimal : str, optional
        Decimal separator of amounts; detected by default.

    Returns
    -------
    list of polars.LazyFrame
        Events of kind message.
    """
    frames = []
    for each in files:
        day, channel = setting["day"], setting.get("channel")
        text = normalised_id(channel, each.schema[channel]) if channel else pl.lit(None)
        form = detect_day_format(each, day, style, "data.source.contacts.day")
        columns = {name: column for name in OPTIONAL_COLUMNS if (column := setting.get(name))}
        frame = each.frame.select(
            *_optional_cells(each, columns, decimal),
            file=pl.lit(str(each.file)).cast(pl.Enum(list(names))),
            row=pl.col(ROW).cast(pl.UInt32),
            customer=ids.read(setting["customer"], each.schema[setting["customer"]]),
            day=read_day(day, each.schema[day], form),
            kind=pl.lit("message"),
            channel=text.cast(pl.String),
            **{"?has_day": pl.col(day).is_not_null()},
            **({"?clock": pl.col(columns["time"])} if "time" in columns else {}),
        )
        if "time" in columns:
            kind = each.schema[columns["time"]]
            frame = with_time(frame, TimeColumn("?clock", kind, columns["time"] == day, form)).drop("?clock")
        frames.append(frame)
    return frames


def _optional_cells(delivery: Delivery, columns: Mapping[str, str], decimal: str | None) -> list[pl.Expr]:
    """Campaign, offer, arm, experiment, probability and cost of a file of messages."""
    mapping = ColumnMapping(columns=columns, decimal=decimal)
    style = detect_format(delivery, mapping)
    check_currencies([style], [delivery], mapping)
    return optional_cells(columns, delivery.schema, lambda name: read_amount(name, delivery, mapping, style))


def add_messages(events: pl.LazyFrame, messages: list[pl.LazyFrame]) -> pl.LazyFrame:
    """Append messages to the events, with default values for the columns they lack.

    Parameters
    ----------
    events : polars.LazyFrame
        Events.
    messages : list of polars.LazyFrame
        Messages of `read_contacts`.

    Returns
    -------
    polars.LazyFrame
        Events, then messages.
    """
    flags = [name for name, kind in events.collect_schema().items() if kind == pl.Boolean and name != "?has_day"]
    dtype = events.collect_schema()["customer"]
    messages = [message.with_columns(pl.col("customer").cast(dtype, strict=False)) for message in messages]
    zero, one = pl.lit(0.0), pl.lit(1.0)
    defaults = {"quantity": zero, "revenue": zero, "discount": zero, "?rate": one}
    messages = [message.with_columns(**defaults, **dict.fromkeys(flags, pl.lit(False))) for message in messages]
    return pl.concat([events, *messages], how="diagonal_relaxed")


def add_guests(customers: pl.LazyFrame | None, events: pl.LazyFrame) -> pl.LazyFrame | None:
    """Add the guests to the table of customers.

    Parameters
    ----------
    customers : polars.LazyFrame or None
        Table of customers.
    events : polars.LazyFrame
        Accepted events.

    Returns
    -------
    polars.LazyFrame or None
        The table with the guests, marked in the column `guest`; unchanged without guests.
    """
    if events.collect_schema()["customer"] != pl.String:
        return customers
    ids = events.select("customer").filter(pl.col("customer").str.starts_with(GUEST)).unique()
    guests = ids.sort("customer").collect(engine="streaming")
    if guests.is_empty():
        return customers
    marked = guests.with_columns(guest=True).lazy()
    return marked if customers is None else pl.concat([customers, marked], how="diagonal")


def with_guest_flag(customers: pl.LazyFrame) -> pl.LazyFrame:
    """Read an attribute `guest` as a flag: only a clear yes marks a guest.

    Parameters
    ----------
    customers : polars.LazyFrame
        Table of customers.

    Returns
    -------
    polars.LazyFrame
        The table; `guest` is a boolean if it is there.
    """
    schema = customers.collect_schema()
    if "guest" not in schema or schema["guest"] == pl.Boolean:
        return customers
    word = clean_text(pl.col("guest")).str.to_lowercase().str.replace(r"\.0$", "")
    return customers.with_columns(guest=word.is_in(YES_WORDS).fill_null(False))
