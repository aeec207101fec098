"""The parts of a report without intervals: counts, revenue curves, reliability and one row per offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from propensity.metric.calibration import is_probability, reliability
from propensity.metric.lift import SHARES, mean_curves
from propensity.metric.panel import Yardstick, offer_points
from propensity.metric.truth import Prediction, Truth


def finite(number: float) -> float | None:
    """The number as JSON knows it: None where it is not finite."""
    return float(number) if np.isfinite(number) else None


def counts(yard: Yardstick) -> dict[str, Any]:
    """How much the metrics of a cutoff rest on."""
    truth = yard.truth
    inside = {
        name: {
            "offers": int(yard.scored[name].sum()),
            "pairs": int(mask.sum()),
            "positives": int((truth.bought & mask).sum()),
        }
        for name, mask in truth.slices.items()
    }
    customers, offers = truth.bought.shape
    return {
        "customers": customers,
        "offers": offers,
        "pairs": customers * offers,
        "positives": int(truth.bought.sum()),
        "revenue": float(truth.revenue.sum()),
        "slices": inside,
    }


def curves(yards: Sequence[Yardstick], predictions: Mapping[str, Sequence[Prediction]]) -> dict[str, Any]:
    """Share of revenue against share of customers: each model, and `oracle`, who knows what will be spent.

    `revenue` averages the offers by their revenue, `macro` is the plain mean of the scored ones; both average cutoffs.
    """
    values = {name: [prediction.value for prediction in made] for name, made in predictions.items()}
    values["oracle"] = [yard.truth.revenue for yard in yards]
    return {name: _curve(yards, ranked) for name, ranked in values.items()}


def _curve(yards: Sequence[Yardstick], values: Sequence[np.ndarray]) -> dict[str, list[float | None]]:
    pairs = zip(yards, values, strict=True)
    made = [mean_curves(value, yard.truth.revenue, yard.scored["all"]) for yard, value in pairs]
    revenue, macro = np.mean(made, axis=0)
    named = {"share": SHARES, "revenue": revenue, "macro": macro}
    return {name: [finite(number) for number in line] for name, line in named.items()}


def calibration_table(truths: Sequence[Truth], predictions: Sequence[Prediction]) -> dict[str, Any]:
    """The reliability table of all cutoffs together."""
    probability = np.concatenate([prediction.probability.ravel() for prediction in predictions])
    if not is_probability(probability):
        return {"bins": [], "reason": "there are scores outside [0, 1], which are no probabilities, or none at all"}
    table = reliability(probability, np.concatenate([truth.bought.ravel() for truth in truths]))
    rows = zip(table.predicted, table.observed, table.pairs, strict=True)
    return {"bins": [{"predicted": float(p), "observed": float(o), "pairs": int(n)} for p, o, n in rows]}


def offer_table(yard: Yardstick, prediction: Prediction) -> list[dict[str, Any]]:
    """What one model said of each offer, and what came of it; None where a number is undefined."""
    truth, unknown = yard.truth, np.full(yard.truth.offer.size, np.nan)
    buyers = prediction.probability.sum(axis=0, dtype=np.float64)
    revenue = unknown if prediction.revenue is None else prediction.revenue.sum(axis=0, dtype=np.float64)
    points = offer_points(yard, prediction)
    columns = {
        "expected_buyers": buyers if is_probability(prediction.probability) else unknown,
        "expected_revenue": revenue,
        "auc": points[:, 0],
        "lift": points[:, 2],
        "capture": points[:, 3],
    }
    return [
        {"offer": str(offer), "buyers": int(truth.bought[:, m].sum()), "revenue": float(truth.revenue[:, m].sum())}
        | {name: finite(column[m]) for name, column in columns.items()}
        for m, offer in enumerate(truth.offer)
    ]
