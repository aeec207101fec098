"""A campaign planning problem of N customers, C campaigns and S slots, and its plan of P picks per customer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from propensity.kernel.contact_cap import EDGE, Calendar
from propensity.kernel.plan import Limits


class Problem(NamedTuple):
    """A campaign planning problem of N customers, C campaigns, S slots (campaign and day), D days and R limits.

    Attributes
    ----------
    value : np.ndarray
        (N, C) float32 money of a contact before cost, -inf where the customer is not eligible.
    cost : np.ndarray
        (S,) money of a contact in each slot.
    used : np.ndarray
        (N or 1, EDGE+D+EDGE) uint8 promised contacts by day.
    calendar : Calendar
        Slots and contact caps; see `propensity.kernel.contact_cap`.
    limits : Limits
        Sums over all customers; see `propensity.kernel.plan`.
    tie_break : float
        Money; values are perturbed by up to so much. Without it, demand would jump at a price that many customers would
        just pay.
    order : np.ndarray, optional
        (N,) order of the rows in samples and ties, so that a plan does not depend on the order of a file.
    """

    value: np.ndarray
    cost: np.ndarray
    used: np.ndarray
    calendar: Calendar
    limits: Limits
    tie_break: float = 0.0
    order: np.ndarray | None = None

    @property
    def most_contacts(self) -> int:
        """Most contacts of one customer."""
        calendar, days = self.calendar, self.calendar.start.size - 1
        inside = calendar.week[EDGE : EDGE + days]
        weeks = -(-days // 7) if calendar.rolling else np.unique(inside).size
        return int(min(calendar.campaign.size, days * calendar.day_cap, weeks * calendar.week_cap))

    def take(self, rows: np.ndarray) -> Problem:
        """The same problem for a sample of the customers (rows), with limits in proportion."""
        share = rows.size / self.value.shape[0]
        limits = self.limits._replace(least=self.limits.least * share, most=self.limits.most * share)
        used = self.used if self.used.shape[0] == 1 else self.used[rows]
        return self._replace(value=self.value[rows], used=used, limits=limits, order=None)


@dataclass
class Plan:
    """A plan and the bound that certifies it.

    Attributes
    ----------
    picks : np.ndarray
        (N, P) int16 slots of each customer, -1 after the last.
    value : float
        Money.
    bound : float
        Upper bound on the value of any plan, money.
    price : np.ndarray
        (R,) shadow prices of the limits, money per contact.
    load : np.ndarray
        (S,) contacts by slot.
    short : np.ndarray
        (R,) by how much each limit is below its least.
    """

    picks: np.ndarray
    value: float
    bound: float
    price: np.ndarray
    load: np.ndarray
    short: np.ndarray

    @property
    def optimality_gap(self) -> float:
        """(bound - value) / bound: no plan is better by a larger share of the bound."""
        return max(self.bound - self.value, 0.0) / max(abs(self.bound), 1e-12)


def typical(value: np.ndarray) -> float:
    """Typical value: the mean of the positive ones in a systematic sample of about 2,000 rows."""
    part = value[:: max(1, value.shape[0] // 2000)]
    part = part[np.isfinite(part) & (part > 0)]
    return float(part.mean()) if part.size else 1.0
