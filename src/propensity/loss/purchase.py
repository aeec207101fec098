"""Purchases alone: the plain loss to compare the others with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from propensity.data.batch import Outcomes
from propensity.loss.multitask import Terms, purchase_loss
from propensity.model.outputs import Outputs


@dataclass
class Purchase:
    """Cross-entropy of all pairs; revenue and visits are not learned."""

    def __call__(self, outputs: Outputs, outcomes: Outcomes, weight: Tensor) -> Terms:
        loss = purchase_loss(outputs, outcomes, weight)
        return Terms(loss, {"purchase": loss})
