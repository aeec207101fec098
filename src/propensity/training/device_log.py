"""The event log on the device: a batch brings the positions of its events, and histories are gathered there.

A position takes 8 bytes, a history slot of five columns 20 and more; on a GPU they would cross the bus with each batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from propensity.data.batch import Batch
from propensity.feature.features import Features


class PositionBatch(NamedTuple):
    """A batch whose histories are empty, and the positions of their events in the log."""

    batch: Batch
    position: Tensor  # (B, L) int64, oldest first, -1 for padding
    day: Tensor  # () int64, the cutoff


class DeviceLog:
    """The columns of a log that histories are made of, on a device: about 14 bytes per event, and the codes of items
    and channels.

    Parameters
    ----------
    features : whose log and codes are copied.
    device : to which they are copied.
    """

    def __init__(self, features: Features, device: torch.device) -> None:
        def copied(array: np.ndarray) -> Tensor:
            return torch.tensor(np.asarray(array), device=device)

        log = features.log
        self.item, self.kind, self.channel = copied(log.item), copied(log.kind), copied(log.channel)
        self.day, self.revenue = copied(log.day), copied(log.revenue)
        self.item_code, self.channel_code = copied(features.item_code), copied(features.channel_code)

    def gather(self, positions: PositionBatch) -> Batch:
        """The batch with its histories, equal to those of `Features.histories`."""
        batch, position, day = positions
        real = position >= 0
        at = position.clamp(min=0)

        def column(values: Tensor, padding: int) -> Tensor:
            return torch.where(real, values[at], padding)

        inputs = batch.inputs._replace(
            token=self.item_code[column(self.item, -1).long()],  # the last code is that of no item
            kind=column(self.kind, 0).int(),
            channel=self.channel_code[column(self.channel, -1).long()],
            age=torch.where(real, day - self.day[at], 0).float(),
            amount=column(self.revenue, 0),
        )
        return batch._replace(inputs=inputs)
