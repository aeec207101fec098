"""Mixed load on the HTTP service: `python benchmarks/service_load.py bundle log=data/complete_journey seconds=1200`.

64 clients send valid requests, requests for many customers and for reasons, malformed, huge and half-sent ones, and
read slowly. In rushes all of them send requests for many customers without a pause, so that the service must refuse
some. Prints counts by status, the 99th percentile of the latency and the memory of the service as JSON, and ends with
exit code 1 if there was a status of 500 or more, no refusal in the rushes, no recovery after them, or growing memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

READ_TIMEOUT = 2
WARM_UP = 0.2  # share of the time after which memory must be flat
GROWTH = 1.15  # of the memory after the warm-up
KINDS = {
    "score": 60,
    "customer": 10,
    "many": 6,
    "reasons": 2,
    "malformed": 10,
    "huge": 4,
    "half": 3,
    "slow": 3,
    "get": 2,
}


@dataclass
class Result:
    """What the clients saw."""

    status: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of valid requests for one customer, outside of the rushes
    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds since the start, MiB
    late: Counter[str] = field(default_factory=Counter)  # valid requests after the last rush


class Load:
    """Clients of one service.

    Parameters
    ----------
    port : int
        Of the service on this machine.
    customers : list of str
        Ids of the log.
    events : list of dict
        One customer's events.
    """

    def __init__(self, port: int, customers: list[str], events: list[dict[str, Any]]) -> None:
        self.port, self.customers, self.events = port, customers, events
        self.result, self.rush, self.over = Result(), False, False

    def body(self, kind: str, draw: random.Random) -> tuple[str, bytes]:
        """Path and body of a request."""
        one = {"events": draw.choices(self.events, k=draw.randint(0, 60))}
        if kind == "many":
            return "/scores", json.dumps({"customers": [one] * (24 if self.rush else draw.randint(2, 8))}).encode()
        if kind == "customer" and self.customers:
            return "/score", json.dumps({"customer_id": draw.choice(self.customers)}).encode()
        if kind == "reasons":
            return "/score", json.dumps({**one, "reasons": 3}).encode()
        if kind == "malformed":
            wrong = [b"{", b"[1]", b'{"events": 3}', b"\xff" * 100, b"[" * 50_000, b'{"customer_id": "nobody"}', b"{}"]
            return "/score", draw.choice(wrong)
        return "/score", json.dumps(one).encode()

    async def client(self, number: int, until: float) -> None:
        """Send requests one after another until the end."""
        draw, connection = random.Random(number), None
        while time.monotonic() < until:
            kind = "many" if self.rush else draw.choices([*KINDS], [*KINDS.values()])[0]
            try:
                if connection is None or kind in ("huge", "half", "slow"):
                    close(connection)
                    connection = await asyncio.open_connection("127.0.0.1", self.port)
                status = await self.send(kind, draw, *connection)
            except (OSError, asyncio.IncompleteReadError):
                status, connection = "closed", close(connection)
            if kind in ("huge", "half", "slow") or status in ("400", "408", "413"):
                connection = close(connection)
            self.result.status[f"{kind} {status}"] += 1
            if not self.rush:
                await asyncio.sleep(draw.random() * 0.2)
        close(connection)

    async def send(self, kind: str, draw: random.Random, reader: Any, writer: Any) -> str:
        """Send one request and read the response."""
        path, body = self.body(kind, draw)
        if kind == "get":
            return await self.timed(kind, reader, writer, b"GET /ready HTTP/1.1\r\nHost: t\r\n\r\n")
        head = f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
        if kind == "huge":
            writer.write(f"{head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            for _ in range(64):
                writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
                await writer.drain()
            return await status_of(reader)
        if kind == "half":
            writer.write(f"{head}Content-Length: {len(body) + 1}\r\n\r\n".encode() + body)
            return await status_of(reader)
        raw = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        if kind == "slow":
            for start in range(0, len(raw), max(len(raw) // 10, 1)):
                writer.write(raw[start : start + max(len(raw) // 10, 1)])
                await asyncio.sleep(0.1)
            return await status_of(reader)
        return await self.timed(kind, reader, writer, raw)

    async def timed(self, kind: str, reader: Any, writer: Any, raw: bytes) -> str:
        """Send a whole request, and note the latency."""
        start, rush = time.perf_counter(), self.rush
        writer.write(raw)
        status = await status_of(reader)
        if kind in ("score", "customer"):
            if not rush:
                self.result.seconds.append(time.perf_counter() - start)
            if self.over:
                self.result.late[status] += 1
        return status

    async def watch(self, process: int, seconds: float) -> None:
        """Note the memory, and let all clients rush for a tenth of each fifth of the time, but not in the last."""
        start = time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            self.result.memory.append((passed, resident_mib(process)))
            self.over = passed > 0.85 * seconds  # the last rush has ended at 0.8
            self.rush = not self.over and (5 * passed / seconds) % 1 > 0.9
            await asyncio.sleep(min(1.0, seconds / 100))


def close(connection: Any) -> Any:
    """Close a connection, if there is one; None."""
    if connection is not None:
        connection[1].close()
    return None


async def status_of(reader: Any) -> str:
    """Read a response; its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    (length,) = (line.partition(":")[2] for line in head.split("\r\n") if line.startswith("content-length"))
    await reader.readexactly(int(length))
    return head.split()[1]


