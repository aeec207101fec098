"""The purchase loss alone, to compare others with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from propensity.data.batch import Outcomes
from propensity.loss.multitask import Terms, purchase_loss
from propensity.model.outputs import Outputs


@dataclass
class Purchase:
    """Cross-entropy of all pairs; revenue, visits and channels are not trained."""

    def __call__(self, outputs: Outputs, outcomes: Outcomes, weight: Tensor) -> Terms:
        loss = purchase_loss(outputs, outcomes, weight)
        return Terms(loss, {"purchase": loss})
