"""Writes the columns of a log some at a time, so that memory does not grow with the log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from propensity.data.column_store import ColumnFiles, mapped_columns
from propensity.data.event_log import EventLog
from propensity.data.log_column import ENGAGEMENT


def written(log: EventLog, draft: Path) -> EventLog:
    """Write the columns of events, and map them.

    Parameters
    ----------
    log : EventLog
        The log, such as one with segments.
    draft : Path
        Folder of the columns.

    Returns
    -------
    EventLog
        The same log with these columns, which `EventLog.seal` completes.
    """
    whole = replace(log, **_write(log, draft), gathered=None, engagement=None)
    if log.engagement is None:
        return whole
    (draft / ENGAGEMENT).mkdir(exist_ok=True)
    return replace(whole, engagement=whole.sibling(_write(log.engagement, draft / ENGAGEMENT)))


def _write(log: EventLog, draft: Path) -> dict[str, Any]:
    """Write the columns; returns them, memory-mapped, with the offsets."""
    types = log.column_types
    for name, kind in types.items():
        with ColumnFiles(draft, {name: kind}) as files:
            for block in log.blocks(name):
                files.append({name: block})
    return mapped_columns(draft, np.diff(log.offsets), types)
