"""Tables about customers beside the events: identity map, contacts, consents, guests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from propensity.errors import ConfigurationError
from propensity.ingest.contract import Column, mandatory
from propensity.ingest.rule.day import DayFormat, day_evidence, day_format, read_day
from propensity.ingest.rule.identity import normalised_id, resolve_aliases
from propensity.ingest.rule.number import clean_text
from propensity.ingest.source.delivery import ROW, Delivery, check_keys, collect, open_files
from propensity.ingest.source.id_normalisation import GUEST, IdFormat

YES = ("true", "yes", "y", "1", "t", "opt-in", "optin", "opted_in", "granted", "given", "ja", "oui", "si", "sim")


def open_table(
    setting: Mapping[str, str], columns: tuple[Column, ...], name: str, separator: str | None
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
    files = open_files(setting["path"], full_name, separator)
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
    return day_format(evidence, f"{delivery.file} column {column}", style.format, style.zone, setting)


def read_identity_map(
    files: list[Delivery], setting: Mapping[str, str], ids: IdFormat
) -> tuple[pl.DataFrame, dict[str, int]]:
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
    aliases : polars.DataFrame
        Each replaced id and its replacement; see `propensity.ingest.rule.identity.resolve_aliases`.
    warnings : dict of str to int
        Number of ids by rule.
    """
    pairs = []
    for each in files:
        columns = {key: ids.read(setting[key], each.schema[setting[key]]) for key in ("alias", "customer")}
        pairs.append(collect(each.frame.select(**columns), str(each.file)))
    return resolve_aliases(pl.concat(pairs, how="vertical_relaxed"))


def apply_identity_map(frame: pl.LazyFrame, aliases: pl.DataFrame) -> pl.LazyFrame:
    """Replace the aliases in a column of customer ids.

    Parameters
    ----------
    frame : polars.LazyFrame
        Frame with a column `customer`.
    aliases : polars.DataFrame
        Table of `read_identity_map`.

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
    files: list[Delivery], setting: Mapping[str, str], ids: IdFormat, style: DayFormat, names: Sequence[str]
) -> list[pl.LazyFrame]:
    """Read sent messages as events.

    Parameters
    ----------
    files : list of Delivery
        Files of messages.
    setting : mapping of str to str
        Names of the columns `customer`, `day` and optionally `channel`.
    ids : IdFormat
        Format of customer ids.
    style : DayFormat
        Configured format and time zone of days; the rest is detected in each file.
    names : sequence of str
        Names of all delivered files, the categories of the column `file`.

    Returns
    -------
    list of polars.LazyFrame
        Events of kind message.
    """
    frames = []
    for each in files:
        day, channel = setting["day"], setting.get("channel")
        text = normalised_id(channel, each.schema[channel]) if channel else pl.lit(None)
        frames.append(
            each.frame.select(
                file=pl.lit(str(each.file)).cast(pl.Enum(list(names))),
                row=pl.col(ROW).cast(pl.UInt32),
                customer=ids.read(setting["customer"], each.schema[setting["customer"]]),
                day=read_day(day, each.schema[day], detect_day_format(each, day, style, "data.source.contacts.day")),
                kind=pl.lit("message"),
                channel=text.cast(pl.String),
                **{"?has_day": pl.col(day).is_not_null()},
            )
        )
    return frames


def read_consents(
    files: list[Delivery], setting: Mapping[str, str], ids: IdFormat, style: DayFormat
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Read consents.

    Parameters
    ----------
    files : list of Delivery
        Files of consents.
    setting : mapping of str to str
        Names of the columns `customer`, `consent` and optionally `channel` and `day`.
    ids : IdFormat
        Format of customer ids.
    style : DayFormat
        Configured format and time zone of days; the rest is detected in each file.

    Returns
    -------
    consents : polars.DataFrame
        One row per customer with the last consent for each channel as `consent_<channel>`, or `suppressed` without
        channels.
    warnings : dict of str to int
        Number of withdrawn consents by rule.
    """
    parts = []
    for each in files:
        channel = (
            clean_text(pl.col(setting["channel"])).str.to_lowercase() if setting.get("channel") else pl.lit("?all")
        )
        day = pl.lit(None, pl.Date)
        if setting.get("day"):
            column = setting["day"]
            day = read_day(
                column, each.schema[column], detect_day_format(each, column, style, "data.source.consents.day")
            )
        word = clean_text(pl.col(setting["consent"]).cast(pl.String)).str.to_lowercase()
        customer = ids.read(setting["customer"], each.schema[setting["customer"]])
        consent = word.is_in(YES).fill_null(False)
        entry = each.frame.select(customer=customer, channel=channel, day=day, consent=consent)
        parts.append(collect(entry, str(each.file)))
    entries = pl.concat(parts).drop_nulls(["customer", "channel"]).sort("day", maintain_order=True, nulls_last=False)
    last = entries.group_by("customer", "channel", maintain_order=True).agg(
        pl.col("consent").last(), before=pl.col("consent").any()
    )
    withdrawn = last.filter(pl.col("before") & ~pl.col("consent")).height
    wide = last.pivot("channel", index="customer", values="consent", sort_columns=True)
    names = {c: f"consent_{c}" for c in wide.columns if c not in ("customer", "?all")}
    wide = wide.rename(names)
    if "?all" in wide.columns:
        wide = wide.with_columns(suppressed=pl.col("?all").not_().fill_null(True)).drop("?all")
    return wide, {"consent_withdrawn": withdrawn} if withdrawn else {}


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


def add_consents(
    customers: pl.LazyFrame | None, events: pl.LazyFrame, consents: pl.DataFrame
) -> tuple[pl.LazyFrame, dict[str, int]]:
    """Add the consents to the table of customers.

    Parameters
    ----------
    customers : polars.LazyFrame or None
        Table of customers.
    events : polars.LazyFrame
        Accepted events.
    consents : polars.DataFrame
        Table of `read_consents`.

    Returns
    -------
    customers : polars.LazyFrame
        All customers with their consents; a customer without an entry has not consented.
    warnings : dict of str to int
        Number of customers without an entry, by rule.
    """
    table = events.select("customer").unique()
    if customers is not None:
        both = pl.concat([table, customers.select("customer")]).unique()
        table = both.join(customers.unique("customer", keep="last"), on="customer", how="left")
    dtype = table.collect_schema()["customer"]
    entries = consents.lazy().with_columns(pl.col("customer").cast(dtype, strict=False), pl.lit(True).alias("?entry"))
    joined = table.join(entries, on="customer", how="left").sort("customer").collect(engine="streaming")
    flags = [name for name in consents.columns if name != "customer"]
    filled = joined.with_columns(pl.col(name).fill_null(name == "suppressed") for name in flags)
    missing = int(joined["?entry"].null_count())
    return filled.drop("?entry").lazy(), {"consent_missing": missing} if missing else {}
