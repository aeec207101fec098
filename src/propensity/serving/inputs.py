"""A network's inputs out of raw events, in plain NumPy: what the kernels and `data/feature.py` compute, by definition.

A bundle carries this file beside `reference.py`; both need NumPy alone. `rule` names the columns and windows (the
manifest's `rule`), `tables` are those of a date (`tables.npz`). B customers, M offers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

try:  # inside a bundle the two files lie side by side
    from reference import customer_reference, last_events_reference, pair_reference
except ImportError:
    from propensity.kernel.reference import customer_reference, last_events_reference, pair_reference

KINDS = ("purchase", "view", "message", "redemption", "return")
KINDS_BY_NAME = {name: number for number, name in enumerate(KINDS)}
EPOCH = date(1970, 1, 1)
DERIVED = ("trend", "cohort_spend", "cohort_orders")  # customer columns that are no kernel's
AFFINITY = ("similar", "together", "follow")
Event = Mapping[str, Any]
Arrays = dict[str, np.ndarray]


def event_columns(
    customers: Sequence[Sequence[Event]], item_code: Mapping[str, int], channels: Sequence[str]
) -> Arrays:
    """Customers' raw events, each a list in any order, as the columns of a log: by customer and day, orders numbered.

    An event has day (YYYY-MM-DD) and kind; item, channel, order, quantity, revenue and discount are optional. Unknown
    items and channels become -1, as if the event had none.
    """
    own = [sorted(events, key=lambda event: str(event["day"])) for events in customers]
    channel_code = {name: number for number, name in enumerate(channels)}
    flat = [event for events in own for event in events]

    def column(value: Any, kind: type) -> np.ndarray:
        return np.array([value(event) for event in flat], kind)

    return {
        "offsets": np.cumsum([0, *map(len, own)]).astype(np.int64),
        "day": column(lambda e: (date.fromisoformat(str(e["day"])) - EPOCH).days, np.int32),
        "item": column(lambda e: item_code.get(str(e.get("item")), -1), np.int32),
        "kind": column(lambda e: KINDS_BY_NAME[e["kind"]], np.int8),
        "channel": column(lambda e: channel_code.get(e.get("channel") or "", -1), np.int8),
        "order": np.array([number for events in own for number in order_numbers(events)], np.int32),
        "quantity": column(lambda e: 1.0 if e.get("quantity") is None else e["quantity"], np.float32),
        "revenue": column(lambda e: e.get("revenue") or 0.0, np.float32),
        "discount": column(lambda e: e.get("discount") or 0.0, np.float32),
    }


def order_numbers(events: Sequence[Event]) -> list[int]:
    """The number of each purchase's order, by first appearance; without an id, a day is an order; -1: no purchase."""
    number: dict[tuple[str, str], int] = {}
    found = []
    for event in events:
        order = event.get("order")
        key = ("day", str(event["day"])) if order is None else ("order", str(order))
        found.append(number.setdefault(key, len(number)) if event["kind"] == "purchase" else -1)
    return found


def rebuild(log: Arrays, rule: Mapping[str, Any], tables: Mapping[str, np.ndarray], launched: Sequence[int]) -> Arrays:
    """Inputs, by field, of every customer of `log` at the tables' date; `launched`: offers as on their first day."""
    rows, m = np.arange(log["offsets"].size - 1), tables["offer_code"].size
    belongs = np.zeros((tables["item"].size, m), bool)
    belongs[np.repeat(np.arange(belongs.shape[0]), np.diff(tables["item_offsets"])), tables["item_offer"]] = True
    person = customer_rows(log, belongs, rows, rule, tables)
    unmasked = np.zeros(rows.size, np.int64), np.full(rows.size, -1)
    item, kind, channel, age, amount, length = last_events_reference(
        log, belongs, rows, int(tables["day"]), *unmasked, rule["history"]
    )
    new = np.isin(np.arange(m), launched)
    return {
        "token": tables["token"][item],
        "kind": kind.astype(np.int32),
        "channel": channel_codes(rule)[channel],
        "age": age.astype(np.float32),
        "amount": amount.astype(np.float32),
        "length": length,
        "pair": pair_rows(log, belongs, rows, rule, tables, person, new),
        "customer": person,
        "context": np.where(new[:, None], np.nan, tables["context"]).astype(np.float32),
        "season": season(int(tables["day"]), rule["horizon"]),
        "offer": np.where(new, 0, tables["offer_code"]),
        "attribute": tables["attribute"],
    }


def channel_codes(rule: Mapping[str, Any]) -> np.ndarray:
    """Channel number in an event (-1, the last entry, for none) -> code of the network."""
    return np.array([*range(1, len(rule["channels"]) + 1), 0], np.int32)


