"""HTTP service: `propensity serve bundle=bundle tokens=tokens.yaml`, or the ASGI factory `create`.

Concurrent requests are scored in one block. If `max_waiting` customers wait, further requests receive status 429.
`Guard` stands before the application, `Exchange` gives it the bundle, log and tokens of the moment.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from threadpoolctl import threadpool_limits

from propensity.config import ServeConfig
from propensity.data.event_log import to_date
from propensity.errors import ConfigurationError
from propensity.serving import protocol, service_log
from propensity.serving.bundle import open_bundle
from propensity.serving.defined_offers import DefinedOffers, DefinedScorer
from propensity.serving.docs_page import STYLE, docs_page
from propensity.serving.error_response import add_error_handlers, errors, without_paths
from propensity.serving.exchange import Exchange, record
from propensity.serving.guard import MAX_BODY_BYTES, OPEN, Guard, RefusedError
from propensity.serving.online import OnlineScorer, ScoringRequest
from propensity.serving.request_queue import OverloadError, RequestQueue
from propensity.serving.schema import (
    MAX_EXPLAINED,
    CustomerScores,
    ErrorResponse,
    Health,
    ManyRequest,
    ManyResponse,
    ModelCard,
    OffersRequest,
    Ready,
    Refreshed,
    ScoreRequest,
    ScoreResponse,
    body_of,
)
from propensity.serving.scoring_record import ScoringRecord
from propensity.serving.service_metrics import CONTENT_TYPE, SHARED, ServiceMetrics
from propensity.serving.service_settings import ServiceSettings, is_off, variable
from propensity.serving.tokens import EXPLAIN
from propensity.serving.value_route import add_values
from propensity.serving.value_table import ValueFolder

__all__ = ["MAX_BODY_BYTES", "OverloadError", "RequestQueue", "create", "create_app", "serve"]

MAX_PAIRS = 50_000  # customers times offers in a response
DESCRIPTION = (
    "Probability and expected revenue of customers for offers. All requests but /health and /ready need a token."
)
STOP_SECONDS = 5  # after `read_timeout`, until open requests are given up


def create_app(
    scorer: OnlineScorer,
    max_waiting: int = 256,
    *,
    tokens: str | Path | None = None,
    digest: str | None = None,
    read_timeout: float = 10.0,
    refresh: float = 2.0,
    audit_interval: float = 3600.0,
    values: str | Path | None = None,
) -> FastAPI:
    """The web application.

    Parameters
    ----------
    scorer : OnlineScorer
        Scores the requests, until its bundle or log is exchanged.
    max_waiting : int, default=256
        Customers that may wait.
    tokens : str or Path, optional
        File of bearer tokens; None for an application without authentication, which `create` makes only on demand.
    digest : str, optional
        Digest that an exchanged bundle must have.
    read_timeout : float, default=10
        Seconds for a body to arrive, and for a client to take a part of a response.
    refresh : float, default=2
        Seconds between looks for a new bundle, log or file of tokens.
    audit_interval : float, default=3600
        Seconds between lines of the audit log on what was scored.
    values : str or Path, optional
        Folder that `propensity clv` wrote, for POST /value and POST /values.

    Returns
    -------
    FastAPI
        With POST /score, POST /scores, GET /model, /health, /ready, /metrics, POST /refresh and the page /docs.
    """
    metrics = ServiceMetrics()
    exchange = Exchange(scorer, metrics, digest, tokens)
    app = FastAPI(
        title="propensity",
        description=DESCRIPTION,
        version=str(scorer.bundle.manifest["versions"]["propensity"]),
        lifespan=lambda app: running(app, exchange, max_waiting, refresh, audit_interval),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.exchange, app.state.metrics, app.state.stopping = exchange, metrics, None
    app.state.record = ScoringRecord(scorer.bundle.folder.parent)
    add_error_handlers(app, max_waiting)
    app.state.values = None if values is None else ValueFolder(values, scorer, metrics)
    add_scoring(app, exchange)
    if app.state.values is not None:
        add_values(app, exchange, app.state.values)
    add_operations(app, exchange)
    add_documentation(app, exchange.tokens is not None)
    app.add_middleware(
        Guard,
        tokens=lambda: exchange.tokens,
        metrics=metrics,
        stopping=lambda: app.state.stopping,
        routes=frozenset(route.path for route in app.routes if hasattr(route, "path")),
        read_timeout=read_timeout,
    )
    return app


@asynccontextmanager
async def running(
    app: FastAPI, exchange: Exchange, max_waiting: int, refresh: float, audit_interval: float
) -> AsyncIterator[None]:
    """Run the queue, the watch and the record of what is scored while the application runs."""
    app.state.queue = queue = RequestQueue(exchange.scorer, max_waiting, exchange.metrics)
    app.state.stopping = stopping = asyncio.Event()
    app.state.defined = DefinedOffers()
    exchange.start()
    work = (queue.run(), exchange.watch(refresh), app.state.record.watch(audit_interval))
    tasks = [asyncio.create_task(each) for each in work]
    with told_of_stop(stopping), threadpool_limits(1, "blas"), kept_objects():
        yield
    stopping.set()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    queue.thread.shutdown()
    exchange.stop()
    app.state.defined.stop()
    app.state.record.write()
    exchange.metrics.close()


@contextmanager
def kept_objects() -> Iterator[None]:
    """Leave the objects that are there now out of garbage collections.

    Notes
    -----
    A full collection looks at every object of the libraries and of the bundle, half a million, which delays requests by
    hundreds of milliseconds.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def told_of_stop(stopping: asyncio.Event) -> Iterator[None]:
    """Set an event when the process is told to stop, before the server waits for open requests.

    Notes
    -----
    The handlers of the server are called afterwards. In other threads than the main one there is nothing to hear.
    """
    loop, before = asyncio.get_running_loop(), dict[int, Any]()

    def stop(number: int, frame: Any) -> None:
        loop.call_soon_threadsafe(stopping.set)
        before[number](number, frame)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            if callable(handler := signal.getsignal(number)):
                before[number] = handler
                signal.signal(number, stop)
    try:
        yield
    finally:
        for each, former in before.items():
            if signal.getsignal(each) is stop:
                signal.signal(each, former)


