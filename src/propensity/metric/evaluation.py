"""One JSON-ready report of how models compare: metrics with intervals, paired differences, curves and calibration."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from propensity.errors import DataError
from propensity.metric.builtin import METRICS
from propensity.metric.context import EvalContext, Sample, eval_context
from propensity.metric.declaration import Metric, declared
from propensity.metric.expected_over_observed import expected_over_observed
from propensity.metric.headline import effective_customers, headline, strongest
from propensity.metric.interval import bootstrap_interval, minimum_detectable_effect, resample_weights, verdict
from propensity.metric.labels import Labels, Prediction, checked
from propensity.metric.metric_table import MetricTable, metric_table, why_undefined
from propensity.metric.summary import calibration_table, counts, curves, finite, offer_table
from propensity.metric.warning import beaten, merged, miscalibrated, warnings

__all__ = ["Labels", "Prediction", "evaluate"]

Cells = dict[str, dict[str, dict[str, dict[str, Any]]]]  # cutoff or "mean" -> slice -> metric -> cell


class ModelTables(NamedTuple):
    """One model, measured at every cutoff."""

    contexts: list[EvalContext]
    predictions: list[Prediction]
    tables: dict[str, MetricTable]  # cutoff or "mean" -> slice -> metric -> (W,)


def evaluate(
    all_labels: Sequence[Labels],
    predictions: Mapping[str, Sequence[Prediction]],
    *,
    reference: str,
    resamples: int = 200,
    seed: int = 17,
    fraction: float = 0.1,
    metrics: Sequence[Metric] = (),
    baselines: Collection[str] | None = None,
    constant: Collection[str] = (),
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Computes every metric of every model by cutoff and slice, and `reference` minus each other model.

    Differences are paired: both models are measured on the same bootstrap resamples of customers.

    Parameters
    ----------
    all_labels : sequence of Labels
        One per cutoff.
    predictions : mapping of str to sequence of Prediction
        Model name to one prediction per cutoff, in the same order.
    reference : str
        The served model, which is compared with all others.
    resamples : int
        Bootstrap resamples of customers; 0 gives no intervals.
    seed : int
        Of the resamples.
    fraction : float
        Share of customers kept by lift and capture, in (0, 1].
    metrics : sequence of Metric
        Metrics of your own, beside the built-in ones.
    baselines : collection of str, optional
        Models that the headline may compare with; None: all but the reference.
    constant : collection of str
        Models that give all customers the same score by definition, so that this is no warning.
    progress : callable, optional
        Called with a sentence before each model and cutoff.

    Returns
    -------
    dict
        Plain Python values: verdict and headline against the strongest baseline, warnings, fraction, the declarations
        of all metrics, models, differences, expected over observed purchases and revenue, counts, curves, calibration
        and offers. An undefined value is None with a `reason`. Ranking metrics are means over the offers with at least
        10 buyers (5 inside a slice) and at least one customer who did not buy.

    Raises
    ------
    DataError
        Where inputs do not fit together.
    ConfigurationError
        For a metric whose name is taken.
    """
    if not 0.0 < fraction <= 1.0:
        raise DataError(f"fraction is {fraction}; keep a share of the customers in (0, 1]")
    every = declared(METRICS, metrics)
    all_labels, checked_predictions = checked(all_labels, predictions, reference)
    weights = resample_weights([labels.customer for labels in all_labels], resamples, seed)
    contexts = [eval_context(labels, weight, fraction) for labels, weight in zip(all_labels, weights, strict=True)]
    tables = {name: _tables(name, contexts, each, every, progress) for name, each in checked_predictions.items()}
    models = {name: _model_cells(each, every) for name, each in tables.items()}
    ours = tables[reference]
    differences = {name: _difference_cells(ours, each, every) for name, each in tables.items() if name != reference}
    others = set(differences) if baselines is None else set(differences) & set(baselines)
    totals = {
        name: expected_over_observed(contexts, each, by_offer=name == reference)
        for name, each in checked_predictions.items()
    }
    described = {metric.name: metric.described(fraction) for metric in every}
    against = None
    if baseline := strongest(models, others):
        cells, change = models[reference]["mean"]["all"], differences[baseline]
        against = headline(cells, change, baseline, fraction, effective_customers(all_labels))
    return {
        "verdict": word(against) if against else None,
        "headline": against,
        "warnings": merged(
            miscalibrated(totals[reference]),
            beaten(models, differences, reference, described),
            warnings(all_labels, checked_predictions, constant),
        ),
        "fraction": fraction,
        "metrics": described,
        "models": models,
        "differences": differences,
        "expected_over_observed": totals,
        "counts": {
            context.labels.cutoff: counts(context, {name: each[n] for name, each in checked_predictions.items()})
            for n, context in enumerate(contexts)
        },
        "curves": curves(contexts, checked_predictions),
        "calibration": {name: calibration_table(all_labels, each) for name, each in checked_predictions.items()},
        "offers": {
            context.labels.cutoff: offer_table(context, prediction)
            for context, prediction in zip(contexts, checked_predictions[reference], strict=True)
        },
    }


