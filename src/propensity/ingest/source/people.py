"""What tables beside the events say of customers: who stands for whom, who may be written to, who was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from propensity.errors import ConfigurationError
from propensity.ingest.contract import Column, mandatory
from propensity.ingest.rule.day import DayFormat, read_day
from propensity.ingest.rule.identity import normalised_id, resolve_aliases
from propensity.ingest.rule.number import clean_text
from propensity.ingest.source.delivery import ROW, Delivery, check_keys, collect, open_files
from propensity.ingest.source.id_normalisation import GUEST, IdFormat

YES = ("true", "yes", "y", "1", "t", "opt-in", "optin", "opted_in", "granted", "given", "ja", "oui", "si", "sim")


def open_table(given: Mapping[str, str], table: tuple[Column, ...], name: str, separator: str) -> list[Delivery]:
    """The files of a table beside the events, its columns there."""
    setting = f"data.source.{name}"
    check_keys(given, ["path", *(column.name for column in table)], setting)
    for key in ("path", *mandatory(table)):
        if not given.get(key):
            raise ConfigurationError(f"{setting} needs {', '.join(('path', *mandatory(table)))}; {key} is missing")
    files = open_files(given["path"], setting, separator)
    for each in files:
        for key, column in given.items():
            if key != "path" and column:
                each.column(column, f"{setting}.{key}")
    return files


def read_identity_map(
    files: list[Delivery], given: Mapping[str, str], ids: IdFormat
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Whom each alias stands for; see `rule.identity.owners`."""
    pairs = [
        collect(
            f.frame.select(**{key: ids.read(given[key], f.schema[given[key]]) for key in ("alias", "customer")}),
            str(f.file),
        )
        for f in files
    ]
    return resolve_aliases(pl.concat(pairs, how="vertical_relaxed"))


def apply_identity_map(frame: pl.LazyFrame, owned: pl.DataFrame) -> pl.LazyFrame:
    """The frame with each alias of `customer` replaced by its owner."""
    if not owned.height:
        return frame
    step = owned.lazy().rename({"alias": "customer", "customer": "?owner"})
    step = step.with_columns(pl.col(step.collect_schema().names()).cast(frame.collect_schema()["customer"]))
    found = frame.join(step, on="customer", how="left", maintain_order="left")
    return found.with_columns(customer=pl.coalesce("?owner", "customer")).drop("?owner")


def read_contacts(
    files: list[Delivery], given: Mapping[str, str], ids: IdFormat, style: DayFormat, names: Sequence[str]
) -> list[pl.LazyFrame]:
    """Messages that went out, as events of kind message."""
    found = []
    for each in files:
        days = read_day(given["day"], each.schema[given["day"]], style)
        channel = (
            normalised_id(given["channel"], each.schema[given["channel"]]) if given.get("channel") else pl.lit(None)
        )
        found.append(
            each.frame.select(
                file=pl.lit(str(each.file)).cast(pl.Enum(list(names))),
                row=pl.col(ROW).cast(pl.UInt32),
                customer=ids.read(given["customer"], each.schema[given["customer"]]),
                day=days,
                kind=pl.lit("message"),
                channel=channel.cast(pl.String),
                **{"?day_given": pl.col(given["day"]).is_not_null()},
            )
        )
    return found


def read_consents(
    files: list[Delivery], given: Mapping[str, str], ids: IdFormat, style: DayFormat
) -> tuple[pl.DataFrame, dict[str, int]]:
    """One row a customer with the last word on each channel, and how many took theirs back."""
    parts = []
    for each in files:
        channel = clean_text(pl.col(given["channel"])).str.to_lowercase() if given.get("channel") else pl.lit("?all")
        day = read_day(given["day"], each.schema[given["day"]], style) if given.get("day") else pl.lit(None, pl.Date)
        word = clean_text(pl.col(given["consent"]).cast(pl.String)).str.to_lowercase()
        who = ids.read(given["customer"], each.schema[given["customer"]])
        said = each.frame.select(customer=who, channel=channel, day=day, consent=word.is_in(YES).fill_null(False))
        parts.append(collect(said, str(each.file)))
    words = pl.concat(parts).drop_nulls(["customer", "channel"]).sort("day", maintain_order=True, nulls_last=False)
    last = words.group_by("customer", "channel", maintain_order=True).agg(
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
    """The events followed by messages, which lack what only purchases have."""
    facts = [name for name, kind in events.collect_schema().items() if kind == pl.Boolean]
    schema = events.collect_schema()["customer"]
    messages = [message.with_columns(pl.col("customer").cast(schema, strict=False)) for message in messages]
    amounts = pl.col("quantity", "revenue", "discount").fill_null(0.0)
    both = pl.concat([events, *messages], how="diagonal_relaxed")
    return both.with_columns(pl.col(facts).fill_null(False), amounts, pl.col("?rate").fill_null(1.0))


def add_guests(customers: pl.LazyFrame | None, passed: pl.LazyFrame) -> pl.LazyFrame | None:
    """The table of customers with the guests among them marked `guest`; as it was where there are none."""
    if passed.collect_schema()["customer"] != pl.String:
        return customers
    names = passed.select("customer").filter(pl.col("customer").str.starts_with(GUEST)).unique()
    guests = names.sort("customer").collect(engine="streaming")
    if guests.is_empty():
        return customers
    marked = guests.with_columns(guest=True).lazy()
    return marked if customers is None else pl.concat([customers, marked], how="diagonal")


def add_consents(
    customers: pl.LazyFrame | None, passed: pl.LazyFrame, words: pl.DataFrame
) -> tuple[pl.LazyFrame, dict[str, int]]:
    """The table of customers with their consents; who was never asked has not consented, and is counted."""
    about = passed.select("customer").unique()
    if customers is not None:
        both = pl.concat([about, customers.select("customer")]).unique()
        about = both.join(customers.unique("customer", keep="last"), on="customer", how="left")
    dtype = about.collect_schema()["customer"]
    asked = words.lazy().with_columns(pl.col("customer").cast(dtype, strict=False), pl.lit(True).alias("?asked"))
    found = about.join(asked, on="customer", how="left").sort("customer").collect(engine="streaming")
    flags = [name for name in words.columns if name != "customer"]
    filled = found.with_columns(pl.col(name).fill_null(name == "suppressed") for name in flags)
    never = int(found["?asked"].null_count())
    return filled.drop("?asked").lazy(), {"consent_missing": never} if never else {}
