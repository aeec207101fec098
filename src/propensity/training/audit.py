"""The line of a training run in the audit log: the data that it read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from propensity.audit import append
from propensity.data.event_log import EventLog, to_date


def record(beside: Path, run: str | Path, log: EventLog, folder: str | Path, about: dict[str, Any]) -> Path:
    """Appends the line of a training run: fingerprint, rows and dates of its log at `folder`."""
    entry = {
        "run": str(run),
        "log": str(folder),
        "fingerprint": log.fingerprint,
        "rows": log.meta["rows"],
        "customers": len(log),
        "first_day": to_date(log.first_day).isoformat(),
        "last_day": to_date(log.last_day).isoformat(),
        "end": about["last_label"],
        "cutoffs": about["cutoffs"],
        "commit": about["commit"],
    }
    return append(beside, "train", entry)
