"""The fingerprint of a log: a hash of its columns and tables, the same however they are stored."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from propensity.data.log_column import ARRAYS, KEYS, OPTIONAL

if TYPE_CHECKING:
    from propensity.data.event_log import EventLog


def fingerprint(log: EventLog) -> str:
    """Hash a log.

    Parameters
    ----------
    log : EventLog
        The log. The columns of a log with segments are gathered some customers at a time.

    Returns
    -------
    str
        16 hexadecimal digits that change with any event, customer or item.
    """
    digest = hashlib.sha256()
    parts = [(log, [*ARRAYS, *(name for name in OPTIONAL if name in log.column_types)])]
    if log.engagement is not None:
        parts.append((log.engagement, ["offsets", *(name for name in log.engagement.column_types if name not in KEYS)]))
    for part, names in parts:
        for name in names:
            for block in part.blocks(name):
                digest.update(np.ascontiguousarray(block).view(np.uint8).data)
    for frame in (log.customers, log.items, *([] if log.contacts is None else [log.contacts])):
        digest.update(np.ascontiguousarray(frame.hash_rows(seed=0).to_numpy()).view(np.uint8).data)
    return digest.hexdigest()[:16]
