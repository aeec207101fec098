"""Tables about customers beside the events: identity map, contacts, consents, guests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from propensity.data.consent import GENERAL, MARKS, NO_WORDS, PROFILING, YES_WORDS, beside, channel_key, consent_channel
from propensity.errors import ConfigurationError
from propensity.ingest.contract import OPTIONAL_COLUMNS, Column, mandatory
from propensity.ingest.rule.day import DayFormat, day_evidence, day_format, read_day
from propensity.ingest.rule.identity import normalised_id, resolve_aliases
from propensity.ingest.rule.matching import require_match, rows_of
from propensity.ingest.rule.number import clean_text
from propensity.ingest.source.delivery import ROW, Delivery, check_keys, collect, open_files
from propensity.ingest.source.id_normalisation import GUEST, IdFormat
from propensity.ingest.source.optional import TimeColumn, optional_cells, with_time
from propensity.ingest.source.reading import ColumnMapping, check_currencies, detect_format, read_amount

EVERY_CHANNEL = "?all"  # the channel of an entry that names none
ALL_CHANNELS = ("all", "all channels", "any", "every", "*", "marketing")  # names of no channel in particular
MARKETING = "marketing"
REFUSED = (
    *NO_WORDS,
    "opt-out",
    "optout",
    "opted_out",
    "unsubscribed",
    "not_subscribed",
    "not subscribed",
    "withdrawn",
    "revoked",
    "refused",
    "denied",
)


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


def with_refusals_of_owners(entries: pl.DataFrame, ambiguous: pl.DataFrame) -> pl.DataFrame:
    """Add the refusals of ids with several replacements to each customer who may be meant.

    Parameters
    ----------
    entries : polars.DataFrame
        Table of `read_consents`.
    ambiguous : polars.DataFrame
        Table of `IdentityMap`.

    Returns
    -------
    polars.DataFrame
        The entries, and those of the owners.
    """
    owners = ambiguous.with_columns(pl.all().cast(entries.schema["customer"])).rename({"customer": "?owner"})
    refusals = entries.filter(~pl.col("consent")).join(owners, left_on="customer", right_on="alias", how="inner")
    return pl.concat([entries, refusals.with_columns(customer="?owner").select(entries.columns)])


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


def read_consents(files: list[Delivery], setting: Mapping[str, str], ids: IdFormat, style: DayFormat) -> pl.DataFrame:
    """Read consents.

    Parameters
    ----------
    files : list of Delivery
        Files of consents.
    setting : mapping of str to str
        Names of the columns `customer`, `consent` and optionally `channel`, `purpose` and `day`.
    ids : IdFormat
        Format of customer ids.
    style : DayFormat
        Configured format and time zone of days; the rest is detected in each file.

    Returns
    -------
    polars.DataFrame
        One row per entry: `customer`, `channel` in lower case, `EVERY_CHANNEL` or `PROFILING`, `day` where it is mapped
        (null where it cannot be read), `consent`, false for anything but a clear yes, and `?unclear` for a word that is
        no clear no either.
    """
    parts = []
    for each in files:
        word = clean_text(pl.col(setting["consent"])).str.to_lowercase().str.replace(r"^([01])\.0+$", "$1")
        columns = {
            "customer": ids.read(setting["customer"], each.schema[setting["customer"]]),
            "channel": _channel(setting.get("channel")),
            "consent": word.is_in(YES_WORDS).fill_null(False),
            "?unclear": word.is_in((*YES_WORDS, *REFUSED)).not_().fill_null(False),
        }
        if setting.get("purpose"):
            columns["?purpose"] = clean_text(pl.col(setting["purpose"])).str.to_lowercase()
        if setting.get("day"):
            column = setting["day"]
            detected = detect_day_format(each, column, style, "data.source.consents.day")
            columns["day"] = read_day(column, each.schema[column], detected)
        parts.append(collect(each.frame.select(**columns), str(each.file)))
    return _by_purpose(pl.concat(parts, how="vertical_relaxed").drop_nulls("customer"))


def _channel(column: str | None) -> pl.Expr:
    """The channel of an entry in the form of `propensity.data.consent.channel_key`."""
    if not column:
        return pl.lit(EVERY_CHANNEL)
    name = clean_text(pl.col(column), "NFKC").str.replace_all(r"\s+", " ").str.to_lowercase()
    return pl.when(name.is_in(ALL_CHANNELS)).then(pl.lit(EVERY_CHANNEL)).otherwise(name).fill_null(EVERY_CHANNEL)


def _by_purpose(entries: pl.DataFrame) -> pl.DataFrame:
    """Entries on profiling under the channel `PROFILING`; a refusal of any other purpose is one of marketing too."""
    if "?purpose" not in entries.columns:
        return entries
    purpose, about_profiling = pl.col("?purpose"), pl.lit(PROFILING).alias("channel")
    marketing = entries.filter(purpose == MARKETING)
    profiling = entries.filter(purpose == PROFILING).with_columns(about_profiling)
    unclear = entries.filter(~purpose.is_in([MARKETING, PROFILING]).fill_null(False) & ~pl.col("consent"))
    both = pl.concat([marketing, profiling, unclear, unclear.with_columns(about_profiling)])
    return both.drop("?purpose")


def last_words(entries: pl.DataFrame, channels: Sequence[str] = ()) -> tuple[pl.DataFrame, int]:
    """The word that counts, of each customer on each channel.

    A withdrawal counts if its day cannot be read, or if no consent was given on a later day; without days, it counts
    wherever it stands.

    Parameters
    ----------
    entries : polars.DataFrame
        Table of `read_consents`.
    channels : sequence of str
        Further channels that get a column, null where nobody has an entry.

    Returns
    -------
    words : polars.DataFrame
        One row per customer: `consent_<channel>`, and `suppressed` for entries on every channel or if there are no
        entries at all; null without an entry. With days, `consented_<channel>` and `consented` hold the day since which
        the word holds, null for a withdrawal whose day cannot be read, and `withdrawn` and `withdrawn_profiling` the
        day of a withdrawal that a consent follows.
    withdrawn : int
        Customers and channels whose consent was withdrawn.

    Examples
    --------
    >>> entries = pl.DataFrame({"customer": ["anna", "anna"], "channel": ["mail"] * 2, "consent": [True, False]})
    >>> last_words(entries)[0].to_dicts()
    [{'customer': 'anna', 'consent_mail': False}]
    """
    dated = "day" in entries.columns
    entries = entries if dated else entries.with_columns(day=pl.lit(None, pl.Date))
    no, yes, day = pl.col("consent").not_(), pl.col("consent"), pl.col("day")
    last_no = day.filter(no).max()
    counted = yes & (last_no.is_null() | (day > last_no)).fill_null(False)  # of an entry, within its group
    undated_no = (no & day.is_null()).any()
    words = entries.group_by("customer", "channel").agg(
        given=counted.any() & ~undated_no,
        first_yes=day.filter(counted).min(),
        last_no=pl.when(~undated_no).then(last_no),
        before=yes.any(),
    )
    words = words.with_columns(since=pl.when("given").then("first_yes").otherwise("last_no"))
    withdrawn = words.filter(pl.col("before") & ~pl.col("given")).height
    wide = words.select("customer").unique()
    for channel in sorted({*words["channel"], *channels, *([] if words.height or channels else [EVERY_CHANNEL])}):
        own = words.filter(pl.col("channel") == channel)
        name, word = f"consent_{channel}", pl.col("given")
        if channel == EVERY_CHANNEL:
            name, word = "suppressed", ~word
        since = beside(name, "consented")
        days = [pl.col("since").alias(since)] if dated else []
        if channel in (EVERY_CHANNEL, PROFILING) and own.filter("given")["last_no"].count():
            days.append(pl.when("given").then("last_no").alias(beside(name, "withdrawn")))
        own = own.select("customer", word.alias(name), *days)
        wide = wide.join(own, on="customer", how="left")
    return wide.sort("customer"), withdrawn


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


def add_consents(
    customers: pl.LazyFrame | None,
    events: pl.LazyFrame,
    entries: pl.DataFrame,
    aliases: pl.DataFrame | None = None,
    earlier: Callable[[pl.Series], pl.Series] | None = None,
) -> tuple[pl.LazyFrame, dict[str, int]]:
    """Add the consents to the table of customers.

    Parameters
    ----------
    customers : polars.LazyFrame or None
        Table of customers.
    events : polars.LazyFrame
        Accepted events.
    entries : polars.DataFrame
        Table of `read_consents`.
    aliases : polars.DataFrame, optional
        Table of `IdentityMap`; the entries of an alias are those of its customer. A refusal also holds for the alias
        itself where the earlier log has it.
    earlier : callable, optional
        Returns those of some ids that the log has to which the delivery is appended. Their consents count too.

    Returns
    -------
    customers : polars.LazyFrame
        All customers with their words, see `last_words`; null for a customer without an entry, who is not contacted.
    warnings : dict of str to int
        Number of withdrawn consents, of entries with an unknown word and of customers, guests aside, without an entry,
        by rule.

    Raises
    ------
    DataError
        If under half of the ids match.
    """
    table = events.select("customer").unique()
    if customers is not None:
        both = pl.concat([table, customers.select("customer")]).unique()
        table = both.join(customers.unique("customer", keep="last", maintain_order=True), on="customer", how="left")
    people = table.sort("customer").collect(engine="streaming")
    if aliases is not None:
        entries = _of_replacements(entries, aliases, earlier)
    if earlier is not None:
        known = earlier(entries["customer"].unique()).cast(people.schema["customer"])
        known = known.filter(pl.Series(rows_of(known, people["customer"]) < 0))
        people = pl.concat([people, known.to_frame("customer")], how="diagonal").sort("customer")
    require_match(entries["customer"], people["customer"], "data.source.consents", "the events")
    row = pl.Series("?row", rows_of(entries["customer"], people["customer"]))
    own = entries.with_columns(row).filter(pl.col("?row") >= 0).with_columns(customer=pl.col("?row")).drop("?row")
    words, withdrawn = last_words(own, entries["channel"].unique().to_list())
    attributes = [name for name in words.columns if name != "customer" and name in people.columns]
    people = people.rename({name: f"?{name}" for name in attributes})
    numbered = people.with_row_index("?row").with_columns(pl.col("?row").cast(pl.Int64))
    words = words.with_columns(pl.col("customer").cast(pl.Int64), pl.lit(True).alias("?entry"))
    joined = numbered.join(words, left_on="?row", right_on="customer", how="left", maintain_order="left").drop("?row")
    without = pl.col("?entry").is_null() & pl.col("customer").cast(pl.String).str.starts_with(GUEST).not_()
    counts = {
        "consent_withdrawn": withdrawn,
        "consent_unclear": int(own["?unclear"].sum()) if "?unclear" in own.columns else 0,
        "consent_missing": joined.select(without.sum()).item(),
    }
    joined = joined.with_columns(_with_attribute(name, words.schema[name] == pl.Date) for name in attributes)
    joined = joined.drop("?entry", *(f"?{name}" for name in attributes))
    return joined.lazy(), {code: count for code, count in counts.items() if count}


def _of_replacements(
    entries: pl.DataFrame, aliases: pl.DataFrame, earlier: Callable[[pl.Series], pl.Series] | None
) -> pl.DataFrame:
    """The entries under the ids that replace theirs, and refusals also under an alias that the earlier log has."""
    mapped = apply_identity_map(entries.lazy(), aliases).collect()
    if earlier is None:
        return mapped
    refusals = entries.filter((mapped["customer"] != entries["customer"]) & ~entries["consent"])
    in_log = rows_of(refusals["customer"], earlier(refusals["customer"].unique())) >= 0
    return pl.concat([mapped, refusals.filter(pl.Series(in_log)).drop("?unclear", strict=False)], how="diagonal")


def with_consent_flags(customers: pl.LazyFrame) -> pl.LazyFrame:
    """Read the attributes that hold consents as flags, under names in lower case.

    Parameters
    ----------
    customers : polars.LazyFrame
        Table of customers.

    Returns
    -------
    polars.LazyFrame
        The table; `suppressed`, `consent` and `consent_<channel>` are booleans. A word that is no clear yes or no is a
        refusal, and a blank is null.
    """
    schema = customers.collect_schema()
    names = {name: channel_key(name) for name, kind in schema.items() if _holds_words(name, kind)}
    names = {name: key for name, key in names.items() if name == key or key not in (*schema, *_others(names, name))}
    customers = customers.rename({name: key for name, key in names.items() if name != key})
    texts = [key for name, key in names.items() if schema[name] != pl.Boolean]
    return customers.with_columns(_flag(key) for key in texts) if texts else customers


def _others(names: Mapping[str, str], name: str) -> list[str]:
    """Keys of the columns before `name`."""
    return [key for other, key in names.items() if list(names).index(other) < list(names).index(name)]


def _holds_words(name: str, kind: pl.DataType) -> bool:
    """Whether a column of customers holds consents; days beside them do not."""
    return consent_channel(name) is not None and not kind.is_temporal()


def _flag(name: str) -> pl.Expr:
    """A column of words as booleans, null for a blank."""
    text = clean_text(pl.col(name)).str.to_lowercase().str.replace(r"^([01])\.0+$", "$1")
    flag = text.is_in(NO_WORDS).not_() if name in MARKS else text.is_in(YES_WORDS)
    return pl.when(text.is_not_null()).then(flag).alias(name)


def with_every_refusal(customers: pl.LazyFrame, aliases: pl.DataFrame | None = None) -> pl.LazyFrame:
    """Give every customer the refusals in all rows of the table that are about him, those of his aliases included.

    Parameters
    ----------
    customers : polars.LazyFrame
        Table of customers, see `with_consent_flags`.
    aliases : polars.DataFrame, optional
        Table of `IdentityMap`.

    Returns
    -------
    polars.LazyFrame
        The table, in which a customer's `suppressed`, `consent` and `consent_<channel>` are a refusal if those of any
        row are.
    """
    schema = customers.collect_schema()
    names = [name for name, kind in schema.items() if _holds_words(name, kind)]
    if not names:
        return customers
    mapped = customers if aliases is None else apply_identity_map(customers, aliases)
    refusals = mapped.group_by("customer").agg(
        (pl.col(name) == pl.lit(name in MARKS)).any().alias(f"?{name}") for name in names
    )
    joined = customers.join(refusals, on="customer", how="full", coalesce=True, maintain_order="left")
    words = (pl.when(pl.col(f"?{name}")).then(pl.lit(name in MARKS)).otherwise(name).alias(name) for name in names)
    return joined.with_columns(words).select(schema.names())


def _with_attribute(name: str, is_day: bool) -> pl.Expr:
    """A word of the consents together with the attribute of the same name in the table of customers."""
    if is_day:
        return pl.col(name)
    refusal = pl.lit(name in MARKS)
    refused = (pl.col(f"?{name}") == refusal).fill_null(False)
    return pl.when(refused).then(refusal).otherwise(pl.coalesce(name, f"?{name}")).alias(name)


def merged_words(
    customers: pl.DataFrame, old: pl.DataFrame, new: pl.DataFrame, aliases: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Combine the consents of two deliveries, as if both had been delivered at once.

    Parameters
    ----------
    customers : polars.DataFrame
        Customers of both deliveries.
    old, new : polars.DataFrame
        Customers of each delivery.
    aliases : polars.DataFrame, optional
        Identity map of the later delivery, whose aliases may be customers of the old one; their refusals count for the
        customers that replace them, and those of these customers for the aliases.

    Returns
    -------
    polars.DataFrame
        `customers` with the words of `last_words`: a withdrawal of either delivery counts, unless the other one has a
        consent of a later day.
    """
    for name in customers.columns:
        if consent_channel(name) is not None and customers.schema[name] == pl.Boolean:
            parts = [_entries_of(table, name, customers.schema["customer"]) for table in (old, new)]
            if aliases is not None:
                refusals = apply_identity_map(pl.concat(parts).filter(~pl.col("consent")).lazy(), aliases).collect()
                of_aliases = refusals.join(aliases, on="customer").with_columns(customer="alias")
                parts += [refusals, of_aliases.select(refusals.columns)]
            entries = pl.concat(parts)
            customers = _with_merged(customers, name, entries) if entries.height else customers
    return customers


