"""The metrics that every evaluation computes, in the order of all tables.

Each is computed for all slices and all weight columns at once; its definition for one sample stands in `ranking`,
`lift` and `calibration`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from propensity.kernel.rank import purchase_ranking
from propensity.metric.calibration import pair_loss, resampled_calibration_error
from propensity.metric.context import (
    AUC,
    AVERAGE_PRECISION,
    CAPTURE,
    LIFT,
    WINSORISED_CAPTURE,
    Sample,
    quotient,
)
from propensity.metric.declaration import ColumnFunction, Metric
from propensity.metric.ranking import descending

Columns = Mapping[str, np.ndarray]
NO_REVENUE = "no revenue in the evaluated offers"


def _row(row: int) -> ColumnFunction:
    """The mean over evaluated offers of one row of `Sample.ranked`."""
    return lambda sample: sample.mean(row)


def _over_fraction(row: int) -> ColumnFunction:
    """The same over the share of customers kept: from a capture to a lift."""

    def lift(sample: Sample) -> Columns:
        return {name: capture / sample.context.fraction for name, capture in sample.mean(row).items()}

    return lift


def _normalised(sample: Sample) -> Columns:
    return {name: quotient(capture, sample.context.ceiling[name]) for name, capture in sample.mean(CAPTURE).items()}


def _log_loss(sample: Sample) -> Columns:
    lost = sample.total(pair_loss(sample.prediction.probability, sample.context.labels.bought))  # clipped, so finite
    return {name: quotient(row, sample.context.pairs[name]) for name, row in lost.items()}


def _calibration_error(sample: Sample) -> Columns:
    context = sample.context
    return {"all": resampled_calibration_error(sample.prediction.probability, context.labels.bought, context.weight)}


def _pooled_auc(sample: Sample) -> Columns:
    score = sample.prediction.probability.ravel()
    ones = np.ones((score.size, 1), np.uint8)  # a weight for every pair and resample would not fit into memory
    return {"all": purchase_ranking(descending(score), score, sample.context.labels.bought.ravel(), ones, 0.5)[0]}


def _purchases(sample: Sample) -> Columns:
    expected = sample.total(sample.prediction.probability)
    return {name: quotient(row, sample.context.purchases[name]) for name, row in expected.items()}


def _revenue(sample: Sample) -> Columns:
    assert sample.prediction.revenue is not None
    expected = sample.total(sample.prediction.revenue)
    return {name: quotient(row, sample.context.spent[name]) for name, row in expected.items()}


METRICS = (
    Metric("revenue_lift", "Revenue lift @{fraction}", "higher", "revenue ranking", columns=_over_fraction(CAPTURE),
           meaning="mean revenue of the best {fraction} of an offer's customers over the mean of all customers; "
                   "1 is a random ranking",
           undefined=NO_REVENUE, digits=2, unit="×"),
    Metric("revenue_lift_winsorised", "Winsorised revenue lift @{fraction}", "higher", "revenue ranking",
           columns=lambda sample: {"all": _over_fraction(WINSORISED_CAPTURE)(sample)["all"]},
           meaning="revenue lift with each offer's amounts above the 95 % quantile of its buyers set to that quantile",
           undefined=NO_REVENUE, slices=False, digits=2, unit="×"),
    Metric("revenue_capture", "Revenue capture @{fraction}", "higher", "revenue ranking", columns=_row(CAPTURE),
           meaning="share of an offer's revenue that its best {fraction} of customers hold",
           undefined=NO_REVENUE, digits=1, scale=100, unit="%", change="points"),
    Metric("normalised_revenue_capture", "Normalised revenue capture @{fraction}", "higher", "revenue ranking",
           columns=_normalised,
           meaning="revenue capture over that of the oracle, which ranks customers by realised revenue",
           undefined=NO_REVENUE, digits=1, scale=100, unit="%", change="points"),
    Metric("auc", "AUC", "higher", "ranking", columns=_row(AUC),
           meaning="area under the ROC curve: probability that a buyer is ranked above a customer who does not buy"),
    Metric("average_precision", "Average precision", "higher", "ranking", columns=_row(AVERAGE_PRECISION),
           meaning="precision at every score threshold, averaged over the recall gained there"),
    Metric("lift", "Lift @{fraction}", "higher", "ranking", columns=_row(LIFT),
           meaning="share of buyers among the best {fraction} of customers over their share among all",
           digits=2, unit="×"),
    Metric("pooled_auc", "Pooled AUC", "higher", "pooled ranking", columns=_pooled_auc,
           meaning="AUC over all pairs of customer and offer at once, without an interval",
           undefined="all pairs bought, or none did,", slices=False),
    Metric("log_loss", "Log loss", "lower", "probability", columns=_log_loss,
           meaning="mean of minus the logarithm of the probability given to what happened; lower is better"),
    Metric("ece", "Calibration error (ECE)", "lower", "probability", columns=_calibration_error, slices=False,
           meaning="expected calibration error: mean distance between predicted probability and purchase rate in 15 "
                   "bins of equal size; lower is better"),
    Metric("expected_over_observed", "Expected / observed purchases", "closest to 1", "probability",
           columns=_purchases, undefined="nobody bought anything", digits=3,
           meaning="sum of the probabilities over the number of purchases; 1 is best, differences are of |log ratio|"),
    Metric("expected_over_observed_revenue", "Expected / observed revenue", "closest to 1", "revenue",
           columns=_revenue, undefined="nothing was spent", digits=3,
           meaning="sum of the expected revenue over the realised revenue; 1 is best, differences are of |log ratio|"),
    Metric("revenue_capture_oracle", "Revenue capture @{fraction} of the oracle", "higher", "revenue ranking",
           columns=lambda sample: sample.context.ceiling, undefined=NO_REVENUE, shown=False,
           meaning="revenue capture of customers ranked by realised revenue: the largest possible",
           digits=1, scale=100, unit="%", change="points"),
    Metric("revenue_capture_winsorised", "Winsorised revenue capture @{fraction}", "higher", "revenue ranking",
           columns=lambda sample: {"all": sample.mean(WINSORISED_CAPTURE)["all"]}, undefined=NO_REVENUE, slices=False,
           meaning="revenue capture with each offer's amounts above the 95 % quantile of its buyers set to it",
           shown=False, digits=1, scale=100, unit="%", change="points"),
)  # fmt: skip
