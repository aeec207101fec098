"""Outcomes after a cutoff, a model's predictions of them, and the checks that both fit together.

Legend: N customers, M offers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from propensity.errors import DataError
from propensity.metric.ranking import floating


class Labels(NamedTuple):
    """The outcomes at one cutoff; `slices` always holds "all"."""

    cutoff: str  # ISO date
    customer: np.ndarray  # (N,) ids
    offer: np.ndarray  # (M,) names
    bought: np.ndarray  # (N,M) bool
    revenue: np.ndarray  # (N,M), currency in the horizon
    slices: dict[str, np.ndarray]  # name -> (N,M) bool


def unnamed_labels(bought: np.ndarray, revenue: np.ndarray, slices: dict[str, np.ndarray]) -> Labels:
    """Labels (N, M) of which the names of cutoff, customers and offers do not matter."""
    customers, offers = (np.arange(size) for size in bought.shape)
    return Labels("", customers, offers, bought, revenue.astype(np.float64), slices)


class Prediction(NamedTuple):
    """One model's predictions for the same customers and offers; without revenue, capture is ranked by probability."""

    probability: np.ndarray  # (N,M)
    revenue: np.ndarray | None = None  # (N,M) expected in the horizon
    scored: np.ndarray | None = None  # (N,M) bool, which pairs the model scored; None: all

    @property
    def value(self) -> np.ndarray:
        """What customers are ranked by for revenue metrics."""
        return self.probability if self.revenue is None else self.revenue


def checked(
    all_labels: Sequence[Labels], predictions: Mapping[str, Sequence[Prediction]], reference: str
) -> tuple[list[Labels], dict[str, list[Prediction]]]:
    """The same labels and predictions as plain arrays.

    Raises
    ------
    DataError
        Where a shape differs, a value is not finite, or a customer, offer or cutoff appears twice.
    """
    if not all_labels:
        raise DataError("there is no cutoff to evaluate; give labels of at least one")
    _refuse_repeats("cutoff", np.array([labels.cutoff for labels in all_labels]), "the evaluation")
    if reference not in predictions:
        raise DataError(f"the reference model {reference!r} has no predictions; choose one of {sorted(predictions)}")
    ready = [_labels(labels) for labels in all_labels]
    for labels in ready:
        if set(labels.slices) != set(ready[0].slices):
            names, first = sorted(labels.slices), sorted(ready[0].slices)
            raise DataError(f"slices at {labels.cutoff} are {names}; give {first}, as at the first cutoff")
    for name, each in predictions.items():
        if len(each) != len(ready):
            raise DataError(f"{name} predicts {len(each)} cutoffs of {len(ready)}; give one prediction for each")
    paired = {name: list(zip(ready, each, strict=True)) for name, each in predictions.items()}
    return ready, {name: [_prediction(name, *pair) for pair in pairs] for name, pairs in paired.items()}


def _labels(labels: Labels) -> Labels:
    customer, offer = np.asarray(labels.customer), np.asarray(labels.offer)
    revenue = np.asarray(labels.revenue, np.float64)
    place = f"the labels at {labels.cutoff}"
    _refuse_repeats("customer", customer, place)
    _refuse_repeats("offer", offer, place)
    if "all" not in labels.slices:
        raise DataError(f"{place} has slices {sorted(labels.slices)}; add the slice 'all'")
    tables = {"bought": labels.bought, "revenue": revenue, **labels.slices}
    for name, table in tables.items():
        _check_table(f"{name} in {place}", np.asarray(table), (customer.size, offer.size))
    slices = {name: np.asarray(mask).astype(bool) for name, mask in labels.slices.items()}
    return Labels(labels.cutoff, customer, offer, np.asarray(labels.bought).astype(bool), revenue, slices)


def _prediction(name: str, labels: Labels, prediction: Prediction) -> Prediction:
    place = f"of {name} at {labels.cutoff}"
    probability = floating(prediction.probability)
    _check_table(f"probability {place}", probability, labels.bought.shape)
    scored = np.ones(probability.shape, bool) if prediction.scored is None else np.asarray(prediction.scored)
    _check_table(f"scored pairs {place}", scored, labels.bought.shape)
    if prediction.revenue is None:
        return Prediction(probability, None, scored)
    revenue = floating(prediction.revenue)
    _check_table(f"expected revenue {place}", revenue, labels.bought.shape)
    return Prediction(probability, revenue, scored)


def _check_table(what: str, table: np.ndarray, shape: tuple[int, ...]) -> None:
    if table.shape != shape:
        raise DataError(f"{what} has shape {table.shape}; it must hold {shape[0]} customers x {shape[1]} offers")
    if not np.isfinite(table).all():
        bad = int((~np.isfinite(table)).sum())
        raise DataError(f"{what} holds {bad} values that are not finite; fill them before evaluating")


def _refuse_repeats(what: str, ids: np.ndarray, place: str) -> None:
    values, count = np.unique(ids, return_counts=True)
    if values.size < ids.size:
        raise DataError(f"{what} {values[count > 1][0]} appears twice in {place}; keep one row for each {what}")
