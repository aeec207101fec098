"""Warnings about unusual outcomes or predictions, as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from propensity.metric.labels import Labels, Prediction


def warnings(all_labels: Sequence[Labels], predictions: Mapping[str, Sequence[Prediction]]) -> list[str]:
    """Warnings about offers that nobody or everybody bought, a window without revenue, models that give all customers
    the same score, and pairs without a score."""
    sentences = [sentence for labels in all_labels for sentence in _outcomes(labels)]
    for name, each in predictions.items():
        sentences += [sentence for pair in zip(all_labels, each, strict=True) for sentence in _predictions(name, *pair)]
    return sentences


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


def _predictions(name: str, labels: Labels, prediction: Prediction) -> list[str]:
    sentences = []
    offers = labels.offer.size
    same = int(np.all(prediction.value == prediction.value[:1], axis=0).sum()) if labels.customer.size > 1 else 0
    if same == offers:
        sentences.append(f"{name} gives all customers the same score at {labels.cutoff}: its ranking is random")
    elif same:
        sentences.append(
            f"{name} gives all customers the same score for {same} of {offers} offers at {labels.cutoff}: "
            "their ranking is random"
        )
    if prediction.scored is not None and not prediction.scored.all():
        missing, pairs = int((~prediction.scored).sum()), prediction.scored.size
        sentences.append(f"{name} has no score for {missing:,} of {pairs:,} pairs at {labels.cutoff}: they count as 0")
    return sentences
