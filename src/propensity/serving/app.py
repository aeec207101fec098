"""HTTP service: `python -m propensity.serving.app bundle=bundle`; optional: log=, digest=, host=, port=, max_waiting=.

Concurrent requests are scored in one block. If `max_waiting` requests are waiting, further ones receive status 429.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from propensity.data.event_log import to_date
from propensity.errors import ConfigurationError, PropensityError
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


@dataclass
class ServiceConfig:
    """Settings of the service, given as key=value on the command line.

    Attributes
    ----------
    bundle : str
        Folder that the export wrote.
    log : str
        Folder of an event log; needed for requests by customer_id.
    digest : str
        Required digest of the bundle, as the export printed it.
    host : str
        Address to listen on.
    port : int
        Port to listen on.
    max_waiting : int
        Requests that may wait.
    """

    bundle: str
    log: str = ""
    digest: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    max_waiting: int = 256

    @classmethod
    def parse(cls, arguments: list[str]) -> ServiceConfig:
        """Read settings from arguments.

        Parameters
        ----------
        arguments : list of str
            Settings as key=value.

        Returns
        -------
        ServiceConfig
            The settings.

        Raises
        ------
        ConfigurationError
            For an unknown setting, a missing bundle, or text in place of a number.
        """
        values = dict(argument.partition("=")[::2] for argument in arguments)
        names = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - names):
            raise ConfigurationError(f"no setting {unknown[0]!r}; the service has {', '.join(sorted(names))}")
        if "bundle" not in values:
            raise ConfigurationError("no bundle; add bundle=<folder>")
        numbers = {"port": cls.port, "max_waiting": cls.max_waiting}
        for name, default in numbers.items():
            if name in values and not values[name].isdigit():
                raise ConfigurationError(f"{name}={values[name]} is not a number; give one such as {name}={default}")
        return cls(**{name: int(value) if name in numbers else value for name, value in values.items()})  # type: ignore[arg-type]


def main(arguments: list[str]) -> int:
    """Verify the bundle and run the service.

    Parameters
    ----------
    arguments : list of str
        Settings as key=value, see `ServiceConfig`.

    Returns
    -------
    int
        Exit code.
    """
    import uvicorn

    try:
        config = ServiceConfig.parse(arguments)
        scorer = OnlineScorer(open_bundle(config.bundle, config.digest or None), config.log or None)
    except PropensityError as error:
        print(f"propensity: {error}", file=sys.stderr)
        return error.exit_code
    url = f"http://{config.host}:{config.port}/docs"
    print(f"propensity: {len(scorer.offer_index)} offers at {url}", file=sys.stderr)
    app = create_app(scorer, config.max_waiting)
    uvicorn.run(app, host=config.host, port=config.port, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
