"""The service reads no more than it may, waits for nobody without end, and gives every error in one form."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from propensity.serving.app import MAX_BODY_BYTES, create_app
from propensity.serving.bundle import open_bundle
from propensity.serving.docs_page import docs_page
from propensity.serving.online import OnlineScorer
from propensity.serving.service_log import LOGGER, JsonFormatter
from serving.exported import Exported
from serving.live import Reply, client_of, exchange, live, read_all, request_bytes

JSON = "Content-Type: application/json"
SHORT = {"PROPENSITY_READ_TIMEOUT": "0.4", "PROPENSITY_IDLE_TIMEOUT": "0.6"}


@pytest.fixture(scope="module")
def scorer(exported: Exported) -> OnlineScorer:
    return OnlineScorer(open_bundle(exported.bundle), exported.log)


@pytest.fixture(scope="module")
def address(scorer: OnlineScorer) -> Iterator[tuple[str, int]]:
    """A service with short limits of time."""
    with live(create_app(scorer, read_timeout=0.4), **SHORT) as address:
        yield address


def ask(app: FastAPI, method: str, path: str, **options: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        async with client_of(app, raise_app_exceptions=False) as client:
            return await client.request(method, path, **options)

    return asyncio.run(run())


def is_error(reply: Reply | httpx.Response) -> bool:
    """Whether a response has the form of all errors, with the id of the request in body and header."""
    content = reply.json()
    return (
        set(content) == {"error", "request_id"}
        and content["request_id"] == reply.headers["x-request-id"]
        and reply.headers["content-type"] == "application/json"
        and reply.headers["cache-control"] == "no-store"
    )


CHUNK = b"10000\r\n" + b" " * 65_536 + b"\r\n"


@pytest.mark.parametrize("length", ["Content-Length: 2", "X-None: 1"])
def test_a_chunked_body_is_read_up_to_the_limit_whatever_length_is_announced(
    address: tuple[str, int], length: str
) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(request_bytes("POST", "/score", b"", JSON, "Transfer-Encoding: chunked", length))
        written = 0
        with contextlib.suppress(OSError):
            while written < 3_000:
                connection.sendall(CHUNK)
                written += 1
        assert written * 65_536 < 100 * MAX_BODY_BYTES, "the service stopped reading"
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(request_bytes("POST", "/score", b"", JSON, "Transfer-Encoding: chunked", length))
        connection.sendall(CHUNK * 17)
        reply = read_all(connection)
    assert reply.status == 413 and is_error(reply)
    assert f"at most {MAX_BODY_BYTES} bytes" in reply.json()["error"]


def test_a_chunked_body_within_the_limit_is_scored(address: tuple[str, int]) -> None:
    body = b'd\r\n{"events": []\r\n1\r\n}\r\n0\r\n\r\n'
    headers = (JSON, "Transfer-Encoding: chunked", "Connection: close")
    assert exchange(address, request_bytes("POST", "/score", body, *headers)).status == 200


def test_a_body_that_is_announced_as_too_large_is_not_waited_for(address: tuple[str, int]) -> None:
    raw = request_bytes("POST", "/score", b"", JSON, f"Content-Length: {MAX_BODY_BYTES + 1}")
    assert exchange(address, raw).status == 413


@pytest.mark.parametrize("path", ["/score", "/scores", "/health", "/nowhere"])
def test_a_half_sent_body_is_given_up(address: tuple[str, int], path: str) -> None:
    method = "POST" if path.startswith("/score") else "GET"
    reply = exchange(address, request_bytes(method, path, b"{", JSON, "Content-Length: 100"))
    assert reply.status == 408 and is_error(reply)


def test_a_body_that_comes_byte_by_byte_is_given_up(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=0.05) as connection:
        connection.sendall(request_bytes("POST", "/score", b"{", JSON, "Content-Length: 9999"))
        reply = Reply(b"")
        for _ in range(400):
            with contextlib.suppress(TimeoutError):
                reply = read_all(connection)
                break
            connection.sendall(b" ")
    assert reply.status in (0, 408)


@pytest.mark.parametrize("start", [b"", b"POST /score HT", b"POST /score HTTP/1.1\r\nHost: t\r\nX-A: "])
def test_a_connection_without_a_whole_request_is_closed(address: tuple[str, int], start: bytes) -> None:
    assert exchange(address, start).status == 0


def test_headers_that_come_byte_by_byte_are_given_up(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=0.05) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nX-Slow: ")
        closed = False
        for _ in range(400):
            try:
                connection.sendall(b"a")
                closed = closed or not connection.recv(1)
            except TimeoutError:
                continue
            except OSError:
                closed = True
            if closed:
                break
    assert closed


def test_a_connection_is_idle_only_for_a_while(address: tuple[str, int]) -> None:
    assert exchange(address, request_bytes("GET", "/health")).status == 200


def test_a_client_that_reads_nothing_is_given_up(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        with pytest.raises(ConnectionError):
            for _ in range(100_000):
                connection.sendall(request_bytes("GET", "/docs") * 20)


def test_requests_that_are_sent_ahead_without_end_are_given_up(address: tuple[str, int]) -> None:
    ahead = request_bytes("GET", "/docs") * 10_000
    with socket.create_connection(address, timeout=30) as connection, pytest.raises(ConnectionError):
        for _ in range(1_000):
            connection.sendall(ahead)


def test_requests_that_are_sent_ahead_are_answered_in_order(address: tuple[str, int]) -> None:
    raw = b"".join(request_bytes("GET", "/health", b"", f"X-Request-ID: n{n}") for n in range(20))
    reply = exchange(address, raw)
    ids = re.findall(rb"x-request-id: (n\d+)", reply.body)
    assert [reply.headers["x-request-id"].encode(), *ids] == [f"n{n}".encode() for n in range(20)]


def test_a_connection_beyond_the_limit_is_refused_and_later_accepted(scorer: OnlineScorer) -> None:
    with live(create_app(scorer), PROPENSITY_MAX_CONNECTIONS="2") as address:
        with socket.create_connection(address, timeout=30) as one, socket.create_connection(address, timeout=30) as two:
            for connection in (one, two):
                connection.sendall(request_bytes("GET", "/health"))
                assert b"200" in connection.recv(64)
            refused = exchange(address, b"")
            assert refused.status == 429 and is_error(refused) and refused.headers["retry-after"] == "1"
        for _ in range(100):
            reply = exchange(address, request_bytes("GET", "/health", b"", "Connection: close"))
            if reply.status == 200:
                break
        assert reply.status == 200


MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "no version": b"GET /health HTTP/x\r\nHost: t\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two lengths": b"POST /score HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a negative length": b"POST /score HTTP/1.1\r\nHost: t\r\nContent-Length: -2\r\n\r\n{}",
    "a broken chunk": b"POST /score HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a header of 1 MiB": b"GET /health HTTP/1.1\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n",
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_http_has_an_error_of_the_same_form(address: tuple[str, int], case: str) -> None:
    reply = exchange(address, MALFORMED[case])
    assert reply.status == 400 and is_error(reply)


SURROGATE = b'{"events": [], "\\ud800": 1}'
ERRORS: dict[str, tuple[str, str, bytes, int]] = {
    "an unknown path": ("GET", "/nowhere", b"", 404),
    "a slash too many": ("POST", "/score/", b"{}", 404),
    "a path above": ("GET", "/../../etc/passwd", b"", 404),
    "an unknown method": ("DELETE", "/score", b"", 405),
    "a page that is not ours": ("GET", "/redoc", b"", 404),
    "no JSON": ("POST", "/score", b"{", 422),
    "deep JSON": ("POST", "/score", b"[" * 100_000, 400),
    "a number of 9,999 digits": ("POST", "/score", b'{"reasons": ' + b"9" * 9_999 + b"}", 400),
    "no UTF-8": ("POST", "/score", b'{"customer_id": "\xff\xfe"}', 400),
    "a field with half a character": ("POST", "/score", SURROGATE, 422),
    "a value with half a character": ("POST", "/score", b'{"customer_id": "\\ud800"}', 422),
    "a list": ("POST", "/score", b"[1]", 422),
    "an unknown id": ("POST", "/score", b'{"customer_id": "x"}', 400),
    "no customers": ("POST", "/scores", b'{"customers": []}', 422),
}


@pytest.mark.parametrize("case", ERRORS)
def test_every_error_has_one_form(scorer: OnlineScorer, case: str) -> None:
    method, path, body, status = ERRORS[case]
    response = ask(create_app(scorer), method, path, content=body, headers={"content-type": "application/json"})
    assert response.status_code == status and is_error(response), response.text
    assert len(response.json()["error"]) <= 500


def test_a_bug_has_an_error_of_the_same_form_and_no_details(
    scorer: OnlineScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: OnlineScorer, requests: Any) -> Any:
        raise ZeroDivisionError("customer 42 in /srv/shop")

    monkeypatch.setattr(OnlineScorer, "score", broken)
    response = ask(create_app(scorer), "POST", "/score", json={"events": []})
    assert response.status_code == 500 and is_error(response)
    assert (
        "42" not in response.json()["error"].replace(response.json()["request_id"], "") and "/srv" not in response.text
    )


@pytest.mark.parametrize("body", [{"cutoff": "2050-01-01"}, {"cutoff": "1999-01-01"}, {"offers": ["x"]}])
def test_no_error_shows_a_path_of_the_server(scorer: OnlineScorer, body: dict[str, Any]) -> None:
    response = ask(create_app(scorer), "POST", "/score", json={"events": [], **body})
    assert response.status_code == 400
    assert str(scorer.bundle.folder.parent) not in response.text and "/tmp" not in response.text


def test_the_documentation_loads_nothing_from_another_host(scorer: OnlineScorer) -> None:
    app = create_app(scorer)
    page = ask(app, "GET", "/docs")
    assert page.status_code == 200 and "POST /scores" in page.text and "expected_revenue" in page.text
    for text in (page.text, ask(app, "GET", "/docs.css").text):
        assert "//" not in text and "<script" not in text and "@import" not in text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert set(re.findall(r'(?:src|href)="([^"#]+)"', page.text)) == {"openapi.json", "docs.css"}


def test_the_documentation_escapes_what_it_shows() -> None:
    schema: dict[str, Any] = {
        "info": {"title": "<b>", "version": "1"},
        "paths": {"/<i>": {"get": {"description": "<script>", "responses": {}}}},
        "components": {"schemas": {"A": {"properties": {"f": {"description": "<img>", "type": "string"}}}}},
    }
    page = docs_page(schema)
    assert not {"<b>", "<i>", "<script>", "<img>"} & {*re.findall(r"<[a-z]+>", page)}


@pytest.mark.parametrize("given", ["5f0c-A.b_1", "0" * 64])
def test_a_request_id_is_taken_from_the_caller(scorer: OnlineScorer, given: str) -> None:
    assert ask(create_app(scorer), "GET", "/health", headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "anna@example.com", "0" * 65, '"}', "é"])
def test_a_request_id_with_other_characters_is_replaced(scorer: OnlineScorer, given: str) -> None:
    response = ask(create_app(scorer), "GET", "/health", headers={"x-request-id": given.encode()})
    assert re.fullmatch(r"[0-9a-f]{16}", response.headers["x-request-id"])


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The lines of the service's log."""
    written: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    handler = Kept()
    handler.setFormatter(JsonFormatter())
    level = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.DEBUG)
    yield written
    LOGGER.removeHandler(handler)
    LOGGER.setLevel(level)


