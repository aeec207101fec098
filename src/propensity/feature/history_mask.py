"""History dropout: cold customers made out of warm ones, so that the network has met them before they matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

EVERYTHING = 100_000  # days; more history than any log holds


class HistoryMask(NamedTuple):
    """What is hidden of B customers: their last `days` (B,) days (0: none), their past with `offer` (B,) (-1: none).

    launched (K,): offers that look as on the day of their launch, as if nobody had bought them.
    """

    days: np.ndarray
    offer: np.ndarray
    launched: np.ndarray

    @classmethod
    def nothing(cls, customers: int) -> HistoryMask:
        return cls(np.zeros(customers, np.int64), np.full(customers, -1), np.zeros(0, np.int64))


@dataclass
class NoHistoryMask:
    """No history is hidden."""

    def draw(self, rng: np.random.Generator, customers: int, offers: int) -> HistoryMask:
        return HistoryMask.nothing(customers)


@dataclass
class RandomHistoryMask:
    """Hides from a share of the training customers one offer's past, the last weeks, or everything.

    offer, recent, everything: shares in [0, 1]; shortest, longest: bounds of the hidden days of a `recent` draw;
    launched: share of the offers that a batch sees as on the day of their launch.
    """

    offer: float = 0.03
    recent: float = 0.03
    everything: float = 0.01
    launched: float = 0.02
    shortest: int = 28
    longest: int = 90

    def draw(self, rng: np.random.Generator, customers: int, offers: int) -> HistoryMask:
        """Independent draws for each of `customers`."""
        lot = rng.random((3, customers))
        days = np.where(lot[1] < self.recent, rng.integers(self.shortest, self.longest + 1, customers), 0)
        days = np.where(lot[2] < self.everything, EVERYTHING, days)
        hidden = np.where(lot[0] < self.offer, rng.integers(0, offers, customers), -1)
        return HistoryMask(days, hidden, np.flatnonzero(rng.random(offers) < self.launched))
