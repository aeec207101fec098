"""Changes of a log's accounts of rows and money when events or quarantined rows leave it.

Every row that was read is used, merged, quarantined or dropped, before and after. What leaves is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from propensity.data.event_log import EventLog
from propensity.kernel.event import PURCHASE, RETURN


def without_events(meta: Mapping[str, Any], count: int, rule: str, moved: Mapping[str, float]) -> dict[str, Any]:
    """Account for events that left the log.

    Parameters
    ----------
    meta : mapping
        Metadata of the log.
    count : int
        Number of events.
    rule : str
        Code under which they are dropped.
    moved : mapping of str to float
        Their money, see `money_of_events`.

    Returns
    -------
    dict
        The metadata with other `rows` and `money`.
    """
    rows = meta["rows"]
    dropped = dict(sorted((Counter(rows["dropped"]) + Counter({rule: count})).items()))
    return {**meta, "rows": rows | {"used": rows["used"] - count, "dropped": dropped}, **moved_money(meta, moved)}


def without_quarantined(meta: Mapping[str, Any], removed: Counter[str], rule: str, sales: float) -> dict[str, Any]:
    """Account for quarantined rows that were removed.

    Parameters
    ----------
    meta : mapping
        Metadata of the log.
    removed : Counter of str
        Number of rows by the reason of their quarantine.
    rule : str
        Code under which they are dropped.
    sales : float
        Their sales, in the currency of the log.

    Returns
    -------
    dict
        The metadata with other `rows` and `money`.
    """
    if not removed:
        return dict(meta)
    rows = meta["rows"]
    changed = {
        "quarantined": dict(sorted((Counter(rows["quarantined"]) - removed).items())),
        "dropped": dict(sorted((Counter(rows["dropped"]) + Counter({rule: removed.total()})).items())),
    }
    return {**meta, "rows": rows | changed, **moved_money(meta, {"quarantined": -sales, "dropped": sales})}


def money_of_events(log: EventLog, gone: np.ndarray | slice) -> dict[str, float]:
    """Money that moves in the account when events leave the log.

    Parameters
    ----------
    log : EventLog
        The log.
    gone : numpy.ndarray of shape (E,), bool, or slice
        The events.

    Returns
    -------
    dict of str to float
        Difference of each part.
    """
    kind = np.asarray(log.kind[gone])
    paid, discount, returned = (
        float(np.asarray(amount[gone])[kind == which].sum(dtype=np.float64))
        for amount, which in ((log.revenue, PURCHASE), (log.discount, PURCHASE), (log.revenue, RETURN))
    )
    return {"net": -paid - returned, "discounts": -discount, "returns": returned, "dropped": paid + discount}


def moved_money(meta: Mapping[str, Any], moved: Mapping[str, float]) -> dict[str, Any]:
    """The account of money after amounts moved between its parts; empty for a log without an account."""
    if not (money := meta.get("money")):
        return {}
    return {"money": {name: round(value + moved.get(name, 0.0), 2) + 0.0 for name, value in money.items()}}
