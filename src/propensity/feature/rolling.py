"""Rolling windows of customers and of pairs at many cutoffs, in one pass over the log.

Customers are split among threads. No sum crosses customers, so the number of threads changes no bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from propensity.data.event_log import EventLog
from propensity.data.offer import Offers
from propensity.errors import ConfigurationError
from propensity.kernel.rolling_customer import WindowGrid, grid, rolling_customer_columns, rolling_customer_windows
from propensity.kernel.rolling_pair import rolling_pair_columns, rolling_pair_windows

BLOCK = 1024  # pairs written at a time, which fit the processor's cache


class RollingRequest(NamedTuple):
    """Which windows at which cutoffs, all in days.

    Parameters
    ----------
    cutoffs : sequence of int
        D distinct days.
    windows, half_lives : tuple of int
        W windows and H half-lives.
    """

    cutoffs: Sequence[int]
    windows: tuple[int, ...]
    half_lives: tuple[int, ...]

    def grid(self, log: EventLog) -> WindowGrid:
        """The kernels' tables; ConfigurationError without a cutoff, or with a repeated one."""
        if not self.cutoffs or len(set(self.cutoffs)) < len(self.cutoffs):
            raise ConfigurationError(f"cutoffs={list(self.cutoffs)} must be one or more distinct days")
        return grid(log.first_day, np.array(self.cutoffs), np.array(self.windows), np.array(self.half_lives))


class PairBlock(NamedTuple):
    """Windows of R pairs; the next block overwrites this one.

    Parameters
    ----------
    owner : (R,) int
        Place of the customer among those of the call.
    offer : (R,) int
    column : (R, F, D) float32
        The columns `rolling_pair_columns` at D cutoffs.
    """

    owner: np.ndarray
    offer: np.ndarray
    column: np.ndarray


def rolling_customer(
    log: EventLog, request: RollingRequest, customer: np.ndarray, threads: int = 1, out: np.ndarray | None = None
) -> np.ndarray:
    """Rolling windows of customers at each cutoff.

    Parameters
    ----------
    log : EventLog
    request : RollingRequest
        D cutoffs, windows and half-lives.
    customer : (B,) int
        Rows of the log.
    threads : int
        Threads that share the customers.
    out : (B, F, D) float32, optional
        Memory to write to; using it again saves the allocation.

    Returns
    -------
    (B, F, D) float32
        The columns `rolling_customer_columns` at the cutoffs, ascending.

    Raises
    ------
    ConfigurationError
        Without a cutoff, or with a repeated one.
    """
    tables = request.grid(log)
    if out is None:
        names = rolling_customer_columns(request.windows, request.half_lives)
        out = np.empty((customer.size, len(names), len(request.cutoffs)), np.float32)
    parts = np.array_split(np.arange(customer.size), max(threads, 1))
    slices = [slice(part[0], part[-1] + 1) for part in parts if part.size]

    def write(part: slice) -> None:
        rolling_customer_windows(log.events, tables, customer[part], out[part])

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        list(pool.map(write, slices))
    return out


def rolling_pair(
    log: EventLog, offers: Offers, request: RollingRequest, customer: np.ndarray, block: int = BLOCK
) -> Iterator[PairBlock]:
    """Rolling windows of every pair with a purchase before the last cutoff, block by block.

    Parameters
    ----------
    log, offers : EventLog, Offers
    request : RollingRequest
        D cutoffs, windows and half-lives.
    customer : (B,) int
        Rows of the log.
    block : int
        Pairs of a block, at least as many as there are offers.

    Yields
    ------
    PairBlock

    Raises
    ------
    ConfigurationError
        Without a cutoff, or with a repeated one.
    """
    tables, names = request.grid(log), rolling_pair_columns(request.windows, request.half_lives)
    events, sets, start = log.events, offers.sets, 0
    size = max(block, len(offers), 1)
    owner, offer = np.zeros(size, np.int64), np.zeros(size, np.int32)
    out = np.zeros((size, len(names), len(request.cutoffs)), np.float32)
    while start < customer.size:
        start, count = rolling_pair_windows(events, sets, len(offers), tables, customer, start, owner, offer, out)
        yield PairBlock(owner[:count], offer[:count], out[:count])
