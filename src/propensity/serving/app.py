"""HTTP service: `propensity serve bundle=bundle`.

Concurrent requests are scored in one block. If `max_waiting` requests are waiting, further ones receive status 429.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from propensity.config import ServeConfig
from propensity.data.event_log import to_date
from propensity.errors import PropensityError
from propensity.serving.bundle import open_bundle
from propensity.serving.online import OnlineScorer, ScoringRequest
from propensity.serving.schema import ErrorResponse, Health, ModelCard, ScoreRequest, ScoreResponse

MAX_BLOCK = 16  # requests in a block
MAX_BODY_BYTES = 1 << 20


class OverloadError(Exception):
    """The queue of waiting requests is full."""


class RequestQueue:
    """Queue of requests that one thread scores in blocks.

    Parameters
    ----------
    scorer : OnlineScorer
        Scores the requests.
    max_waiting : int
        Requests that may wait.

    Notes
    -----
    No request waits for a block to fill: requests that arrive while a block is scored form the next block, so blocks
    grow with the load.
    """

    def __init__(self, scorer: OnlineScorer, max_waiting: int) -> None:
        self.scorer, self.max_waiting = scorer, max_waiting
        self.waiting: list[tuple[ScoringRequest, asyncio.Future[ScoreResponse]]] = []
        self.not_empty = asyncio.Event()
        self.thread = ThreadPoolExecutor(1)

    async def submit(self, request: ScoringRequest) -> ScoreResponse:
        """Queue a request and wait for its response.

        Parameters
        ----------
        request : ScoringRequest
            A validated request.

        Returns
        -------
        ScoreResponse
            The response.

        Raises
        ------
        OverloadError
            If the queue is full.
        """
        if len(self.waiting) >= self.max_waiting:
            raise OverloadError
        future: asyncio.Future[ScoreResponse] = asyncio.get_running_loop().create_future()
        self.waiting.append((request, future))
        self.not_empty.set()
        return await future

    async def run(self) -> None:
        """Score queued requests until the task is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self.not_empty.wait()
            block, self.waiting = self.waiting[:MAX_BLOCK], self.waiting[MAX_BLOCK:]
            if not self.waiting:
                self.not_empty.clear()
            requests = [request for request, _ in block]
            try:
                results: list[Any] = await loop.run_in_executor(self.thread, self.scorer.score, requests)
            except Exception as error:  # a bug fails the requests of this block, not the service
                results = [error] * len(block)
            for (_, future), result in zip(block, results, strict=True):
                if future.cancelled():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)


def create_app(scorer: OnlineScorer, max_waiting: int = 256) -> FastAPI:
    """The web application.

    Parameters
    ----------
    scorer : OnlineScorer
        Scores the requests.
    max_waiting : int, default=256
        Requests that may wait.

    Returns
    -------
    FastAPI
        With POST /score, GET /health, GET /model and the documentation at /docs.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.queue = queue = RequestQueue(scorer, max_waiting)
        task = asyncio.create_task(queue.run())
        yield
        task.cancel()
        queue.thread.shutdown()

    manifest = scorer.bundle.manifest
    app = FastAPI(title="propensity", version=str(manifest["versions"]["propensity"]), lifespan=lifespan)
    errors: dict[int | str, dict[str, Any]] = {code: {"model": ErrorResponse} for code in (400, 413, 422, 429)}

    @app.middleware("http")
    async def limit_body(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        size = request.headers.get("content-length", "")
        if request.method == "POST" and not (size.isdigit() and int(size) <= MAX_BODY_BYTES):
            return error_response(
                413, f"a body needs a content-length of at most {MAX_BODY_BYTES} bytes; send fewer events"
            )
        return await call_next(request)

    @app.exception_handler(RequestValidationError)
    async def invalid_body(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        return error_response(422, f"{field}: {first['msg']}; /docs describes the fields")

    @app.exception_handler(PropensityError)
    async def invalid_request(request: Request, error: PropensityError) -> Response:
        return error_response(400, str(error))

    @app.exception_handler(OverloadError)
    async def overload(request: Request, error: OverloadError) -> Response:
        return error_response(429, f"{max_waiting} requests are waiting; try again in a second", {"Retry-After": "1"})

    @app.post("/score", responses=errors)
    async def score(request: ScoreRequest) -> ScoreResponse:
        """Probability and expected revenue of one customer for offers at a cutoff."""
        response: ScoreResponse = await app.state.queue.submit(scorer.validate(request))
        return response

    @app.get("/health")
    async def health() -> Health:
        """Whether the service runs. The bundle was verified when the service started."""
        return Health(status="ok")

    @app.get("/model")
    async def model() -> ModelCard:
        """The model that the service uses."""
        cutoff = scorer.features.market_stats.cutoff
        return ModelCard(
            champion=scorer.bundle.champion,
            digest=scorer.bundle.digest,
            commit=manifest["commit"],
            tables_cutoff=to_date(cutoff.day),
            valid_until=manifest["valid_until"],
            horizon=cutoff.horizon,
            offers=list(scorer.features.offers.name),
            metrics=manifest["metrics"],
        )

    return app


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """A response with an error message.

    Parameters
    ----------
    status : int
        HTTP status.
    message : str
        One sentence.
    headers : dict, optional
        Additional headers.

    Returns
    -------
    JSONResponse
        With the body `ErrorResponse`.
    """
    return JSONResponse(ErrorResponse(error=message).model_dump(), status, headers)


def serve(cfg: ServeConfig) -> None:
    """Verify the bundle and run the service until it is interrupted.

    Parameters
    ----------
    cfg : ServeConfig
        Bundle, log and address.

    Raises
    ------
    PropensityError
        If the bundle or the log cannot be used.
    """
    import uvicorn

    scorer = OnlineScorer(open_bundle(cfg.bundle, cfg.digest), cfg.log, cfg.data.verify)
    print(f"propensity: {len(scorer.offer_index)} offers at http://{cfg.host}:{cfg.port}/docs", file=sys.stderr)
    uvicorn.run(
        create_app(scorer, cfg.max_waiting), host=cfg.host, port=cfg.port, log_level="warning", access_log=False
    )
