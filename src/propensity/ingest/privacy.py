"""Persons in data: ids under a keyed hash, addresses and numbers that are not stored, and a search that proves it."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from propensity.errors import ConfigurationError, DataError
from propensity.ingest.source import Tables

EMAIL = r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}"
PHONE = r"(?:\+\d{1,3}[ ./-]?|\(0?\d{1,5}\)[ ./-]?|\b0\d{1,5}[ /-])\d[\d ./-]{5,14}\d"
CONTACT_WORDS = ("mail", "phone", "mobile", "telefon", "whatsapp", "msisdn")  # a column named so is not stored at all
KEY_BYTES = 16  # a key that is shorter could be guessed
ID_COLUMNS = ("customer_id", "customer")
TEXT_SUFFIXES = (".json", ".jsonl", ".yaml", ".yml", ".csv", ".md", ".html", ".txt", ".log")


def read_key(where: str) -> bytes:
    """The key at `file:<path>` or `env:<name>`; ConfigurationError for none, or one too short to keep a secret."""
    kind, _, name = where.partition(":")
    if kind == "env":
        key = os.environ.get(name, "").encode()
    elif kind == "file":
        key = Path(name).expanduser().read_bytes().strip() if Path(name).expanduser().is_file() else b""
    else:
        raise ConfigurationError(
            "data.pseudonym says neither file:<path> nor env:<name>; a key itself is not written down"
        )
    if len(key) < KEY_BYTES:
        raise ConfigurationError(f"data.pseudonym={where} gives {len(key)} bytes; a key needs {KEY_BYTES} or more")
    return key


def pseudonym(identity: object, key: bytes) -> str:
    """A customer id under a key: 32 hex digits that only the key leads back to.

    >>> pseudonym(7, b"k" * 16) == pseudonym("7", b"k" * 16) != pseudonym("7", b"l" * 16)
    True
    """
    return hmac.new(key, str(identity).encode(), hashlib.sha256).hexdigest()[:32]


def pseudonymise(tables: Tables, key: bytes) -> Tables:
    """The tables with every customer id under the key; nothing else of them says who it is."""
    names = distinct_customers(tables)
    hidden = pl.Series("?hidden", [pseudonym(name, key) for name in names], pl.String)
    step = pl.DataFrame({"customer": names, "?hidden": hidden}).lazy()

    def under_key(frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.join(step, on="customer", how="left", maintain_order="left").with_columns(
            customer="?hidden"
        ).drop("?hidden")  # fmt: skip

    customers = None if tables.customers is None else under_key(tables.customers)
    return tables._replace(events=under_key(tables.events), customers=customers)


def distinct_customers(tables: Tables) -> pl.Series:
    """Distinct customer ids of the events and the customers' own table."""
    frames = [tables.events.select("customer")]
    if tables.customers is not None:
        dtype = tables.events.collect_schema()["customer"]
        frames.append(tables.customers.select(pl.col("customer").cast(dtype, strict=False)))
    found = pl.concat(frames).unique().collect(engine="streaming")["customer"]
    return found.drop_nulls().sort()


def refuse_personal_ids(tables: Tables) -> None:
    """DataError for customer ids that are e-mail addresses or phone numbers, where no key hides them."""
    if tables.events.collect_schema()["customer"] != pl.String:
        return
    told = pl.col("customer").str.contains(rf"^(?:{EMAIL}|{PHONE})$").any()
    if tables.events.select(told).collect(engine="streaming").item():
        raise DataError(
            "customer ids look like e-mail addresses or phone numbers; give data.pseudonym=file:<key> or env:<name>, "
            "so that they are stored under a keyed hash"
        )


def remove_contact_data(tables: Tables) -> Tables:
    """The tables without e-mail addresses and phone numbers in what describes items, customers and channels."""
    found = 0
    made: dict[str, pl.LazyFrame | None] = {}
    for name in ("items", "customers"):
        frame = getattr(tables, name)
        made[name] = frame
        if frame is not None:
            made[name], count = _masked(frame, name.removesuffix("s"))
            found += count
    warnings = tables.warnings | ({"personal_masked": found} if found else {})
    events = tables.events
    if events.collect_schema().get("channel") == pl.String:
        events = events.with_columns(mask_contact_data("channel"))
    return tables._replace(events=events, items=made["items"], customers=made["customers"], warnings=warnings)


