"""What the data sheet of an evaluation says about its event log."""

from __future__ import annotations

from typing import Any

import numpy as np

from propensity.data.event_log import EventLog, to_date
from propensity.kernel.event import KINDS


def data_sheet_facts(log: EventLog) -> dict[str, Any]:
    """What a data sheet says about a log.

    Parameters
    ----------
    log : EventLog
        The log.

    Returns
    -------
    dict
        Numbers of customers and items, events by kind, first and last day, channels, the attributes of customers and
        items, and the warnings of its preparation.
    """
    counts = np.bincount(log.kind, minlength=len(KINDS))
    return {
        "customers": len(log),
        "items": log.items.height,
        "events": {kind: int(count) for kind, count in zip(KINDS, counts, strict=True) if count},
        "first_day": to_date(log.first_day).isoformat(),
        "last_day": to_date(log.last_day).isoformat(),
        "channels": list(log.meta.get("channels") or []),
        "customer_columns": [name for name in log.customers.columns if name != "customer"],
        "item_columns": [name for name in log.items.columns if name != "item"],
        "warnings": dict(log.meta.get("warnings") or {}),
    }
