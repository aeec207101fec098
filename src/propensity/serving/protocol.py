"""HTTP/1.1 connections of the service with limits on their number and on the time until a request is there.

uvicorn closes a connection that is idle after a response, but waits without end for the first request, and for the
rest of headers that were sent in part. `BoundedProtocol` adds these limits, and errors in the form of the service.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from contextlib import suppress
from functools import cache
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from propensity.serving.guard import SECURITY_HEADERS, error_body
from propensity.serving.service_log import say
from propensity.serving.service_settings import ServiceSettings

MAX_AHEAD = 1 << 17  # bytes of further requests that may arrive before a response
NO_LINGER = struct.pack("ii", 1, 0)  # of SO_LINGER: the system keeps nothing of a closed connection
PATH = f"{__name__}:BoundedProtocol"  # as uvicorn's option --http


@cache
def process_settings() -> ServiceSettings:
    """The settings of this process."""
    return ServiceSettings.from_environment()


class BoundedProtocol(H11Protocol):
    """One connection.

    Notes
    -----
    `read_timeout` bounds the time from the first byte of a request to the end of its headers, and the time in which a
    client that reads nothing must take something; `idle_timeout` bounds the time without a request. The body is
    bounded by `Guard`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.limits = process_settings()
        self.head_timer: asyncio.TimerHandle | None = None
        self.head_started = False  # a part of the headers of a request is there
        self.write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Accept a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            message = f"{self.limits.max_connections} connections are open; try again in a second"
            self._refuse(429, message, [(b"retry-after", b"1")])
            return
        self.head_timer = self.loop.call_later(self.limits.idle_timeout, self.abort)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        super().data_received(data)
        if self.conn.their_state is h11.DONE and len(self.conn.trailing_data[0]) > MAX_AHEAD:
            self.abort()  # uvicorn reads a part of what follows after each response, so that this would grow
        elif self.conn.their_state is h11.IDLE and self.conn.trailing_data[0] and not self.transport.is_closing():
            if not self.head_started:
                self._cancel_head()
                self.head_timer, self.head_started = self.loop.call_later(self.limits.read_timeout, self.abort), True
        else:
            self._cancel_head()

    def on_response_complete(self) -> None:
        """Wait for the next request, while the client takes the response."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._arm_write()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._cancel_head()
        self._cancel_write()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client takes too little of a response."""
        super().pause_writing()
        self._arm_write()

    def resume_writing(self) -> None:
        """The client takes the response again."""
        self._cancel_write()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the form of all errors."""
        self._refuse(400, "the request is no valid HTTP/1.1; correct it", [])

    def _refuse(self, status: int, message: str, more: list[tuple[bytes, bytes]]) -> None:
        """Send an error and close the connection."""
        request_id = secrets.token_hex(8)
        say("refused", request_id=request_id, status=status)
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = error_body(message, request_id)
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
                (b"x-request-id", request_id.encode()),
                *SECURITY_HEADERS,
                *more,
            ]
            for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._arm_write()

    def _arm_write(self) -> None:
        """Close the connection unless the client takes the response in time."""
        self._cancel_write()
        self.write_timer = self.loop.call_later(self.limits.read_timeout, self._abort_unwritten)

    def _abort_unwritten(self) -> None:
        if self.transport.get_write_buffer_size() or self.flow.write_paused:
            self.abort()

    def abort(self) -> None:
        """Close the connection at once, without the rest of a response that nobody reads."""
        with suppress(OSError, AttributeError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.transport.abort()

    def _cancel_head(self) -> None:
        self.head_started = False
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def _cancel_write(self) -> None:
        if self.write_timer is not None:
            self.write_timer.cancel()
            self.write_timer = None
