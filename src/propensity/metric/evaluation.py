"""One JSON-ready report of how models compare: metrics with intervals, paired differences, curves and calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from propensity.errors import DataError
from propensity.metric.calibration import is_probability
from propensity.metric.contest import contest, effective_customers, strongest
from propensity.metric.interval import LOWER_IS_BETTER, band, resample_weights, smallest_seen, verdict
from propensity.metric.panel import Panel, Yardstick, needed_buyers, panel, yardstick
from propensity.metric.remark import remarks
from propensity.metric.summary import calibration_table, counts, curves, finite, offer_table
from propensity.metric.truth import Prediction, Truth, checked

__all__ = ["Prediction", "Truth", "evaluate"]

Cells = dict[str, dict[str, dict[str, dict[str, Any]]]]  # cutoff or "mean" -> slice -> metric -> cell


class Judged(NamedTuple):
    """One model, measured at every cutoff."""

    yards: list[Yardstick]
    predictions: list[Prediction]
    panels: dict[str, Panel]  # cutoff or "mean" -> slice -> metric -> (W,)


def evaluate(
    truths: Sequence[Truth],
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
    truths, made = checked(truths, predictions, reference)
    weights = resample_weights([truth.customer for truth in truths], resamples, seed)
    yards = [yardstick(truth, weight, fraction) for truth, weight in zip(truths, weights, strict=True)]
    judged = {name: _judged(name, yards, each, progress) for name, each in made.items()}
    ours, our_predictions = judged[reference], zip(yards, made[reference], strict=True)
    models = {name: _model_cells(each) for name, each in judged.items()}
    differences = {name: _difference_cells(ours, each) for name, each in judged.items() if name != reference}
    against = None
    if incumbent := strongest(models, reference):
        cells, change = models[reference]["mean"]["all"], differences[incumbent]
        against = contest(cells, change, incumbent, fraction, effective_customers(truths))
    return {
        "verdict": word(against) if against else None,
        "contest": against,
        "remarks": remarks(truths, made),
        "models": models,
        "differences": differences,
        "counts": {
            yard.truth.cutoff: counts(yard, {name: each[place] for name, each in made.items()})
            for place, yard in enumerate(yards)
        },
        "curves": curves(yards, made),
        "calibration": {name: calibration_table(truths, each) for name, each in made.items()},
        "offers": {yard.truth.cutoff: offer_table(yard, each) for yard, each in our_predictions},
    }


def word(contest: Mapping[str, Any]) -> str | None:
    """The answer in a word; where nothing can be told, and the data are too few, that is the answer.

    >>> word({"verdict": None, "underpowered": True})
    'underpowered'
    """
    return contest["verdict"] or ("underpowered" if contest["underpowered"] else None)


def _judged(
    name: str, yards: list[Yardstick], predictions: list[Prediction], progress: Callable[[str], None] | None
) -> Judged:
    panels: dict[str, Panel] = {}
    for yard, prediction in zip(yards, predictions, strict=True):
        if progress:
            progress(f"evaluating {name} at {yard.truth.cutoff}")
        panels[yard.truth.cutoff] = panel(yard, prediction)
    return Judged(yards, predictions, {"mean": _mean(list(panels.values())), **panels})


def _mean(panels: list[Panel]) -> Panel:
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
        called = verdict(band(difference), metric in LOWER_IS_BETTER) if known else None
        return made | {"smallest_seen": finite(smallest_seen(difference)), "verdict": called}

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
    value, low, high = (finite(number) for number in band(values))
    if low is None:
        return {"value": value, "low": None, "high": None, "reason": "a point estimate, without resamples"}
    return {"value": value, "low": low, "high": high}


def _reason(judged: Judged, cutoff: str, name: str, metric: str) -> str:
    """Why a metric is undefined there; for the mean, why it is at the first cutoff where it is."""
    if cutoff == "mean":
        single = (yard.truth.cutoff for yard in judged.yards)
        cutoff = next(each for each in single if np.isnan(judged.panels[each][name][metric][0]))
    place = next(place for place, yard in enumerate(judged.yards) if yard.truth.cutoff == cutoff)
    yard, probability = judged.yards[place], judged.predictions[place].probability
    where = f"in slice {name!r} at {cutoff}"
    if metric in LOWER_IS_BETTER and not is_probability(probability):
        reach = f"from {probability.min():g} to {probability.max():g}"
        return f"probabilities reach {reach} at {cutoff}; calibrate them into [0, 1]"
    if not yard.truth.slices[name].any():
        return f"no pair lies {where}"
    if metric == "micro_auc":
        return f"all pairs bought, or none did, {where}"
    if not yard.scored[name].any():
        return f"no offer has {needed_buyers(name)} buyers or more, and one customer who is not, {where}"
    return f"no revenue in the scored offers {where}"
