"""Columns and files of an event log: their names, NumPy types, and the values of what an event does not have."""

from __future__ import annotations

import numpy as np

COLUMNS = {
    "day": np.int32,
    "item": np.int32,
    "kind": np.int8,
    "channel": np.int8,
    "order": np.int32,
    "quantity": np.float32,
    "revenue": np.float32,
    "discount": np.float32,
}
ARRAYS = ("offsets", *COLUMNS, "item_known")
KEYS = {
    "order_key": np.int32,
    "event_key": np.int32,
}  # hashes of the ids of orders and lines, see `propensity.ingest.late`
OPTIONAL = {"time": np.int64, "cost": np.float32, "contact": np.int32, "probability": np.float32}
NO_TIME = np.iinfo(np.int64).max  # an event without a time is the last of its day
MISSING = {"time": NO_TIME, "cost": np.nan, "contact": -1, "probability": np.nan}  # value of an event without one
MISSING |= dict.fromkeys(KEYS, 0)
ENGAGEMENT = "engagement"  # folder of the events of `propensity.kernel.event.ENGAGEMENT_KINDS`
SOMETIMES = (*OPTIONAL, *KEYS, *(f"{ENGAGEMENT}/{name}" for name in ("offsets", *COLUMNS, *OPTIONAL, *KEYS)))
TABLES = ("customers", "items")
CONTACTS = "contacts"
TABLE_FILES = tuple(f"{name}.parquet" for name in (*TABLES, CONTACTS))
