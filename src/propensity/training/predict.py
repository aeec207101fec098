"""A trained network's answer for one send date, block by block."""

from __future__ import annotations

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
    offer = occasion.features.offers.name
    shape = (occasion.customer.size, len(offer))
    probability, revenue = np.empty(shape, np.float32), np.empty(shape, np.float32)
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    for block, arrays in occasion.blocks(max(pairs // max(shape[1], 1), 1)):
        inputs = to_tensors(arrays)
        with torch.inference_mode():
            outputs = model(type(inputs)(*(tensor.to(device) for tensor in inputs)))
            probability[block] = outputs.probability().float().cpu().numpy()
            revenue[block] = outputs.expected_revenue().float().cpu().numpy()
    model.train(training)
    return Scores(occasion.customer_id, offer, probability, revenue, str(occasion.snapshot.cutoff), name)
