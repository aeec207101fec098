"""Stages of a customer before the second order: no purchase yet, and one order so far."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from propensity.decision.history import PurchaseHistory
from propensity.errors import ConfigurationError
from propensity.kernel.event import PURCHASE


class Stage(NamedTuple):
    """Customers with a number of orders before the cutoff."""

    orders: int
    words: str


STAGES = {"onboarding": Stage(0, "no purchase yet"), "second_purchase": Stage(1, "one order so far")}


def check_stage(stage: str | None) -> None:
    """ConfigurationError for a stage that does not exist."""
    if stage is not None and stage not in STAGES:
        raise ConfigurationError(f"decision.stage={stage} is no stage; give one of {', '.join(STAGES)}, or null")


def in_stage(history: PurchaseHistory | None, customer: np.ndarray, stage: str) -> np.ndarray:
    """Customers in a stage.

    Parameters
    ----------
    history : PurchaseHistory or None
        The event log before the cutoff.
    customer : np.ndarray
        (N,) ids.
    stage : str
        A name of `STAGES`.

    Returns
    -------
    np.ndarray
        (N,) bool; false for a customer whom the log does not have.

    Raises
    ------
    ConfigurationError
        Without a log.
    """
    if history is None:
        raise ConfigurationError(f"decision.stage={stage} needs the event log; give log=<folder>, or leave it out")
    row = history.rows(customer)
    return (row >= 0) & (orders_before(history)[row] == STAGES[stage].orders)


def orders_before(history: PurchaseHistory) -> np.ndarray:
    """Number of orders of each customer of the log before the day of the history: (N,) int64."""
    log = history.log
    event = np.flatnonzero((log.kind == PURCHASE) & (log.day < history.day))
    last = np.full(len(log), -1, np.int64)  # orders are numbered by first appearance
    np.maximum.at(last, log.owner(event), log.order[event])
    return last + 1
