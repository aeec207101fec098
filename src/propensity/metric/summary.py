"""The parts of a report without intervals: counts, revenue curves, reliability and one row per offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from propensity.metric.calibration import BINS, distance, is_probability, reliability
from propensity.metric.lift import SHARES, mean_curves
from propensity.metric.panel import Yardstick, offer_points
from propensity.metric.truth import Prediction, Truth

SLICE_BINS = 8  # of a reliability table of fewer pairs


def finite(number: float) -> float | None:
    """The number as JSON knows it: None where it is not finite."""
    return float(number) if np.isfinite(number) else None


def counts(yard: Yardstick, predictions: Mapping[str, Prediction]) -> dict[str, Any]:
    """How much the metrics of a cutoff rest on, by slice too; sums over the cells of a partition are the whole.

    `judged` is the share of the slice's purchases that its judged offers hold, `coverage` the share of its pairs that
    each model answered for; None for a slice without any.
    """
    truth = yard.truth
    customers, offers = truth.bought.shape
    return {
        "customers": customers,
        "offers": offers,
        "pairs": customers * offers,
        "positives": int(truth.bought.sum()),
        "revenue": float(truth.revenue.sum()),
        "slices": {name: _inside(yard, name, mask, predictions) for name, mask in truth.slices.items()},
    }


def _inside(yard: Yardstick, name: str, mask: np.ndarray, predictions: Mapping[str, Prediction]) -> dict[str, Any]:
    bought, pairs = yard.truth.bought & mask, int(mask.sum())
    scored, positives = yard.scored[name], int(bought.sum())
    given = {model: made.given for model, made in predictions.items() if made.given is not None}
    return {
        "customers": int(mask.any(axis=1).sum()),
        "offers": int(scored.sum()),
        "pairs": pairs,
        "positives": positives,
        "revenue": float(yard.truth.revenue[mask].sum()),
        "judged": float(bought[:, scored].sum() / positives) if positives else None,
        "coverage": {model: float(made[mask].mean()) if pairs else None for model, made in given.items()},
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
    """Promise and outcome of one model: of all pairs, by slice (all cutoffs together) and by cutoff.

    Each holds buyers and revenue expected and realised, the calibration error, and the reliability table.
    """
    pairs = list(zip(truths, predictions, strict=True))
    if not all(is_probability(prediction.probability) for prediction in predictions):
        return {"bins": [], "reason": "there are scores outside [0, 1], which are no probabilities, or none at all"}
    whole = _promise([(truth, prediction, truth.slices["all"]) for truth, prediction in pairs], BINS)
    names = [name for name in truths[0].slices if name != "all"]
    return whole | {
        "slices": {name: _promise([(t, p, t.slices[name]) for t, p in pairs], SLICE_BINS) for name in names},
        "dates": {t.cutoff: _promise([(t, p, t.slices["all"])], SLICE_BINS) for t, p in pairs},
    }


def _promise(parts: Sequence[tuple[Truth, Prediction, np.ndarray]], bins: int) -> dict[str, Any]:
    """What was expected of the masked pairs, what came, and how far apart the two lie."""
    probability, bought, revenue = (
        np.concatenate(column)
        for column in zip(*((p.probability[m], t.bought[m], t.revenue[m]) for t, p, m in parts), strict=True)
    )
    promised: dict[str, Any] = {"pairs": probability.size, "buyers": int(bought.sum()), "revenue": float(revenue.sum())}
    promised |= {"expected_buyers": float(probability.sum(dtype=np.float64)), "expected_revenue": None}
    if all(p.revenue is not None for _, p, _ in parts):
        expected = (p.revenue[m].sum(dtype=np.float64) for _, p, m in parts if p.revenue is not None)
        promised["expected_revenue"] = float(sum(expected))
    if not probability.size:
        return promised | {"ece": None, "bins": [], "reason": "no pair lies in this slice"}
    table = reliability(probability, bought, bins)
    rows = zip(table.predicted, table.observed, table.pairs, strict=True)
    return promised | {
        "ece": distance(table),
        "bins": [{"predicted": float(p), "observed": float(o), "pairs": int(n)} for p, o, n in rows],
    }


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
