"""The state of a nightly run: its folders, its settings and the models as they were when the night began."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from propensity.data.event_log import META, EventLog
from propensity.nightly.delivery import LEDGER, Ledger
from propensity.nightly.registry import Registry
from propensity.nightly.shop import Shop

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Night:
    """A night of a shop.

    Attributes
    ----------
    shop : Shop
        Settings.
    folder : Path
        Folder of `shop.yaml`, where relative paths start.
    date : str
        First day that the scores are about, YYYY-MM-DD.
    live : str or None
        The live model when the night began.
    say : callable
        Receives messages about progress.
    """

    shop: Shop
    folder: Path
    date: str
    live: str | None
    say: Callable[[str], None]

    @property
    def state(self) -> Path:
        """Folder of everything that the nightly run writes."""
        return self.shop.state

    @property
    def log(self) -> Path:
        """Folder of the event log."""
        return self.state / "log"

    @property
    def place(self) -> Path:
        """Folder of the results of the night."""
        return self.state / "nights" / self.date

    @property
    def scores(self) -> Path:
        """Folder of the scores of the night."""
        return self.place / "scores"

    @property
    def decisions(self) -> Path:
        """Folder of the decisions and send lists of the night."""
        return self.place / "decisions"

    @property
    def ledger(self) -> Ledger:
        """The deliveries that are settled, read again each time."""
        return Ledger(self.state / LEDGER)

    @property
    def registry(self) -> Registry:
        """The models, read again each time."""
        return Registry(self.state)

    def relative(self, path: Path) -> str:
        """A path below the state folder as results and the registry hold it."""
        return path.relative_to(self.state).as_posix()

    def fingerprint(self) -> str | None:
        """Fingerprint of the log as it is; None without a log."""
        return EventLog.open(self.log).fingerprint if (self.log / META).is_file() else None
