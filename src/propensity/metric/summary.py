"""The parts of a report without intervals: counts, revenue curves, reliability and one row per offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from propensity.metric.calibration import BINS, distance, is_probability, reliability
from propensity.metric.context import AUC, CAPTURE, LIFT, EvalContext, offer_points
from propensity.metric.labels import Labels, Prediction
from propensity.metric.lift import SHARES, mean_curves

SLICE_BINS = 8  # of a reliability table of fewer pairs


def finite(number: float) -> float | None:
    """The number as JSON knows it: None where it is not finite."""
    return float(number) if np.isfinite(number) else None


def counts(context: EvalContext, predictions: Mapping[str, Prediction]) -> dict[str, Any]:
    """How much the metrics of a cutoff rest on, by slice too; sums over the cells of a partition are the whole.

    `judged` is the share of the slice's purchases that its judged offers hold, `coverage` the share of its pairs that
    each model answered for; None for a slice without any.
    """
    labels = context.labels
    customers, offers = labels.bought.shape
    return {
        "customers": customers,
        "offers": offers,
        "pairs": customers * offers,
        "positives": int(labels.bought.sum()),
        "revenue": float(labels.revenue.sum()),
        "slices": {name: _inside(context, name, mask, predictions) for name, mask in labels.slices.items()},
    }


def _inside(context: EvalContext, name: str, mask: np.ndarray, predictions: Mapping[str, Prediction]) -> dict[str, Any]:
    bought, pairs = context.labels.bought & mask, int(mask.sum())
    scored, positives = context.scored[name], int(bought.sum())
    given = {model: made.given for model, made in predictions.items() if made.given is not None}
    return {
        "customers": int(mask.any(axis=1).sum()),
        "offers": int(scored.sum()),
        "pairs": pairs,
        "positives": positives,
        "revenue": float(context.labels.revenue[mask].sum()),
        "judged": float(bought[:, scored].sum() / positives) if positives else None,
        "coverage": {model: float(made[mask].mean()) if pairs else None for model, made in given.items()},
    }


def curves(contexts: Sequence[EvalContext], predictions: Mapping[str, Sequence[Prediction]]) -> dict[str, Any]:
    """Share of revenue against share of customers: each model, and `oracle`, who knows what will be spent.

    `revenue` averages the offers by their revenue, `macro` is the plain mean of the scored ones; both average cutoffs.
    """
    values = {name: [prediction.value for prediction in made] for name, made in predictions.items()}
    values["oracle"] = [context.labels.revenue for context in contexts]
    return {name: _curve(contexts, ranked) for name, ranked in values.items()}


def _curve(contexts: Sequence[EvalContext], values: Sequence[np.ndarray]) -> dict[str, list[float | None]]:
    pairs = zip(contexts, values, strict=True)
    made = [mean_curves(value, context.labels.revenue, context.scored["all"]) for context, value in pairs]
    revenue, macro = np.mean(made, axis=0)
    named = {"share": SHARES, "revenue": revenue, "macro": macro}
    return {name: [finite(number) for number in line] for name, line in named.items()}


def calibration_table(all_labels: Sequence[Labels], predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Promise and outcome of one model: of all pairs, by slice (all cutoffs together) and by cutoff.

    Each holds buyers and revenue expected and realised, the calibration error, and the reliability table.
    """
    pairs = list(zip(all_labels, predictions, strict=True))
    if not all(is_probability(prediction.probability) for prediction in predictions):
        return {"bins": [], "reason": "there are scores outside [0, 1], which are no probabilities, or none at all"}
    whole = _promise([(labels, prediction, labels.slices["all"]) for labels, prediction in pairs], BINS)
    names = [name for name in all_labels[0].slices if name != "all"]
    return whole | {
        "slices": {name: _promise([(t, p, t.slices[name]) for t, p in pairs], SLICE_BINS) for name in names},
        "dates": {t.cutoff: _promise([(t, p, t.slices["all"])], SLICE_BINS) for t, p in pairs},
    }


def _promise(parts: Sequence[tuple[Labels, Prediction, np.ndarray]], bins: int) -> dict[str, Any]:
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


def offer_table(context: EvalContext, prediction: Prediction) -> list[dict[str, Any]]:
    """What one model said of each offer, and what came of it; None where a number is undefined."""
    labels, unknown = context.labels, np.full(context.labels.offer.size, np.nan)
    buyers = prediction.probability.sum(axis=0, dtype=np.float64)
    revenue = unknown if prediction.revenue is None else prediction.revenue.sum(axis=0, dtype=np.float64)
    points = offer_points(context, prediction)
    columns = {
        "expected_buyers": buyers if is_probability(prediction.probability) else unknown,
        "expected_revenue": revenue,
        "auc": points[:, AUC],
        "lift": points[:, LIFT],
        "revenue_capture": points[:, CAPTURE],
    }
    return [
        {"offer": str(offer), "buyers": int(labels.bought[:, m].sum()), "revenue": float(labels.revenue[:, m].sum())}
        | {name: finite(column[m]) for name, column in columns.items()}
        for m, offer in enumerate(labels.offer)
    ]