def customer_rows(
    log: Arrays, belongs: np.ndarray, rows: np.ndarray, rule: Mapping[str, Any], tables: Mapping[str, np.ndarray]
) -> np.ndarray:
    """The customer columns: (B, F) float32."""
    names = [name for name in rule["customer"] if name not in DERIVED]
    mask_days = np.zeros(rows.size, np.int64)
    windows = rule["horizon"], mask_days, rule["windows"], rule["half_lives"], names
    known = customer_reference(log, belongs, rows, int(tables["day"]), *windows).astype(np.float32)
    column = dict(zip(names, known.T, strict=True))
    month = np.minimum(column["tenure"] // 30, len(tables["cohort"]) - 1).astype(np.int64)
    column["trend"] = np.log((3.25 * column["orders_28"] + 1) / (column["orders_91"] + 1))
    column["cohort_spend"] = np.log1p(np.maximum(column["spend_91"], 0)) - tables["cohort"][month, 0]
    column["cohort_orders"] = np.log1p(column["orders_91"]) - tables["cohort"][month, 1]
    return np.stack([column[name] for name in rule["customer"]], axis=1).astype(np.float32)


def pair_rows(
    log: Arrays,
    belongs: np.ndarray,
    rows: np.ndarray,
    rule: Mapping[str, Any],
    tables: Mapping[str, np.ndarray],
    person: np.ndarray,
    new: np.ndarray,
) -> np.ndarray:
    """The pair columns: (B, M, P) float32; what others' purchases say is missing where nobody bought."""
    names = [name for name in rule["pair"] if name not in (*rule["market"], *rule["sibling"])]
    unmasked = np.zeros(rows.size, np.int64), np.full(rows.size, -1)
    windows = *unmasked, rule["windows"], rule["half_lives"], names
    known = pair_reference(log, belongs, rows, int(tables["day"]), *windows).astype(np.float32)
    column = {name: known[:, :, k] for k, name in enumerate(names)}
    tenure, most = person[:, rule["customer"].index("tenure")], rule["rate_window"]
    exposure = np.minimum(tenure, most)[:, None]
    rate = (column[f"days_{most}"] + rule["prior_days"] * tables["rate"]) / (exposure + rule["prior_days"])
    column["expected"] = rate * rule["horizon"]
    column["hazard"] = hazards(column, tables)
    column |= affinities(column, rule, tables)
    for name in rule["market"]:
        column[name] = np.where(new | ~tables["sold"], np.nan, column[name])
    out = np.stack([column[name] for name in rule["pair"]], axis=-1).astype(np.float32)
    empty = {name: np.nan if name in rule["undefined"] else 0.0 for name in names}
    out[:, new, : len(names)] = [empty[name] for name in names]
    return out


def hazards(column: Arrays, tables: Mapping[str, np.ndarray]) -> np.ndarray:
    """The share of pairs alike in recency and count that bought within a horizon: (B, M)."""
    days, edges = column["purchase_days"], tables["count_edges"]
    cell = 1 + np.digitize(np.nan_to_num(column["recency"]), tables["recency_edges"]) * (edges.size + 1)
    cell = np.where(days > 0, cell + np.digitize(days, edges), 0)
    return np.asarray(tables["hazard"][np.arange(cell.shape[1]), cell])


def affinities(column: Arrays, rule: Mapping[str, Any], tables: Mapping[str, np.ndarray]) -> Arrays:
    """What the purchases of other offers say of each, by column: (B, M)."""
    short, long = (np.log1p(column[f"decayed_{half_life}"]) for half_life in rule["tastes"])
    taste = np.concatenate([short, long, np.ones((len(short), 1), np.float32)], axis=1)
    whole = np.log1p(column["purchase_days"])
    found = {}
    for k, name in enumerate(("", "_broad")):
        found[f"similar{name}"] = long @ tables["similar"][k]
        found[f"together{name}"] = whole @ tables["together"][k]
        found[f"follow{name}"] = taste @ tables["follow"][k]
    found["sibling_short"], found["sibling_long"] = short @ tables["sibling"], long @ tables["sibling"]
    found["sibling_follow"] = found["follow_broad"] @ tables["sibling"]
    return found


def season(day: int, horizon: int) -> np.ndarray:
    """The send date: waves of the year and of the month, averaged over the horizon, and years since 2000."""
    days = np.arange(day, day + horizon)
    angles = [2 * np.pi * k * days / 365.2425 for k in (1, 2, 3)] + [2 * np.pi * days / 30.436875]
    waves = [wave(angle).mean() for angle in angles for wave in (np.sin, np.cos)]
    return np.array([*waves, day / 365.2425 - 30], np.float32)
