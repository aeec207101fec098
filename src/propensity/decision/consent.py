"""Who may be contacted: the consent gate of every decision.

Consents come from the event log and from a table of customers. A refusal in either of them wins, and a customer without
any word is not contacted where the log holds consents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from propensity.data.consent import GENERAL, NO, NONE, PROFILING, YES, ConsentRecord, channel_key, worse
from propensity.errors import ConfigurationError


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
    >>> import polars as pl
    >>> from propensity.data.consent import consent_record
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


def objectors(records: Sequence[ConsentRecord], size: int) -> np.ndarray:
    """(N,) bool: customers who object to profiling."""
    return _combined(records, PROFILING, size) == NO


def _combined(records: Sequence[ConsentRecord], channel: str, size: int) -> np.ndarray:
    """(N,) word of all sources on a channel."""
    word = np.full(size, NONE, np.int8)
    for record in records:
        if channel in record.words:
            word = worse(word, record.words[channel])
    return word
