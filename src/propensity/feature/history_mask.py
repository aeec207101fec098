"""History masks: part of the history of some training customers is hidden, so that the network learns cold starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

EVERYTHING = 100_000  # days; more history than any log holds


class HistoryMask(NamedTuple):
    """Events of B customers that are hidden from the inputs.

    Parameters
    ----------
    days : (B,) int64
        Number of days before the cutoff whose events are hidden; 0 hides none.
    offer : (B,) int64
        Offer whose events are hidden; -1 hides none.
    launched : (K,) int64
        Offers whose inputs are those of an offer without any purchase.
    """

    days: np.ndarray
    offer: np.ndarray
    launched: np.ndarray

    @classmethod
    def nothing(cls, customers: int) -> HistoryMask:
        """Return the mask of B customers that hides nothing."""
        return cls(np.zeros(customers, np.int64), np.full(customers, -1), np.zeros(0, np.int64))


@dataclass
class NoHistoryMask:
    """Hide no history."""

    def draw(self, rng: np.random.Generator, customers: int, offers: int) -> HistoryMask:
        return HistoryMask.nothing(customers)


@dataclass
class RandomHistoryMask:
    """Hide one offer's events, the last weeks or everything for a share of the training customers.

    Parameters
    ----------
    offer, recent, everything : float
        Shares of the customers, in [0, 1].
    launched : float
        Share of the offers whose inputs in a batch are those of the day of their launch.
    shortest, longest : int
        Bounds of the hidden days of a `recent` draw.
    """

    offer: float = 0.03
    recent: float = 0.03
    everything: float = 0.01
    launched: float = 0.02
    shortest: int = 28
    longest: int = 90

    def draw(self, rng: np.random.Generator, customers: int, offers: int) -> HistoryMask:
        """Draw a mask for B customers and M offers.

        Parameters
        ----------
        rng : Generator
            Source of the draws, which are independent for each customer and each offer.
        customers, offers : int
            B and M.

        Returns
        -------
        HistoryMask
            Of B customers.
        """
        uniform = rng.random((3, customers))
        days = np.where(uniform[1] < self.recent, rng.integers(self.shortest, self.longest + 1, customers), 0)
        days = np.where(uniform[2] < self.everything, EVERYTHING, days)
        masked_offer = np.where(uniform[0] < self.offer, rng.integers(0, offers, customers), -1)
        return HistoryMask(days, masked_offer, np.flatnonzero(rng.random(offers) < self.launched))
