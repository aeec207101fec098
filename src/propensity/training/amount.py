"""The total of expected amounts: what training buyers paid over what the network expects of them."""

from __future__ import annotations

import torch

from propensity.model.offer_net import OfferNet
from propensity.training.data_module import CutoffSampler, PropensityDataModule, TrainingBatches

BATCHES = 60  # that are counted at most
CAP = 20.0  # times the expected amount: a larger revenue counts as so much, so that one line moves nobody's forecast
ENOUGH = 100.0  # buyers that an error of the total is believed as much as none


@torch.no_grad()
def amount_scale(model: OfferNet, data: PropensityDataModule) -> float:
    """The factor by which the network's amounts meet those of the training buyers in total, near 1 where they are few.

    The mean of a log-normal depends on the tail of the fit, and so the total is off where the tail is another.
    """
    model.eval()
    indices = list(CutoffSampler(data.sizes(), data.batch_size, data.seed, orders=data.orders()))[:BATCHES]
    batches = TrainingBatches(data.training_set, data.task)
    paid, expected, buyers = 0.0, 0.0, 0
    for index in indices:
        batch = batches[index]
        outputs = model(batch.inputs)
        amount, revenue = outputs.amount(), batch.outcomes.revenue
        bought = revenue > 0
        paid += float(torch.minimum(revenue, CAP * amount)[bought].double().sum())
        expected += float(amount[bought].double().sum())
        buyers += int(bought.sum())
    if not expected > 0:
        return 1.0
    return float((paid / expected) ** (buyers / (buyers + ENOUGH)))
