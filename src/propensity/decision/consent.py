"""Who may be contacted: the consent gate of every decision.

Consents come from the event log and from a table of customers. A refusal in either of them wins, and a customer without
any word is not contacted where the log holds consents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from propensity.errors import ConfigurationError
from propensity.ingest.source.people import NO as NO_WORDS
from propensity.ingest.source.people import YES as YES_WORDS

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


class Permission(NamedTuple):
    """Who may be contacted through a channel.

    Attributes
    ----------
    mask : np.ndarray
        (N,) bool.
    left_out : Mapping[str, np.ndarray]
        Reason to (N,) bool. Every other customer has exactly one reason; reasons that nobody has are left out.
    """

    mask: np.ndarray
    left_out: Mapping[str, np.ndarray]


def may_contact(records: Sequence[ConsentRecord], channel: str | None, size: int) -> Permission:
    """Who may be contacted, by what the log and tables of customers say.

    Parameters
    ----------
    records : Sequence[ConsentRecord]
        One per source, each about the same N customers.
    channel : str or None
        Channel of the contact, in any case. None: a channel that is chosen later, so that a customer must have
        consented to at least one, where consents are given by channel.
    size : int
        N.

    Returns
    -------
    Permission
        Without records, everybody. A refusal in any source wins.

    Raises
    ------
    ConfigurationError
        If no source knows consents for the channel.

    Examples
    --------
    >>> record = consent_record(pl.DataFrame({"consent_mail": [True, False, None]}), "2024-03-04", from_log=True)
    >>> permission = may_contact([record], "Mail", 3)
    >>> permission.mask.tolist(), {reason: int(mask.sum()) for reason, mask in permission.left_out.items()}
    ([True, False, False], {'no consent for Mail': 1, 'no word on consent': 1})
    """
    channels, required = known_channels(records), any(record.required for record in records)
    general = _combined(records, GENERAL, size)
    if channel is None:
        each = np.stack([_combined(records, name, size) for name in channels] or [np.full(size, YES)])
        word = np.where((each == YES).any(axis=0), YES, each.min(axis=0))
    elif channel_key(channel) in channels:
        word = _combined(records, channel_key(channel), size)
    elif required and not channels:
        word = general
    else:
        raise ConfigurationError(
            f"customers have no column consent_{channel_key(channel)}; add it, or leave decision.channel out"
        )
    guest = np.logical_or.reduce([np.zeros(size, bool), *(record.guest for record in records)])
    reasons = {
        "objects to profiling": _combined(records, PROFILING, size) == NO,
        "guest": guest,
        "suppressed": general == NO,
        "no consent" if channel is None else f"no consent for {channel}": word == NO,
        "no word on consent": (word == NONE) | (required & (general == NONE)),
    }
    left, left_out = np.ones(size, bool), {}
    for reason, mask in reasons.items():
        if (mask & left).any():
            left_out[reason] = mask & left
        left &= ~mask
    return Permission(left, left_out)


def known_channels(records: Sequence[ConsentRecord]) -> list[str]:
    """Channels that consents are given for, in lower case."""
    return sorted({name for record in records for name in record.words} - {GENERAL, PROFILING})


def channel_key(channel: str) -> str:
    """A channel's name as it stands in the names of consent columns."""
    return channel.strip().lower()


def objectors(records: Sequence[ConsentRecord], size: int) -> np.ndarray:
    """(N,) bool: customers who object to profiling."""
    return _combined(records, PROFILING, size) == NO


def consent_record(table: pl.DataFrame, cutoff: str, from_log: bool) -> ConsentRecord:
    """The words of a table of customers.

    Parameters
    ----------
    table : pl.DataFrame
        N rows, of which ``consent``, ``consent_<channel>``, ``consent_profiling``, ``suppressed`` and ``guest`` are
        read. ``consented_<channel>`` and ``consented`` hold the day since which the word holds.
    cutoff : str
        YYYY-MM-DD; a consent given on that day or later is not known yet.
    from_log : bool
        ``suppressed`` is a withdrawn general consent: false says that it is given, and null that there is none. In any
        other table it is a mark, and false or null says nothing.

    Returns
    -------
    ConsentRecord
        With the words of the columns that the table has.
    """
    size, words = table.height, dict[str, np.ndarray]()
    required = False
    for name in table.columns:
        key = name.strip().lower()
        if key == "suppressed":
            word = -_words(table[name], unclear=YES)
            word, channel, since = word if from_log else np.minimum(word, NONE), GENERAL, "consented"
            required |= from_log
        elif key == "consent" or key.startswith("consent_"):
            word, channel = _words(table[name], unclear=NO), key.removeprefix("consent").removeprefix("_")
            since = f"consented_{channel}" if channel else "consented"
            required |= channel == GENERAL
        else:
            continue
        if since in table.columns and table.schema[since] == pl.Date:
            word = np.where(_later(table[since], cutoff) & (word == YES), NONE, word)
        words[channel] = _worse(words[channel], word) if channel in words else word
    guest = np.zeros(size, bool)
    if "guest" in table.columns:
        guest = _words(table["guest"], unclear=YES) == YES
    by_channel = bool(words.keys() - {GENERAL, PROFILING})
    return ConsentRecord(words, guest, required and not by_channel)


def _later(day: pl.Series, cutoff: str) -> np.ndarray:
    """(N,) bool: on the cutoff or later."""
    return (day >= pl.Series([cutoff]).str.to_date()[0]).fill_null(False).to_numpy()


def _words(column: pl.Series, unclear: int) -> np.ndarray:
    """(N,) int8: yes, no or, for null and blank text, none; `unclear` for anything else."""
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


def _worse(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A refusal wins; a word wins over none."""
    return np.where((one == NO) | (other == NO), NO, np.maximum(one, other)).astype(np.int8)


def _combined(records: Sequence[ConsentRecord], channel: str, size: int) -> np.ndarray:
    """(N,) word of all sources on a channel."""
    word = np.full(size, NONE, np.int8)
    for record in records:
        if channel in record.words:
            word = _worse(word, record.words[channel])
    return word
