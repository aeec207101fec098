"""Offers that a request to the service defines have the scores of the command, and bad ones are one sentence."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from propensity.api.model import Bundle
from propensity.data.event_log import EventLog, to_date
from propensity.kernel.event import KINDS
from propensity.serving.app import create_app
from propensity.serving.bundle import open_bundle
from propensity.serving.defined_offers import MOST_WAITING, DefinedOffers
from propensity.serving.new_offers import Market
from propensity.serving.online import OnlineScorer
from serving.exported import Exported
from serving.live import client_of


@pytest.fixture(scope="module")
def online(stacked: Exported) -> OnlineScorer:
    return OnlineScorer(open_bundle(stacked.bundle), stacked.log)


def send(app: FastAPI, *bodies: dict[str, Any], path: str = "/score", **headers: str) -> list[httpx.Response]:
    """Send concurrent requests to the application."""

    async def run() -> list[httpx.Response]:
        async with client_of(app) as client:
            return list(await asyncio.gather(*(client.post(path, json=body, headers=headers) for body in bodies)))

    return asyncio.run(run())


def definitions(log: EventLog) -> dict[str, Any]:
    items, category = log.items["item"].to_list(), log.items["category"].drop_nulls().unique().sort().to_list()
    return {"mixed": f"category <> '{category[0]}' and price < 5", "ids": items[::7], "one": [str(items[0])]}


def test_offers_of_a_request_have_the_scores_of_the_command_and_are_computed_once(
    stacked: Exported, online: OnlineScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, computed = EventLog.open(stacked.log), list[int]()
    monkeypatch.setattr(Market, "prepare", counted(Market.prepare, computed))
    offers = definitions(log)
    want = Bundle(stacked.bundle, stacked.log).score(stacked.cutoff, offers=offers)
    del computed[:]
    ids = want["customer_id"].unique(maintain_order=True).to_list()[:3]
    row = int(np.flatnonzero(log.customers["customer"].is_in([ids[0]]).to_numpy())[0])
    customers = [{"customer_id": str(each)} for each in ids] + [{"events": events_of(log, row)}]
    body = {"customers": customers, "cutoff": stacked.cutoff, "offers": offers}
    single = {"customer_id": str(ids[0]), "cutoff": stacked.cutoff, "offers": offers}

    async def run() -> list[httpx.Response]:
        async with client_of(create_app(online)) as client:
            every = [client.post("/score", json=each) for each in (single, single, {**single, "reasons": 3})]
            return [await client.post("/scores", json=body), *await asyncio.gather(*every)]

    many, *again = asyncio.run(run())
    assert many.status_code == 200, many.text
    table = many.json()["customers"]
    for place, each in enumerate([*ids, ids[0]]):
        rows = want.filter(want["customer_id"] == each)
        scores = table[place]["scores"]
        assert [row["offer_id"] for row in scores] == rows["offer_id"].to_list() == list(offers)
        np.testing.assert_allclose([row["probability"] for row in scores], rows["score"], atol=2e-6)
        np.testing.assert_allclose(
            [row["expected_revenue"] for row in scores], rows["expected_revenue"], rtol=1e-4, atol=1e-5
        )
    assert [each.status_code for each in again] == [200] * 3 and len(computed) == 1
    explanation = again[2].json()["explanation"]
    best = max(again[2].json()["scores"], key=lambda each: each["probability"])
    assert explanation["offer_id"] == best["offer_id"] and explanation["reasons"]
    total = explanation["base_value"] + sum(e["contribution"] for e in explanation["reasons"]) + explanation["other"]
    odds = np.log(best["probability"] / (1 - best["probability"]))
    np.testing.assert_allclose([total, explanation["score"]], odds, atol=1e-3)


def counted(function: Any, computed: list[int]) -> Any:
    def wrapper(*args: Any) -> Any:
        computed.append(1)
        return function(*args)

    return wrapper


def events_of(log: EventLog, row: int) -> list[dict[str, Any]]:
    """Events of a customer of the log as a request gives them."""
    return [
        {
            "day": to_date(log.day[e]).isoformat(),
            "kind": KINDS[log.kind[e]],
            "item": None if log.item[e] < 0 else str(log.items["item"][int(log.item[e])]),
            "channel": None if log.channel[e] < 0 else log.meta["channels"][log.channel[e]],
            "order": None if log.order[e] < 0 else str(log.order[e]),
            **{name: float(getattr(log, name)[e]) for name in ("quantity", "revenue", "discount")},
        }
        for e in range(log.offsets[row], log.offsets[row + 1])
    ]


BAD: list[tuple[Any, int, str]] = [
    ({"x": "zzzzzz = 1"}, 400, "names 'zzzzzz', which is no column of the items; there are item, category"),
    ({"x": []}, 400, "offer 'x' lists no item"),
    ({"x": ["nothing", "none"]}, 400, "none of the 2 items of offer 'x' is in the log"),
    ({"x": "category = 'nowhere'"}, 400, "matches none of"),
    ({"x": "category = (SELECT 1)"}, 400, "may only compare columns with values"),
    ({"x": "the cheapest snacks of course"}, 400, "may only compare columns with values"),
    ({"x": "category = = 'a'"}, 400, "cannot be applied"),
    ({"x\n": "price > 0"}, 400, "cannot be the name of an offer"),
    ({"x": 3}, 422, "body.offers.definitions.x.items: Input should be a valid list"),
    ({"x": [True]}, 422, "body.offers.definitions.x.items.0"),
    ({"x": "a" * 3000}, 422, "body.offers.definitions.x.filter: String should have at most 2000 characters"),
    ({f"o{k}": "price > 0" for k in range(10_000)}, 422, "Dictionary should have at most 50 items"),
    ({}, 422, "Dictionary should have at least 1 item"),
]


def test_bad_offers_of_a_request_are_one_sentence(online: OnlineScorer) -> None:
    app = create_app(online)
    responses = send(app, *({"events": [], "offers": offers} for offers, _, _ in BAD[:3]))
    for start in range(3, len(BAD), 3):
        responses += send(
            create_app(online), *({"events": [], "offers": each} for each, _, _ in BAD[start : start + 3])
        )
    for (_, status, words), response in zip(BAD, responses, strict=True):
        message = response.json()["error"]
        assert response.status_code == status and words in message and "\n" not in message, message


def test_offers_of_a_request_need_a_log_and_the_role_of_reasons(stacked: Exported, tmp_path: Path) -> None:
    (tmp_path / "tokens.yaml").write_text("tokens: [{name: shop, token: 0123456789abcdef, roles: score}]")
    app = create_app(OnlineScorer(open_bundle(stacked.bundle)), tokens=tmp_path / "tokens.yaml")
    body = {"events": [], "offers": {"x": "price > 0"}}
    (without,) = send(app, body)
    assert without.status_code == 401
    app = create_app(OnlineScorer(open_bundle(stacked.bundle)), tokens=tmp_path / "tokens.yaml")
    no_log, reasons = send(app, body, body | {"reasons": 2}, authorization="Bearer 0123456789abcdef")
    assert no_log.status_code == 400 and "need an event log, and the service was started without" in no_log.text
    assert reasons.status_code == 403


def test_computations_of_offers_are_bounded_in_number_and_time(
    online: OnlineScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()
    monkeypatch.setattr(DefinedOffers, "_compute", lambda *args: free.wait(10) and None)
    app = create_app(online)

    async def run() -> list[httpx.Response]:
        async with client_of(app) as client:
            app.state.defined.seconds = 0.05
            bodies = [{"events": [], "offers": {f"o{k}": "price > 0"}} for k in range(MOST_WAITING + 1)]
            responses = list(await asyncio.gather(*(client.post("/score", json=body) for body in bodies)))
            free.set()
            return responses

    responses = asyncio.run(run())
    assert sorted(each.status_code for each in responses) == [429, *[503] * MOST_WAITING]
    assert all(each.headers["retry-after"] == "10" for each in responses)


def test_the_description_names_both_forms_of_offers(online: OnlineScorer) -> None:
    app = create_app(online)

    async def run() -> str:
        async with client_of(app) as client:
            return (await client.get("/docs")).text

    assert "object of at most 50: name to string or list of at most 10,000: integer or string" in asyncio.run(run())