def add_scoring(app: FastAPI, exchange: Exchange) -> None:
    """Requests that score customers."""

    @app.post("/score", response_model=ScoreResponse, responses=errors(400, 422))
    async def score(request: ScoreRequest, http: Request) -> Response:
        """Probability and expected revenue of one customer for offers at a cutoff."""
        require_explain(http, request.reasons)
        scorer = await scorer_for(app, exchange, request, request.customer_id is not None)
        response = await app.state.queue.submit(scorer.validate(request), scorer)
        app.state.record.add(http.state.caller.name, scorer, 1, explained=int(request.reasons > 0))
        return Response(body_of(response._asdict()), media_type="application/json")

    @app.post("/scores", response_model=ManyResponse, responses=errors(400, 422))
    async def score_many(request: ManyRequest, http: Request) -> Response:
        """The same for several customers. A customer who cannot be scored has an error of its own."""
        require_explain(http, request.reasons)
        by_id = any(each.customer_id is not None for each in request.customers)
        scorer = await scorer_for(app, exchange, request, by_id)
        requests, problems = validated(scorer, request, app.state.queue.max_waiting)
        responses = await app.state.queue.submit_all(list(requests.values()), scorer)
        none: dict[str, Any] = dict.fromkeys(CustomerScores.model_fields)
        scored = {
            position: {**none, "scores": response.scores, "explanation": response.explanation}
            for position, response in zip(requests, responses, strict=True)
        }
        failed = {position: {**none, "error": without_paths(text)} for position, text in problems.items()}
        explained = len(scored) if request.reasons else 0
        app.state.record.add(http.state.caller.name, scorer, len(scored), len(failed), explained)
        every = scored | failed
        content = {"customers": [every[position] for position in range(len(request.customers))]}
        return Response(body_of(content), media_type="application/json")

    @app.get("/model", responses=errors())
    async def model() -> ModelCard:
        """The model that the service uses."""
        return model_card(exchange.scorer)


