"""Every metric of one model at one cutoff, by slice, for the full sample and for every resample of its customers.

Legend: N customers, M offers, S scored offers, W weight columns (column 0 is the full sample).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from propensity.kernel.rank import purchase_ranking, revenue_ranking
from propensity.metric.calibration import is_probability, pair_loss, resampled_calibration_error
from propensity.metric.labels import Labels, Prediction
from propensity.metric.lift import winsorised
from propensity.metric.ranking import descending

BUYERS, SLICE_BUYERS = 10, 5  # an offer is scored from this many buyers on; in a slice, from this many
MetricTable = dict[str, dict[str, np.ndarray]]  # slice -> metric -> (W,)


class EvalContext(NamedTuple):
    """What all models are measured against at one cutoff: arrays lie offer by offer, and the ceiling is known."""

    labels: Labels
    weight: np.ndarray  # (N,W) u8
    fraction: float
    bought: np.ndarray  # (M,N)
    revenue: np.ndarray  # (M,N)
    capped: np.ndarray  # (M,N) revenue, winsorised within the offer
    slices: dict[str, np.ndarray]  # (M,N)
    scored: dict[str, np.ndarray]  # (M,) bool
    ceiling: dict[str, np.ndarray]  # (W,) mean capture of a ranking by what was really spent
    pairs: dict[str, np.ndarray]  # (W,) weight of the pairs


def eval_context(labels: Labels, weight: np.ndarray, fraction: float) -> EvalContext:
    by_offer = {name: np.ascontiguousarray(mask.T) for name, mask in labels.slices.items()}
    bought, revenue = np.ascontiguousarray(labels.bought.T), np.ascontiguousarray(labels.revenue.T)
    scored = {name: _scored(bought, mask, needed_buyers(name)) for name, mask in by_offer.items()}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in by_offer}
    for m in range(labels.offer.size):
        order = descending(revenue[m])
        for name in (name for name in by_offer if scored[name][m]):
            kept = order[by_offer[name][m][order]]
            rows[name].append(revenue_ranking(kept, revenue[m], revenue[m], weight, fraction))
    ceiling = {name: finite_mean(np.array(made).reshape(-1, weight.shape[1])) for name, made in rows.items()}
    capped = np.ascontiguousarray(winsorised(labels.revenue).T)
    pairs = dict(zip(labels.slices, _weighed(weight, labels.slices.values()), strict=True))
    return EvalContext(labels, weight, fraction, bought, revenue, capped, by_offer, scored, ceiling, pairs)


def metric_table(context: EvalContext, prediction: Prediction) -> MetricTable:
    """Metrics of every slice, NaN where undefined; of all pairs also winsorised revenue, calibration and pooled AUC."""
    return _with_probability_metrics(ranking_metrics(context, prediction), context, prediction)


def ranking_metrics(context: EvalContext, prediction: Prediction) -> MetricTable:
    """The metrics of every slice that only ask who is ranked before whom."""
    ranked = _ranked(context, prediction)
    columns = context.weight.shape[1]
    result: MetricTable = {}
    for name, rows in ranked.items():
        kept = np.array(rows).reshape(-1, 5, columns).swapaxes(0, 1)
        auc, ap, lift, capture, capped = (finite_mean(row) for row in kept)
        ceiling = context.ceiling[name]
        result[name] = {
            "auc": auc,
            "average_precision": ap,
            "lift": lift,
            "revenue_capture": capture,
            "revenue_capture_oracle": ceiling,
        }
        result[name] |= {
            "normalised_revenue_capture": quotient(capture, ceiling),
            "revenue_lift": capture / context.fraction,
        }
        if name == "all":
            result[name] |= {"revenue_capture_winsorised": capped, "revenue_lift_winsorised": capped / context.fraction}
    return result


def offer_points(context: EvalContext, prediction: Prediction) -> np.ndarray:
    """AUC, average precision, lift and capture of each offer among all customers: (M,4), NaN where undefined."""
    points = np.full((context.labels.offer.size, 4), np.nan)
    for m in range(len(points)):
        orders = descending(prediction.probability[:, m]), descending(prediction.value[:, m])
        points[m] = _offer_rows(context, prediction, m, orders, context.weight[:, :1])[:4, 0]
    return points


def needed_buyers(name: str) -> int:
    return BUYERS if name == "all" else SLICE_BUYERS


def finite_mean(rows: np.ndarray) -> np.ndarray:
    """Mean of the defined rows in each column: (S,W) -> (W,); NaN where none is defined."""
    defined = np.isfinite(rows)
    return quotient(np.where(defined, rows, 0.0).sum(axis=0), defined.sum(axis=0))


def quotient(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where whole is not above zero."""
    share: np.ndarray = np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)
    return share


