"""What customers said about being contacted and being profiled, read from columns of their table.

The table of customers of a log and any other table of customers hold the same columns: `consent_<channel>` for each
channel, `consent` or `suppressed` for all channels, `consent_profiling` for being scored at all, `unsubscribed`, and
`guest`. Beside a word, `consented_<channel>` (or `consented`) holds the day since which it holds, and
`withdrawn_<channel>` (or `withdrawn`) the day of a withdrawal that a later consent follows.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

YES_WORDS = (
    *("true", "yes", "y", "1", "t", "opt-in", "optin", "opted_in", "granted", "given", "subscribed"),
    *("ja", "oui", "si", "sí", "sì", "sim", "ano", "áno", "tak", "da", "igen", "evet", "✓"),
)
NO_WORDS = (
    "false",
    "no",
    "n",
    "0",
    "f",
    "nein",
    "non",
    "nao",
    "não",
    "ne",
    "nie",
    "nee",
    "nej",
    "nei",
    "nu",
    "nem",
    "hayır",
    "hayir",
    "✗",
)
MARKS = ("suppressed", "unsubscribed")  # columns in which yes is a refusal
GENERAL, PROFILING = "", "profiling"  # words on every channel, and on being scored at all
NO, NONE, YES = -1, 0, 1


class ConsentRecord(NamedTuple):
    """What one source says about N customers.

    Attributes
    ----------
    words : Mapping[str, np.ndarray]
        Channel in lower case, `GENERAL` or `PROFILING`, to (N,) int8 of `NO`, `NONE` and `YES`.
    guest : np.ndarray
        (N,) bool, bought without a customer account.
    required : bool
        A customer without a general consent is not contacted; false where consents are given by channel.
    """

    words: Mapping[str, np.ndarray]
    guest: np.ndarray
    required: bool


def channel_key(channel: str) -> str:
    """A channel's name as it stands in the names of consent columns.

    Examples
    --------
    >>> channel_key(" Store "), channel_key("Direct  mail")
    ('store', 'direct mail')
    """
    return " ".join(unicodedata.normalize("NFKC", str(channel)).split()).lower()


def channel_keys(column: str) -> pl.Expr:
    """Expression of `channel_key` for a column of channels."""
    text = pl.col(column).cast(pl.String).str.normalize("NFKC").str.replace_all(r"\s+", " ").str.strip_chars()
    return text.str.to_lowercase().alias(column)


def consent_channel(column: str) -> str | None:
    """The channel that a column of words is about, `GENERAL` for all; None for any other column.

    Examples
    --------
    >>> consent_channel("Consent_Store"), consent_channel("suppressed"), consent_channel("city")
    ('store', '', None)
    """
    key = channel_key(column)
    if key in (*MARKS, "consent"):
        return GENERAL
    return channel_key(key.removeprefix("consent_")) if key.startswith("consent_") else None


def beside(column: str, what: str) -> str:
    """Name of the column of days beside a column of words: `what` is consented or withdrawn.

    Examples
    --------
    >>> beside("consent_store", "consented"), beside("suppressed", "withdrawn")
    ('consented_store', 'withdrawn')
    """
    channel = consent_channel(column)
    return f"{what}_{channel}" if channel else what


def words_in(column: pl.Series, unclear: int) -> np.ndarray:
    """Words of a column as numbers.

    Parameters
    ----------
    column : polars.Series
        N values of any type.
    unclear : int
        What a value that is neither yes nor no counts as.

    Returns
    -------
    np.ndarray
        (N,) int8 of `YES`, `NO` and, for null and blank text, `NONE`.

    Examples
    --------
    >>> words_in(pl.Series(["Yes", " no", "", None, "perhaps", "1.0"]), unclear=NO).tolist()
    [1, -1, 0, 0, -1, 1]
    """
    if column.dtype == pl.Boolean:
        return (column.cast(pl.Int8) * 2 - 1).fill_null(NONE).to_numpy()
    text = column.cast(pl.String).str.strip_chars().str.to_lowercase().str.replace(r"^([01])\.0+$", "$1")
    frame = pl.DataFrame({"text": text})
    word = (
        pl.when(pl.col("text").is_null() | (pl.col("text") == ""))
        .then(NONE)
        .when(pl.col("text").is_in(YES_WORDS))
        .then(YES)
        .when(pl.col("text").is_in(NO_WORDS))
        .then(NO)
        .otherwise(unclear)
    )
    return frame.select(word.cast(pl.Int8)).to_series().to_numpy()


def consent_record(table: pl.DataFrame, cutoff: str, from_log: bool) -> ConsentRecord:
    """The words of a table of customers as of a cutoff.

    Parameters
    ----------
    table : polars.DataFrame
        N rows, of which the columns that the module names are read, in any case.
    cutoff : str
        YYYY-MM-DD; a consent given on that day or later is not known yet. If it follows a withdrawal, the withdrawal
        holds until then.
    from_log : bool
        `suppressed` is a withdrawn general consent: false says that it is given, and null that there is none. In any
        other table it is a mark, and false or null says nothing, as `unsubscribed` is in every table.

    Returns
    -------
    ConsentRecord
        With the words of the columns that the table has.
    """
    size, words, required = table.height, dict[str, np.ndarray](), False
    names = {channel_key(name): name for name in table.columns}
    day = pl.Series([cutoff]).str.to_date()[0]
    for name in table.columns:
        channel = consent_channel(name)
        if channel is None or table.schema[name].is_temporal():
            continue
        if channel_key(name) in MARKS:
            says_yes = from_log and channel_key(name) == "suppressed"
            word = -words_in(table[name], unclear=YES)
            word = word if says_yes else np.minimum(word, NONE)
            required |= says_yes
        else:
            word = words_in(table[name], unclear=NO)
            required |= channel == GENERAL
        word = _known_before(word, table, names, name, day)
        words[channel] = worse(words[channel], word) if channel in words else word
    guest = np.zeros(size, bool)
    if "guest" in names:
        guest = words_in(table[names["guest"]], unclear=YES) == YES
    by_channel = bool(words.keys() - {GENERAL, PROFILING})
    return ConsentRecord(words, guest, required and not by_channel)


def _known_before(
    word: np.ndarray, table: pl.DataFrame, names: Mapping[str, str], column: str, day: object
) -> np.ndarray:
    """The words (N,) without the consents of the cutoff or later."""
    since, withdrawn = (names.get(beside(column, what)) for what in ("consented", "withdrawn"))
    if since is None or table.schema[since] != pl.Date:
        return word
    late = (table[since] >= day).fill_null(False).to_numpy() & (word == YES)
    earlier = NONE if withdrawn is None else np.where(table[withdrawn].is_not_null().to_numpy(), NO, NONE)
    return np.where(late, earlier, word).astype(np.int8)


def worse(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Two words on one channel as one: a refusal wins, and a word wins over none.

    Examples
    --------
    >>> worse(np.array([YES, YES, NONE]), np.array([NO, NONE, NONE])).tolist()
    [-1, 1, 0]
    """
    return np.where((one == NO) | (other == NO), NO, np.maximum(one, other)).astype(np.int8)


