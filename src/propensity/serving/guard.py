"""What every request passes before the application: id, caller, limits on what is read, time limits, and the log.

`Guard` is ASGI middleware. It reads the body itself, so that limits hold for the bytes that arrive, whatever the
headers announce, and it sends all errors in one form, also those that the application does not handle.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from propensity.serving.service_log import failure, say
from propensity.serving.service_metrics import METHODS, ServiceMetrics
from propensity.serving.tokens import ADMIN, ANYONE, SCORE, Caller, Token, caller_of

MAX_BODY_BYTES = 1 << 20
MAX_HELD_BYTES = 64 << 20  # of all bodies that a process holds at a time: many connections may send at once
LINGER_BYTES, LINGER_SECONDS = 1 << 20, 1.0  # read and discarded after a refusal, so that the client reads the response
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
OPEN = frozenset(("/health", "/ready", "/docs", "/docs.css", "/openapi.json"))  # need no token; every other path does
ROLES = {"/metrics": ADMIN, "/refresh": ADMIN}  # role of a path, else SCORE
SECURITY_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
CLOSE = (b"connection", b"close")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Any]
Send = Callable[[Message], Any]
App = Callable[[Scope, Receive, Send], Any]


class RefusedError(Exception):
    """A request that is refused with a status.

    Parameters
    ----------
    status : int
        HTTP status.
    message : str
        One sentence.
    headers : mapping of str to str, optional
        Additional headers.
    close : bool
        Whether the connection is closed, because a part of the request was not read.
    """

    def __init__(
        self, status: int, message: str, headers: Mapping[str, str] | None = None, close: bool = False
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.headers, self.close = status, message, dict(headers or {}), close


class DisconnectedError(Exception):
    """The client has left before it had sent its request, or without reading the response."""


@dataclass
class Guard:
    """Middleware around an application.

    Parameters
    ----------
    app : callable
        The application.
    tokens : callable
        Returns the known tokens, or None where authentication is off.
    metrics : ServiceMetrics
        Counts the requests.
    stopping : callable
        Returns the event that is set when the service stops, or None before it has started.
    routes : collection of str
        Paths of the application; others are one in metrics and log.
    read_timeout : float
        Seconds for a body to arrive, and for a client to take a part of a response.
    held : int
        Bytes of the bodies of all requests that are not answered yet.
    """

    app: App
    tokens: Callable[[], list[Token] | None]
    metrics: ServiceMetrics
    stopping: Callable[[], asyncio.Event | None]
    routes: Collection[str]
    read_timeout: float = 10.0
    held: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection of the ASGI server."""
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self.app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the application, or refuse it; log both."""
        start, headers = time.perf_counter(), Headers(scope)
        exchange = Exchanged(headers.request_id(), send, self.read_timeout, headers.ambiguous())
        scope.setdefault("state", {})["request_id"] = exchange.request_id
        try:
            scope["state"]["caller"] = exchange.caller = self._authorized(scope, headers)
            body = await self._body(headers, receive, exchange)
            await self.app(scope, replay(body, receive), exchange.send)
        except RefusedError as refusal:
            await self._refuse(exchange, refusal, receive)
        except DisconnectedError:
            exchange.status = exchange.status or 499
        except asyncio.CancelledError:
            raise
        except Exception as error:
            say("error", logging.ERROR, request_id=exchange.request_id, **failure(error))
            if not exchange.status:
                message = f"the service failed; its log has the details under {exchange.request_id}"
                await self._refuse(exchange, RefusedError(500, message), receive)
        finally:
            self.held -= exchange.received
            self._count(scope, exchange, time.perf_counter() - start)

    def _authorized(self, scope: Scope, headers: Headers) -> Caller:
        """Who sends the request; RefusedError without a valid token or without the role."""
        path, tokens = route_path(scope), self.tokens()
        if tokens is None or path in OPEN:
            return ANYONE
        close = headers.has_body()
        caller = caller_of(headers.one(b"authorization"), tokens, datetime.datetime.now(datetime.UTC).date())
        if caller is None:
            self.metrics.unauthenticated.labels("token").inc()
            message = "a valid token is needed; send the header Authorization: Bearer <token>"
            raise RefusedError(401, message, {"WWW-Authenticate": "Bearer"}, close)
        if ROLES.get(path, SCORE) not in caller.roles:
            self.metrics.unauthenticated.labels("role").inc()
            raise RefusedError(403, f"the token has not the role {ROLES[path]}; use one that has", close=close)
        return caller

    async def _body(self, headers: Headers, receive: Receive, exchange: Exchanged) -> bytes:
        """The body of a request; RefusedError if it is too large or too slow, there are too many, or a stop."""
        too_large = RefusedError(413, f"a body may have at most {MAX_BODY_BYTES} bytes; send less at once", close=True)
        if headers.length() > MAX_BODY_BYTES:
            raise too_large
        body, deadline = bytearray(), asyncio.get_running_loop().time() + self.read_timeout
        while True:
            message = await self._next(receive, deadline)
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            part = message.get("body", b"")
            self.metrics.received.inc(len(part))
            body += part
            exchange.received += len(part)
            self.held += len(part)
            if len(body) > MAX_BODY_BYTES:
                raise too_large
            if self.held > MAX_HELD_BYTES:
                text = f"bodies of {MAX_HELD_BYTES} bytes are being read or scored; try again in a second"
                raise RefusedError(429, text, {"Retry-After": "1"}, close=True)
            if not message.get("more_body", False):
                return bytes(body)

    async def _next(self, receive: Receive, deadline: float) -> Message:
        """The next part of a body."""
        loop, event = asyncio.get_running_loop(), self.stopping()
        part = loop.create_task(receive())
        stop = None if event is None else loop.create_task(event.wait())
        waiting = [part] if stop is None else [part, stop]
        try:
            await asyncio.wait(waiting, timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            if part.done():
                message: Message = part.result()
                return message
        finally:
            for task in waiting:
                task.cancel()
        if event is not None and event.is_set():
            raise RefusedError(503, "the service stops; send the request again", {"Retry-After": "1"}, close=True)
        raise RefusedError(
            408, f"the body did not arrive within {self.read_timeout:g} seconds; send it again", close=True
        )

    async def _refuse(self, exchange: Exchanged, refusal: RefusedError, receive: Receive) -> None:
        """Send an error, then read a little more where the client may still be sending."""
        body = error_body(refusal.message, exchange.request_id)
        headers = [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        try:
            start = {"type": "http.response.start", "status": refusal.status, "headers": headers}
            await exchange.send(start | {"headers": [*headers, CLOSE] if refusal.close else headers})
            await exchange.send({"type": "http.response.body", "body": body, "more_body": refusal.close})
            if refusal.close:
                await self._discard(receive)
                await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})
        except DisconnectedError:
            pass

    async def _discard(self, receive: Receive) -> None:
        """Read at most `LINGER_BYTES` more within `LINGER_SECONDS`: closing at once would take the response away."""
        size, deadline = 0, asyncio.get_running_loop().time() + LINGER_SECONDS
        try:
            while size < LINGER_BYTES:
                message = await self._next(receive, deadline)
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
        except RefusedError:
            return

    def _count(self, scope: Scope, exchange: Exchanged, seconds: float) -> None:
        """Metrics and log line of a request."""
        path = route_path(scope)
        route = path if path in self.routes else "other"
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.requests.labels(route, method, exchange.status).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        level = logging.DEBUG if route in ("/health", "/ready", "/metrics") and exchange.status == 200 else logging.INFO
        say(
            "request",
            level,
            request_id=exchange.request_id,
            method=method,
            route=route,
            status=exchange.status,
            seconds=round(seconds, 4),
            received=exchange.received,
            sent=exchange.sent,
            caller=exchange.caller.name if exchange.caller is not None else None,
        )


@dataclass
class Exchanged:
    """One request and its response.

    Parameters
    ----------
    request_id : str
        Id of the request.
    target : callable
        Sends to the ASGI server.
    timeout : float
        Seconds in which the client must take a part of the response.
    close : bool
        Whether the connection is closed after the response.
    """

    request_id: str
    target: Send
    timeout: float
    close: bool = False
    caller: Caller | None = None
    status: int = 0
    received: int = 0
    sent: int = 0

    async def send(self, message: Message) -> None:
        """Send a part of the response, with the headers that every response has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), *SECURITY_HEADERS, (b"x-request-id", self.request_id.encode())]
            message = {**message, "headers": [*headers, CLOSE] if self.close and CLOSE not in headers else headers}
        self.sent += len(message.get("body", b""))
        try:
            async with asyncio.timeout(self.timeout):  # unlike wait_for, without a task of its own
                await self.target(message)
        except TimeoutError:
            raise DisconnectedError from None


