"""What the data sheet of an evaluation says about its event log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from propensity.data.event_log import EventLog, to_date
from propensity.kernel.event import KINDS

NAMED = 5  # names that a sentence lists


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
        items, the warnings of its preparation, and lines by name that are not products but were kept.
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
        "not_products_kept": dict(log.meta.get("not_products") or {}) if _kept(log.meta) else {},
    }


def not_product_warnings(log: EventLog) -> list[str]:
    """Say that a log keeps lines that are not products, so that offers may include them.

    Parameters
    ----------
    log : EventLog
        The log.

    Returns
    -------
    list of str
        One sentence, or none.
    """
    if not _kept(log.meta):
        return []
    names = log.meta.get("not_products") or {}
    listed = ", ".join(list(names)[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return [
        f"{_kept(log.meta):,} lines of the log are not products by name ({listed}) and were kept with "
        "data.source.not_products=[]: they are among the offers that are evaluated"
    ]


def _kept(meta: Mapping[str, Any]) -> int:
    """Number of lines that are not products but were kept."""
    return int((meta.get("warnings") or {}).get("not_product_kept", 0))
