"""Personal data: keyed pseudonyms of customer ids, masking of contact data, and searches that verify both."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from propensity.data.contact import CONTACT_COLUMNS
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.source import Tables

EMAIL = r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}"
PHONE = r"(?:\+\d{1,3}[ ./-]?|\(0?\d{1,5}\)[ ./-]?|\b0\d{1,5}[ /-])\d[\d ./-]{5,14}\d"
CONTACT_WORDS = ("mail", "phone", "mobile", "telefon", "whatsapp", "msisdn")  # customer columns so named are dropped
KEY_BYTES = 16  # minimum length of a key; a shorter key could be guessed
ID_COLUMNS = ("customer_id", "customer")
TEXT_SUFFIXES = (".json", ".jsonl", ".yaml", ".yml", ".csv", ".md", ".html", ".txt", ".log")


def read_key(location: str, setting: str = "data.pseudonym") -> bytes:
    """Read a pseudonym key.

    Parameters
    ----------
    location : str
        `file:<path>` or `env:<name>`.
    setting : str
        Name of the setting, for messages.

    Returns
    -------
    bytes
        The key.

    Raises
    ------
    ConfigurationError
        If the location has another form, or the key is missing or too short.
    """
    kind, _, name = location.partition(":")
    if kind == "env":
        key = os.environ.get(name, "").encode()
    elif kind == "file":
        key = Path(name).expanduser().read_bytes().strip() if Path(name).expanduser().is_file() else b""
    else:
        raise ConfigurationError(
            f"{setting} is neither file:<path> nor env:<name>; give the location of the key, never the key itself"
        )
    if len(key) < KEY_BYTES:
        raise ConfigurationError(f"{setting}={location} gives {len(key)} bytes; use a key of {KEY_BYTES} bytes or more")
    return key


def pseudonym(identity: object, key: bytes) -> str:
    """Compute the pseudonym of a customer id.

    Parameters
    ----------
    identity : object
        Customer id.
    key : bytes
        Secret key.

    Returns
    -------
    str
        The first 32 hexadecimal digits of HMAC-SHA256; the id cannot be recovered without the key.

    Examples
    --------
    >>> pseudonym(7, b"k" * 16) == pseudonym("7", b"k" * 16) != pseudonym("7", b"l" * 16)
    True
    """
    return hmac.new(key, str(identity).encode(), hashlib.sha256).hexdigest()[:32]


def key_fingerprint(key: bytes | None) -> str | None:
    """Fingerprint of a pseudonym key, which the log stores; None without a key.

    Parameters
    ----------
    key : bytes, optional
        Secret key.

    Returns
    -------
    str or None
        16 hexadecimal digits. The key cannot be recovered from them.

    Examples
    --------
    >>> key_fingerprint(None), len(key_fingerprint(b"k" * 16))
    (None, 16)
    """
    return None if key is None else hmac.new(key, b"fingerprint of the pseudonym key", hashlib.sha256).hexdigest()[:16]


def check_key(meta: Mapping[str, Any], key: bytes | None, log: str | Path) -> None:
    """Check that a key is the one that the ids of a log are stored under.

    Parameters
    ----------
    meta : mapping
        Metadata of the log; a log of an earlier version does not store a fingerprint and accepts any key.
    key : bytes, optional
        The key.
    log : str or Path
        Folder of the log, for the message.

    Raises
    ------
    ConfigurationError
        If the log has plain ids and there is a key, or the log has pseudonyms under another key or there is none.
    """
    if "key" not in meta or meta["key"] == key_fingerprint(key):
        return
    if meta["key"] is None:
        raise ConfigurationError(f"{log} stores customer ids without a key; leave pseudonym out, or prepare it again")
    if key is None:
        raise ConfigurationError(f"{log} stores customer ids under a key; give its place as pseudonym")
    raise ConfigurationError(f"{log} stores customer ids under another key; give the place of its own as pseudonym")


def with_ids(tables: Tables, ids: pl.Series, replacements: pl.Series) -> Tables:
    """Replace customer ids in the events and the table of customers.

    Parameters
    ----------
    tables : Tables
        Raw tables.
    ids : polars.Series
        All n ids, see `distinct_customers`.
    replacements : polars.Series
        Replacement (n,) of each.

    Returns
    -------
    Tables
        The tables; other columns are not changed.
    """
    lookup = pl.DataFrame({"customer": ids, "?replacement": replacements}).lazy()

    def replace_ids(frame: pl.LazyFrame) -> pl.LazyFrame:
        """The frame with replacements as `customer`."""
        return frame.join(lookup, on="customer", how="left", maintain_order="left").with_columns(
            customer="?replacement"
        ).drop("?replacement")  # fmt: skip

    customers = None if tables.customers is None else replace_ids(tables.customers)
    return tables._replace(events=replace_ids(tables.events), customers=customers)


def distinct_customers(tables: Tables) -> pl.Series:
    """List the customer ids of the events and the table of customers.

    Parameters
    ----------
    tables : Tables
        Raw tables.

    Returns
    -------
    polars.Series
        Sorted distinct ids.
    """
    frames = [tables.events.select("customer")]
    if tables.customers is not None:
        dtype = tables.events.collect_schema()["customer"]
        frames.append(tables.customers.select(pl.col("customer").cast(dtype, strict=False)))
    ids = pl.concat(frames).unique().collect(engine="streaming")["customer"]
    return ids.drop_nulls().sort()


def refuse_personal_ids(tables: Tables) -> None:
    """Check that customer ids are not contact data.

    Parameters
    ----------
    tables : Tables
        Raw tables.

    Raises
    ------
    DataError
        If an id is an e-mail address or phone number.
    """
    if tables.events.collect_schema()["customer"] != pl.String:
        return
    personal = pl.col("customer").str.contains(rf"^(?:{EMAIL}|{PHONE})$").any()
    if tables.events.select(personal).collect(engine="streaming").item():
        raise DataError(
            "customer ids look like e-mail addresses or phone numbers; set data.pseudonym=file:<key> or env:<name> "
            "to store them under a keyed hash"
        )


def remove_contact_data(tables: Tables) -> Tables:
    """Remove e-mail addresses and phone numbers from attributes of items and customers and from channels.

    Parameters
    ----------
    tables : Tables
        Raw tables.

    Returns
    -------
    Tables
        The tables; the number of removed values is counted under the rule `personal_masked`.
    """
    count = 0
    masked: dict[str, pl.LazyFrame | None] = {}
    for name in ("items", "customers"):
        frame = getattr(tables, name)
        masked[name] = frame
        if frame is not None:
            masked[name], values = _mask_table(frame, name.removesuffix("s"))
            count += values
    warnings = tables.warnings | ({"personal_masked": count} if count else {})
    events = tables.events
    schema = events.collect_schema()
    if texts := [name for name in ("channel", *CONTACT_COLUMNS) if schema.get(name) == pl.String]:
        events = events.with_columns(map(mask_contact_data, texts))
    return tables._replace(events=events, items=masked["items"], customers=masked["customers"], warnings=warnings)


def _mask_table(frame: pl.LazyFrame, key: str) -> tuple[pl.LazyFrame, int]:
    """A table without contact data in its attributes, and the number of removed values."""
    schema = frame.collect_schema()
    attributes = [name for name in schema if name != key]
    named = [n for n in attributes if any(word in n.lower() for word in CONTACT_WORDS) and not n.startswith("consent")]
    contact_columns = named if key == "customer" else []
    texts = [name for name in attributes if schema[name] == pl.String and name not in contact_columns]
    counts = [pl.col(name).is_not_null().sum() for name in contact_columns]
    counts += [pl.col(name).str.contains(rf"{EMAIL}|{PHONE}").sum() for name in texts]
    if not counts:
        return frame, 0
    count = int(frame.select(pl.sum_horizontal(counts)).collect(engine="streaming").item() or 0)
    if not count:
        return frame, 0
    return frame.with_columns(mask_contact_data(name) for name in texts).drop(contact_columns), count


def mask_contact_data(name: str) -> pl.Expr:
    """Build an expression that masks contact data.

    Parameters
    ----------
    name : str
        A text column.

    Returns
    -------
    polars.Expr
        The column, null where it contains an e-mail address or phone number.
    """
    return pl.when(~pl.col(name).str.contains(rf"{EMAIL}|{PHONE}")).then(pl.col(name)).alias(name)


def files_with_contact_data(folder: str | Path) -> list[str]:
    """Find files with text that looks like an e-mail address or phone number.

    Parameters
    ----------
    folder : str or Path
        Folder to search.

    Returns
    -------
    list of str
        Paths of the files.
    """
    contact = re.compile(rf"(?<![\w.]){EMAIL}(?![\w@])|(?<![\w.+-]){PHONE}(?![\w])")
    return [file for file, text in file_texts(folder) if contact.search(text)]


def files_mentioning(folder: str | Path, identity: str) -> list[str]:
    """Find files that contain a customer id.

    Parameters
    ----------
    folder : str or Path
        Folder or file to search.
    identity : str
        Customer id. Text is searched as a word. Digits, which can be any number, are searched only after a key such as
        `customer_id:` and in columns of customer ids.

    Returns
    -------
    list of str
        Sorted paths of the files.
    """
    digits = identity.isdigit()
    prefix = r"customer(?:_id)?[\"']?\s*[:=]\s*[\"']?" if digits else r"(?<![\w.-])"
    word = re.compile(rf"{prefix}{re.escape(identity)}(?![\w.-])")
    files = {file for file, text in file_texts(folder, tables=not digits) if word.search(text)}
    for path in _files(Path(folder)) if digits else []:
        if path.suffix in (".parquet", ".csv") and _has_id(path, identity):
            files.add(str(path))
    return sorted(files)


def _has_id(file: Path, identity: str) -> bool:
    """Whether a table has an id in a column of customer ids."""
    frame = pl.scan_parquet(file) if file.suffix == ".parquet" else pl.scan_csv(file, infer_schema=False)
    columns = [name for name in ID_COLUMNS if name in frame.collect_schema()]
    same = [(pl.col(name).cast(pl.String) == identity).any() for name in columns]
    return bool(same and frame.select(pl.any_horizontal(same)).collect().item())


def _files(place: Path) -> list[Path]:
    """The files of a folder, or a file itself."""
    return [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())


def file_texts(folder: str | Path, tables: bool = True) -> Iterator[tuple[str, str]]:
    """Read the text of every readable file.

    Parameters
    ----------
    folder : str or Path
        Folder or file to search.
    tables : bool
        Whether to read Parquet files.

    Yields
    ------
    file : str
        Path of the file.
    text : str
        Its text: distinct cells of a table, a checkpoint without its weights.
    """
    for file in _files(Path(folder)):
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
    """Distinct values of a table's text and integer columns."""
    frame = pl.scan_parquet(file)
    for name, kind in frame.collect_schema().items():
        if kind == pl.String or kind.is_integer() or kind in (pl.Categorical, pl.Enum):
            yield from frame.select(pl.col(name).cast(pl.String).drop_nulls().unique()).collect()[name].to_list()
