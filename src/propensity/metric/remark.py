"""Sentences about what is odd in the answers or the outcomes, so that no figure surprises its reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from propensity.metric.truth import Prediction, Truth


def remarks(truths: Sequence[Truth], predictions: Mapping[str, Sequence[Prediction]]) -> list[str]:
    """What a reader should know before the figures: offers that nobody or everybody bought, a window without revenue,
    models that rank nobody before anybody, pairs without a score."""
    found = [sentence for truth in truths for sentence in _outcomes(truth)]
    for name, made in predictions.items():
        found += [sentence for pair in zip(truths, made, strict=True) for sentence in _answers(name, *pair)]
    return found


def _outcomes(truth: Truth) -> list[str]:
    customers, buyers = truth.customer.size, truth.bought.sum(axis=0)
    none, every, offers = int((buyers == 0).sum()), int((buyers == customers).sum()), buyers.size
    found = []
    if none:
        found.append(f"at {truth.cutoff} nobody bought {none} of {offers} offers: they are not judged")
    if every:
        found.append(f"at {truth.cutoff} everybody bought {every} of {offers} offers: they are not judged")
    if truth.bought.any() and not truth.revenue.any():
        found.append(f"at {truth.cutoff} purchases brought no revenue: its lift and capture are undefined")
    return found


def _answers(name: str, truth: Truth, prediction: Prediction) -> list[str]:
    found = []
    offers = truth.offer.size
    same = int(np.all(prediction.value == prediction.value[:1], axis=0).sum()) if truth.customer.size > 1 else 0
    if same == offers:
        found.append(f"{name} gives all customers the same score at {truth.cutoff}: its list is a random one")
    elif same:
        found.append(
            f"{name} gives all customers the same score for {same} of {offers} offers at {truth.cutoff}: "
            "there its list is a random one"
        )
    if prediction.given is not None and not prediction.given.all():
        left, pairs = int((~prediction.given).sum()), prediction.given.size
        found.append(f"{name} left out {left:,} of {pairs:,} pairs at {truth.cutoff}: they count as 0")
    return found
