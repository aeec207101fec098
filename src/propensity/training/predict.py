"""A trained network's answer for one send date, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import polars as pl
import torch
from torch import nn

from propensity.model.outputs import Outputs
from propensity.scores import ChannelShares, Scores
from propensity.task import CutoffData
from propensity.training.data_module import to_tensors


def predict(model: nn.Module, cutoff_data: CutoffData, name: str = "network", pairs: int = 131_072) -> Scores:
    """Scores of every customer of the occasion for every offer; `pairs` at a time, on the device of the model.

    A score depends neither on the block it was computed in nor on how many threads torch may use.
    """
    return predict_both(model, cutoff_data, name, pairs)[0]


def predict_both(
    model: nn.Module, cutoff_data: CutoffData, name: str = "network", pairs: int = 131_072
) -> tuple[Scores, ChannelShares | None]:
    """Scores as of `predict`, and the channels that purchases will go through; None where fewer than two are known."""
    offer, channel = cutoff_data.features.offers.name, cutoff_data.features.vocabulary.sold_through
    shape = (cutoff_data.row.size, len(offer))
    probability, revenue = np.empty(shape, np.float32), np.empty(shape, np.float32)
    share = np.empty((shape[0], len(channel)), np.float32)
    with one_thread():
        for block, outputs in answers(model, cutoff_data, max(pairs // max(shape[1], 1), 1)):
            probability[block] = outputs.probability().float().cpu().numpy()
            revenue[block] = outputs.expected_revenue().float().cpu().numpy()
            if len(channel) > 1:
                share[block] = outputs.channel_share().float().cpu().numpy()
    ids, cutoff = cutoff_data.customer_id, str(cutoff_data.market_stats.cutoff)
    shares = ChannelShares(ids, channel, share, cutoff) if len(channel) > 1 else None
    return Scores(ids, offer, probability, revenue, cutoff, name), shares


def states(model: nn.Module, cutoff_data: CutoffData, size: int = 1024) -> pl.DataFrame:
    """What the model makes of each customer's past: customer_id and state_0 to state_D, `size` customers at a time."""
    with one_thread():
        rows = np.concatenate([outputs.state.float().cpu().numpy() for _, outputs in answers(model, cutoff_data, size)])
    table = pl.DataFrame(rows, schema=[f"state_{k}" for k in range(rows.shape[1])])
    return table.insert_column(0, pl.Series("customer_id", cutoff_data.customer_id))


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch on the CPU, so that sums are made in one order wherever a score is made."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def answers(model: nn.Module, cutoff_data: CutoffData, size: int) -> Iterator[tuple[slice, Outputs]]:
    """Blocks of at most `size` customers and what the model, not training, says of them."""
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    for block, arrays in cutoff_data.blocks(size):
        inputs = to_tensors(arrays)
        with torch.inference_mode():
            yield block, model(type(inputs)(*(tensor.to(device) for tensor in inputs)))
    model.train(training)
