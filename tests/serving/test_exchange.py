"""A running service takes over a new bundle without dropping a request, and forgets who was forgotten."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from propensity.data.event_log import EventLog
from propensity.ingest.erasure import erase_customer
from propensity.serving.app import create_app
from propensity.serving.bundle import open_bundle
from propensity.serving.export import seal
from propensity.serving.online import OnlineScorer
from propensity.serving.verify import MANIFEST
from serving.exported import Exported
from serving.live import client_of


@pytest.fixture
def places(exported: Exported, tmp_path: Path) -> tuple[Path, Path]:
    """A bundle and a log that a test may exchange."""
    shutil.copytree(exported.bundle, tmp_path / "bundle")
    shutil.copytree(exported.log, tmp_path / "log")
    return tmp_path / "bundle", tmp_path / "log"


def sibling(bundle: Path, name: str, valid_until: str) -> Path:
    """Another bundle with the same model."""
    folder = bundle.with_name(name)
    shutil.copytree(bundle, folder)
    manifest = json.loads((bundle / MANIFEST).read_text())
    seal(folder, manifest | {"valid_until": valid_until})
    return folder


def exchange_folders(one: Path, other: Path) -> None:
    """Put `one` in the place of `other`, which leaves; for an instant there is nothing."""
    os.replace(other, other.with_name(f"{other.name}.old.{one.name}"))
    os.replace(one, other)


def test_a_bundle_is_exchanged_under_load_without_a_dropped_request(places: tuple[Path, Path]) -> None:
    bundle, log = places
    nexts = [sibling(bundle, f"next{n}", f"2031-0{n}-01") for n in (1, 2)]
    app = create_app(OnlineScorer(open_bundle(bundle), log), refresh=0.02)

    async def run() -> tuple[list[int], list[str]]:
        statuses: list[int] = []
        done = asyncio.Event()

        async def load(client: httpx.AsyncClient, number: int) -> None:
            bodies: list[tuple[str, Any]] = [
                ("/score", {"events": []}),
                ("/score", {"customer_id": "1" if number % 2 else "2"}),
                ("/scores", {"customers": [{"events": []}] * 3}),
            ]
            while not done.is_set():
                path, body = bodies[number % 3]
                statuses.append((await client.post(path, json=body)).status_code)

        async with client_of(app) as client:
            known = (await client.get("/model")).json()["offers"]
            assert known
            digests = [(await client.get("/ready")).json()["digest"]]
            clients = [asyncio.create_task(load(client, number)) for number in range(16)]
            for following in nexts:
                exchange_folders(following, bundle)
                while (digest := (await client.get("/ready")).json()["digest"]) == digests[-1]:
                    await asyncio.sleep(0.02)
                digests.append(digest)
            done.set()
            await asyncio.gather(*clients)
        return statuses, digests

    statuses, digests = asyncio.run(run())
    ids = {str(each) for each in EventLog.open(log).customers["customer"][:5]}
    expected = {200} if {"1", "2"} <= ids else {200, 400}
    assert set(statuses) <= expected and statuses.count(200) > 30
    assert len(set(digests)) == 3


def test_a_request_is_scored_by_the_scorer_that_validated_it(places: tuple[Path, Path]) -> None:
    one, other = (OnlineScorer(open_bundle(places[0]), places[1]) for _ in range(2))
    app = create_app(one)
    seen: list[tuple[OnlineScorer, int]] = []

    async def run() -> None:
        async with client_of(app):
            queue = app.state.queue
            requests = [scorer.validate(_empty()) for scorer in (one, other)]
            original = OnlineScorer.score

            def counted(self: OnlineScorer, block: Any) -> Any:
                seen.append((self, len(block)))
                return original(self, block)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(OnlineScorer, "score", counted)
                await asyncio.gather(*(queue.submit(requests[n % 2], (one, other)[n % 2]) for n in (0, 0, 1, 1, 1, 0)))

    asyncio.run(run())
    assert [(scorer is one, size) for scorer, size in seen] == [(True, 2), (False, 3), (True, 1)]


def _empty() -> Any:
    from propensity.serving.schema import ScoreRequest

    return ScoreRequest(events=[])


def test_a_damaged_or_unexpected_bundle_leaves_the_old_one_in_use(places: tuple[Path, Path]) -> None:
    bundle, log = places
    scorer = OnlineScorer(open_bundle(bundle), log)
    digest = scorer.bundle.digest
    app = create_app(scorer, digest=digest)
    other = sibling(bundle, "other", "2031-01-01")

    async def run() -> None:
        async with client_of(app) as client:
            with (bundle / "model.onnx").open("r+b") as file:
                file.seek(1_000)
                file.write(b"\0damage\0")
            assert (await client.post("/refresh")).json() == {"current": True, "digest": digest}
            assert (await client.post("/score", json={"events": []})).status_code == 200
            exchange_folders(other, bundle)  # whole, but not the one that the service was started for
            assert (await client.post("/refresh")).json()["digest"] == digest
            shutil.rmtree(bundle)
            assert (await client.post("/refresh")).json()["digest"] == digest
            assert (await client.post("/score", json={"events": []})).status_code == 200
            assert 'exchanges_total{result="refused",what="bundle"} 3.0' in (await client.get("/metrics")).text

    asyncio.run(run())


def test_a_forgotten_customer_is_unknown_at_once_and_others_are_scored_as_before(places: tuple[Path, Path]) -> None:
    bundle, log = places
    ids = [str(each) for each in EventLog.open(log).customers["customer"][:3]]
    app = create_app(OnlineScorer(open_bundle(bundle), log), refresh=3_600)

    async def run() -> None:
        async with client_of(app) as client:

            async def ask(customer: str) -> httpx.Response:
                return await client.post("/score", json={"customer_id": customer})

            before = [(await ask(each)).json()["scores"] for each in ids]
            await asyncio.to_thread(erase_customer, ids[1], str(log), str(log.with_name("runs")), None)
            gone = await ask(ids[1])
            assert gone.status_code == 400 and "has no such id in its log" in gone.json()["error"]
            many = (await client.post("/scores", json={"customers": [{"customer_id": each} for each in ids]})).json()
            assert [each["error"] is None for each in many["customers"]] == [True, False, True]
            for position in (0, 2):
                after = (await ask(ids[position])).json()["scores"]
                for one, other in zip(after, before[position], strict=True):
                    assert one["probability"] == pytest.approx(other["probability"], rel=1e-4)

    asyncio.run(run())


def test_a_log_of_another_market_or_a_damaged_one_is_never_used(places: tuple[Path, Path]) -> None:
    bundle, log = places
    customer = str(EventLog.open(log).customers["customer"][0])
    app = create_app(OnlineScorer(open_bundle(bundle), log), refresh=3_600)
    own = log.with_name("own")
    shutil.copytree(log, own)
    stranger = log.with_name("stranger")
    opened = EventLog.open(log)
    few = opened.until(int(opened.first_day) + 20)
    few.save(stranger)

    async def run() -> None:
        async with client_of(app) as client:

            async def statuses() -> list[int]:
                by_id = await client.post("/score", json={"customer_id": customer})
                events = await client.post("/score", json={"events": []})
                return [by_id.status_code, events.status_code, (await client.get("/ready")).status_code]

            assert await statuses() == [200, 200, 200]
            exchange_folders(stranger, log)
            assert await statuses() == [503, 200, 503]
            exchange_folders(own, log)
            assert await statuses() == [200, 200, 200]
            shutil.rmtree(log)
            assert await statuses() == [503, 200, 503]
            assert (await client.post("/refresh")).json()["current"] is False

    asyncio.run(run())


def test_a_change_between_opening_and_starting_is_noticed(places: tuple[Path, Path]) -> None:
    bundle, log = places
    scorer = OnlineScorer(open_bundle(bundle), log)
    customer = str(EventLog.open(log).customers["customer"][0])
    erase_customer(customer, str(log), str(log.with_name("runs")), None)
    exchange_folders(sibling(bundle, "next", "2031-01-01"), bundle)
    app = create_app(scorer)

    async def run() -> None:
        async with client_of(app) as client:
            assert (await client.post("/score", json={"customer_id": customer})).status_code == 400
            assert (await client.post("/refresh")).json()["digest"] != scorer.bundle.digest

    asyncio.run(run())
