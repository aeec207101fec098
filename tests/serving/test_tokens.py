"""A caller may do what the roles of its token allow, and a service without tokens says so first."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from hypothesis import given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from propensity.config import ServeConfig
from propensity.errors import ConfigurationError
from propensity.serving import tokens as module
from propensity.serving.app import create, create_app, serve
from propensity.serving.bundle import open_bundle
from propensity.serving.online import OnlineScorer
from propensity.serving.service_settings import ServiceSettings
from propensity.serving.tokens import caller_of, read_tokens
from serving.exported import Exported
from serving.live import client_of

SECRET = {role: f"{role}-0123456789abcdef" for role in ("score", "explain", "admin")}
TODAY = datetime.date(2024, 5, 1)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def scorer(exported: Exported) -> OnlineScorer:
    return OnlineScorer(open_bundle(exported.bundle), exported.log)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Tokens of each role: two as digests, one as it is."""
    entries: list[dict[str, Any]] = [
        {"name": "a.score", "sha256": sha256(SECRET["score"]), "roles": ["score"]},
        {"name": "b.explain", "sha256": sha256(SECRET["explain"]).upper(), "roles": "explain"},
        {"name": "c.admin", "token": SECRET["admin"], "roles": ["admin"]},
    ]
    path = tmp_path / "tokens.yaml"
    path.write_text(yaml.safe_dump({"tokens": entries}))
    return path


REQUESTS: list[tuple[str, str, Any, str]] = [
    ("POST", "/score", {"events": []}, "score"),
    ("POST", "/scores", {"customers": [{"events": []}]}, "score"),
    ("GET", "/model", None, "score"),
    ("POST", "/score", {"events": [], "reasons": 1}, "explain"),
    ("POST", "/scores", {"customers": [{"events": []}], "reasons": 1}, "explain"),
    ("GET", "/metrics", None, "admin"),
    ("POST", "/refresh", None, "admin"),
]
ROLES = ("score", "explain", "admin")


def test_each_role_may_do_its_own_and_what_lower_roles_may(scorer: OnlineScorer, file: Path) -> None:
    app = create_app(scorer, tokens=file)

    async def run() -> None:
        async with client_of(app) as client:
            for method, path, body, needed in REQUESTS:
                for role in ROLES:
                    headers = {"authorization": f"Bearer {SECRET[role]}"}
                    status = (await client.request(method, path, json=body, headers=headers)).status_code
                    assert status == (200 if ROLES.index(role) >= ROLES.index(needed) else 403), (path, role)
                for wrong in ({}, {"authorization": "Bearer"}, {"authorization": f"Basic {SECRET['admin']}"}):
                    response = await client.request(method, path, json=body, headers=wrong)
                    assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"
                    assert set(response.json()) == {"error", "request_id"}
            for path in ("/health", "/ready", "/docs", "/openapi.json"):
                assert (await client.get(path)).status_code == 200
            for path in ("/nowhere", "/score/", "//metrics", "/METRICS", "/docs/../metrics", "/%6detrics"):
                assert (await client.get(path)).status_code in (401, 404)

    asyncio.run(run())


WRONG = [
    *("", "Bearer ", "bearer x", f"Token {SECRET['score']}", SECRET["score"], f"Bearer {SECRET['score']}x"),
    *(
        f"Bearer {SECRET['score'][:-1]}",
        f"Bearer {SECRET['score'].upper()}",
        f"Bearer {SECRET['score']} {SECRET['admin']}",
    ),
    *(f"Bearer {sha256(SECRET['score'])}", "Bearer é", "Bearer \udcff", "Bearer " + "a" * 100_000),
]


@pytest.mark.parametrize("header", WRONG)
def test_no_other_text_is_a_token(file: Path, header: str) -> None:
    assert caller_of(header, read_tokens(file), TODAY) is None


