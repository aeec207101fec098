"""The service: `propensity serve bundle=bundle`.

Requests that wait together are scored together; once `most` are waiting, further ones are turned away with 429.
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
from propensity.serving.schema import ErrorBody, Health, ModelCard, ScoreAnswer, ScoreRequest

TOGETHER = 16  # requests in a block
BODY = 1 << 20  # bytes of a request


class OverloadError(Exception):
    """More requests wait than may."""


class Queue:
    """Hands requests to the desk, a block at a time, on a thread of its own.

    Notable: nobody waits for a block to fill. While one is being scored the next gathers, so blocks grow with the load.
    """

    def __init__(self, desk: OnlineScorer, most: int) -> None:
        self.desk, self.most = desk, most
        self.waiting: list[tuple[ScoringRequest, asyncio.Future[ScoreAnswer]]] = []
        self.arrived = asyncio.Event()
        self.thread = ThreadPoolExecutor(1)

    async def ask(self, asked: ScoringRequest) -> ScoreAnswer:
        if len(self.waiting) >= self.most:
            raise OverloadError
        future: asyncio.Future[ScoreAnswer] = asyncio.get_running_loop().create_future()
        self.waiting.append((asked, future))
        self.arrived.set()
        return await future

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self.arrived.wait()
            block, self.waiting = self.waiting[:TOGETHER], self.waiting[TOGETHER:]
            if not self.waiting:
                self.arrived.clear()
            try:
                answers: list[Any] = await loop.run_in_executor(self.thread, self.desk.answers, [a for a, _ in block])
            except Exception as error:  # a bug must fail these requests, not the service
                answers = [error] * len(block)
            for (_, future), answer in zip(block, answers, strict=True):
                if future.cancelled():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)


def application(desk: OnlineScorer, most: int = 256) -> FastAPI:
    """The web application around a desk."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.queue = queue = Queue(desk, most)
        task = asyncio.create_task(queue.run())
        yield
        task.cancel()
        queue.thread.shutdown()

    app = FastAPI(title="propensity", version=str(desk.bundle.about["versions"]["propensity"]), lifespan=lifespan)
    problems: dict[int | str, dict[str, Any]] = {code: {"model": ErrorBody} for code in (400, 413, 422, 429)}

    @app.middleware("http")
    async def small_enough(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        size = request.headers.get("content-length", "0")
        if request.method == "POST" and not (
            "content-length" in request.headers and size.isdigit() and int(size) <= BODY
        ):
            return problem(413, f"a request may have {BODY} bytes, said in content-length; send fewer events")
        return await go_on(request)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(422, f"{where}: {first['msg']}; /docs has the fields")

    @app.exception_handler(PropensityError)
    async def impossible(request: Request, error: PropensityError) -> Response:
        return problem(400, str(error))

    @app.exception_handler(OverloadError)
    async def overloaded(request: Request, error: OverloadError) -> Response:
        return problem(429, f"{most} requests are waiting; try again in a second", {"Retry-After": "1"})

    @app.post("/score", responses=problems)
    async def score(request: ScoreRequest) -> ScoreAnswer:
        """Probability and expected revenue of a customer for offers at a date."""
        answered: ScoreAnswer = await app.state.queue.ask(desk.check(request))
        return answered

    @app.get("/health")
    async def health() -> Health:
        """Whether the service is up; its bundle proved itself when it started."""
        return Health(status="ok")

    @app.get("/model")
    async def model() -> ModelCard:
        """What is served."""
        about, cutoff = desk.bundle.about, desk.market.market_stats.cutoff
        return ModelCard(
            digest=desk.bundle.digest,
            commit=about["commit"],
            tables_of=to_date(cutoff.day),
            valid_until=about["valid_until"],
            horizon=cutoff.horizon,
            offers=list(desk.market.offers.name),
            metrics=about["metrics"],
        )

    return app


def problem(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(ErrorBody(error=sentence).model_dump(), status, headers)


def serve(cfg: ServeConfig) -> None:
    """Serves a bundle until it is interrupted; PropensityError if the bundle or the log cannot be used."""
    import uvicorn

    desk = OnlineScorer(open_bundle(cfg.bundle, cfg.digest), cfg.log)
    print(f"propensity: {len(desk.place)} offers at http://{cfg.host}:{cfg.port}/docs", file=sys.stderr)
    uvicorn.run(application(desk, cfg.most), host=cfg.host, port=cfg.port, log_level="warning", access_log=False)
