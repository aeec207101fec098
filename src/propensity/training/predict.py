"""Predictions of a trained network at one cutoff, in blocks of customers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import torch
from torch import nn

from propensity.model.inference import one_thread, to_tensors
from propensity.model.outputs import Outputs
from propensity.scores import ChannelShares, Scores
from propensity.task import CutoffData


def predict(model: nn.Module, cutoff_data: CutoffData, name: str = "network", pairs: int = 131_072) -> Scores:
    """Scores of every customer at a cutoff for every offer, on the device of the model.

    Parameters
    ----------
    model : the network.
    cutoff_data : features, offers and customers at the cutoff.
    name : of the model in the scores.
    pairs : customer x offer pairs in a block. The last bits of scores depend on it, up to 6e-8, because products of
        matrices of another size are summed in another order. The number of torch threads changes nothing.
    """
    return predict_both(model, cutoff_data, name, pairs)[0]


def predict_both(
    model: nn.Module, cutoff_data: CutoffData, name: str = "network", pairs: int = 131_072
) -> tuple[Scores, ChannelShares | None]:
    """Scores as of `predict`, and shares of channels; None where fewer than two channels are known."""
    offer, channel = cutoff_data.features.offers.name, cutoff_data.features.vocabulary.sold_through
    shape = (cutoff_data.row.size, len(offer))
    probability, revenue = np.empty(shape, np.float32), np.empty(shape, np.float32)
    share = np.empty((shape[0], len(channel)), np.float32)
    with one_thread():
        for block, outputs in outputs_by_block(model, cutoff_data, max(pairs // max(shape[1], 1), 1)):
            probability[block] = outputs.probability().float().cpu().numpy()
            revenue[block] = outputs.expected_revenue().float().cpu().numpy()
            if len(channel) > 1:
                share[block] = outputs.channel_share().float().cpu().numpy()
    ids, cutoff = cutoff_data.customer_id, str(cutoff_data.market_stats.cutoff)
    shares = ChannelShares(ids, channel, share, cutoff) if len(channel) > 1 else None
    return Scores(ids, offer, probability, revenue, cutoff, name), shares


def states(model: nn.Module, cutoff_data: CutoffData, size: int = 1024) -> pl.DataFrame:
    """The state of each customer: customer_id and state_0 to state_D, computed for `size` customers at a time."""
    with one_thread():
        rows = np.concatenate(
            [outputs.state.float().cpu().numpy() for _, outputs in outputs_by_block(model, cutoff_data, size)]
        )
    table = pl.DataFrame(rows, schema=[f"state_{k}" for k in range(rows.shape[1])])
    return table.insert_column(0, pl.Series("customer_id", cutoff_data.customer_id))


def outputs_by_block(model: nn.Module, cutoff_data: CutoffData, size: int) -> Iterator[tuple[slice, Outputs]]:
    """Blocks of at most `size` customers and the outputs of the model in evaluation mode."""
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    for block, arrays in cutoff_data.blocks(size):
        inputs = to_tensors(arrays)
        with torch.inference_mode():
            yield block, model(type(inputs)(*(tensor.to(device) for tensor in inputs)))
    model.train(training)
