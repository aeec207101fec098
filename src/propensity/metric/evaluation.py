"""One JSON-ready report of how models compare: metrics with intervals, paired differences, curves and calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from propensity.errors import DataError
from propensity.metric.calibration import is_probability
from propensity.metric.headline import effective_customers, headline, strongest
from propensity.metric.interval import (
    LOWER_IS_BETTER,
    bootstrap_interval,
    minimum_detectable_effect,
    resample_weights,
    verdict,
)
from propensity.metric.labels import Labels, Prediction, checked
from propensity.metric.metric_table import EvalContext, MetricTable, eval_context, metric_table, needed_buyers
from propensity.metric.summary import calibration_table, counts, curves, finite, offer_table
from propensity.metric.warning import warnings

__all__ = ["Labels", "Prediction", "evaluate"]

Cells = dict[str, dict[str, dict[str, dict[str, Any]]]]  # cutoff or "mean" -> slice -> metric -> cell


class Judged(NamedTuple):
    """One model, measured at every cutoff."""

    contexts: list[EvalContext]
    predictions: list[Prediction]
    panels: dict[str, MetricTable]  # cutoff or "mean" -> slice -> metric -> (W,)


def evaluate(
    all_labels: Sequence[Labels],
    predictions: Mapping[str, Sequence[Prediction]],
    *,
    reference: str,
    resamples: int = 200,
    seed: int = 17,
    fraction: float = 0.1,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Every model at every cutoff and slice, and `reference` minus each rival on the same resamples of customers.

    Args: truths, one per cutoff; predictions, model -> one per truth, in the same order; resamples of customers (0: no
    intervals); fraction kept by lift and capture, in (0, 1]; progress hears a sentence before each model and cutoff.
    Returns: verdict and contest against the strongest rival, remarks, models, differences, counts, curves, calibration
    and offers, as plain Python values. What is undefined is None and carries a `reason`. Ranking metrics are means over
    the offers that 10 customers or more bought (5 inside a slice), but not everybody.
    Raises: DataError where inputs do not fit together.
    """
    if not 0.0 < fraction <= 1.0:
        raise DataError(f"fraction is {fraction}; keep a share of the customers in (0, 1]")
    all_labels, made = checked(all_labels, predictions, reference)
    weights = resample_weights([labels.customer for labels in all_labels], resamples, seed)
    contexts = [eval_context(labels, weight, fraction) for labels, weight in zip(all_labels, weights, strict=True)]
    judged = {name: _judged(name, contexts, each, progress) for name, each in made.items()}
    ours, our_predictions = judged[reference], zip(contexts, made[reference], strict=True)
    models = {name: _model_cells(each) for name, each in judged.items()}
    differences = {name: _difference_cells(ours, each) for name, each in judged.items() if name != reference}
    against = None
    if baseline := strongest(models, reference):
        cells, change = models[reference]["mean"]["all"], differences[baseline]
        against = headline(cells, change, baseline, fraction, effective_customers(all_labels))
    return {
        "verdict": word(against) if against else None,
        "headline": against,
        "warnings": warnings(all_labels, made),
        "models": models,
        "differences": differences,
        "counts": {
            context.labels.cutoff: counts(context, {name: each[place] for name, each in made.items()})
            for place, context in enumerate(contexts)
        },
        "curves": curves(contexts, made),
        "calibration": {name: calibration_table(all_labels, each) for name, each in made.items()},
        "offers": {context.labels.cutoff: offer_table(context, each) for context, each in our_predictions},
    }


def word(headline: Mapping[str, Any]) -> str | None:
    """The answer in a word; where nothing can be told, and the data are too few, that is the answer.

    >>> word({"verdict": None, "underpowered": True})
    'underpowered'
    """
    return headline["verdict"] or ("underpowered" if headline["underpowered"] else None)


def _judged(
    name: str, contexts: list[EvalContext], predictions: list[Prediction], progress: Callable[[str], None] | None
) -> Judged:
    panels: dict[str, MetricTable] = {}
    for context, prediction in zip(contexts, predictions, strict=True):
        if progress:
            progress(f"evaluating {name} at {context.labels.cutoff}")
        panels[context.labels.cutoff] = metric_table(context, prediction)
    return Judged(contexts, predictions, {"mean": _mean(list(panels.values())), **panels})


def _mean(panels: list[MetricTable]) -> MetricTable:
    """The plain mean over cutoffs, undefined where one of them is."""
    return {
        name: {metric: np.mean([each[name][metric] for each in panels], axis=0) for metric in metrics}
        for name, metrics in panels[0].items()
    }


def _model_cells(judged: Judged) -> Cells:
    def cell(cutoff: str, name: str, metric: str, values: np.ndarray) -> dict[str, Any]:
        return _cell(values, lambda: _reason(judged, cutoff, name, metric))

    return _each_cell(judged, cell)


def _difference_cells(ours: Judged, theirs: Judged) -> Cells:
    def cell(cutoff: str, name: str, metric: str, values: np.ndarray) -> dict[str, Any]:
        difference = values - theirs.panels[cutoff][name][metric]
        undefined = ours if np.isnan(values[0]) else theirs
        made = _cell(difference, lambda: _reason(undefined, cutoff, name, metric))
        known = made["low"] is not None
        called = verdict(bootstrap_interval(difference), metric in LOWER_IS_BETTER) if known else None
        return made | {"minimum_detectable_effect": finite(minimum_detectable_effect(difference)), "verdict": called}

    return _each_cell(ours, cell)


def _each_cell(judged: Judged, cell: Callable[[str, str, str, np.ndarray], dict[str, Any]]) -> Cells:
    return {
        cutoff: {
            name: {metric: cell(cutoff, name, metric, values) for metric, values in metrics.items()}
            for name, metrics in slices.items()
        }
        for cutoff, slices in judged.panels.items()
    }


def _cell(values: np.ndarray, reason: Callable[[], str]) -> dict[str, Any]:
    if np.isnan(values[0]):
        return {"value": None, "low": None, "high": None, "reason": reason()}
    value, low, high = (finite(number) for number in bootstrap_interval(values))
    if low is None:
        return {"value": value, "low": None, "high": None, "reason": "a point estimate, without resamples"}
    return {"value": value, "low": low, "high": high}


def _reason(judged: Judged, cutoff: str, name: str, metric: str) -> str:
    """Why a metric is undefined there; for the mean, why it is at the first cutoff where it is."""
    if cutoff == "mean":
        single = (context.labels.cutoff for context in judged.contexts)
        cutoff = next(each for each in single if np.isnan(judged.panels[each][name][metric][0]))
    place = next(place for place, context in enumerate(judged.contexts) if context.labels.cutoff == cutoff)
    context, probability = judged.contexts[place], judged.predictions[place].probability
    where = f"in slice {name!r} at {cutoff}"
    if metric in LOWER_IS_BETTER and not is_probability(probability):
        reach = f"from {probability.min():g} to {probability.max():g}"
        return f"probabilities reach {reach} at {cutoff}; calibrate them into [0, 1]"
    if not context.labels.slices[name].any():
        return f"no pair lies {where}"
    if metric == "micro_auc":
        return f"all pairs bought, or none did, {where}"
    if not context.scored[name].any():
        return f"no offer has {needed_buyers(name)} buyers or more, and one customer who is not, {where}"
    return f"no revenue in the scored offers {where}"