def words_at(customers: pl.DataFrame, cutoff: str) -> pl.DataFrame | None:
    """The words of a log's customers as of a cutoff, in columns that `consent_record` reads back.

    Parameters
    ----------
    customers : polars.DataFrame
        N rows of the table of customers of a log.
    cutoff : str
        YYYY-MM-DD.

    Returns
    -------
    polars.DataFrame or None
        N rows of `suppressed`, or `unsubscribed` where a general consent is not needed, and
        `consent_<channel>`, true, false or null; None if the log holds no words.
    """
    columns, record = {}, consent_record(customers, cutoff, from_log=True)
    mark = "suppressed" if record.required else "unsubscribed"
    for channel, word in record.words.items():
        name, yes = (f"consent_{channel}", YES) if channel else (mark, NO)
        columns[name] = pl.Series(word == yes).set(pl.Series(word == NONE), None)
    return pl.DataFrame(columns) if columns else None


def profiling_objectors(customers: pl.DataFrame, cutoff: str) -> np.ndarray:
    """Customers who object to profiling as of a cutoff, a withdrawal of any day included.

    Parameters
    ----------
    customers : polars.DataFrame
        N rows.
    cutoff : str
        YYYY-MM-DD.

    Returns
    -------
    np.ndarray
        (N,) bool.
    """
    about = [name for name in customers.columns if consent_channel(name) == PROFILING]
    if not about:
        return np.zeros(customers.height, bool)
    days = [name for name in customers.columns if channel_key(name) in (beside(about[0], "consented"), _WITHDRAWN)]
    record = consent_record(customers.select(*about, *days), cutoff, from_log=True)
    return record.words.get(PROFILING, np.zeros(customers.height, np.int8)) == NO


_WITHDRAWN = f"withdrawn_{PROFILING}"


def guest_flags(customers: pl.DataFrame) -> np.ndarray:
    """Customers who are marked as guests by a clear yes: (N,) bool."""
    if "guest" not in customers.columns:
        return np.zeros(customers.height, bool)
    return words_in(customers["guest"], unclear=NO) == YES