def word(headline: Mapping[str, Any]) -> str | None:
    """The verdict as one word; `underpowered` where there is none because the data are too few.

    >>> word({"verdict": None, "underpowered": True})
    'underpowered'
    """
    return headline["verdict"] or ("underpowered" if headline["underpowered"] else None)


def _tables(
    name: str,
    contexts: list[EvalContext],
    predictions: list[Prediction],
    metrics: Sequence[Metric],
    progress: Callable[[str], None] | None,
) -> ModelTables:
    tables: dict[str, MetricTable] = {}
    for context, prediction in zip(contexts, predictions, strict=True):
        if progress:
            progress(f"evaluating {name} at {context.labels.cutoff}")
        tables[context.labels.cutoff] = metric_table(context, prediction, metrics)
    return ModelTables(contexts, predictions, {"mean": _mean(list(tables.values())), **tables})


def _mean(tables: list[MetricTable]) -> MetricTable:
    """The plain mean over cutoffs, undefined where one of them is."""
    return {
        name: {metric: np.mean([each[name][metric] for each in tables], axis=0) for metric in metrics}
        for name, metrics in tables[0].items()
    }


def _model_cells(model: ModelTables, metrics: Sequence[Metric]) -> Cells:
    def cell(cutoff: str, name: str, metric: Metric, values: np.ndarray) -> dict[str, Any]:
        return _cell(values, lambda: _reason(model, cutoff, name, metric))

    return _each_cell(model, metrics, cell)


def _difference_cells(ours: ModelTables, theirs: ModelTables, metrics: Sequence[Metric]) -> Cells:
    def cell(cutoff: str, name: str, metric: Metric, values: np.ndarray) -> dict[str, Any]:
        difference = metric.difference(values, theirs.tables[cutoff][name][metric.name])
        undefined = ours if np.isnan(values[0]) else theirs
        result = _cell(difference, lambda: _reason(undefined, cutoff, name, metric))
        if result["low"] is not None and _purchases(ours, cutoff, name) == 0.0:
            result |= {"low": None, "high": None, "reason": f"nobody bought an offer in slice {name!r}: no comparison"}
        word = verdict(bootstrap_interval(difference), metric.lower_is_better) if result["low"] is not None else None
        detectable = finite(minimum_detectable_effect(difference)) if result["low"] is not None else None
        return result | {"minimum_detectable_effect": detectable, "verdict": word}

    return _each_cell(ours, metrics, cell)


def _purchases(model: ModelTables, cutoff: str, name: str) -> float:
    """Number of pairs of a slice that bought, at a cutoff or at all of them for the mean."""
    at = [context for context in model.contexts if cutoff in ("mean", context.labels.cutoff)]
    return float(sum(context.purchases[name][0] for context in at))


def _each_cell(
    model: ModelTables,
    metrics: Sequence[Metric],
    cell: Callable[[str, str, Metric, np.ndarray], dict[str, Any]],
) -> Cells:
    return {
        cutoff: {
            name: {
                metric.name: cell(cutoff, name, metric, values[metric.name])
                for metric in metrics
                if metric.name in values
            }
            for name, values in slices.items()
        }
        for cutoff, slices in model.tables.items()
    }


def _cell(values: np.ndarray, reason: Callable[[], str]) -> dict[str, Any]:
    if np.isnan(values[0]):
        return {"value": None, "low": None, "high": None, "reason": reason()}
    value, low, high = (finite(number) for number in bootstrap_interval(values))
    if low is None:
        return {"value": value, "low": None, "high": None, "reason": "a point estimate, without resamples"}
    return {"value": value, "low": low, "high": high}


def _reason(model: ModelTables, cutoff: str, name: str, metric: Metric) -> str:
    """Why a metric is undefined there; for the mean, why it is at the first cutoff where it is."""
    if cutoff == "mean":
        single = (context.labels.cutoff for context in model.contexts)
        cutoff = next(each for each in single if np.isnan(model.tables[each][name][metric.name][0]))
    for context, prediction in zip(model.contexts, model.predictions, strict=True):
        if context.labels.cutoff == cutoff:
            return why_undefined(metric, Sample(context, prediction), name)
    raise AssertionError(f"no cutoff {cutoff}")
