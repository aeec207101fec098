"""What every metric is computed from: the outcomes at one cutoff, resample weights, and one model's predictions.

Legend: N customers, M offers, S evaluated offers, W weight columns (column 0 is the full sample).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from propensity.kernel.rank import purchase_ranking, revenue_ranking
from propensity.metric.calibration import is_probability
from propensity.metric.labels import Labels, Prediction
from propensity.metric.lift import winsorised
from propensity.metric.ranking import descending

BUYERS, SLICE_BUYERS = 10, 5  # an offer is evaluated from this many buyers on; in a slice, from this many
AUC, AVERAGE_PRECISION, LIFT, CAPTURE, WINSORISED_CAPTURE = range(5)  # rows of `Sample.ranked`


class EvalContext(NamedTuple):
    """The outcomes that all models are measured against at one cutoff; arrays are stored offer by offer."""

    labels: Labels
    weight: np.ndarray  # (N,W) u8
    fraction: float
    bought: np.ndarray  # (M,N)
    revenue: np.ndarray  # (M,N)
    capped: np.ndarray  # (M,N) revenue, winsorised within the offer
    slices: dict[str, np.ndarray]  # (M,N)
    evaluated: dict[str, np.ndarray]  # (M,) bool
    ceiling: dict[str, np.ndarray]  # (W,) mean capture of a ranking by the realised revenue
    pairs: dict[str, np.ndarray]  # (W,) weight of the pairs
    purchases: dict[str, np.ndarray]  # (W,) weight of the pairs that bought
    spent: dict[str, np.ndarray]  # (W,) weighted revenue of the pairs


def eval_context(labels: Labels, weight: np.ndarray, fraction: float) -> EvalContext:
    """Everything about one cutoff that does not depend on a model."""
    by_offer = {name: np.ascontiguousarray(mask.T) for name, mask in labels.slices.items()}
    bought, revenue = np.ascontiguousarray(labels.bought.T), np.ascontiguousarray(labels.revenue.T)
    evaluated = {name: _evaluated(bought, mask, needed_buyers(name)) for name, mask in by_offer.items()}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in by_offer}
    for m in range(labels.offer.size):
        order = descending(revenue[m])
        for name in (name for name in by_offer if evaluated[name][m]):
            inside = order[by_offer[name][m][order]]
            rows[name].append(revenue_ranking(inside, revenue[m], revenue[m], weight, fraction))
    ceiling = {name: finite_mean(np.array(each).reshape(-1, weight.shape[1])) for name, each in rows.items()}
    capped = np.ascontiguousarray(winsorised(labels.revenue).T)
    masks = labels.slices
    pairs = weighed(weight, masks, masks.values())
    purchases = weighed(weight, masks, (labels.bought & mask for mask in masks.values()))
    spent = weighed(weight, masks, (labels.revenue * mask for mask in masks.values()))
    return EvalContext(
        labels, weight, fraction, bought, revenue, capped, by_offer, evaluated, ceiling, pairs, purchases, spent
    )


@dataclass(frozen=True)
class Sample:
    """One model's predictions beside the outcomes at one cutoff; what a metric function over all columns receives."""

    context: EvalContext
    prediction: Prediction

    @cached_property
    def ranked(self) -> dict[str, np.ndarray]:
        """Slice -> (5,S,W): AUC, average precision, lift, capture and winsorised capture of each evaluated offer.

        Winsorised capture is NaN except in the slice `all`.
        """
        context, prediction = self.context, self.prediction
        rows: dict[str, list[np.ndarray]] = {name: [] for name in context.slices}
        for m in range(context.labels.offer.size):
            orders = descending(prediction.probability[:, m]), descending(prediction.value[:, m])
            for name in (name for name in context.slices if context.evaluated[name][m]):
                inside = context.slices[name][m]
                within = orders[0][inside[orders[0]]], orders[1][inside[orders[1]]]
                rows[name].append(_offer_rows(context, prediction, m, within, context.weight, name == "all"))
        columns = context.weight.shape[1]
        return {name: np.array(each).reshape(-1, 5, columns).swapaxes(0, 1) for name, each in rows.items()}

    @cached_property
    def is_probability(self) -> bool:
        """Whether every score lies in [0, 1]."""
        return is_probability(self.prediction.probability)

    def mean(self, row: int) -> dict[str, np.ndarray]:
        """Slice -> (W,): the mean over evaluated offers of a row of `ranked`."""
        return {name: finite_mean(rows[row]) for name, rows in self.ranked.items()}

    def total(self, table: np.ndarray) -> dict[str, np.ndarray]:
        """Slice -> (W,): the weighted sum over the slice's pairs of a finite table (N,M)."""
        masks = self.context.labels.slices
        return weighed(self.context.weight, masks, (table * mask for mask in masks.values()))


def offer_points(context: EvalContext, prediction: Prediction) -> np.ndarray:
    """AUC, average precision, lift and capture of each offer among all customers: (M,4), NaN where undefined."""
    points = np.full((context.labels.offer.size, 4), np.nan)
    for m in range(len(points)):
        orders = descending(prediction.probability[:, m]), descending(prediction.value[:, m])
        points[m] = _offer_rows(context, prediction, m, orders, context.weight[:, :1])[:4, 0]
    return points


def needed_buyers(name: str) -> int:
    """Buyers from which on an offer is evaluated in a slice."""
    return BUYERS if name == "all" else SLICE_BUYERS


def finite_mean(rows: np.ndarray) -> np.ndarray:
    """Mean of the defined rows in each column: (S,W) -> (W,); NaN where none is defined."""
    defined = np.isfinite(rows)
    return quotient(np.where(defined, rows, 0.0).sum(axis=0), defined.sum(axis=0))


def quotient(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where whole is not above zero."""
    share: np.ndarray = np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)
    return share


def weighed(weight: np.ndarray, names: Iterable[str], tables: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Sum of each table (N,M), its customers weighted by every column of weight (N,W): name -> (W,)."""
    rows = np.stack([table.sum(axis=1, dtype=np.float64) for table in tables])
    sums = rows @ weight.astype(np.float64)  # one product: many small ones mostly wait for BLAS's threads
    return dict(zip(names, sums, strict=True))


def _evaluated(bought: np.ndarray, mask: np.ndarray, needed: int) -> np.ndarray:
    buyers, customers = (bought & mask).sum(axis=1), mask.sum(axis=1)
    evaluated: np.ndarray = (buyers >= needed) & (buyers < customers)
    return evaluated


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
