"""Consent of people by channel and purpose, as their last words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from propensity.data.consent import GENERAL, MARKS, NO_WORDS, PROFILING, YES_WORDS, beside, channel_key, consent_channel
from propensity.ingest.rule.day import DayFormat, read_day
from propensity.ingest.rule.matching import require_match, rows_of
from propensity.ingest.rule.number import clean_text
from propensity.ingest.source.collection import collect
from propensity.ingest.source.delivery import Delivery
from propensity.ingest.source.id_normalisation import GUEST, IdFormat
from propensity.ingest.source.people import apply_identity_map, detect_day_format

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
        word = _word(setting["consent"])
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


def add_consents(
    customers: pl.LazyFrame | None,
    events: pl.LazyFrame,
    entries: pl.DataFrame,
    aliases: pl.DataFrame | None = None,
    earlier: Callable[[pl.Series], pl.Series] | None = None,
    has_words: bool = False,
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
    has_words : bool
        Whether that log has consents, so that a delivery without entries says nothing.

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
    of_log = pl.Series([], dtype=people.schema["customer"])  # their entries are in the log
    if earlier is not None:
        of_log = earlier(people["customer"]).cast(people.schema["customer"])
        known = earlier(entries["customer"].unique()).cast(people.schema["customer"])
        known = known.filter(pl.Series(rows_of(known, people["customer"]) < 0))
        people = pl.concat([people, known.to_frame("customer")], how="diagonal").sort("customer")
    require_match(entries["customer"], people["customer"], "data.source.consents", "the events")
    row = pl.Series("?row", rows_of(entries["customer"], people["customer"]))
    own = entries.with_columns(row).filter(pl.col("?row") >= 0).with_columns(customer=pl.col("?row")).drop("?row")
    words, withdrawn = last_words(own, entries["channel"].unique().to_list())
    words = words.select("customer") if has_words and entries.is_empty() else words
    attributes = [name for name in words.columns if name != "customer" and name in people.columns]
    people = people.rename({name: f"?{name}" for name in attributes})
    numbered = people.with_row_index("?row").with_columns(pl.col("?row").cast(pl.Int64))
    words = words.with_columns(pl.col("customer").cast(pl.Int64), pl.lit(True).alias("?entry"))
    joined = numbered.join(words, left_on="?row", right_on="customer", how="left", maintain_order="left").drop("?row")
    without = pl.col("?entry").is_null() & pl.col("customer").cast(pl.String).str.starts_with(GUEST).not_()
    without &= pl.col("customer").is_in(of_log.implode()).not_()
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
    word = _word(name)
    flag = word.is_in(NO_WORDS).not_() if name in MARKS else word.is_in(YES_WORDS)
    return pl.when(word.is_not_null()).then(flag).alias(name)


def _word(column: str) -> pl.Expr:
    """The words of a column in lower case, with 1 for 1.0."""
    return clean_text(pl.col(column)).str.to_lowercase().str.replace(r"^([01])\.0+$", "$1")


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
