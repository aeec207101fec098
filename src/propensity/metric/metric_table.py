"""Every declared metric of one model at one cutoff, by slice, for the full sample and every resample of its customers.

Legend: N customers, M offers, W weight columns (column 0 is the full sample).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from propensity.metric.context import EvalContext, Sample, eval_context, finite_mean, needed_buyers
from propensity.metric.declaration import Function, Metric
from propensity.metric.labels import Labels, Prediction

MetricTable = dict[str, dict[str, np.ndarray]]  # slice -> metric -> (W,)
FRACTION = 0.1  # of the customers that lift and revenue metrics keep while models are chosen


def metric_table(context: EvalContext, prediction: Prediction, metrics: Sequence[Metric]) -> MetricTable:
    """Computes `metrics` in every slice, or over all pairs only where they are declared so.

    Returns
    -------
    dict
        Slice -> metric name -> values (W,), in the order of `metrics`; NaN where undefined.
    """
    sample = Sample(context, prediction)
    result: MetricTable = {name: {} for name in context.slices}
    for metric in metrics:
        for name, values in _values(metric, sample).items():
            result[name][metric.name] = values
    return result


def mean_values(windows: Iterable[tuple[Labels, Prediction]], metrics: Sequence[Metric]) -> dict[str, dict[str, float]]:
    """Point estimates of one model over label windows, without resamples.

    Returns
    -------
    dict
        Slice -> metric name -> plain mean over the windows; metrics that are undefined in one of them are left out.
    """
    tables = []
    for labels, prediction in windows:
        weight = np.ones((labels.customer.size, 1), np.uint8)
        tables.append(metric_table(eval_context(labels, weight, FRACTION), prediction, metrics))
    means = {
        slice_: {name: float(np.mean([float(each[slice_][name][0]) for each in tables])) for name in values}
        for slice_, values in tables[0].items()
    }
    return {
        slice_: {name: value for name, value in values.items() if np.isfinite(value)}
        for slice_, values in means.items()
    }


def why_undefined(metric: Metric, sample: Sample, name: str) -> str:
    """Why a metric has no value in slice `name`."""
    cutoff, probability = sample.context.labels.cutoff, sample.prediction.probability
    where = f"in slice {name!r} at {cutoff}"
    if metric.needs == "probability" and not sample.is_probability:
        reach = f"from {probability.min():g} to {probability.max():g}"
        return f"probabilities reach {reach} at {cutoff}; calibrate them into [0, 1]"
    if metric.needs == "revenue" and sample.prediction.revenue is None:
        return "the model predicts no revenue"
    if not sample.context.labels.slices[name].any():
        return f"no pair lies {where}"
    if metric.per_offer and not sample.context.evaluated[name].any():
        return f"no offer has {needed_buyers(name)} buyers or more and a customer who did not buy, {where}"
    return f"{metric.undefined} {where}"


def _values(metric: Metric, sample: Sample) -> Mapping[str, np.ndarray]:
    """Slice -> (W,)."""
    names = list(sample.context.slices) if metric.slices else ["all"]
    lacking = (metric.needs == "probability" and not sample.is_probability) or (
        metric.needs == "revenue" and sample.prediction.revenue is None
    )
    if lacking:
        return dict.fromkeys(names, np.full(sample.context.weight.shape[1], np.nan))
    if metric.columns is not None:
        return metric.columns(sample)
    assert metric.function is not None
    by_column = _mean_over_offers if metric.per_offer else _over_pairs
    return {name: by_column(metric.function, *_arrays(metric, sample), sample.context, name) for name in names}


def _arrays(metric: Metric, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and outcomes (N,M) that the metric is computed from."""
    prediction, labels = sample.prediction, sample.context.labels
    if metric.needs == "revenue ranking":
        return prediction.value, labels.revenue
    if metric.needs == "revenue" and prediction.revenue is not None:
        return prediction.revenue, labels.revenue
    return prediction.probability, labels.bought


def _mean_over_offers(
    function: Function, predicted: np.ndarray, outcome: np.ndarray, context: EvalContext, name: str
) -> np.ndarray:
    """Plain mean over the evaluated offers, by weight column: (W,)."""
    rows = []
    for m in np.flatnonzero(context.evaluated[name]):
        inside = np.flatnonzero(context.slices[name][m])
        rows.append(_by_column(function, predicted[inside, m], outcome[inside, m], context.weight, inside))
    return finite_mean(np.array(rows).reshape(-1, context.weight.shape[1]))


def _over_pairs(
    function: Function, predicted: np.ndarray, outcome: np.ndarray, context: EvalContext, name: str
) -> np.ndarray:
    """All pairs of a slice at once, by weight column: (W,)."""
    mask = context.labels.slices[name]
    return _by_column(function, predicted[mask], outcome[mask], context.weight, np.nonzero(mask)[0])


def _by_column(
    function: Function, predicted: np.ndarray, outcome: np.ndarray, weight: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Calls the function for every column of weight (N,W) at the pairs' customers `rows`; NaN where none weighs."""
    values = np.full(weight.shape[1], np.nan)
    for column in range(values.size):
        weights = weight[rows, column].astype(np.float64)
        if weights.any():
            values[column] = function(predicted, outcome, weights)
    return values
