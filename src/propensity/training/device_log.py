"""The log on the device: a batch brings the positions of its events, and histories are gathered where they are read.

A position is 8 bytes where a slot of five columns is 20 and more; on a GPU they would cross the bus with every batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from propensity.data.batch import Batch
from propensity.feature.features import Features


class Pointers(NamedTuple):
    """A batch whose histories are empty but for their length. event (B, L) int64: positions in the log, oldest first,
    -1 past the last; day () int64: the cutoff."""

    batch: Batch
    event: Tensor
    day: Tensor


class DeviceLog:
    """What histories are made of, on a device: about 14 bytes an event, and the codes of items and channels."""

    def __init__(self, features: Features, device: torch.device) -> None:
        def there(array: np.ndarray) -> Tensor:
            return torch.tensor(np.asarray(array), device=device)

        log = features.log
        self.item, self.kind, self.channel = there(log.item), there(log.kind), there(log.channel)
        self.day, self.revenue = there(log.day), there(log.revenue)
        self.item_code, self.channel_code = there(features.item_code), there(features.channel_code)

    def filled(self, pointers: Pointers) -> Batch:
        """The batch with its histories, to the bit what `Features.histories` makes of them."""
        batch, event, day = pointers
        real = event >= 0
        at = event.clamp(min=0)

        def present(column: Tensor, otherwise: int) -> Tensor:
            return torch.where(real, column[at], otherwise)

        inputs = batch.inputs._replace(
            token=self.item_code[present(self.item, -1).long()],  # the last code is that of none
            kind=present(self.kind, 0).int(),
            channel=self.channel_code[present(self.channel, -1).long()],
            age=torch.where(real, day - self.day[at], 0).float(),
            amount=present(self.revenue, 0),
        )
        return batch._replace(inputs=inputs)
