"""The consent gate that every list of customers goes through, and what a decision says about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from propensity.data.consent import ConsentRecord, channel_key, consent_record
from propensity.data.event_log import EventLog
from propensity.data.unsubscribe import customers_with_words
from propensity.decision.consent import Permission, known_channels, may_contact, objectors
from propensity.decision.result import IGNORED
from propensity.errors import InfeasibleError
from propensity.ingest.rule.matching import require_match, rows_of


@dataclass(frozen=True)
class ConsentGate:
    """Who of N customers may be contacted.

    Parameters
    ----------
    records : Sequence[ConsentRecord]
        One per source, each about the same N customers.
    size : int
        N.
    ignored : bool
        Contact regardless of consent.
    unknown : str, optional
        Why consents are unknown although the log of the scores may hold some; then nobody may be contacted.
    profiling_objectors : int
        Further customers, who were left out before because they object to profiling.
    has_log : bool
        Whether an event log is among the sources.
    asked : dict[str | None, Permission]
        Permissions of the channels that were asked about, which `summary` counts.
    """

    records: Sequence[ConsentRecord]
    size: int
    ignored: bool = False
    unknown: str | None = None
    profiling_objectors: int = 0
    has_log: bool = False
    asked: dict[str | None, Permission] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def known(self) -> bool:
        """Whether any source holds a consent or a refusal."""
        return any(record.words for record in self.records)

    @property
    def channels(self) -> list[str]:
        """Channels that consents are given for, in lower case."""
        return known_channels(self.records)

    def permission(self, channel: str | None) -> Permission:
        """Who may be contacted, see `propensity.decision.consent.may_contact`.

        Parameters
        ----------
        channel : str or None
            Channel of the contact; None: one that is chosen later.

        Returns
        -------
        Permission
            Whether or not consent is ignored.

        Raises
        ------
        ConfigurationError
            If no consents for the channel are known.
        InfeasibleError
            If the log of the scores is not there, so that no consents are known.
        """
        if self.unknown is not None and not self.ignored:
            raise InfeasibleError(self.unknown)
        if channel not in self.asked:
            if self.ignored and channel is not None and channel_key(channel) not in self.channels:
                return self.permission(None)
            self.asked[channel] = may_contact(self.records, channel, self.size)
        return self.asked[channel]

    def reachable(self, channel: str | None) -> np.ndarray:
        """(N,) bool: customers who may be contacted, see `DecisionContext.reachable`."""
        if self.ignored:
            self.permission(channel)  # for the summary
            return ~objectors(self.records, self.size)
        return self.permission(channel).mask.copy()

    def summary(self) -> dict[str, Any]:
        """Who may be contacted through the channels that were asked about, and who not, counted by reason.

        Returns
        -------
        dict[str, Any]
            ``ignored``; ``known``, whether there are any consents; ``customers``; ``may_contact``, through one of the
            channels or more; ``left_out`` by reason, which together are all customers; and ``by_channel`` where several
            channels were asked about.
        """
        union = np.logical_or.reduce([p.mask for p in self.asked.values()] or [np.ones(self.size, bool)])
        left_out = {"objects to profiling": self.profiling_objectors} if self.profiling_objectors else {}
        rest = ~union
        for permission in self.asked.values():
            for reason, mask in permission.left_out.items():
                if count := int((mask & rest).sum()):
                    left_out[reason] = left_out.get(reason, 0) + count
                rest = rest & ~mask
        summary = {
            "ignored": self.ignored,
            "known": self.known,
            "customers": self.size + self.profiling_objectors,
            "may_contact": int(union.sum()),
            "left_out": left_out,
        }
        if len(self.asked) > 1:
            summary["by_channel"] = {
                channel or "any": {"may_contact": int(p.mask.sum()), "left_out": _counts(p)}
                for channel, p in self.asked.items()
            }
        return summary

    def contactable(self) -> str:
        """How many customers a decision chooses from, in words."""
        if self.ignored:
            return f"{self.size:,} customers, regardless of consent"
        return f"{self.summary()['may_contact']:,} customers who may be contacted"

    def sentences(self) -> list[str]:
        """Who was left out, in words; or that consent was ignored."""
        summary = self.summary()
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary["left_out"].items())
        if self.ignored:
            regard = f"{IGNORED} (decision.ignore_consent=true): {summary['may_contact']:,} of "
            return [
                regard + f"{summary['customers']:,} customers may be contacted" + (f"; {reasons}" if reasons else "")
            ]
        if not summary["known"] and not self.has_log:
            return ["consents are unknown: there is no log, and no table of customers holds them"]
        if not reasons:
            return []
        sentences = [f"not contacted, of {summary['customers']:,} customers: {reasons}"]
        if None in self.asked and (channels := self.channels):
            sentences.append(
                f"no channel is named: a customer has consented to at least one of {', '.join(channels)}; name the one "
                "that is used"
            )
        return sentences


def _counts(permission: Permission) -> dict[str, int]:
    """Customers by the reason for which they are left out."""
    return {reason: int(mask.sum()) for reason, mask in permission.left_out.items()}


def log_record(log: EventLog, customer: pl.Series, cutoff: str) -> ConsentRecord:
    """The words of a log on N customers; a customer whom it does not have gave none.

    Parameters
    ----------
    log : EventLog
        The log.
    customer : pl.Series
        N ids of the scores.
    cutoff : str
        YYYY-MM-DD.

    Returns
    -------
    ConsentRecord
        Without words, where the log holds no consents.

    Raises
    ------
    DataError
        If the log has none of the customers, or under half of them.
    """
    known = log.customers["customer"]
    row = rows_of(customer, known)
    place = pl.DataFrame({"row": pl.Series(row, dtype=pl.Int64)})
    numbered = (
        customers_with_words(log)
        .select(pl.exclude("customer"))
        .with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    )
    table = place.join(numbered, on="row", how="left", maintain_order="left")
    require_match(customer, known, "the scores", "the log")
    return consent_record(table, cutoff, from_log=True)
