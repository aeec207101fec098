"""The total of expected amounts: what training buyers paid over what the network expects of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from propensity.model.outputs import ensemble_mean
from propensity.training.validation import Block

CAP = 20.0  # times the expected amount: a larger revenue counts as so much, so that one line moves nobody's forecast
ENOUGH = 100.0  # buyers that an error of the total is believed as much as none


@torch.no_grad()
def amount_scale(blocks: Sequence[Block]) -> float:
    """The factor by which the network's amounts meet those of the training buyers in total, near 1 where they are few.

    The mean of a log-normal depends on the tail of the fit, and so the total is off where the tail is another.
    """
    paid, expected, buyers = 0.0, 0.0, 0
    for block in blocks:
        amount, revenue = ensemble_mean(block.members).amount(), block.outcomes.revenue
        bought = revenue > 0
        paid += float(torch.minimum(revenue, CAP * amount)[bought].double().sum())
        expected += float(amount[bought].double().sum())
        buyers += int(bought.sum())
    if not expected > 0:
        return 1.0
    return float((paid / expected) ** (buyers / (buyers + ENOUGH)))
