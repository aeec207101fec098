"""What docs/security.md says of the service is true: many bodies at once are bounded, and each named test exists."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from propensity import audit
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError
from propensity.serving import guard
from propensity.serving.app import create, create_app
from propensity.serving.bundle import open_bundle
from propensity.serving.online import OnlineScorer
from propensity.serving.service_settings import ServiceSettings
from serving.exported import Exported
from serving.live import exchange, live, read_all, request_bytes

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs/security.md").read_text()
TOP_TEN = (
    "Broken object level authorization",
    "Broken authentication",
    "Broken object property level authorization",
    "Unrestricted resource consumption",
    "Broken function level authorization",
    "Unrestricted access to sensitive business flows",
    "Server side request forgery",
    "Security misconfiguration",
    "Improper inventory management",
    "Unsafe consumption of APIs",
)


@pytest.fixture(scope="module")
def scorer(exported: Exported) -> OnlineScorer:
    return OnlineScorer(open_bundle(exported.bundle), exported.log)


def test_bodies_that_are_held_at_a_time_have_a_limit_together(
    scorer: OnlineScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_HELD_BYTES", 1_000)
    half = request_bytes("POST", "/score", b" " * 600, "Content-Length: 700")
    whole = request_bytes("POST", "/score", b'{"events": []}', "Content-Type: application/json", "Connection: close")
    with live(create_app(scorer, read_timeout=0.5), PROPENSITY_READ_TIMEOUT="0.5") as address:
        with socket.create_connection(address, timeout=30) as first:
            first.sendall(half)
            statuses = []
            while 429 not in statuses:  # until the first body has arrived, and while it is held
                refused = exchange(address, half)
                statuses.append(refused.status)
                assert len(statuses) < 100
            assert refused.headers["retry-after"] == "1" and "error" in refused.json()
            assert read_all(first).status == 408
        assert exchange(address, whole).status == 200, "what was given up is not held"
        assert exchange(address, request_bytes("POST", "/score", b" " * 1_001, "Connection: close")).status == 429
        assert exchange(address, whole).status == 200


def test_what_a_service_uses_is_in_the_audit_log_without_customers(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    values = {"BUNDLE": exported.bundle, "LOG": exported.log, "TOKENS": "off", "AUDIT": path}
    for name, value in values.items():
        monkeypatch.setenv(f"PROPENSITY_{name}", str(value))
    app = create()
    audit.verify(path)
    (entry,) = audit.entries(path)
    assert (entry["action"], entry["digest"]) == ("serve", app.state.exchange.scorer.bundle.digest)
    assert entry["fingerprint"] == EventLog.open(exported.log).fingerprint
    monkeypatch.setenv("PROPENSITY_AUDIT", str(tmp_path / "audit.jsonl" / "below a file"))
    with pytest.raises(ConfigurationError, match="cannot be written"):
        create()


def test_the_page_has_a_row_for_each_risk_of_the_list() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| API")
    ]
    assert [row[0] for row in rows] == [f"API{n}:2023 {risk}" for n, risk in enumerate(TOP_TEN, 1)]
    for row in rows:
        assert len(row) == 3 and all(len(cell) > 20 for cell in row), row[0]


def test_every_test_that_the_page_names_exists() -> None:
    names = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(names) >= 10
    source = "\n".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert [name for name in sorted(names) if f"def {name}(" not in source] == []


def test_every_limit_that_the_page_names_is_that_of_the_service() -> None:
    settings = ServiceSettings()
    for name in ("max_waiting", "max_connections", "read_timeout", "idle_timeout"):
        assert f"`{name}={getattr(settings, name):g}`" in PAGE
    assert f"{guard.MAX_BODY_BYTES >> 20} MiB" in PAGE and f"{guard.MAX_HELD_BYTES >> 20} MiB" in PAGE
