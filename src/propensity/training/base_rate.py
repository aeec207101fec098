"""Base rates of the training labels."""

from __future__ import annotations

import numpy as np

from propensity.model.base_rate import BaseRates
from propensity.task import TrainingSet

BLOCK = 4096
ROWS = 200_000  # customers at cutoffs that are counted at most
PRIOR_BUYERS = 2.0  # purchases at the mean rate of all offers that each offer is given beside its own
PRIOR_AMOUNTS = 10.0  # amounts at the mean of all offers that each offer is given beside its own
NO_AMOUNT = -200.0  # log revenue where nobody paid anything: its exponential is 0 in float32


def base_rates(training_set: TrainingSet) -> BaseRates:
    """Count purchases and amounts of the label windows, over a sample of the customers where there are many.

    Rates are shrunk to those of all offers, so that none is 0 or 1.
    """
    unit, rows = training_set.vocabulary.unit, sum(each.row.size for each in training_set.cutoffs_data)
    every = max(rows // ROWS, 1)
    m = len(training_set.features.offers)
    customers, visits, buyers = 0, 0.0, np.zeros(m)
    payers, logs, squares = np.zeros(m), np.zeros(m), np.zeros(m)
    for features, market_stats, row in training_set.cutoffs_data:
        for start in range(0, row.size, BLOCK):
            sample = row[start : start + BLOCK][::every]
            outcomes = features.outcomes(market_stats.cutoff, sample)
            bought, revenue = np.asarray(outcomes.bought), np.asarray(outcomes.revenue)
            amount = np.log(np.where(revenue > 0, revenue / unit, 1.0))
            customers, visits = customers + sample.size, visits + float(np.asarray(outcomes.visit).sum())
            buyers += bought.sum(axis=0)
            payers += (revenue > 0).sum(axis=0)
            logs += amount.sum(axis=0)
            squares += (amount**2).sum(axis=0)
    visit = (visits + 0.5) / (customers + 1.0)
    mean_rate = (buyers.sum() + 0.5) / (m * customers + 1.0)
    exposure = PRIOR_BUYERS / mean_rate
    purchase = np.minimum((buyers + PRIOR_BUYERS) / (customers + exposure), 0.999 * visit)
    mean_amount = logs.sum() / payers.sum() if payers.any() else NO_AMOUNT
    amounts = (logs + PRIOR_AMOUNTS * mean_amount) / (payers + PRIOR_AMOUNTS)
    variance = (squares - 2 * amounts * logs + payers * amounts**2).sum() / max(payers.sum(), 1.0)
    days = [each.market_stats.cutoff.day for each in training_set.cutoffs_data]
    return BaseRates(visit, purchase, amounts, float(np.sqrt(max(variance, 1e-4))), max(days) - min(days))
