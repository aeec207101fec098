"""Histories of a batch in groups of similar length, so that an encoder reads little padding.

Legend: B customers, L events, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from propensity.data.batch import HISTORY, Inputs

SHARE = 0.75  # a history shorter than this share of the longest of its group is in another group
FEWEST = 2_048  # events of a group, at least: reading fewer takes no less time


def encode_in_groups(encode: Callable[..., Tensor], inputs: Inputs, *of_rows: Tensor) -> Tensor:
    """What `encode` makes of the histories, of each group for itself: (B, ...), in the order of the batch.

    Parameters
    ----------
    encode : callable
        From inputs, and the rows of `of_rows`, to a tensor with a row for each history. It must not depend on padding.
    inputs : Inputs
        Histories of B customers.
    of_rows : Tensor
        Further arguments with a row for each customer.
    """
    groups = length_groups(inputs.length.cpu().numpy())
    if not groups:
        return encode(inputs, *of_rows)
    device = inputs.length.device
    parts, order = [], torch.from_numpy(np.concatenate(groups)).to(device)
    for rows in order.split([group.size for group in groups]):
        length = inputs.length[rows]
        width = max(int(length.max()), 1)
        history = {name: getattr(inputs, name)[rows, :width] for name in HISTORY}
        parts.append(encode(inputs._replace(length=length, **history), *(each[rows] for each in of_rows)))
    return torch.cat(parts)[order.argsort()]


def length_groups(length: np.ndarray) -> list[np.ndarray]:
    """Rows (B,) of histories in groups of similar length, the longest first.

    Parameters
    ----------
    length : (B,) int64
        Numbers of events.

    Examples
    --------
    >>> [group.tolist() for group in length_groups(np.array([900, 0, 1000, 10, 1024, 800]))]
    [[4, 2, 0, 5], [3, 1]]
    """
    order = np.argsort(-length, kind="stable")
    falling = length[order]
    total = np.concatenate([[0], np.cumsum(falling)])
    groups, start = [], 0
    while start < length.size:
        alike = np.searchsorted(-falling, -SHARE * falling[start], side="right")
        enough = np.searchsorted(total, total[start] + FEWEST)
        end = min(max(int(alike), int(enough)), length.size)
        groups.append(order[start:end])
        start = end
    return groups
