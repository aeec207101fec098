"""Calibration after a fit: the totals of purchases and amounts that a network expects of training pairs."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import torch

from propensity.feature.history_mask import NoHistoryMask
from propensity.model.offer_net import OfferNet
from propensity.training.amount import amount_scale
from propensity.training.data_module import CutoffSampler, PropensityDataModule, TrainingBatches
from propensity.training.level import set_level
from propensity.training.validation import Block, block_of

BATCHES = 60  # that are counted at most


def calibrate(model: OfferNet, data: PropensityDataModule) -> None:
    """Sets the scale of the amounts and the level of the probabilities of a fitted network.

    Parameters
    ----------
    model : OfferNet
        The network, changed in place.
    data : PropensityDataModule
        What it was trained on.
    """
    blocks = training_blocks(model, data)
    model.amount_scale.fill_(amount_scale(blocks))
    set_level(model, blocks, data.task.feature.pair.index("recency"))


@torch.no_grad()
def training_blocks(model: OfferNet, data: PropensityDataModule) -> list[Block]:
    """Outputs of a network for a sample of the training pairs without history masks, and the outcomes of these.

    Parameters
    ----------
    model : OfferNet
        The network.
    data : PropensityDataModule
        What it was trained on.

    Returns
    -------
    list of Block
        One for each of at most `BATCHES` batches.
    """
    model.eval()
    batches = TrainingBatches(data.training_set, replace(data.task, history_mask=NoHistoryMask()))
    sampler = CutoffSampler(data.sizes(), data.batch_size, data.seed, orders=data.orders())
    purchase_days, blocks = data.task.feature.pair.index("purchase_days"), []
    for index in islice(sampler, BATCHES):
        batch = batches[index]
        blocks.append(block_of(model.member_outputs(batch.inputs), batch, purchase_days))
    return blocks