def _entries_of(table: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.DataFrame:
    """The words of a delivery on one channel as entries: `customer`, `consent` and `day`."""
    if name not in table.columns:
        return pl.DataFrame(schema={"customer": dtype, "consent": pl.Boolean, "day": pl.Date})
    consent = ~pl.col(name) if name in MARKS else pl.col(name)
    since, withdrawn = beside(name, "consented"), beside(name, "withdrawn")
    day = pl.col(since) if since in table.columns else pl.lit(None, pl.Date)
    customer = pl.col("customer").cast(dtype)
    parts = [table.select(customer, consent=consent, day=day).drop_nulls("consent")]
    if withdrawn in table.columns:
        earlier = table.select(customer, consent=pl.lit(False), day=pl.col(withdrawn)).drop_nulls("day")
        parts.append(earlier)
    return pl.concat(parts)


def _with_merged(customers: pl.DataFrame, name: str, entries: pl.DataFrame) -> pl.DataFrame:
    """The customers with the words of the entries on one channel."""
    since, withdrawn = beside(name, "consented"), beside(name, "withdrawn")
    words = last_words(entries.with_columns(channel=pl.lit(name)))[0].rename({f"consent_{name}": "?given"})
    days = entries.group_by("customer").agg(
        pl.col("day").filter("consent").max().alias("?latest"),
        pl.col("day").filter(~pl.col("consent")).max().alias("?no"),
    )
    joined = customers
    for table in (words, days):
        joined = joined.join(table, on="customer", how="left", maintain_order="left")
    given = pl.col("?given")
    columns = {name: ~given if name in MARKS else given}
    if since in customers.columns:  # of two consents the later day, as a withdrawal may lie between them
        columns[since] = pl.when(given).then("?latest").otherwise(f"consented_{name}")
    if consent_channel(name) in (GENERAL, PROFILING) and joined.filter(given)["?no"].count():
        columns[withdrawn] = pl.when(given).then("?no")
    joined = joined.with_columns(**columns)
    return joined.select(*customers.columns, *(key for key in columns if key not in customers.columns))
