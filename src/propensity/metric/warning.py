"""Warnings as sentences: totals that are off, baselines that are better, in-sample cutoffs, unusual data.

metrics.json, the page, report.md and the terminal show the same list in the same order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from propensity.metric.expected_over_observed import TOP
from propensity.metric.labels import Labels, Prediction

CALIBRATED = (0.9, 1.1)  # expected over observed; an interval that does not meet it is a warning
COMPARED = ("log_loss", "auc", "normalised_revenue_capture")  # metrics by which a baseline may be better
WORDS = {  # quantity: how a sentence starts, what it is compared with, and what not to use
    "purchases": ("expected purchases are", "of the observed ones", "do not use expected counts for budgets"),
    "revenue": ("expected revenue is", "of the observed revenue", "do not use expected revenue for budgets"),
}
REMEDY = "train longer, or on later label windows"
Cell = Mapping[str, Any]


def merged(*lists: Iterable[str]) -> list[str]:
    """All sentences in order, each once.

    >>> merged(["a", "b"], ["b", "c"])
    ['a', 'b', 'c']
    """
    return list(dict.fromkeys(sentence for each in lists for sentence in each))


def in_sample(cutoffs: Iterable[str], last_label: str | None) -> list[str]:
    """A warning where cutoffs lie before the end of the training labels.

    >>> in_sample(["2024-01-08", "2024-02-05"], "2024-02-01")[0][:44]
    'in-sample cutoff: the training labels end on'
    """
    early = [day for day in cutoffs if last_label and day < str(last_label)[:10]]
    if not early:
        return []
    return [
        f"in-sample cutoff: the training labels end on {last_label}, after {', '.join(early)}, so the model has seen "
        f"outcomes that it predicts; evaluate at cutoffs from {last_label} on"
    ]


def miscalibrated(totals: Mapping[str, Any]) -> list[str]:
    """Warnings where expected over observed purchases or revenue of the served model does not meet `CALIBRATED`.

    Parameters
    ----------
    totals : mapping
        The served model's result of `expected_over_observed`.
    """
    return [sentence for name in WORDS for sentence in _miscalibrated(name, totals[name])]


def meets(cell: Cell, low: float, high: float) -> bool:
    """Whether an interval, or the point estimate without one, and [low, high] share a value; an undefined one does.

    >>> meets({"value": 1.3, "low": 1.05, "high": 1.5}, 0.9, 1.1), meets({"value": 1.3, "low": None}, 0.9, 1.1)
    (True, False)
    """
    if cell["value"] is None:
        return True
    bounds = (cell["value"], cell["value"]) if cell["low"] is None else (cell["low"], cell["high"])
    return bool(bounds[0] <= high and bounds[1] >= low)


def interval_of(cell: Cell, digits: int = 2) -> str:
    """A ratio and its interval.

    >>> interval_of({"value": 1.32, "low": 1.2, "high": 1.45})
    '1.32 [1.20, 1.45]'
    """
    value = f"{cell['value']:.{digits}f}"
    return value if cell["low"] is None else f"{value} [{cell['low']:.{digits}f}, {cell['high']:.{digits}f}]"


def better_baselines(
    models: Mapping[str, Any], differences: Mapping[str, Any], served: str, metrics: Sequence[str] = COMPARED
) -> dict[str, list[str]]:
    """Models that are better than the served one by the whole interval: name -> the metrics.

    Parameters
    ----------
    models, differences : mapping
        Those sections of metrics.json; a difference is the served model minus the other.
    served : str
        The served model.
    metrics : sequence of str
        Which metrics count; means over the cutoffs and all pairs.
    """
    known = [name for name in metrics if name in models[served]["mean"]["all"]]
    lost = {
        baseline: [name for name in known if cells["mean"]["all"][name]["verdict"] == "loss"]
        for baseline, cells in differences.items()
    }
    return {baseline: names for baseline, names in lost.items() if names}


def beaten(
    models: Mapping[str, Any], differences: Mapping[str, Any], served: str, titles: Mapping[str, Any]
) -> list[str]:
    """A warning for every model that is better than the served one, with the figures.

    Parameters
    ----------
    models, differences, served
        See `better_baselines`.
    titles : mapping
        The declarations of the metrics in metrics.json.
    """
    sentences = []
    for baseline, names in better_baselines(models, differences, served).items():
        figures = "; ".join(_figure(models, differences, served, baseline, name, titles) for name in names)
        remedy = f"use {baseline}.parquet, or train longer or on more cutoffs"
        sentences.append(f"{_the(baseline)} is better than {_the(served)}: {figures}; {remedy}")
    return sentences


def warnings(
    all_labels: Sequence[Labels], predictions: Mapping[str, Sequence[Prediction]], constant: Collection[str] = ()
) -> list[str]:
    """Warnings about offers that nobody or everybody bought, windows without revenue, equal scores and missing scores.

    Parameters
    ----------
    all_labels : sequence of Labels
        One per cutoff.
    predictions : mapping of str to sequence of Prediction
        Model name to one prediction per cutoff.
    constant : collection of str
        Models that give all customers the same score by definition.
    """
    sentences = [sentence for labels in all_labels for sentence in _outcomes(labels)]
    for name, each in predictions.items():
        for labels, prediction in zip(all_labels, each, strict=True):
            sentences += [] if name in constant else _equal_scores(name, labels, prediction)
            sentences += _missing_scores(name, labels, prediction)
    return sentences


def _miscalibrated(name: str, totals: Mapping[str, Any]) -> list[str]:
    """Whether the total is off, and at which cutoffs; and the top pairs by expected revenue."""
    start, end, advice = WORDS[name]
    cutoffs = totals["cutoffs"] if len(totals["cutoffs"]) > 1 else {}
    off = ", ".join(f"{interval_of(cell)} at {day}" for day, cell in cutoffs.items() if not meets(cell, *CALIBRATED))
    sentences = []
    if not meets(totals, *CALIBRATED):
        sentences.append(f"{start} {interval_of(totals)} {end}{f' ({off})' if off else ''}: {advice}; {REMEDY}")
    elif off:
        sentences.append(f"{start} {off} {end}, though level over all cutoffs: {advice} of a single cutoff")
    if name == "revenue" and not meets(totals["top"], *CALIBRATED):
        pairs = f"of the {100 * TOP:.0f} % of pairs with the highest expected revenue"
        sentences.append(f"{start} {interval_of(totals['top'])} {end} {pairs}: campaign plans choose among these pairs")
    return sentences


def _figure(
    models: Mapping[str, Any],
    differences: Mapping[str, Any],
    served: str,
    baseline: str,
    name: str,
    titles: Mapping[str, Any],
) -> str:
    """Both models' values of a metric and their difference."""
    theirs, ours = (models[model]["mean"]["all"][name]["value"] for model in (baseline, served))
    cell, title = differences[baseline]["mean"]["all"][name], titles[name]["title"].replace("\u00a0", " ")
    title = title if title.startswith("AUC") else f"{title[0].lower()}{title[1:]}"
    difference = f"{-cell['value']:+.4f} [{-cell['high']:+.4f}, {-cell['low']:+.4f}]"
    return f"{title} {theirs:.4f} against {ours:.4f} (difference {difference})"


