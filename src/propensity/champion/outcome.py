"""What candidates say of the validation pairs, and what happened: the arrays that stack and choice are computed from.

Legend: Q candidates, K pairs, G customers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ValidationPairs(NamedTuple):
    """The pairs of the validation windows, one window after the other.

    Attributes
    ----------
    names : tuple of str, length Q
        Candidates, the simplest first.
    logit : np.ndarray
        (Q, K) log-odds of a purchase.
    amount : np.ndarray
        (Q, K) expected spend of a buyer, in the log's currency.
    bought : np.ndarray
        (K,) bool.
    revenue : np.ndarray
        (K,) spend in the label window, in the log's currency.
    past : np.ndarray
        (K,) bool, whether the customer has bought the offer before.
    customer : np.ndarray
        (K,) int, place of the pair's customer among the G distinct ones of all windows.
    shapes : tuple of (int, int)
        Customers and offers of each label window; empty where the pairs are a part of them.
    """

    names: tuple[str, ...]
    logit: np.ndarray
    amount: np.ndarray
    bought: np.ndarray
    revenue: np.ndarray
    past: np.ndarray
    customer: np.ndarray
    shapes: tuple[tuple[int, int], ...] = ()

    def only(self, mask: np.ndarray) -> ValidationPairs:
        """Some of the pairs, by a mask (K,)."""
        return self._replace(
            logit=self.logit[:, mask],
            amount=self.amount[:, mask],
            bought=self.bought[mask],
            revenue=self.revenue[mask],
            past=self.past[mask],
            customer=self.customer[mask],
            shapes=(),
        )
