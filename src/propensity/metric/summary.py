"""The parts of a report without intervals: counts, revenue curves, calibration and one row per offer."""

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
    """The number for JSON: None where it is not finite."""
    return float(number) if np.isfinite(number) else None


def counts(context: EvalContext, predictions: Mapping[str, Prediction]) -> dict[str, Any]:
    """Customers, offers, pairs, purchases and revenue of a cutoff, in total and by slice.

    In a slice, `offers` counts the evaluated ones; `evaluated` is the share of its purchases that they hold and
    `coverage` the share of its pairs that each model scored, None for a slice without any.
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
    evaluated, positives = context.evaluated[name], int(bought.sum())
    covered = {model: each.scored for model, each in predictions.items() if each.scored is not None}
    return {
        "customers": int(mask.any(axis=1).sum()),
        "offers": int(evaluated.sum()),
        "pairs": pairs,
        "positives": positives,
        "revenue": float(context.labels.revenue[mask].sum()),
        "evaluated": float(bought[:, evaluated].sum() / positives) if positives else None,
        "coverage": {
            model: float(pairs_scored[mask].mean()) if pairs else None for model, pairs_scored in covered.items()
        },
    }


def curves(contexts: Sequence[EvalContext], predictions: Mapping[str, Sequence[Prediction]]) -> dict[str, Any]:
    """Share of revenue against share of customers: each model, and `oracle`, which ranks by realised revenue.

    `revenue` averages the offers by their revenue, `macro` is the plain mean of the evaluated ones; both are
    means over the cutoffs.
    """
    values = {name: [prediction.value for prediction in each] for name, each in predictions.items()}
    values["oracle"] = [context.labels.revenue for context in contexts]
    return {name: _curve(contexts, ranked) for name, ranked in values.items()}


def _curve(contexts: Sequence[EvalContext], values: Sequence[np.ndarray]) -> dict[str, list[float | None]]:
    pairs = zip(contexts, values, strict=True)
    curves_ = [mean_curves(value, context.labels.revenue, context.evaluated["all"]) for context, value in pairs]
    revenue, macro = np.mean(curves_, axis=0)
    named = {"share": SHARES, "revenue": revenue, "macro": macro}
    return {name: [finite(number) for number in line] for name, line in named.items()}


def calibration_table(all_labels: Sequence[Labels], predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Expected and observed outcomes of one model: over all pairs, by slice (all cutoffs) and by cutoff.

    Each holds expected and observed buyers and revenue, the calibration error, and the reliability table.
    """
    pairs = list(zip(all_labels, predictions, strict=True))
    if not all(is_probability(prediction.probability) for prediction in predictions):
        return {"bins": [], "reason": "scores outside [0, 1] are no probabilities"}
    whole = _expected([(labels, prediction, labels.slices["all"]) for labels, prediction in pairs], BINS)
    names = [name for name in all_labels[0].slices if name != "all"]
    return whole | {
        "slices": {name: _expected([(t, p, t.slices[name]) for t, p in pairs], SLICE_BINS) for name in names},
        "dates": {t.cutoff: _expected([(t, p, t.slices["all"])], SLICE_BINS) for t, p in pairs},
    }


def _expected(parts: Sequence[tuple[Labels, Prediction, np.ndarray]], bins: int) -> dict[str, Any]:
    """Expected and observed outcomes of the masked pairs, and their calibration."""
    probability, bought, revenue = (
        np.concatenate(column)
        for column in zip(*((p.probability[m], t.bought[m], t.revenue[m]) for t, p, m in parts), strict=True)
    )
    result: dict[str, Any] = {"pairs": probability.size, "buyers": int(bought.sum()), "revenue": float(revenue.sum())}
    result |= {"expected_buyers": float(probability.sum(dtype=np.float64)), "expected_revenue": None}
    if all(p.revenue is not None for _, p, _ in parts):
        expected = (p.revenue[m].sum(dtype=np.float64) for _, p, m in parts if p.revenue is not None)
        result["expected_revenue"] = float(sum(expected))
    if not probability.size:
        return result | {"ece": None, "bins": [], "reason": "no pair lies in this slice"}
    table = reliability(probability, bought, bins)
    rows = zip(table.predicted, table.observed, table.pairs, strict=True)
    return result | {
        "ece": distance(table),
        "bins": [{"predicted": float(p), "observed": float(o), "pairs": int(n)} for p, o, n in rows],
    }


def offer_table(context: EvalContext, prediction: Prediction) -> list[dict[str, Any]]:
    """Expected and observed outcomes of each offer, and ranking metrics of one model; None where undefined."""
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