def resident_mib(process: int) -> float:
    """Memory of a process in MiB."""
    (line,) = (each for each in Path(f"/proc/{process}/status").read_text().splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def summary(result: Result, seconds: float) -> dict[str, Any]:
    """The result as plain values, with what is wrong."""
    by_status: Counter[str] = Counter()
    for key, count in result.status.items():
        by_status[key.split()[1]] += count
    warm = [mib for passed, mib in result.memory if passed > WARM_UP * seconds]
    half = len(warm) // 2
    first, last = (float(np.median(part)) for part in (warm[:half], warm[half:]))
    failures = {status: count for status, count in by_status.items() if status.isdigit() and int(status) >= 500}
    problems = {
        "status of 500 or more": bool(failures),
        "no refusal": not by_status["429"],
        "no recovery": set(result.late) != {"200"},
        "memory grows": last > GROWTH * first,
    }
    return {
        "seconds": seconds,
        "requests": sum(result.status.values()),
        "by_status": dict(sorted(by_status.items())),
        "by_kind_and_status": dict(sorted(result.status.items())),
        "p50_ms": round(1e3 * float(np.quantile(result.seconds, 0.5)), 1),
        "p99_ms": round(1e3 * float(np.quantile(result.seconds, 0.99)), 1),
        "memory_mib": {"first_half": round(first), "second_half": round(last), "largest": round(max(warm))},
        "after_the_last_rush": dict(result.late),
        "problems": [name for name, is_wrong in problems.items() if is_wrong],
    }


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def run(bundle: str, log: str | None, seconds: float, clients: int, waiting: int) -> dict[str, Any]:
    """Start the service, put load on it, and stop it."""
    port = free_port()
    words = [f"bundle={bundle}", "tokens=off", f"port={port}", f"read_timeout={READ_TIMEOUT}", f"max_waiting={waiting}"]
    command = [sys.executable, "-m", "propensity.cli", "serve", *words, *([f"log={log}"] if log else [])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    try:
        await until_ready(port, server)
        load = Load(port, customers_of(log), events_of(Path(bundle)))
        until = time.monotonic() + seconds
        await asyncio.gather(*(load.client(n, until) for n in range(clients)), load.watch(server.pid, seconds))
        return summary(load.result, seconds)
    finally:
        server.terminate()
        server.wait()


def customers_of(log: str | None) -> list[str]:
    """Some ids of a log."""
    if log is None:
        return []
    import polars as pl

    return pl.read_parquet(Path(log) / "customers.parquet")["customer"].cast(pl.String).head(1_000).to_list()


def events_of(bundle: Path) -> list[dict[str, Any]]:
    """Events of the golden customers, as a caller sends them."""
    golden = json.loads((bundle / "golden/events.json").read_text())["customers"]
    fields = ("day", "kind", "item", "channel", "revenue")
    return [{key: event[key] for key in fields if key in event} for events in golden for event in events]


async def until_ready(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until the service takes requests."""
    for _ in range(600):
        if server.poll() is not None:
            raise SystemExit(f"the service ended with exit code {server.returncode}")
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /ready HTTP/1.1\r\nHost: t\r\n\r\n")
            status = await status_of(reader)
            writer.close()
            if status == "200":
                return
        except OSError:
            pass
        await asyncio.sleep(0.2)
    raise SystemExit("the service did not become ready")


def main(arguments: list[str]) -> None:
    """Run the load that the arguments describe."""
    options = dict(each.split("=", 1) for each in arguments if "=" in each)
    (bundle,) = (each for each in arguments if "=" not in each)
    result = asyncio.run(
        run(
            bundle,
            options.get("log"),
            float(options.get("seconds", 1_200)),
            int(options.get("clients", 64)),
            int(options.get("waiting", 256)),
        )
    )
    print(json.dumps(result, indent=1))
    if out := options.get("out"):
        Path(out).write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(bool(result["problems"]))


if __name__ == "__main__":
    main(sys.argv[1:])
