"""A service on a real socket, in a thread, raw requests to it, and a client of one without a socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from propensity.serving import protocol
from propensity.serving.service_log import UVICORN_LOG


@contextmanager
def live(app: FastAPI, **variables: str) -> Iterator[tuple[str, int]]:
    """Address of a running service whose connections have the limits of some environment variables."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        protocol.process_settings.cache_clear()
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            http=protocol.PATH,
            ws="none",
            log_config=UVICORN_LOG,
            timeout_keep_alive=round(float(variables.get("PROPENSITY_IDLE_TIMEOUT", "15"))) or 1,
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the service did not start"
                time.sleep(0.01)
            yield server.servers[0].sockets[0].getsockname()
        finally:
            server.should_exit = True
            thread.join()
            protocol.process_settings.cache_clear()


@asynccontextmanager
async def client_of(app: FastAPI, raise_app_exceptions: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that runs without a socket."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=raise_app_exceptions)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        yield client


class Reply:
    """A response as it came."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1]) if lines[0] else 0  # 0: closed without a response
        self.headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}

    def json(self) -> Any:
        return json.loads(self.body)


def request_bytes(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """A request as text, with the length of its body unless headers say otherwise."""
    lines = [f"{method} {path} HTTP/1.1", "Host: t", *headers]
    if body and not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_all(connection: socket.socket) -> Reply:
    """Read until the service closes the connection."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionError:
        pass
    return Reply(b"".join(parts))


def exchange(address: tuple[str, int], raw: bytes, wait: float = 30.0) -> Reply:
    """Send raw bytes and read until the service closes the connection."""
    with socket.create_connection(address, timeout=wait) as connection:
        connection.sendall(raw)
        return read_all(connection)