PERSONAL = ("anna@example.com", "chocolate-and-wine", "4711.25", "0123456789abcdefTOKEN", "203.0.113.7")


def test_the_log_has_a_json_line_for_each_request_and_nothing_personal(
    scorer: OnlineScorer, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text(f"tokens:\n- {{name: shop, token: {PERSONAL[3]}, roles: [score]}}\n")
    app = create_app(scorer, tokens=tokens)
    events = [{"day": "2020-01-01", "item": PERSONAL[1], "revenue": float(PERSONAL[2]), "order": PERSONAL[0]}]
    bodies: list[Any] = [
        {"events": events},
        {"customer_id": PERSONAL[0]},
        {PERSONAL[0]: 1},
        {"events": [{"day": PERSONAL[1]}]},
    ]
    headers = {"authorization": f"Bearer {PERSONAL[3]}", "x-forwarded-for": PERSONAL[4]}
    ids = []
    for body in bodies:
        ids.append(ask(app, "POST", "/score", json=body, headers=headers).headers["x-request-id"])
    ids.append(ask(app, "GET", f"/customers/{PERSONAL[0]}?id={PERSONAL[1]}", headers=headers).headers["x-request-id"])
    ids.append(
        ask(app, "POST", "/score", json=bodies[1], headers={"authorization": PERSONAL[0]}).headers["x-request-id"]
    )

    def broken(self: OnlineScorer, requests: Any) -> Any:
        raise KeyError(PERSONAL[0])

    monkeypatch.setattr(OnlineScorer, "score", broken)
    ids.append(ask(app, "POST", "/score", json=bodies[0], headers=headers).headers["x-request-id"])
    parsed = [json.loads(line) for line in lines]
    requests = [line for line in parsed if line["event"] == "request"]
    assert [line["request_id"] for line in requests] == ids
    assert [line["status"] for line in requests] == [200, 400, 422, 422, 404, 401, 500]
    assert {line["caller"] for line in requests} == {"shop", None}
    assert {line["route"] for line in requests} == {"/score", "other"}
    (failure,) = (line for line in parsed if line["event"] == "error")
    assert failure["error"] == "KeyError" and failure["request_id"] == ids[-1]
    for value in PERSONAL:
        assert value not in "\n".join(lines)


def test_metrics_count_requests_by_route_and_status(scorer: OnlineScorer) -> None:
    app = create_app(scorer)

    async def run() -> str:
        async with client_of(app) as client:
            for _ in range(3):
                await client.post("/score", json={"events": []})
            await client.post("/score", json={"customer_id": "nobody at home"})
            for n in range(5):
                await client.get(f"/{n}")
            return (await client.get("/metrics")).text

    text = asyncio.run(run())
    assert 'propensity_requests_total{method="POST",route="/score",status="200"} 3.0' in text
    assert 'propensity_requests_total{method="POST",route="/score",status="400"} 1.0' in text
    assert 'propensity_requests_total{method="GET",route="other",status="404"} 5.0' in text
    assert "propensity_customers_scored_total 3.0" in text
    assert f'digest="{scorer.bundle.digest}"' in text
    assert "nobody" not in text


def test_several_customers_have_the_scores_that_each_has_alone(scorer: OnlineScorer, exported: Exported) -> None:
    assert scorer.log is not None
    app, day = create_app(scorer), exported.manifest["valid_from"]
    ids = [str(each) for each in scorer.log.customers["customer"][:3]]
    names = list(scorer.features.offers.name[:2])
    common: dict[str, Any] = {"cutoff": day, "offers": names}
    customers: list[Any] = [*({"customer_id": each} for each in ids), {"customer_id": "nobody"}, {}, {"events": []}]
    response = ask(app, "POST", "/scores", json={"customers": customers, **common})
    assert response.status_code == 200
    results = response.json()["customers"]
    for customer, result in zip(customers, results, strict=True):
        alone = ask(app, "POST", "/score", json={**customer, **common})
        if alone.status_code == 200:
            for one, other in zip(result["scores"], alone.json()["scores"], strict=True):
                assert one.pop("offer_id") == other.pop("offer_id")
                assert one == pytest.approx(other, rel=1e-4)
            assert result["error"] is None
        else:
            assert result["scores"] is None and result["error"] == alone.json()["error"]
    assert [result["error"] is None for result in results] == [True, True, True, False, False, True]


def test_reasons_of_several_customers_are_those_of_each(scorer: OnlineScorer) -> None:
    many = ask(create_app(scorer), "POST", "/scores", json={"customers": [{"events": []}] * 2, "reasons": 2}).json()
    one = ask(create_app(scorer), "POST", "/score", json={"events": [], "reasons": 2}).json()
    for result in many["customers"]:
        assert result["explanation"]["base_value"] == pytest.approx(one["explanation"]["base_value"], rel=1e-4)


TOO_MUCH: dict[str, tuple[dict[str, Any], int, str]] = {
    "customers": ({"customers": [{"events": []}] * 257}, 422, "at most 256"),
    "more than may wait": ({"customers": [{"events": []}] * 9}, 400, "8 customers may wait, not 9"),
    "reasons": ({"customers": [{"events": []}] * 17, "reasons": 1}, 400, "16 customers with reasons fit"),
    "an unknown offer": ({"customers": [{"events": []}], "offers": ["gold"]}, 400, "no offer 'gold'"),
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_a_request_for_too_much_says_how_much_is_possible(scorer: OnlineScorer, case: str) -> None:
    body, status, message = TOO_MUCH[case]
    waiting = 8 if case == "more than may wait" else 256
    response = ask(create_app(scorer, waiting), "POST", "/scores", json=body)
    assert response.status_code == status and message in response.json()["error"]
