"""Customers whom a network is not trained on, so that validation says what it knows of others than its own."""

from __future__ import annotations

import numpy as np

from propensity.data.event_log import EventLog
from propensity.task import TrainingSet

MIX = np.uint64(0x9E3779B97F4A7C15)  # customers are also sampled by their hash; this makes another order of it


def held_out_customers(log: EventLog, share: float) -> np.ndarray:
    """Which customers of a log are held out: (N,) bool, by a hash of the id, the same at every cutoff.

    Parameters
    ----------
    log : EventLog
        The log.
    share : float
        About this share of the customers, in [0, 1).
    """
    lot = (log.id_hash() * MIX) >> np.uint64(11)
    return lot < np.uint64(int(share * 2**53))


def without_held_out(training_set: TrainingSet, share: float) -> TrainingSet:
    """The training set without the customers that are held out."""
    held_out = held_out_customers(training_set.features.log, share)
    cutoffs_data = [each._replace(row=each.row[~held_out[each.row]]) for each in training_set.cutoffs_data]
    return training_set._replace(cutoffs_data=cutoffs_data)
