"""The HTTP service scores valid requests, explains invalid ones, and keeps running after both."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from propensity.config import ServeConfig
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError, IntegrityError
from propensity.serving.app import MAX_BODY_BYTES, OverloadError, RequestQueue, create_app, serve
from propensity.serving.bundle import open_bundle
from propensity.serving.online import OnlineScorer, ScoringRequest
from propensity.serving.schema import Scored, ScoreRequest
from propensity.serving.score import score
from propensity.serving.verify import FORMAT
from serving.exported import Exported
from serving.live import client_of


@pytest.fixture(scope="module")
def scorer(exported: Exported) -> OnlineScorer:
    return OnlineScorer(open_bundle(exported.bundle), exported.log)


@pytest.fixture(scope="module")
def app(scorer: OnlineScorer) -> FastAPI:
    return create_app(scorer)


def send(app: FastAPI, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
    """Send concurrent requests to the application."""

    async def run() -> list[httpx.Response]:
        async with client_of(app, raise_app_exceptions=False) as client:
            return list(
                await asyncio.gather(*(client.request(method, path, **options) for method, path, options in requests))
            )

    return asyncio.run(run())


def post(app: FastAPI, **body: Any) -> httpx.Response:
    return send(app, ("POST", "/score", {"json": body}))[0]


def test_a_customer_of_the_log_has_the_scores_of_the_run(exported: Exported, app: FastAPI, tmp_path: Path) -> None:
    day = exported.manifest["valid_from"]
    expected = score(exported.run, day, tmp_path / "run.parquet", str(exported.log), lambda text: None)
    rows = (0, 7, 20)
    requests = [
        ("POST", "/score", {"json": {"customer_id": str(expected.customer[row]), "cutoff": day}}) for row in rows
    ]
    for row, response in zip(rows, send(app, *requests), strict=True):
        scores = {each["offer_id"]: each for each in response.json()["scores"]}
        assert set(scores) == set(expected.offer)
        probability = [scores[name]["probability"] for name in expected.offer]
        np.testing.assert_allclose(probability, expected.probability[row], atol=1e-5)
        revenue = [scores[name]["expected_revenue"] for name in expected.offer]
        np.testing.assert_allclose(revenue, expected.revenue[row], rtol=1e-4, atol=1e-5)


def test_posted_events_have_the_scores_of_the_same_events_in_the_log(
    exported: Exported, app: FastAPI, scorer: OnlineScorer
) -> None:
    log, day = EventLog.open(exported.log), exported.manifest["valid_from"]
    own = slice(log.offsets[4], log.offsets[5])
    from propensity.data.event_log import to_date
    from propensity.kernel.event import KINDS

    events = [
        {
            "day": to_date(log.day[e]).isoformat(),
            "kind": KINDS[log.kind[e]],
            "item": None if log.item[e] < 0 else str(log.items["item"][int(log.item[e])]),
            "channel": None if log.channel[e] < 0 else log.meta["channels"][log.channel[e]],
            "order": None if log.order[e] < 0 else str(log.order[e]),
            **{name: float(getattr(log, name)[e]) for name in ("quantity", "revenue", "discount")},
        }
        for e in range(own.start, own.stop)
    ]
    stored = post(app, customer_id=str(log.customers["customer"][4]), cutoff=day).json()["scores"]
    posted = post(app, events=events, cutoff=day).json()["scores"]
    np.testing.assert_allclose(
        [each["probability"] for each in posted], [each["probability"] for each in stored], atol=1e-6
    )


def test_empty_histories_and_unknown_items_are_scored(app: FastAPI, scorer: OnlineScorer) -> None:
    name = scorer.features.offers.name[1]
    empty = post(app, events=[], offers=[name]).json()["scores"]
    assert [each["offer_id"] for each in empty] == [name] and 0 < empty[0]["probability"] < 1
    unknown = post(
        app, events=[{"day": "2020-01-01", "item": "an unknown item", "channel": "an unknown channel"}], offers=[name]
    )
    assert unknown.status_code == 200


def test_health_model_and_schema_are_served(app: FastAPI, exported: Exported) -> None:
    health, model, docs = send(app, ("GET", "/health", {}), ("GET", "/model", {}), ("GET", "/openapi.json", {}))
    assert health.json() == {"status": "ok"}
    assert model.json()["digest"] == exported.manifest["digest"]
    assert "/score" in docs.json()["paths"]


INVALID: dict[str, tuple[dict[str, Any], int, str]] = {
    "both customer_id and events": ({"customer_id": "1", "events": []}, 400, "give either customer_id, an id in"),
    "neither": ({}, 400, "give either customer_id, an id in the service's log, or events"),
    "an unknown id": (
        {"customer_id": "x"},
        400,
        "customer_id 'x' is unknown: the service has no such id in its log; give",
    ),
    "an unknown offer": ({"events": [], "offers": ["gold"]}, 400, "no offer 'gold' in this bundle; GET /model lists"),
    "a cutoff before the tables": (
        {"events": [], "cutoff": "1999-01-01"},
        400,
        "is before that of the bundled tables; give",
    ),
    "a cutoff after validity": ({"events": [], "cutoff": "2050-01-01"}, 400, "is valid until"),
    "no date": ({"events": [{"day": "tomorrow"}]}, 422, "body.events.0.day"),
    "a misspelt field": ({"events": [], "offer": ["x"]}, 422, "body.offer: Extra inputs are not permitted"),
    "ten thousand offers": (
        {"events": [], "offers": ["x"] * 10_000},
        422,
        "body.offers.names: List should have at most 2000",
    ),
    "too many events": ({"events": [{"day": "2020-01-01"}] * 2001}, 422, "body.events: List should have at most 2000"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_request_has_an_error_message(app: FastAPI, case: str) -> None:
    body, status, message = INVALID[case]
    response = post(app, **body)
    assert response.status_code == status
    assert message in response.json()["error"]


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e999"])
def test_amounts_that_are_not_finite_are_refused(app: FastAPI, amount: str) -> None:
    text = f'{{"events": [{{"day": "2020-01-01", "revenue": {amount}}}]}}'
    (response,) = send(app, ("POST", "/score", {"content": text, "headers": {"content-type": "application/json"}}))
    assert response.status_code == 422 and "body.events.0.revenue" in response.json()["error"]


def test_malformed_and_large_bodies_are_refused(app: FastAPI) -> None:
    headers = {"content-type": "application/json"}

    async def endless() -> Any:
        yield b"{}"

    malformed, large, unsized, valid = send(
        app,
        ("POST", "/score", {"content": '{"events": [', "headers": headers}),
        ("POST", "/score", {"content": b" " * (MAX_BODY_BYTES + 1), "headers": headers}),
        ("POST", "/score", {"content": endless(), "headers": headers}),
        ("POST", "/score", {"json": {"events": []}}),
    )
    assert malformed.status_code == 422 and "JSON decode error" in malformed.json()["error"]
    assert large.status_code == 413
    assert unsized.status_code == 400, "a body of unknown length is read"
    assert f"at most {MAX_BODY_BYTES} bytes" in large.json()["error"]
    assert valid.status_code == 200


def test_a_full_queue_refuses_requests_and_recovers(scorer: OnlineScorer) -> None:
    small = create_app(scorer, max_waiting=4)
    body: dict[str, Any] = {"json": {"events": []}}
    statuses = [response.status_code for response in send(small, *[("POST", "/score", body)] * 60)]
    assert set(statuses) == {200, 429}
    refused = next(r for r in send(small, *[("POST", "/score", body)] * 60) if r.status_code == 429)
    assert refused.json()["error"] == "4 requests are waiting; try again in a second"
    assert refused.headers["retry-after"] == "1"
    assert send(small, ("POST", "/score", body))[0].status_code == 200


def test_concurrent_requests_are_scored_in_blocks(scorer: OnlineScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = OnlineScorer.score

    def counted(self: OnlineScorer, requests: Sequence[ScoringRequest]) -> list[Scored]:
        sizes.append(len(requests))
        return original(self, requests)

    monkeypatch.setattr(OnlineScorer, "score", counted)
    responses = send(create_app(scorer), *[("POST", "/score", {"json": {"events": []}})] * 40)
    assert all(response.status_code == 200 for response in responses)
    assert sum(sizes) == 40 and len(sizes) < 20
    scores = [[each["probability"] for each in response.json()["scores"]] for response in responses]
    assert np.ptp(scores, axis=0).max() < 1e-6  # sums of a matrix product have another order in a block of another size


def test_a_bug_fails_one_request_and_not_the_service(scorer: OnlineScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(scorer)
    body: dict[str, Any] = {"json": {"events": []}}

    def broken(self: OnlineScorer, requests: Any) -> Any:
        monkeypatch.undo()
        raise ZeroDivisionError

    monkeypatch.setattr(OnlineScorer, "score", broken)

    async def run() -> list[int]:
        async with client_of(app, raise_app_exceptions=False) as client:
            return [(await client.post("/score", **body)).status_code for _ in range(2)]

    assert asyncio.run(run()) == [500, 200]


def test_a_queue_of_length_zero_accepts_no_request(scorer: OnlineScorer) -> None:
    queue = RequestQueue(scorer, max_waiting=0)
    with pytest.raises(OverloadError):
        asyncio.run(queue.submit(scorer.validate(ScoreRequest(events=[]))))


def test_generated_requests_conform_to_the_schema(scorer: OnlineScorer) -> None:
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", create_app(scorer))
    paths = []
    for operation in schema.get_all_operations():

        @given(case=operation.ok().as_strategy())
        @settings(max_examples=40, deadline=None, derandomize=True, database=None)
        def holds(case: Any) -> None:
            # The schema cannot list the ids, offers and cutoffs of a bundle: others are refused with 400.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])
            paths.append(case.path)

        holds()
    assert set(paths) == {"/score", "/scores", "/health", "/ready", "/model", "/metrics", "/refresh"}


def test_a_service_is_refused_a_bundle_that_is_not_there_or_another_one(exported: Exported) -> None:
    with pytest.raises(ConfigurationError, match="no bundle at nowhere"):
        serve(ServeConfig(bundle="nowhere"))
    with pytest.raises(IntegrityError, match="this is another bundle"):
        serve(ServeConfig(bundle=str(exported.bundle), digest="0"))
    assert json.loads((exported.bundle / "manifest.json").read_text())["format"] == FORMAT


@pytest.mark.parametrize("fails", [False, True])
def test_a_service_leaves_the_environment_of_its_process_as_it_was(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    seen: dict[str, str] = {}

    def run(*arguments: Any, **options: Any) -> None:
        seen.update(os.environ)
        if fails:
            raise OSError("the port is in use")

    monkeypatch.setattr("uvicorn.run", run)
    monkeypatch.setenv("PROPENSITY_DIGEST", "of the caller")
    before = dict(os.environ)
    with pytest.raises(OSError, match="in use") if fails else nullcontext():
        serve(ServeConfig(bundle=str(exported.bundle), tokens="off", max_waiting=7, workers=2))
    assert (seen["PROPENSITY_BUNDLE"], seen["PROPENSITY_MAX_WAITING"]) == (str(exported.bundle), "7")
    assert "PROPENSITY_DIGEST" not in seen, "a setting that the command leaves out is not that of the caller"
    assert seen["PROMETHEUS_MULTIPROC_DIR"] and dict(os.environ) == before
