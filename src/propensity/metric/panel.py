"""Every metric of one model at one cutoff, by slice, for the full sample and for every resample of its customers.

Legend: N customers, M offers, S scored offers, W weight columns (column 0 is the full sample).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from propensity.kernel.rank import purchase_ranking, revenue_ranking
from propensity.metric.calibration import is_probability, pair_loss, resampled_calibration_error
from propensity.metric.lift import winsorised
from propensity.metric.ranking import descending
from propensity.metric.truth import Prediction, Truth

BUYERS, SLICE_BUYERS = 10, 5  # an offer is scored from this many buyers on; in a slice, from this many
Panel = dict[str, dict[str, np.ndarray]]  # slice -> metric -> (W,)


class Yardstick(NamedTuple):
    """What all models are measured against at one cutoff: arrays lie offer by offer, and the ceiling is known."""

    truth: Truth
    weight: np.ndarray  # (N,W) u8
    fraction: float
    bought: np.ndarray  # (M,N)
    revenue: np.ndarray  # (M,N)
    capped: np.ndarray  # (M,N) revenue, winsorised within the offer
    slices: dict[str, np.ndarray]  # (M,N)
    scored: dict[str, np.ndarray]  # (M,) bool
    ceiling: dict[str, np.ndarray]  # (W,) mean capture of a ranking by what was really spent
    pairs: dict[str, np.ndarray]  # (W,) weight of the pairs


def yardstick(truth: Truth, weight: np.ndarray, fraction: float) -> Yardstick:
    by_offer = {name: np.ascontiguousarray(mask.T) for name, mask in truth.slices.items()}
    bought, revenue = np.ascontiguousarray(truth.bought.T), np.ascontiguousarray(truth.revenue.T)
    scored = {name: _scored(bought, mask, needed_buyers(name)) for name, mask in by_offer.items()}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in by_offer}
    for m in range(truth.offer.size):
        order = descending(revenue[m])
        for name in (name for name in by_offer if scored[name][m]):
            kept = order[by_offer[name][m][order]]
            rows[name].append(revenue_ranking(kept, revenue[m], revenue[m], weight, fraction))
    ceiling = {name: finite_mean(np.array(made).reshape(-1, weight.shape[1])) for name, made in rows.items()}
    capped = np.ascontiguousarray(winsorised(truth.revenue).T)
    pairs = dict(zip(truth.slices, _weighed(weight, truth.slices.values()), strict=True))
    return Yardstick(truth, weight, fraction, bought, revenue, capped, by_offer, scored, ceiling, pairs)


def panel(yard: Yardstick, prediction: Prediction) -> Panel:
    """Metrics of every slice, NaN where undefined; of all pairs also winsorised revenue, calibration and pooled AUC."""
    return _with_probability_metrics(ranking_panel(yard, prediction), yard, prediction)


def ranking_panel(yard: Yardstick, prediction: Prediction) -> Panel:
    """The metrics of every slice that only ask who is ranked before whom."""
    ranked = _ranked(yard, prediction)
    columns = yard.weight.shape[1]
    result: Panel = {}
    for name, rows in ranked.items():
        kept = np.array(rows).reshape(-1, 5, columns).swapaxes(0, 1)
        auc, ap, lift, capture, capped = (finite_mean(row) for row in kept)
        ceiling = yard.ceiling[name]
        result[name] = {"auc": auc, "ap": ap, "lift": lift, "capture": capture, "capture_oracle": ceiling}
        result[name] |= {"capture_ratio": quotient(capture, ceiling), "revenue_lift": capture / yard.fraction}
        if name == "all":
            result[name] |= {"capture_winsorised": capped, "revenue_lift_winsorised": capped / yard.fraction}
    return result


def offer_points(yard: Yardstick, prediction: Prediction) -> np.ndarray:
    """AUC, average precision, lift and capture of each offer among all customers: (M,4), NaN where undefined."""
    points = np.full((yard.truth.offer.size, 4), np.nan)
    for m in range(len(points)):
        orders = descending(prediction.probability[:, m]), descending(prediction.value[:, m])
        points[m] = _offer_rows(yard, prediction, m, orders, yard.weight[:, :1])[:4, 0]
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


def _ranked(yard: Yardstick, prediction: Prediction) -> dict[str, list[np.ndarray]]:
    rows: dict[str, list[np.ndarray]] = {name: [] for name in yard.slices}
    for m in range(yard.truth.offer.size):
        orders = descending(prediction.probability[:, m]), descending(prediction.value[:, m])
        for name in (name for name in yard.slices if yard.scored[name][m]):
            inside = yard.slices[name][m]
            kept = orders[0][inside[orders[0]]], orders[1][inside[orders[1]]]
            rows[name].append(_offer_rows(yard, prediction, m, kept, yard.weight, name == "all"))
    return rows


def _offer_rows(
    yard: Yardstick,
    prediction: Prediction,
    m: int,
    orders: tuple[np.ndarray, np.ndarray],
    weight: np.ndarray,
    robust: bool = False,
) -> np.ndarray:
    """AUC, average precision, lift, capture, and with `robust` capture of winsorised revenue (else NaN): (5,W)."""
    chance, value = np.ascontiguousarray(prediction.probability[:, m]), np.ascontiguousarray(prediction.value[:, m])
    purchases = purchase_ranking(orders[0], chance, yard.bought[m], weight, yard.fraction)
    capture = revenue_ranking(orders[1], value, yard.revenue[m], weight, yard.fraction)
    capped = np.full(weight.shape[1], np.nan)
    if robust:
        capped = revenue_ranking(orders[1], value, yard.capped[m], weight, yard.fraction)
    return np.vstack([purchases, capture, capped])


def _with_probability_metrics(result: Panel, yard: Yardstick, prediction: Prediction) -> Panel:
    truth, undefined = yard.truth, np.full(yard.weight.shape[1], np.nan)
    valid = is_probability(prediction.probability)
    loss = pair_loss(prediction.probability, truth.bought)
    lost = _weighed(yard.weight, (loss * mask for mask in truth.slices.values()))  # no loss is infinite
    for name, row in zip(truth.slices, lost, strict=True):
        result[name]["logloss"] = quotient(row, yard.pairs[name]) if valid else undefined
    error = resampled_calibration_error(prediction.probability, truth.bought, yard.weight) if valid else undefined
    result["all"] |= {"ece": error, "micro_auc": _pooled_auc(prediction.probability, truth.bought)}
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
