"""Queue of customers that one thread scores in blocks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from propensity.serving.online import OnlineScorer, ScoringRequest
from propensity.serving.schema import Scored
from propensity.serving.service_metrics import ServiceMetrics

if TYPE_CHECKING:
    from propensity.serving.defined_offers import DefinedScorer

MAX_BLOCK = 16  # customers in a block
MAX_EXPLAINED = 32  # customers with reasons that may wait: reasons take a hundred times as long as scores


class OverloadError(Exception):
    """The queue of waiting requests is full."""


class Waiting(NamedTuple):
    """A customer who waits.

    Attributes
    ----------
    scorer : OnlineScorer or DefinedScorer
        That validated the request; it scores it too, whatever bundle is in use by then.
    request : ScoringRequest
        A validated request.
    future : asyncio.Future
        Receives the response.
    """

    scorer: OnlineScorer | DefinedScorer
    request: ScoringRequest
    future: asyncio.Future[Scored]


class RequestQueue:
    """Queue of requests that one thread scores in blocks.

    Parameters
    ----------
    scorer : OnlineScorer
        Scores requests that name no other scorer.
    max_waiting : int
        Customers that may wait.
    metrics : ServiceMetrics, optional
        Counts blocks and customers.

    Notes
    -----
    No request waits for a block to fill: requests that arrive while a block is scored form the next block, so blocks
    grow with the load.
    """

    def __init__(self, scorer: OnlineScorer, max_waiting: int, metrics: ServiceMetrics | None = None) -> None:
        self.scorer, self.max_waiting = scorer, max_waiting
        self.metrics = ServiceMetrics() if metrics is None else metrics
        self.waiting: list[Waiting] = []
        self.not_empty = asyncio.Event()
        self.thread = ThreadPoolExecutor(1, "score")

    async def submit(self, request: ScoringRequest, scorer: OnlineScorer | DefinedScorer | None = None) -> Scored:
        """Queue a request and wait for its response; see `submit_all`."""
        (response,) = await self.submit_all([request], scorer)
        return response

    async def submit_all(
        self, requests: Sequence[ScoringRequest], scorer: OnlineScorer | DefinedScorer | None = None
    ) -> list[Scored]:
        """Queue several requests and wait for all responses.

        Parameters
        ----------
        requests : sequence of ScoringRequest
            Validated requests.
        scorer : OnlineScorer or DefinedScorer, optional
            That validated them.

        Returns
        -------
        list of Scored
            In the order of the requests.

        Raises
        ------
        OverloadError
            If there is no room for all of them; none is queued then.
        """
        explained = sum(request.reasons > 0 for request in requests)
        explaining = sum(each.request.reasons > 0 for each in self.waiting)
        if len(self.waiting) + len(requests) > self.max_waiting or (explained and explaining >= MAX_EXPLAINED):
            raise OverloadError
        loop = asyncio.get_running_loop()
        places = [Waiting(scorer or self.scorer, request, loop.create_future()) for request in requests]
        self.waiting += places
        self.metrics.waiting.set(len(self.waiting))
        self.not_empty.set()
        return list(await asyncio.gather(*(place.future for place in places)))

    def _next_block(self) -> list[Waiting]:
        """Remove and return the first customers of the queue: at most `MAX_BLOCK`, all with the same scorer."""
        first = self.waiting[0].scorer
        size = 0
        while size < min(MAX_BLOCK, len(self.waiting)) and self.waiting[size].scorer is first:
            size += 1
        block, self.waiting = self.waiting[:size], self.waiting[size:]
        self.metrics.waiting.set(len(self.waiting))
        return block

    async def run(self) -> None:
        """Score queued requests until the task is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self.not_empty.wait()
            block = [each for each in self._next_block() if not each.future.done()] if self.waiting else []
            if not self.waiting:
                self.not_empty.clear()
            if not block:
                continue
            requests = [each.request for each in block]
            try:
                results: list[Any] = await loop.run_in_executor(self.thread, block[0].scorer.score, requests)
            except Exception as error:  # a bug fails the requests of this block, not the service
                results = [error] * len(block)
            self._finish(block, results)

    def _finish(self, block: Sequence[Waiting], results: Sequence[Any]) -> None:
        """Hand the results of a block to those who wait."""
        self.metrics.blocks.observe(len(block))
        for each, result in zip(block, results, strict=True):
            if each.future.done():
                continue
            if isinstance(result, Exception):
                each.future.set_exception(result)
            else:
                self.metrics.customers.inc()
                each.future.set_result(result)
