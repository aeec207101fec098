"""A trained network's answer for one send date, block by block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from propensity.data.preparation import Occasion
from propensity.scores import Scores
from propensity.training.loader import to_tensors


def predict(model: nn.Module, occasion: Occasion, name: str = "network", pairs: int = 131_072) -> Scores:
    """Scores of every customer of the occasion for every offer; `pairs` at a time, on the device of the model.

    A score does not depend on the block it was computed in.
    """
    features, snapshot, customer = occasion
    shape = (customer.size, len(features.offers))
    probability, revenue = np.empty(shape, np.float32), np.empty(shape, np.float32)
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    for block in blocks(customer.size, max(pairs // max(shape[1], 1), 1)):
        inputs = to_tensors(features.inputs(snapshot, customer[block]))
        with torch.inference_mode():
            outputs = model(type(inputs)(*(tensor.to(device) for tensor in inputs)))
            probability[block] = outputs.probability().float().cpu().numpy()
            revenue[block] = outputs.expected_revenue().float().cpu().numpy()
    model.train(training)
    return Scores(occasion.customer_id, features.offers.name, probability, revenue, str(snapshot.cutoff), name)


def blocks(total: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `range(total)`."""
    return (slice(start, min(start + size, total)) for start in range(0, total, size))
