"""A context with a purchase history: a random log, and scores of its purchasers as of a day."""

from __future__ import annotations

import numpy as np

from propensity.data.offer.column import ColumnOffers
from propensity.decision.context import DecisionContext
from propensity.decision.history import PurchaseHistory
from propensity.scores import Scores
from random_log import random_log

OFFERS = ("category 0", "category 1")


def context_with_history(seed: int, customers: int, days: int) -> DecisionContext:
    """Scores of two offers, `days` before the last of a random log of so many customers."""
    log = random_log(seed, customers=customers)
    history = PurchaseHistory(log, ColumnOffers("category", min_buyers=1), log.last_day - days)
    who = log.customer_id[log.purchasers(history.day)]
    money = np.random.default_rng(0).gamma(1.0, 2.0, (who.size, len(OFFERS))).astype(np.float32)
    return DecisionContext(Scores(who, OFFERS, np.clip(money / 9, 0, 1), money, "2024-03-05", "test"), history=history)