async def scorer_for(
    app: FastAPI, exchange: Exchange, request: OffersRequest, by_id: bool
) -> OnlineScorer | DefinedScorer:
    """What scores a request: the bundle in use, or that bundle with the offers that the request defines."""
    defined = request.offers if isinstance(request.offers, dict) else None
    online = await exchange.current(by_id or (defined is not None and exchange.scorer.log is not None))
    if defined is None:
        return online
    scorer: DefinedScorer = await app.state.defined.scorer(online, defined, request.cutoff)
    return scorer


def require_explain(http: Request, reasons: int) -> None:
    """RefusedError for reasons without the role that they need."""
    if reasons and EXPLAIN not in http.state.caller.roles:
        raise RefusedError(403, f"reasons={reasons} need a token with the role {EXPLAIN}; leave them out")


def validated(
    scorer: OnlineScorer | DefinedScorer, request: ManyRequest, max_waiting: int
) -> tuple[dict[int, ScoringRequest], dict[int, str]]:
    """Validated requests, and what is wrong with others, by position."""
    customers = request.customers
    common = scorer.validate(request.single(customers[0].model_copy(update={"customer_id": None, "events": []})))
    limits = {
        "customers may wait": (len(customers), max_waiting),
        "customers with reasons fit into a request": (len(customers) if request.reasons else 0, MAX_EXPLAINED),
        "customers times offers fit into a request": (len(customers) * common.offer_index.size, MAX_PAIRS),
    }
    for words, (size, most) in limits.items():
        if size > most:
            raise ConfigurationError(f"{most} {words}, not {size}; send several requests")
    requests, problems = {}, {}
    for position, customer in enumerate(customers):
        try:
            requests[position] = scorer.validate(request.single(customer))
        except ConfigurationError as error:
            problems[position] = str(error)
    return requests, problems


def model_card(scorer: OnlineScorer) -> ModelCard:
    """Description of the model of a scorer."""
    cutoff, manifest = scorer.features.market_stats.cutoff, scorer.bundle.manifest
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


def add_operations(app: FastAPI, exchange: Exchange) -> None:
    """Requests of those who run the service."""

    @app.get("/health")
    async def health() -> Health:
        """Whether the service runs. Restart it if it does not answer."""
        return Health(status="ok")

    @app.get("/ready", responses={503: {"model": ErrorResponse}})
    async def ready() -> Ready:
        """Whether the service takes requests. Status 503 while it stops, or its log cannot be used.

        A full queue does not count: it lasts for moments, and status 429 reports it.
        """
        if app.state.stopping.is_set():
            raise RefusedError(503, "the service stops; send requests to another one")
        if exchange.log_problem:
            raise RefusedError(503, "the event log has changed and cannot be used; prepare it again")
        return Ready(status="ready", digest=exchange.scorer.bundle.digest)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **errors()})
    async def metrics() -> Response:
        """Numbers in the text format of Prometheus. Needs the role admin."""
        return Response(exchange.metrics.text(), media_type=CONTENT_TYPE)

    @app.post("/refresh", responses=errors())
    async def refresh() -> Refreshed:
        """Use the bundle, log, tokens and values as they are in their places now. Needs the role admin."""
        current = await exchange.refresh()
        if app.state.values is not None:
            await app.state.values.refresh(exchange.scorer)
            current = current and app.state.values.current
        return Refreshed(current=current, digest=exchange.scorer.bundle.digest)


