"""Made-up customers that exercise a whole network: no real one travels in a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from propensity.data.event_log import to_date
from propensity.serving.inputs import KINDS

SHARES = (0.8, 0.06, 0.06, 0.04, 0.04)  # of the kinds, among a busy customer's events
PLAIN = 8  # customers with ordinary histories, besides the odd ones
Customer = list[dict[str, Any]]


def golden_customers(tables: Mapping[str, np.ndarray], rule: Mapping[str, Any], seed: int = 17) -> list[Customer]:
    """Customers who together meet every code of every item attribute and every channel; and the odd ones.

    Odd are: no event, one event, only the future, only unknown items and channels, only views, many orders in a day.
    """
    random = np.random.default_rng(seed)
    day, channels = int(tables["day"]), [*rule["channels"], None]
    met = random.permutation(covering(tables["token"][:-1]))
    parts = np.array_split(met, max(-(-met.size // rule["history"]), 1))
    stocked = np.flatnonzero(np.diff(tables["item_offsets"]))
    parts += [random.choice(stocked, random.integers(2, rule["history"] + 20)) for _ in range(PLAIN)]
    made = [busy(random, tables["item"][part].tolist(), channels, day) for part in parts]
    item = str(tables["item"][stocked[0]])
    return [
        [],
        [event(day - 1, item)],
        [event(day, item), event(day + 3, item)],
        [event(day - k, "an item that nobody knows", channel="a channel that nobody knows") for k in (2, 9)],
        [event(day - k, item, kind="view", revenue=0.0) for k in (1, 30)],
        [event(day - 5, item, order=k % 3) for k in range(6)],
        *made,
    ]


def covering(token: np.ndarray) -> np.ndarray:
    """The first item with each code of each attribute: rows of token (I, K)."""
    return np.unique(np.concatenate([np.unique(codes, return_index=True)[1] for codes in token.T]))


def busy(random: np.random.Generator, items: Sequence[str], channels: Sequence[str | None], day: int) -> Customer:
    """One event for each item, on few days of the last year, so that a day holds several orders."""
    visits = day - random.integers(1, 400, max(len(items) // 6, 1))
    made = []
    for item in items:
        kind = str(random.choice(KINDS, p=SHARES))
        paid = round(float(random.gamma(2.0, 3.0)), 2) if kind in ("purchase", "return") else 0.0
        sign = -1 if kind == "return" else 1
        visit = int(random.integers(visits.size))
        extra: dict[str, Any] = {"order": None if visit % 3 == 0 else 2 * visit + int(random.integers(2))}
        channel = channels[int(random.integers(len(channels)))]
        saved = 0.5 if random.random() < 0.3 else 0.0
        quantity = sign * int(random.integers(1, 4))
        amounts = {"revenue": sign * paid, "quantity": quantity, "discount": saved}
        made.append(event(int(visits[visit]), item, kind=kind, channel=channel, **amounts, **extra))
    return made


def event(day: int, item: str | None, kind: str = "purchase", revenue: float = 2.5, **more: Any) -> dict[str, Any]:
    """A raw event as the service takes it."""
    return {"day": to_date(day).isoformat(), "item": item, "kind": kind, "revenue": revenue} | more
