"""One customer's request to the service, in one process: `python benchmarks/request.py bundle [--before=FOLDER]`.

The web application is called without a network: a body is read, a customer with 60 events is scored for all offers, and
the response is written. One request at a time, and 16 at once. With `--before`, the sources of another commit are
timed in turns with these, each in a process of its own, and their responses must have the same bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("PROPENSITY_CONF", str(Path(__file__).parent.parent / "conf"))

EVENTS, ROUNDS, REQUESTS, CLIENTS, WARM_UP = 60, 5, 64, (1, 16), 4
FIELDS = ("day", "kind", "item", "channel", "revenue")
HEADERS = [(b"content-type", b"application/json")]
Call = Callable[[bytes], Awaitable[bytes]]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/request.py", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--before", type=Path, help="folder with the `propensity` of the sources to compare with")
    parser.add_argument("--rounds", action="store_true", help="run a round for every line of the standard input")
    chosen = parser.parse_args(arguments)
    if chosen.rounds:
        return asyncio.run(rounds(chosen.bundle))
    folders = {"now": Path(__file__).parent.parent / "src"} | ({"before": chosen.before} if chosen.before else {})
    compare({name: version(folder, chosen.bundle) for name, folder in folders.items()})


def version(folder: Path, bundle: Path) -> subprocess.Popen[str]:
    """A process with the sources of a folder that waits for rounds."""
    command = [sys.executable, __file__, str(bundle), "--rounds"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def compare(versions: dict[str, subprocess.Popen[str]]) -> None:
    """Time the versions in turns, and print a table."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in versions}
    for k in range(ROUNDS):
        for name in list(versions)[:: 1 if k % 2 else -1]:
            stdin, stdout = versions[name].stdin, versions[name].stdout
            assert stdin is not None and stdout is not None
            stdin.write("round\n")
            stdin.flush()
            results[name].append(json.loads(stdout.readline()))
    for process in versions.values():
        process.communicate()
    digests = {each["digest"] for rows in results.values() for each in rows}
    print("responses with the same bytes:", len(digests) == 1)
    print("| clients | version | CPU-ms a request | ratio | p50, ms | p99, ms |\n|---:|---|---:|---:|---:|---:|")
    for clients in map(str, CLIENTS):
        for name, rows in results.items():
            cpu = [row[clients]["cpu_ms"] for row in rows]
            ratio = median(own[clients]["cpu_ms"] / now for own, now in paired(rows, results["now"], clients))
            waits = sorted(wait for row in rows for wait in row[clients]["waits_ms"])
            middle, high = (waits[int(share * (len(waits) - 1))] for share in (0.5, 0.99))
            print(f"| {clients} | {name} | {median(cpu):.2f} | {ratio:.2f} | {middle:.2f} | {high:.2f} |")


def paired(rows: list[dict[str, Any]], others: list[dict[str, Any]], clients: str) -> Iterator[tuple[Any, float]]:
    """Rounds of a version with the CPU-milliseconds of the same rounds of another."""
    for row, other in zip(rows, others, strict=True):
        yield row, other[clients]["cpu_ms"]


async def rounds(bundle: Path) -> None:
    """A round for every line of the standard input, and a line of JSON after each."""
    async with AsyncExitStack() as stack:
        call, bodies = await started(bundle, stack), request_bodies(bundle)
        for _ in range(WARM_UP):
            answers = [await call(body) for body in bodies]
        for _ in sys.stdin:
            row: dict[str, Any] = {"digest": hashlib.sha256(b"".join(answers)).hexdigest()}
            for clients in CLIENTS:
                waits: list[float] = []
                start = time.process_time()
                await asyncio.gather(*(client(call, bodies, clients, waits) for _ in range(clients)))
                cpu = 1e3 * (time.process_time() - start) / REQUESTS
                row[str(clients)] = {"cpu_ms": cpu, "waits_ms": [1e3 * wait for wait in waits]}
            print(json.dumps(row), flush=True)


async def client(call: Call, bodies: list[bytes], clients: int, waits: list[float]) -> None:
    """One client's share of `REQUESTS`, one after another."""
    for k in range(REQUESTS // clients):
        start = time.perf_counter()
        await call(bodies[k % len(bodies)])
        waits.append(time.perf_counter() - start)


async def started(bundle: Path, stack: AsyncExitStack) -> Call:
    """The running application, as a function from the body of a request to that of its response."""
    from propensity.serving.app import create_app
    from propensity.serving.bundle import open_bundle
    from propensity.serving.online import OnlineScorer

    logging.getLogger("propensity").setLevel("ERROR")
    scorer = OnlineScorer(open_bundle(bundle))
    scorer.warm_up()
    app = create_app(scorer)
    await stack.enter_async_context(app.router.lifespan_context(app))

    async def call(body: bytes) -> bytes:
        parts: list[MutableMapping[str, Any]] = []
        scope = {"type": "http", "method": "POST", "path": "/score", "headers": [*HEADERS], "query_string": b""}
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return messages.pop() if messages else await asyncio.Future()

        async def send(message: MutableMapping[str, Any]) -> None:
            parts.append(message)

        await app(scope, receive, send)
        assert parts[0]["status"] == 200, parts
        return b"".join(part.get("body", b"") for part in parts)

    return call


def request_bodies(bundle: Path) -> list[bytes]:
    """Bodies of requests: the golden customers with the longest histories, the last `EVENTS` events of each."""
    golden = json.loads((bundle / "golden/events.json").read_text())["customers"]
    longest = sorted(golden, key=len)[-8:]
    return [
        json.dumps({"events": [{k: e[k] for k in FIELDS if k in e} for e in events[-EVENTS:]]}).encode()
        for events in longest
    ]


if __name__ == "__main__":
    main()
