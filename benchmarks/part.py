"""Parts of a kernel on their own, to say where its time goes."""

from __future__ import annotations

import numpy as np
from numba import njit

from propensity.kernel.customer import write_windows
from propensity.kernel.event import Events
from propensity.kernel.window import decay_table, first_at, window_table


@njit(nogil=True)
def only_windows(events: Events, cutoff: int, windows: np.ndarray, half_lives: np.ndarray, out: np.ndarray) -> None:
    """The first columns of `customer_windows`, of everybody."""
    table, decay, sums = window_table(windows), decay_table(half_lives), np.zeros(out.shape[1])
    for b in range(out.shape[0]):
        end = first_at(events, b, cutoff)
        write_windows(events, events.offsets[b], end, cutoff, table, decay, half_lives, sums, out[b])
