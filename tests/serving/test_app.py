"""The service answers what can be answered, says what cannot, and survives whatever it is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
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
from propensity.serving.app import BODY, OverloadError, Queue, application, serve
from propensity.serving.bundle import open_bundle
from propensity.serving.online import OnlineScorer, ScoringRequest
from propensity.serving.schema import ScoreAnswer, ScoreRequest
from propensity.serving.score import score
from serving.exported import Exported


@pytest.fixture(scope="module")
def desk(exported: Exported) -> OnlineScorer:
    return OnlineScorer(open_bundle(exported.bundle), exported.log)


@pytest.fixture(scope="module")
def app(desk: OnlineScorer) -> FastAPI:
    return application(desk)


def ask(app: FastAPI, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
    """Requests at once, to the running application."""

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://t") as client,
        ):
            return list(await asyncio.gather(*(client.request(how, where, **given) for how, where, given in requests)))

    return asyncio.run(run())


def post(app: FastAPI, **body: Any) -> httpx.Response:
    return ask(app, ("POST", "/score", {"json": body}))[0]


def test_a_known_customer_has_the_scores_of_the_run(exported: Exported, app: FastAPI, tmp_path: Path) -> None:
    day = exported.about["valid_from"]
    expected = score(exported.run, day, tmp_path / "run.parquet", str(exported.log), lambda text: None)
    rows = (0, 7, 20)
    asked = [("POST", "/score", {"json": {"customer": str(expected.customer[row]), "date": day}}) for row in rows]
    for row, response in zip(rows, ask(app, *asked), strict=True):
        found = {each["offer"]: each for each in response.json()["scores"]}
        assert set(found) == set(expected.offer)
        mine = [found[name]["probability"] for name in expected.offer]
        np.testing.assert_allclose(mine, expected.probability[row], atol=1e-5)
        money = [found[name]["expected_revenue"] for name in expected.offer]
        np.testing.assert_allclose(money, expected.revenue[row], rtol=1e-4, atol=1e-5)


def test_events_of_ones_own_are_scored_as_those_of_the_log(
    exported: Exported, app: FastAPI, desk: OnlineScorer
) -> None:
    log, day = EventLog.open(exported.log), exported.about["valid_from"]
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
    theirs = post(app, customer=str(log.customers["customer"][4]), date=day).json()["scores"]
    mine = post(app, events=events, date=day).json()["scores"]
    np.testing.assert_allclose(
        [each["probability"] for each in mine], [each["probability"] for each in theirs], atol=1e-6
    )


def test_nobody_and_strangers_are_scored_too(app: FastAPI, desk: OnlineScorer) -> None:
    name = desk.market.offers.name[1]
    nobody = post(app, events=[], offers=[name]).json()["scores"]
    assert [each["offer"] for each in nobody] == [name] and 0 < nobody[0]["probability"] < 1
    strange = post(app, events=[{"day": "2020-01-01", "item": "never seen", "channel": "pigeon"}], offers=[name])
    assert strange.status_code == 200


def test_health_model_and_docs(app: FastAPI, exported: Exported) -> None:
    health, model, docs = ask(app, ("GET", "/health", {}), ("GET", "/model", {}), ("GET", "/openapi.json", {}))
    assert health.json() == {"status": "ok"}
    assert model.json()["digest"] == exported.about["digest"]
    assert "/score" in docs.json()["paths"]


BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "both customer and events": ({"customer": "1", "events": []}, 400, "give either customer, a known id, or events"),
    "neither": ({}, 400, "give either customer, a known id, or events"),
    "an unknown id": ({"customer": "nobody"}, 400, "customer 'nobody' is unknown"),
    "an unknown offer": ({"events": [], "offers": ["gold"]}, 400, "no offer 'gold' in this bundle; GET /model lists"),
    "a date before the data": ({"events": [], "date": "1999-01-01"}, 400, "lies before the bundled tables; give"),
    "a date past validity": ({"events": [], "date": "2050-01-01"}, 400, "is valid until"),
    "no date": ({"events": [{"day": "tomorrow"}]}, 422, "body.events.0.day"),
    "a misspelt field": ({"events": [], "offer": ["x"]}, 422, "body.offer: Extra inputs are not permitted"),
    "ten thousand offers": (
        {"events": [], "offers": ["x"] * 10_000},
        422,
        "body.offers: List should have at most 2000",
    ),
    "too many events": ({"events": [{"day": "2020-01-01"}] * 2001}, 422, "body.events: List should have at most 2000"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_request_has_a_sentence(app: FastAPI, what: str) -> None:
    body, status, sentence = BAD[what]
    response = post(app, **body)
    assert response.status_code == status
    assert sentence in response.json()["error"]


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e999"])
def test_amounts_that_are_no_numbers_are_refused(app: FastAPI, amount: str) -> None:
    text = f'{{"events": [{{"day": "2020-01-01", "revenue": {amount}}}]}}'
    (response,) = ask(app, ("POST", "/score", {"content": text, "headers": {"content-type": "application/json"}}))
    assert response.status_code == 422 and "body.events.0.revenue" in response.json()["error"]


def test_broken_and_huge_bodies_are_refused(app: FastAPI) -> None:
    headers = {"content-type": "application/json"}

    async def endless() -> Any:
        yield b"{}"

    broken, huge, unsized, after = ask(
        app,
        ("POST", "/score", {"content": '{"events": [', "headers": headers}),
        ("POST", "/score", {"content": b" " * (BODY + 1), "headers": headers}),
        ("POST", "/score", {"content": endless(), "headers": headers}),
        ("POST", "/score", {"json": {"events": []}}),
    )
    assert broken.status_code == 422 and "JSON decode error" in broken.json()["error"]
    assert huge.status_code == unsized.status_code == 413
    assert f"may have {BODY} bytes" in huge.json()["error"]
    assert after.status_code == 200


def test_overload_is_turned_away_and_recovers(desk: OnlineScorer) -> None:
    small = application(desk, most=4)
    body: dict[str, Any] = {"json": {"events": []}}
    found = [response.status_code for response in ask(small, *[("POST", "/score", body)] * 60)]
    assert set(found) == {200, 429}
    turned = next(r for r in ask(small, *[("POST", "/score", body)] * 60) if r.status_code == 429)
    assert turned.json()["error"] == "4 requests are waiting; try again in a second"
    assert turned.headers["retry-after"] == "1"
    assert ask(small, ("POST", "/score", body))[0].status_code == 200


def test_requests_that_wait_together_are_scored_together(desk: OnlineScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = OnlineScorer.answers

    def counted(self: OnlineScorer, asked: Sequence[ScoringRequest]) -> list[ScoreAnswer]:
        sizes.append(len(asked))
        return original(self, asked)

    monkeypatch.setattr(OnlineScorer, "answers", counted)
    responses = ask(application(desk), *[("POST", "/score", {"json": {"events": []}})] * 40)
    assert all(response.status_code == 200 for response in responses)
    assert sum(sizes) == 40 and len(sizes) < 20
    assert len({response.text for response in responses}) == 1


def test_a_bug_fails_its_request_and_not_the_service(desk: OnlineScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    app = application(desk)
    body: dict[str, Any] = {"json": {"events": []}}

    def broken(self: OnlineScorer, asked: Any) -> Any:
        monkeypatch.undo()
        raise ZeroDivisionError

    monkeypatch.setattr(OnlineScorer, "answers", broken)

    async def run() -> list[int]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://t") as client,
        ):
            return [(await client.post("/score", **body)).status_code for _ in range(2)]

    assert asyncio.run(run()) == [500, 200]


def test_nobody_waits_in_a_full_queue(desk: OnlineScorer) -> None:
    queue = Queue(desk, most=0)
    with pytest.raises(OverloadError):
        asyncio.run(queue.ask(desk.check(ScoreRequest(events=[]))))


def test_made_up_requests_never_break_the_contract(desk: OnlineScorer) -> None:
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", application(desk))
    tried = []
    for operation in schema.get_all_operations():

        @given(case=operation.ok().as_strategy())
        @settings(max_examples=40, deadline=None, derandomize=True, database=None)
        def holds(case: Any) -> None:
            # A schema cannot tell which ids, offers and dates a bundle knows: those are refused with 400.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])
            tried.append(case.path)

        holds()
    assert set(tried) == {"/score", "/health", "/model"}


def test_a_service_is_refused_a_bundle_that_is_not_there_or_another_one(exported: Exported) -> None:
    with pytest.raises(ConfigurationError, match="no bundle at nowhere"):
        serve(ServeConfig(bundle="nowhere"))
    with pytest.raises(IntegrityError, match="this is another bundle"):
        serve(ServeConfig(bundle=str(exported.bundle), digest="0"))
    assert json.loads((exported.bundle / "manifest.json").read_text())["format"] == 2
