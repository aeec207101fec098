"""Trailing windows of everybody at many dates at once, for whoever wants plain tables: one pass over the log.

Customers are shared out among threads; as no sum crosses customers, their number changes no bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.errors import ConfigurationError
from propensity.kernel.rolling_customer import WindowGrid, customer_trail, grid, rolling_customer_columns
from propensity.kernel.rolling_pair import rolling_pair_columns, rolling_pair_windows

ROOM = 1024  # pairs written at a time: they stay in the processor's cache


class RollingRequest(NamedTuple):
    """Cutoff days (D,), windows (W,) and half-lives (H,) in days."""

    cutoffs: Sequence[int]
    windows: tuple[int, ...]
    half_lives: tuple[int, ...]

    def grid(self, log: EventLog) -> WindowGrid:
        """ConfigurationError without a cutoff, or with one given twice."""
        if not self.cutoffs or len(set(self.cutoffs)) < len(self.cutoffs):
            raise ConfigurationError(f"cutoffs={list(self.cutoffs)} must be one or more days, each given once")
        return grid(log.first_day, np.array(self.cutoffs), np.array(self.windows), np.array(self.half_lives))


class PairBlock(NamedTuple):
    """owner (R,) places among the customers, offer (R,), column (R, F, D) by `pair_trail_columns`.

    The next block is written over this one.
    """

    owner: np.ndarray
    offer: np.ndarray
    column: np.ndarray


def customer_trails(
    log: EventLog, asked: RollingRequest, customer: np.ndarray, threads: int = 1, out: np.ndarray | None = None
) -> np.ndarray:
    """Windows of customers (B,), rows of the log, at each cutoff, ascending: (B, F, D) float32 by `trail_columns`.

    out: memory of that shape to write into; used again, it saves the cost of new pages.
    """
    made = asked.grid(log)
    if out is None:
        names = rolling_customer_columns(asked.windows, asked.half_lives)
        out = np.empty((customer.size, len(names), len(asked.cutoffs)), np.float32)
    parts = np.array_split(np.arange(customer.size), max(threads, 1))
    slices = [slice(part[0], part[-1] + 1) for part in parts if part.size]

    def write(part: slice) -> None:
        customer_trail(log.events, made, customer[part], out[part])

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        list(pool.map(write, slices))
    return out


def pair_trails(
    log: EventLog, offers: Offers, asked: RollingRequest, customer: np.ndarray, room: int = ROOM
) -> Iterator[PairBlock]:
    """Windows of every pair of customers (B,) and offers with a purchase before the last cutoff, block by block."""
    made, names = asked.grid(log), rolling_pair_columns(asked.windows, asked.half_lives)
    events, sets, start = log.events, offers.sets, 0
    room = max(room, len(offers), 1)
    owner, offer = np.zeros(room, np.int64), np.zeros(room, np.int32)
    out = np.zeros((room, len(names), len(asked.cutoffs)), np.float32)
    while start < customer.size:
        start, count = rolling_pair_windows(events, sets, len(offers), made, customer, start, owner, offer, out)
        yield PairBlock(owner[:count], offer[:count], out[:count])
