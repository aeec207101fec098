"""The audit log says who scored how many customers over HTTP, in a line for each interval and without customers."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from propensity import audit
from propensity.serving import scoring_record
from propensity.serving.app import create_app
from propensity.serving.bundle import open_bundle
from propensity.serving.online import OnlineScorer
from propensity.serving.scoring_record import ScoringRecord
from serving.exported import Exported
from serving.live import client_of

TOKENS = {"shop": "a-token-of-the-shop-0123", "desk": "a-token-of-the-desk-0123"}


@pytest.fixture(scope="module")
def scorer(exported: Exported) -> OnlineScorer:
    return OnlineScorer(open_bundle(exported.bundle), exported.log)


@pytest.fixture
def own_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(audit.VARIABLE, str(tmp_path / "audit.jsonl"))
    return tmp_path / "audit.jsonl"


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    digests = {name: hashlib.sha256(token.encode()).hexdigest() for name, token in TOKENS.items()}
    entries = [{"name": name, "sha256": digest, "roles": ["explain"]} for name, digest in digests.items()]
    (tmp_path / "tokens.yaml").write_text(yaml.safe_dump({"tokens": entries}))
    return tmp_path / "tokens.yaml"


def lines(path: Path) -> list[dict[str, Any]]:
    return list(audit.entries(path)) if path.is_file() else []


def test_a_line_has_the_counts_of_each_token_and_no_customer(
    scorer: OnlineScorer, own_audit: Path, tokens: Path
) -> None:
    assert scorer.log is not None
    known = [str(name) for name in scorer.log.customer_id[:2]]

    async def requests() -> None:
        async with client_of(create_app(scorer, tokens=tokens)) as client:

            async def post(token: str, path: str, body: Any) -> int:
                header = {"Authorization": f"Bearer {TOKENS[token]}"}
                return (await client.post(path, json=body, headers=header)).status_code

            many = {"customers": [*({"customer_id": name} for name in known), {"customer_id": "nobody at all"}]}
            assert [await post("shop", "/scores", many) for _ in range(2)] == [200, 200]
            assert await post("desk", "/score", {"events": [], "reasons": 1}) == 200
            assert await post("desk", "/score", {"no": "fields"}) == 422

    asyncio.run(requests())
    (line,) = lines(own_audit)
    assert line["action"] == "score_http" and line["since"] <= line["until"]
    counts = {row["token"]: [row[name] for name in scoring_record.COUNTS] for row in line["scored"]}
    assert counts == {"shop": [2, 4, 2, 0], "desk": [1, 1, 0, 1]}
    assert {row["digest"] for row in line["scored"]} == {scorer.bundle.digest}
    assert {row["fingerprint"] for row in line["scored"]} == {scorer.log.fingerprint}
    text = json.dumps({name: line[name] for name in ("scored", "action")})
    assert not any(f'"{name}"' in text for name in (*known, "nobody at all"))
    assert audit.verify(own_audit).lines == 1


def test_there_is_a_line_for_each_interval_with_requests_and_none_for_the_others(
    scorer: OnlineScorer, own_audit: Path
) -> None:
    async def requests() -> None:
        async with client_of(create_app(scorer, audit_interval=0.05)) as client:
            for number in (1, 2):
                for _ in range(3):
                    assert (await client.post("/score", json={"events": []})).status_code == 200
                while sum(row["requests"] for line in lines(own_audit) for row in line["scored"]) < 3 * number:
                    await asyncio.sleep(0.01)
            written = len(lines(own_audit))
            await asyncio.sleep(0.2)
            assert len(lines(own_audit)) == written

    asyncio.run(requests())
    assert 2 <= len(lines(own_audit)) <= 6
    assert all(line["since"] <= line["until"] for line in lines(own_audit))


def test_a_line_is_bounded_and_counts_that_cannot_be_written_stay(
    scorer: OnlineScorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(audit.VARIABLE, raising=False)
    monkeypatch.setattr(scoring_record, "MAX_KEYS", 3)
    (tmp_path / "file").write_text("")
    record = ScoringRecord(tmp_path / "file" / "below")
    for number in range(10):
        record.add(f"token{number}", scorer, customers=number)
    record.write()
    record.add("token0", scorer, customers=100)
    record.beside = tmp_path
    record.write()
    record.write()
    (line,) = lines(tmp_path / audit.FILE)
    assert {row["token"]: row["customers"] for row in line["scored"]} == {
        "token0": 100, "token1": 1, "token2": 2, "other tokens": sum(range(3, 10)),
    }  # fmt: skip