def _the(model: str) -> str:
    """A model inside a sentence."""
    return f"the {model}" if model in ("network", "stack", "champion") else model


def _outcomes(labels: Labels) -> list[str]:
    customers, buyers = labels.customer.size, labels.bought.sum(axis=0)
    none, every, offers = int((buyers == 0).sum()), int((buyers == customers).sum()), buyers.size
    sentences = []
    if none:
        sentences.append(f"at {labels.cutoff} nobody bought {none} of {offers} offers: they are not evaluated")
    if every:
        sentences.append(f"at {labels.cutoff} everybody bought {every} of {offers} offers: they are not evaluated")
    if labels.bought.any() and not labels.revenue.any():
        sentences.append(f"at {labels.cutoff} purchases have no revenue: revenue lift and capture are undefined")
    return sentences


def _equal_scores(name: str, labels: Labels, prediction: Prediction) -> list[str]:
    offers = labels.offer.size
    same = int(np.all(prediction.value == prediction.value[:1], axis=0).sum()) if labels.customer.size > 1 else 0
    if not same:
        return []
    if same == offers:
        return [f"{name} gives all customers the same score at {labels.cutoff}: its ranking is random"]
    which = f"for {same} of {offers} offers at {labels.cutoff}"
    return [f"{name} gives all customers the same score {which}: their ranking is random"]


def _missing_scores(name: str, labels: Labels, prediction: Prediction) -> list[str]:
    if prediction.scored is None or prediction.scored.all():
        return []
    missing, pairs = int((~prediction.scored).sum()), prediction.scored.size
    return [f"{name} has no score for {missing:,} of {pairs:,} pairs at {labels.cutoff}: they count as 0"]
