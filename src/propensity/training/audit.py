"""The audit log: one line per training run with the data that it read. Lines are only appended."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from propensity.data.event_log import EventLog, to_date
from propensity.errors import ConfigurationError

FILE = "audit.jsonl"


def record(beside: Path, run: str | Path, log: EventLog, folder: str | Path, about: dict[str, Any]) -> Path:
    """Appends a line to `audit.jsonl`: a run, and the fingerprint, rows and dates of its log at `folder`."""
    path = beside / FILE
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
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
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        line = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise ConfigurationError(f"the audit log {path} cannot be written ({error.strerror}); correct out") from None
    with os.fdopen(line, "w") as stream:
        stream.write(json.dumps(entry) + "\n")
    return path
