"""Sentences about what is odd in the answers or the outcomes, so that no figure surprises its reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from propensity.metric.labels import Labels, Prediction


def warnings(all_labels: Sequence[Labels], predictions: Mapping[str, Sequence[Prediction]]) -> list[str]:
    """What a reader should know before the figures: offers that nobody or everybody bought, a window without revenue,
    models that rank nobody before anybody, pairs without a score."""
    found = [sentence for labels in all_labels for sentence in _outcomes(labels)]
    for name, made in predictions.items():
        found += [sentence for pair in zip(all_labels, made, strict=True) for sentence in _answers(name, *pair)]
    return found


def _outcomes(labels: Labels) -> list[str]:
    customers, buyers = labels.customer.size, labels.bought.sum(axis=0)
    none, every, offers = int((buyers == 0).sum()), int((buyers == customers).sum()), buyers.size
    found = []
    if none:
        found.append(f"at {labels.cutoff} nobody bought {none} of {offers} offers: they are not judged")
    if every:
        found.append(f"at {labels.cutoff} everybody bought {every} of {offers} offers: they are not judged")
    if labels.bought.any() and not labels.revenue.any():
        found.append(f"at {labels.cutoff} purchases brought no revenue: its lift and capture are undefined")
    return found


def _answers(name: str, labels: Labels, prediction: Prediction) -> list[str]:
    found = []
    offers = labels.offer.size
    same = int(np.all(prediction.value == prediction.value[:1], axis=0).sum()) if labels.customer.size > 1 else 0
    if same == offers:
        found.append(f"{name} gives all customers the same score at {labels.cutoff}: its list is a random one")
    elif same:
        found.append(
            f"{name} gives all customers the same score for {same} of {offers} offers at {labels.cutoff}: "
            "there its list is a random one"
        )
    if prediction.given is not None and not prediction.given.all():
        left, pairs = int((~prediction.given).sum()), prediction.given.size
        found.append(f"{name} left out {left:,} of {pairs:,} pairs at {labels.cutoff}: they count as 0")
    return found