def test_two_headers_of_authorization_are_no_token(scorer: OnlineScorer, file: Path) -> None:
    app = create_app(scorer, tokens=file)

    async def run() -> int:
        async with client_of(app) as client:
            headers = [("authorization", f"Bearer {SECRET[role]}") for role in ("score", "admin")]
            return (await client.get("/model", headers=headers)).status_code

    assert asyncio.run(run()) == 401


@pytest.mark.parametrize("secret", [*SECRET.values(), "unknown-0123456789"])
def test_every_token_of_the_file_is_compared_in_constant_time(
    file: Path, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def counted(one: str, other: str) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    class Counted:
        compare_digest = staticmethod(counted)

    monkeypatch.setattr(module, "hmac", Counted)
    caller_of(f"Bearer {secret}", read_tokens(file), TODAY)
    assert [other for _, other in compared] == [token.digest for token in read_tokens(file)]


def test_a_token_is_refused_from_its_date_of_expiry(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_text(f"tokens:\n- {{name: a, token: {SECRET['score']}, roles: [score], expires: 2024-05-01}}\n")
    header, known = f"Bearer {SECRET['score']}", read_tokens(path)
    assert caller_of(header, known, TODAY) is None
    caller = caller_of(header, known, TODAY - datetime.timedelta(1))
    assert caller is not None and caller.name == "a"


GOOD = {"name": "a", "token": SECRET["score"], "roles": ["score"]}
BAD: dict[str, tuple[Any, str]] = {
    "a list": ([GOOD], "has no tokens"),
    "no entry": ({"tokens": []}, "has no tokens"),
    "text": ("tokens", "has no tokens"),
    "a short token": ({"tokens": [GOOD | {"token": "short"}]}, "16 or more ASCII characters"),
    "a number": ({"tokens": [GOOD | {"token": 12345678901234567890}]}, "16 or more ASCII characters"),
    "a blank": ({"tokens": [GOOD | {"token": "0123456789 abcdef"}]}, "16 or more ASCII characters"),
    "both": ({"tokens": [GOOD | {"sha256": "0" * 64}]}, "either sha256 or token"),
    "neither": ({"tokens": [{"name": "a", "roles": ["score"]}]}, "either sha256 or token"),
    "a short digest": ({"tokens": [{"name": "a", "sha256": "0" * 63, "roles": ["score"]}]}, "64 hexadecimal digits"),
    "no role": ({"tokens": [GOOD | {"roles": []}]}, "has no roles"),
    "an unknown role": ({"tokens": [GOOD | {"roles": ["score", "root"]}]}, "roles out of score, explain, admin"),
    "no name": ({"tokens": [GOOD | {"name": None}]}, "has no name"),
    "a name with a line break": ({"tokens": [GOOD | {"name": "a\nb"}]}, "has no name"),
    "a misspelt field": ({"tokens": [GOOD | {"expire": "2024-01-01"}]}, "other fields than"),
    "no date": ({"tokens": [GOOD | {"expires": "soon"}]}, "expires on no date"),
    "one token twice": ({"tokens": [GOOD, GOOD | {"name": "b"}]}, "one token twice"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_of_tokens_that_is_unclear_is_refused_without_repeating_a_token(tmp_path: Path, case: str) -> None:
    content, message = BAD[case]
    path = tmp_path / "tokens.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_tokens(path)
    assert SECRET["score"] not in str(caught.value) and "short" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"\xff\xfe\x00", b"tokens: [", b"!!python/object/apply:os.system [ls]", b"[" * 9_999])
def test_a_file_of_tokens_that_is_no_yaml_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_bytes(raw)
    with pytest.raises(ConfigurationError, match="is no YAML; list tokens"):
        read_tokens(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_tokens(tmp_path / "nowhere.yaml")


def test_authentication_is_off_only_where_that_is_said(
    exported: Exported, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROPENSITY_BUNDLE", str(exported.bundle))
    for name in ("", " "):
        monkeypatch.setenv("PROPENSITY_TOKENS", name)
        with pytest.raises(
            ConfigurationError, match="no tokens given; set PROPENSITY_TOKENS=tokens.yaml, or tokens=off"
        ):
            create()
    monkeypatch.delenv("PROPENSITY_TOKENS")
    with pytest.raises(ConfigurationError, match="no tokens given"):
        create()
    with pytest.raises(ConfigurationError, match="no tokens given"):
        serve(ServeConfig(bundle=str(exported.bundle), workers=2))
    monkeypatch.setenv("PROPENSITY_TOKENS", "nowhere.yaml")
    with pytest.raises(ConfigurationError, match="the file of tokens nowhere.yaml cannot be read"):
        create()
    monkeypatch.setenv("PROPENSITY_TOKENS", str(file))
    assert len(create().state.exchange.tokens) == 3
    monkeypatch.setenv("PROPENSITY_TOKENS", "off")
    assert create().state.exchange.tokens is None


def test_tokens_are_exchanged_without_a_restart_and_unreadable_ones_leave_the_old(
    scorer: OnlineScorer, file: Path
) -> None:
    app = create_app(scorer, tokens=file)

    async def run() -> None:
        async with client_of(app) as client:
            old, new = ({"authorization": f"Bearer {SECRET[role]}"} for role in ("admin", "score"))
            file.write_text("tokens: [")
            assert (await client.post("/refresh", headers=old)).json()["current"] is True
            assert (await client.get("/metrics", headers=old)).status_code == 200
            file.write_text(f"tokens:\n- {{name: only, token: {SECRET['score']}, roles: [admin]}}\n")
            await client.post("/refresh", headers=old)
            assert (await client.get("/metrics", headers=old)).status_code == 401
            assert (await client.get("/metrics", headers=new)).status_code == 200

    asyncio.run(run())


def test_generated_requests_conform_to_the_schema_with_and_without_a_token(scorer: OnlineScorer, file: Path) -> None:
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", create_app(scorer, tokens=file))
    paths = []
    for operation in schema.get_all_operations():

        @given(case=operation.ok().as_strategy())
        @settings(max_examples=20, deadline=None, derandomize=True, database=None)
        def holds(case: Any) -> None:
            headers = {"Authorization": f"Bearer {SECRET['admin']}"}
            case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])
            paths.append(case.path)

        holds()
    assert len(set(paths)) == 7


ENVIRONMENT = {
    "PROPENSITY_BUNDLE": "b",
    "PROPENSITY_LOG": "l",
    "PROPENSITY_TOKENS": "off",
    "PROPENSITY_MAX_WAITING": "7",
    "PROPENSITY_READ_TIMEOUT": "2.5",
    "PROPENSITY_VERIFY": "false",
}


def test_settings_are_the_same_after_a_way_through_the_environment() -> None:
    settings = ServiceSettings.from_environment(ENVIRONMENT)
    assert (settings.max_waiting, settings.read_timeout, settings.verify) == (7, 2.5, False)
    assert ServiceSettings.from_environment(settings.environment()) == settings
    assert json.loads(json.dumps(settings.environment())) == settings.environment()


@pytest.mark.parametrize(
    "variable",
    ["MAX_WAITING=0", "MAX_WAITING=many", "MAX_WAITING=1.5", "READ_TIMEOUT=nan", "READ_TIMEOUT=-1", "VERIFY=maybe"],
)
def test_a_variable_of_the_wrong_kind_is_refused_by_name(variable: str) -> None:
    name, _, value = f"PROPENSITY_{variable}".partition("=")
    with pytest.raises(ConfigurationError, match=f"{name}={value} is n"):
        ServiceSettings.from_environment({name: value})


def test_a_factory_without_a_bundle_says_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROPENSITY_BUNDLE", raising=False)
    with pytest.raises(ConfigurationError, match="set PROPENSITY_BUNDLE=<folder of an exported bundle>"):
        create()
