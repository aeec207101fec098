"""Laws of a rotated key: ids change, nothing else does, and later deliveries, erasures and rotations fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity import audit
from propensity.data.event_log import EventLog
from propensity.data.log_folder import META
from propensity.errors import ConfigurationError, IntegrityError
from propensity.ingest.append import append
from propensity.ingest.build import prepare
from propensity.ingest.erasure import erase_customer, export_customer, lift_tombstone
from propensity.ingest.key_chain import FORMER, decrypted, encrypted
from propensity.ingest.privacy import files_mentioning, pseudonym
from propensity.ingest.rotation import rotate_key
from propensity.ingest.source.table import Table

KEYS = {"OLD": b"a key of more than sixteen bytes", "NEW": b"another key of more than sixteen", "NEXT": b"n" * 40}
NAMES = ("anna", "bert", "carl", "dora", "emil")
COLUMNS: dict[str, str | None] = {"customer": "who", "day": "when", "item": "sku", "revenue": "paid", "kind": "what"}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key.decode())


def shop(folder: Path, month: int = 3, names: tuple[str, ...] = NAMES) -> Table:
    """Customer n buys n items and views one; a row of bert has no day."""
    rows = [f"{name},2024-{month:02}-{n + 1:02},item{n},{n + 1},purchase" for k, name in enumerate(names)
            for n in range(k + 1)]  # fmt: skip
    rows += [f"{name},2024-{month:02}-02,item0,0,view" for name in names] + [f"bert,soon,item0,{month},purchase"]
    (folder / f"{month}.csv").write_text("who,when,sku,paid,what\n" + "\n".join(rows) + "\n")
    (folder / "people.csv").write_text(
        "who,city\n" + "".join(f"{name},town {len(name)}{k}\n" for k, name in enumerate(names))
    )
    return Table(f"{month}.csv", dict(COLUMNS), folder=str(folder), customers="people.csv")


def under(name: str, *keys: str) -> str:
    for key in keys:
        name = pseudonym(name, KEYS[key])
    return name


def facts(log: EventLog, names: dict[str, str]) -> dict[str, list[tuple[Any, ...]]]:
    """Attributes and events of every customer, by delivered name."""
    result = {}
    for row, customer in enumerate(log.customers["customer"]):
        parts = [log, log.engagement] if log.engagement is not None else [log]
        lines = [log.customers.drop("customer").row(row)]
        for part in parts:
            own = slice(*map(int, part.offsets[row : row + 2]))
            lines += zip(*(np.asarray(getattr(part, name)[own]).tolist() for name in part.column_types), strict=True)
        result[names[customer]] = lines
    return result


def rotate(log: Path, old: str, new: str) -> Any:
    return rotate_key(log, f"env:{old}", f"env:{new}", log.parent.parent / "runs")


def test_a_rotation_changes_the_ids_and_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / "data/shop"
    before = prepare(shop(tmp_path), log, {"origin.json": "{}"}, KEYS["OLD"])
    expected = facts(before, {under(name, "OLD"): name for name in NAMES})
    rows, earlier = before.meta["rows"], before.fingerprint
    result = rotate(log, "OLD", "NEW")
    after = EventLog.open(log, verify=True)
    assert (result.customers, result.quarantined) == (5, 1)
    ids = after.customers["customer"].to_list()
    assert ids == sorted(under(name, "OLD", "NEW") for name in NAMES)
    assert facts(after, {under(name, "OLD", "NEW"): name for name in NAMES}) == expected
    assert after.meta["rows"] == rows and after.fingerprint != earlier and earlier in after.meta["formerly"]
    assert (log / "origin.json").read_text() == "{}"
    for name in NAMES:
        assert (
            files_mentioning(tmp_path / "data", name) == files_mentioning(tmp_path / "data", under(name, "OLD")) == []
        )
    every = b"".join(file.read_bytes() for file in (tmp_path / "data").rglob("*") if file.is_file())
    assert not any(key in every or key.hex().encode() in every for key in KEYS.values())
    quarantined = pl.concat([pl.read_parquet(file) for file in (log / "quarantine").glob("*.parquet")])
    assert quarantined["customer"].to_list() == [under("bert", "OLD", "NEW")]
    line = list(audit.entries(tmp_path / "runs" / audit.FILE))[-1]
    assert line["action"] == "rotate_key" and line["fingerprint"] == after.fingerprint


def test_later_deliveries_and_rotations_meet_the_same_customers(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    prepare(shop(tmp_path), plain)
    append(shop(tmp_path, 5), append(shop(tmp_path, 4), plain).folder or plain)
    expected = facts(EventLog.open(plain), {name: name for name in NAMES})
    log = tmp_path / "data/shop"
    prepare(shop(tmp_path), log, key=KEYS["OLD"])
    rotate(log, "OLD", "NEW")
    append(shop(tmp_path, 4), log, KEYS["NEW"])
    rotate(log, "NEW", "NEXT")
    after = append(shop(tmp_path, 5), log, KEYS["NEXT"])
    assert facts(after, {under(name, "OLD", "NEW", "NEXT"): name for name in NAMES}) == expected
    for key in (KEYS["OLD"], KEYS["NEW"], None):
        with pytest.raises(ConfigurationError, match="stores customer ids under"):
            append(shop(tmp_path, 6), log, key)
    whole = prepare(shop(tmp_path), log, key=KEYS["NEXT"])
    assert under("bert", "OLD", "NEW", "NEXT") in whole.customer_id, "a log that is made again keeps its chain"
    anew = prepare(shop(tmp_path), log, key=KEYS["OLD"])
    assert under("bert", "OLD") in anew.customer_id and FORMER not in anew.meta, "under another key it starts a new one"


def test_erased_customers_stay_erased_and_others_can_be_erased_under_every_id(tmp_path: Path) -> None:
    log, runs = tmp_path / "data/shop", tmp_path / "runs"
    prepare(shop(tmp_path), log, key=KEYS["OLD"])
    erase_customer("anna", log, runs, "env:OLD")
    erase_customer(under("dora", "OLD"), log, runs, "env:OLD")  # by the id that stands in the log
    old = pl.DataFrame({"customer_id": [under(name, "OLD") for name in NAMES], "score": 0.5})
    old.write_parquet(runs / "scores.parquet")
    result = rotate(log, "OLD", "NEW")
    assert result.tables == [str(runs / "scores.parquet")]
    after = append(shop(tmp_path, 4), log, KEYS["NEW"])
    assert {under(name, "OLD", "NEW") for name in ("bert", "carl", "emil")} == set(after.customer_id)
    known = export_customer("bert", log, runs, "env:NEW")
    assert len(known["events"]) == 6 and sum(map(len, known["tables"].values())) == 3
    erase_customer("bert", log, runs, "env:NEW")
    left = pl.read_parquet(runs / "scores.parquet")["customer_id"]
    assert under("bert", "OLD") not in left and under("carl", "OLD") in left
    lift_tombstone("anna", log, runs, "env:NEW")
    again = append(shop(tmp_path, 5), log, KEYS["NEW"])
    assert {under(name, "OLD", "NEW") for name in ("anna", "carl", "emil")} == set(again.customer_id)
    marks = [line["customer"] for line in audit.entries(runs / audit.FILE) if line["action"] != "rotate_key"]
    assert marks[0] == marks[-1], "a customer has one mark in the audit log, before and after"


def test_a_refused_rotation_changes_nothing(tmp_path: Path) -> None:
    log, plain = tmp_path / "data/shop", tmp_path / "data/plain"
    prepare(shop(tmp_path), log, key=KEYS["OLD"])
    prepare(shop(tmp_path), plain)
    rotate(log, "OLD", "NEW")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    for folder, old, new, words in (
        (log, "NEXT", "OLD", "under another key"),
        (log, "NEW", "NEW", "new_pseudonym=env:NEW is or was a key of"),
        (log, "NEW", "OLD", "new_pseudonym=env:OLD is or was a key of"),
        (log, "NEW", "NONE", "new_pseudonym=env:NONE gives 0 bytes"),
        (plain, "OLD", "NEW", "stores customer ids without a key"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            rotate(folder, old, new)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_an_interrupted_rotation_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "data/shop"
    prepare(shop(tmp_path), log, key=KEYS["OLD"])
    before = {file: file.read_bytes() for file in log.rglob("*") if file.is_file()}

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(EventLog, "seal", killed)
    with pytest.raises(KeyboardInterrupt):
        rotate(log, "OLD", "NEW")
    assert {file: file.read_bytes() for file in log.rglob("*") if file.is_file()} == before
    assert [path.name for path in log.parent.iterdir()] == [log.name]


@pytest.mark.parametrize("size", [16, 31, 32, 33, 100])
def test_a_former_key_is_decrypted_under_its_own_key_only(size: int) -> None:
    secret, key = bytes(range(size)), KEYS["NEW"]
    text = encrypted(secret, key)
    assert decrypted(text, key) == secret and secret.hex() not in text
    for place in range(0, len(text), 7):
        changed = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
        with pytest.raises(IntegrityError, match="a former key in the log's meta.json is damaged"):
            decrypted(changed, key)
    with pytest.raises(IntegrityError, match="is damaged"):
        decrypted(text, KEYS["OLD"])


def test_events_are_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "data/shop"
    before = prepare(shop(tmp_path), log, key=KEYS["OLD"])
    expected = facts(before, {under(name, "OLD"): name for name in NAMES})
    monkeypatch.setattr("propensity.ingest.rotation.CHUNK", 3)
    rotate(log, "OLD", "NEW")
    assert facts(EventLog.open(log), {under(name, "OLD", "NEW"): name for name in NAMES}) == expected
    assert json.loads((log / META).read_text())[FORMER]