def _masked(frame: pl.LazyFrame, key: str) -> tuple[pl.LazyFrame, int]:
    """A table of attributes without those that reach somebody, and how many values that were."""
    schema = frame.collect_schema()
    others = [name for name in schema if name != key]
    told = [
        n
        for n in others
        if key == "customer" and any(w in n.lower() for w in CONTACT_WORDS) and not n.startswith("consent")
    ]
    file_texts = [name for name in others if schema[name] == pl.String and name not in told]
    counts = [pl.col(name).is_not_null().sum() for name in told]
    counts += [pl.col(name).str.contains(rf"{EMAIL}|{PHONE}").sum() for name in file_texts]
    if not counts:
        return frame, 0
    found = frame.select(pl.sum_horizontal(counts)).collect(engine="streaming").item() or 0
    return (
        (frame.with_columns(mask_contact_data(name) for name in file_texts).drop(told), int(found))
        if found
        else (frame, 0)
    )


def mask_contact_data(name: str) -> pl.Expr:
    """A column of text, null where it holds an address or number."""
    return pl.when(~pl.col(name).str.contains(rf"{EMAIL}|{PHONE}")).then(pl.col(name)).alias(name)


def files_with_contact_data(folder: str | Path) -> list[str]:
    """Files under a folder that hold what looks like an e-mail address or a phone number: none should."""
    told = re.compile(rf"(?<![\w.]){EMAIL}(?![\w@])|(?<![\w.+-]){PHONE}(?![\w])")
    return [place for place, text in file_texts(folder) if told.search(text)]


def files_mentioning(folder: str | Path, identity: str) -> list[str]:
    """Files under a folder that hold a customer id: as a word; a number, which could be any, only as a customer's."""
    bare = identity.isdigit()
    named = r"customer(?:_id)?[\"']?\s*[:=]\s*[\"']?" if bare else r"(?<![\w.-])"
    word = re.compile(rf"{named}{re.escape(identity)}(?![\w.-])")
    found = {place for place, text in file_texts(folder, tables=not bare) if word.search(text)}
    for file in sorted(Path(folder).rglob("*")) if bare else []:
        if file.suffix in (".parquet", ".csv") and _names(file, identity):
            found.add(str(file))
    return sorted(found)


def _names(file: Path, identity: str) -> bool:
    """Whether a table has an id in a column of customers."""
    frame = pl.scan_parquet(file) if file.suffix == ".parquet" else pl.scan_csv(file, infer_schema=False)
    columns = [name for name in ID_COLUMNS if name in frame.collect_schema()]
    same = [(pl.col(name).cast(pl.String) == identity).any() for name in columns]
    return bool(same and frame.select(pl.any_horizontal(same)).collect().item())


def file_texts(folder: str | Path, tables: bool = True) -> Iterator[tuple[str, str]]:
    """Every readable file under a folder and all the text in it: tables cell by cell, checkpoints without weights."""
    for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        if file.suffix == ".parquet":
            if not tables:
                continue
            yield str(file), "\n".join(_cells(file))
        elif file.suffix in TEXT_SUFFIXES:
            yield str(file), file.read_text(errors="replace")
        elif zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as parts:
                names = [name for name in parts.namelist() if "/data/" not in name]
                yield str(file), "\n".join(parts.read(name).decode("utf-8", "replace") for name in names)


def _cells(file: Path) -> Iterator[str]:
    """The distinct values of a table's columns that could name somebody."""
    frame = pl.scan_parquet(file)
    for name, kind in frame.collect_schema().items():
        if kind == pl.String or kind.is_integer() or kind in (pl.Categorical, pl.Enum):
            yield from frame.select(pl.col(name).cast(pl.String).drop_nulls().unique()).collect()[name].to_list()
