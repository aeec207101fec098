"""Who scored how many customers over HTTP, as lines of the audit log: one for each interval, not one for each request.

A line has counts by token, bundle and log, and no customer. A process that is killed loses the counts of its last
interval; the service's own log has a line for each request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from propensity import audit
from propensity.errors import ConfigurationError
from propensity.serving.online import OnlineScorer
from propensity.serving.service_log import say

if TYPE_CHECKING:
    from propensity.serving.defined_offers import DefinedScorer

COUNTS = ("requests", "customers", "failed", "explained")
MAX_KEYS = 1_000  # tokens, bundles and logs in a line; what is beyond is counted together


class Served(NamedTuple):
    """Who was answered, by which bundle, from which log."""

    token: str
    model: str
    digest: str
    log: str | None
    fingerprint: str | None


OTHERS = Served("other tokens", "", "", None, None)


class ScoringRecord:
    """Counts of what was scored since the last line of the audit log.

    Parameters
    ----------
    beside : Path
        Folder of the audit log, where `PROPENSITY_AUDIT` names none.
    """

    def __init__(self, beside: Path) -> None:
        self.beside = beside
        self.since = _now()
        self.counts: dict[Served, dict[str, int]] = {}
        self.lock = threading.Lock()  # counts come from the event loop, lines are written by a thread

    def add(
        self, token: str, scorer: OnlineScorer | DefinedScorer, customers: int, failed: int = 0, explained: int = 0
    ) -> None:
        """Count a request.

        Parameters
        ----------
        token : str
            Name of the caller's token.
        scorer : OnlineScorer or DefinedScorer
            That answered.
        customers, failed, explained : int
            Customers that were scored, that could not be scored, and that got reasons.
        """
        log = (None, None) if scorer.log is None else (str(scorer.log_folder), scorer.log.fingerprint)
        key = Served(token, str(scorer.bundle.folder), scorer.bundle.digest, *log)
        with self.lock:
            if key not in self.counts and len(self.counts) >= MAX_KEYS:
                key = OTHERS
            counts = self.counts.setdefault(key, dict.fromkeys(COUNTS, 0))
            for name, count in zip(COUNTS, (1, customers, failed, explained), strict=True):
                counts[name] += count

    def write(self) -> None:
        """Append a line with the counts so far, if there are any; the counts stay where that is not possible."""
        with self.lock:
            counts, since, until = self.counts, self.since, _now()
            self.counts, self.since = {}, until
        if not counts:
            return
        scored: list[dict[str, Any]] = [
            {name: value for name, value in key._asdict().items() if value is not None} | counts[key]
            for key in sorted(counts, key=str)
        ]
        entry = {"since": since, "until": until, "process": os.getpid(), "scored": scored}
        try:
            audit.append(self.beside, "score_http", entry)
        except ConfigurationError:
            say("no audit log", logging.WARNING)
            self._restore(counts, since)

    def _restore(self, counts: dict[Served, dict[str, int]], since: str) -> None:
        """Take counts that were not written back."""
        with self.lock:
            self.since = since
            for key, row in counts.items():
                own = self.counts.setdefault(key, dict.fromkeys(COUNTS, 0))
                for name, count in row.items():
                    own[name] += count

    async def watch(self, seconds: float) -> None:
        """Write a line after each interval, until the task is cancelled.

        Parameters
        ----------
        seconds : float
            Length of an interval.
        """
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.write)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
