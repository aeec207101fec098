"""A loader whose batches are computed ahead by threads: the kernels release Python's global lock."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from torch.utils.data._utils.pin_memory import pin_memory

from propensity.feature.market_stats import BLAS

AHEAD = 2  # batches ahead for each thread
MOST = 8  # threads by default, at most


def default_threads() -> int:
    """Threads where none are set: one for each CPU that the training does not use, at most `MOST`."""
    return min(max(available_cpus() - 1, 0), MOST)


def available_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class BatchLoader(DataLoader[Any]):
    """The batches of a sampler, in its order.

    Parameters
    ----------
    dataset : Dataset
        From an index of the sampler to a batch. The batch depends on the index alone, so it is the same for any number
        of threads.
    sampler : Sampler
        Yields the indices of an epoch.
    threads : int
        Threads that compute batches ahead; 0: they are computed when they are needed.

    Attributes
    ----------
    waited : float
        Seconds in which a batch was wanted and not there, since the loader was made.

    Notes
    -----
    Where there is a GPU, batches are in page-locked memory. Threads start with the first batch of an epoch, because a
    resumed run learns its epoch after it asked for an iterator. They end with the last batch, or when the iterator is
    no longer used. Linear algebra uses one thread meanwhile: the features set this for each product, and resetting it
    in one thread would change it for another.
    """

    def __init__(self, dataset: Dataset[Any], sampler: Sampler[Any], threads: int = 0) -> None:
        super().__init__(dataset, sampler=sampler, batch_size=None, pin_memory=torch.cuda.is_available())
        self.threads, self.waited = threads, 0.0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # batches are all that Lightning reads
        return self._ahead() if self.threads else self._when_needed()

    def load(self, index: Any) -> Any:
        """The batch of an index."""
        batch = self.dataset[index]
        return pin_memory(batch) if self.pin_memory else batch

    def _when_needed(self) -> Iterator[Any]:
        for index in self.sampler:
            start = time.perf_counter()
            batch = self.load(index)
            self.waited += time.perf_counter() - start
            yield batch
            del batch  # its memory is used again for the next one

    def _ahead(self) -> Iterator[Any]:
        indices = iter(self.sampler)
        same_device = partial(torch.cuda.set_device, torch.cuda.current_device()) if self.pin_memory else None
        pool = ThreadPoolExecutor(self.threads, "batches", same_device)
        waiting: deque[Future[Any]] = deque()
        try:
            with BLAS.limit(limits=1, user_api="blas"):
                waiting.extend(pool.submit(self.load, index) for index in islice(indices, AHEAD * self.threads))
                while waiting:
                    start = time.perf_counter()
                    batch = waiting.popleft().result()
                    self.waited += time.perf_counter() - start
                    waiting.extend(pool.submit(self.load, index) for index in islice(indices, 1))
                    yield batch
                    del batch
        finally:
            pool.shutdown(cancel_futures=True)