def add_documentation(app: FastAPI, authenticated: bool) -> None:
    """The page /docs, and the scheme of authentication in openapi.json."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None and authenticated:
            schema = describe()
            schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            for path, item in schema["paths"].items():
                for operation in item.values():
                    operation["security"] = [] if path in OPEN else [{"token": []}]
        return describe()

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))

    @app.get("/docs.css", include_in_schema=False)
    async def style() -> Response:
        return Response(STYLE, media_type="text/css")


def create() -> FastAPI:
    """ASGI factory with settings from the environment, for any ASGI server.

    Returns
    -------
    FastAPI
        The application. `PROPENSITY_BUNDLE` and `PROPENSITY_TOKENS` are required; see `ServiceSettings`.

    Raises
    ------
    PropensityError
        If a setting is missing, or the bundle, the log or the tokens cannot be used.
    """
    service_log.configure()
    app = application(ServiceSettings.from_environment())
    record(app.state.exchange.scorer)
    app.state.exchange.scorer.warm_up()
    gc.collect()  # what is left is not collected while the application runs
    return app


def application(settings: ServiceSettings) -> FastAPI:
    """The application of some settings."""
    if not settings.bundle:
        raise ConfigurationError(f"no bundle given; set {variable('bundle')}=<folder of an exported bundle>")
    scorer = OnlineScorer(open_bundle(settings.bundle, settings.digest), settings.log, settings.verify)
    if settings.tokens is None:
        raise ConfigurationError(
            f"no tokens given; set {variable('tokens')}=tokens.yaml, or tokens=off for a service that anyone may use"
        )
    without = is_off(settings.tokens)
    if without:
        service_log.say("authentication is off", logging.WARNING)
    return create_app(
        scorer,
        settings.max_waiting,
        tokens=None if without else settings.tokens,
        digest=settings.digest,
        read_timeout=settings.read_timeout,
        refresh=settings.refresh,
        audit_interval=settings.audit_interval,
        values=settings.values,
    )


def service_settings(cfg: ServeConfig) -> ServiceSettings:
    """The settings of a command; tokens that it does not name are those of the environment."""
    return ServiceSettings(
        bundle=cfg.bundle,
        log=cfg.log,
        digest=cfg.digest,
        tokens=cfg.tokens or os.environ.get(variable("tokens")) or None,
        max_waiting=cfg.max_waiting,
        max_connections=cfg.max_connections,
        read_timeout=cfg.read_timeout,
        idle_timeout=cfg.idle_timeout,
        refresh=cfg.refresh,
        audit_interval=cfg.audit_interval,
        verify=cfg.data.verify,
        values=cfg.values,
    )


@contextmanager
def environment_of(settings: ServiceSettings) -> Iterator[None]:
    """Give worker processes the settings in environment variables; afterwards all variables are as before."""
    before = dict(os.environ)
    for name in vars(settings):
        os.environ.pop(variable(name), None)
    os.environ.update(settings.environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def serve(cfg: ServeConfig) -> None:
    """Verify the bundle and run the service until it is interrupted.

    Parameters
    ----------
    cfg : ServeConfig
        Bundle, log, tokens and address.

    Raises
    ------
    PropensityError
        If the bundle, the log or the tokens cannot be used.
    """
    import uvicorn

    settings = service_settings(cfg)
    service_log.configure()
    if cfg.workers > 1:
        application(settings)  # a mistake is reported once, here, and not by every worker
    with tempfile.TemporaryDirectory(prefix="propensity-metrics.") as folder, environment_of(settings):
        if cfg.workers > 1:
            os.environ.setdefault(SHARED, folder)
        service_log.say("start", url=f"http://{cfg.host}:{cfg.port}/docs", workers=cfg.workers)
        uvicorn.run(
            f"{__name__}:create",
            factory=True,
            host=cfg.host,
            port=cfg.port,
            workers=cfg.workers,
            http=protocol.PATH,
            ws="none",
            lifespan="on",
            loop="asyncio",
            log_config=service_log.UVICORN_LOG,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=max(round(cfg.idle_timeout), 1),
            timeout_graceful_shutdown=round(cfg.read_timeout) + STOP_SECONDS,
        )