def _scored(bought: np.ndarray, mask: np.ndarray, needed: int) -> np.ndarray:
    buyers, customers = (bought & mask).sum(axis=1), mask.sum(axis=1)
    scored: np.ndarray = (buyers >= needed) & (buyers < customers)
    return scored


def _ranked(context: EvalContext, prediction: Prediction) -> dict[str, list[np.ndarray]]:
    rows: dict[str, list[np.ndarray]] = {name: [] for name in context.slices}
    for m in range(context.labels.offer.size):
        orders = descending(prediction.probability[:, m]), descending(prediction.value[:, m])
        for name in (name for name in context.slices if context.scored[name][m]):
            inside = context.slices[name][m]
            kept = orders[0][inside[orders[0]]], orders[1][inside[orders[1]]]
            rows[name].append(_offer_rows(context, prediction, m, kept, context.weight, name == "all"))
    return rows


def _offer_rows(
    context: EvalContext,
    prediction: Prediction,
    m: int,
    orders: tuple[np.ndarray, np.ndarray],
    weight: np.ndarray,
    robust: bool = False,
) -> np.ndarray:
    """AUC, average precision, lift, capture, and with `robust` capture of winsorised revenue (else NaN): (5,W)."""
    chance, value = np.ascontiguousarray(prediction.probability[:, m]), np.ascontiguousarray(prediction.value[:, m])
    purchases = purchase_ranking(orders[0], chance, context.bought[m], weight, context.fraction)
    capture = revenue_ranking(orders[1], value, context.revenue[m], weight, context.fraction)
    capped = np.full(weight.shape[1], np.nan)
    if robust:
        capped = revenue_ranking(orders[1], value, context.capped[m], weight, context.fraction)
    return np.vstack([purchases, capture, capped])


def _with_probability_metrics(result: MetricTable, context: EvalContext, prediction: Prediction) -> MetricTable:
    labels, undefined = context.labels, np.full(context.weight.shape[1], np.nan)
    valid = is_probability(prediction.probability)
    loss = pair_loss(prediction.probability, labels.bought)
    lost = _weighed(context.weight, (loss * mask for mask in labels.slices.values()))  # no loss is infinite
    for name, row in zip(labels.slices, lost, strict=True):
        result[name]["log_loss"] = quotient(row, context.pairs[name]) if valid else undefined
    error = resampled_calibration_error(prediction.probability, labels.bought, context.weight) if valid else undefined
    result["all"] |= {"ece": error, "micro_auc": _pooled_auc(prediction.probability, labels.bought)}
    return result


def _weighed(weight: np.ndarray, tables: Iterable[np.ndarray]) -> np.ndarray:
    """Sum of each table (N,M) with its customers weighed by every column of weight (N,W): (tables, W)."""
    rows = np.stack([table.sum(axis=1, dtype=np.float64) for table in tables])
    made: np.ndarray = rows @ weight.astype(np.float64)  # one product: many small ones mostly wait for BLAS's threads
    return made


def _pooled_auc(probability: np.ndarray, bought: np.ndarray) -> np.ndarray:
    score, ones = probability.ravel(), np.ones((probability.size, 1), np.uint8)
    made: np.ndarray = purchase_ranking(descending(score), score, bought.ravel(), ones, 0.5)[0]
    return made