class Headers:
    """Headers of a request.

    Parameters
    ----------
    scope : mapping
        ASGI scope of the request.
    """

    def __init__(self, scope: Scope) -> None:
        self.pairs = [(name.lower(), value) for name, value in scope.get("headers", ())]

    def one(self, name: bytes) -> str | None:
        """The value of a header that is there exactly once."""
        values = [value for key, value in self.pairs if key == name]
        return values[0].decode("latin-1") if len(values) == 1 else None

    def has(self, name: bytes) -> bool:
        """Whether a header is there."""
        return any(key == name for key, _ in self.pairs)

    def length(self) -> int:
        """The announced length of the body; 0 without one."""
        text = self.one(b"content-length") or ""
        return int(text) if text.isdigit() and len(text) < 19 else 0 if not text else MAX_BODY_BYTES + 1

    def ambiguous(self) -> bool:
        """Whether the body has a length and is chunked, which another server on the way may read otherwise."""
        return self.has(b"content-length") and self.has(b"transfer-encoding")

    def has_body(self) -> bool:
        """Whether a body follows."""
        return self.has(b"transfer-encoding") or self.length() > 0

    def request_id(self) -> str:
        """The id that the caller gave in `X-Request-ID`, or a new one."""
        given = self.one(b"x-request-id") or ""
        return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def route_path(scope: Scope) -> str:
    """Path of a request below the path that the application is mounted at."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def replay(body: bytes, receive: Receive) -> Receive:
    """A function that returns a body that was read already, and then waits for the client to leave."""
    parts = [body]

    async def again() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        message: Message = await receive()
        return message

    return again


def error_body(message: str, request_id: str) -> bytes:
    """The body of every error: one sentence and the id of the request.

    Examples
    --------
    >>> error_body("no offer 'gold'", "5f0c")
    b'{"error": "no offer \\'gold\\'", "request_id": "5f0c"}'
    """
    return json.dumps({"error": message, "request_id": request_id}).encode()
