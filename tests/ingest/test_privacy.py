"""Laws of personal data: ids are pseudonyms, contact data are not stored, erased customers stay erased."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from conftest import QUICK, SMALL
from propensity.data.event_log import EventLog
from propensity.data.log_folder import TOMBSTONES
from propensity.data.segment import KNOWN
from propensity.errors import ConfigurationError, DataError, IntegrityError
from propensity.ingest.build import prepare
from propensity.ingest.erasure import erase_customer, export_customer
from propensity.ingest.privacy import files_mentioning, files_with_contact_data, pseudonym, read_key
from propensity.ingest.source.table import Table

KEY = b"a key of more than sixteen bytes"
COLUMNS: dict[str, str | None] = {"customer": "who", "day": "when", "item": "sku", "revenue": "paid", "channel": "how"}
PEOPLE = "who,email,phone,note,city\nanna@home.example,a@b.example,+49 170 1234567,call 0170/1234567,Rome\n"


def shop(folder: Path, **settings: Any) -> Table:
    """Purchases of three customers, Anna, Bert and Carl; one row of Anna and one of Bert are quarantined."""
    rows = "".join(
        f"{who},2024-03-0{day},milk,2,{how}\n"
        for who in ("anna@home.example", "bert", "carl")
        for day, how in ((1, "web"), (2, "anna@home.example"), (3, "web"))
    )
    rows += "bert,2024-13-01,milk,2,web\nanna@home.example,1900-01-01,milk,bert@x.example,web\n"
    (folder / "sales.csv").write_text(f"who,when,sku,paid,how\n{rows}")
    (folder / "people.csv").write_text(PEOPLE)
    return Table("sales.csv", dict(COLUMNS), folder=str(folder), customers="people.csv", **settings)


def test_ids_that_are_addresses_are_refused_without_a_key(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="look like e-mail addresses or phone numbers; set data.pseudonym=file:<key>"):
        prepare(shop(tmp_path), tmp_path / "log")


def test_a_log_contains_no_contact_data(tmp_path: Path) -> None:
    assert len(files_with_contact_data(tmp_path)) == 0
    log = prepare(shop(tmp_path), tmp_path / "out/log", key=KEY)
    assert {Path(place).name for place in files_with_contact_data(tmp_path)} == {"sales.csv", "people.csv"}
    assert files_with_contact_data(tmp_path / "out") == [] and files_mentioning(tmp_path / "out", "bert") == []
    assert log.meta["warnings"]["personal_masked"] == 3 and "" not in log.meta["channels"]
    assert log.customers.columns == ["customer", "note", "city"]
    rows = log.meta["rows"]
    assert rows["in"] == 11 == rows["used"] + sum(rows["quarantined"].values()) and rows["used"] == 9


def test_pseudonyms_are_distinct_and_depend_on_the_key(tmp_path: Path) -> None:
    log = prepare(shop(tmp_path), tmp_path / "log", key=KEY)
    assert log.customer_id.tolist() == sorted(pseudonym(name, KEY) for name in ("anna@home.example", "bert", "carl"))
    other = prepare(shop(tmp_path), tmp_path / "other", key=KEY[::-1])
    assert not set(log.customer_id) & set(other.customer_id)
    every = b"".join(file.read_bytes() for file in (tmp_path / "log").rglob("*") if file.is_file())
    assert KEY not in every


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("env:NO_SUCH_KEY", "data.pseudonym=env:NO_SUCH_KEY gives 0 bytes; use a key of 16 bytes or more"),
        ("file:/no/such/key", "gives 0 bytes; use a key of 16 bytes or more"),
        ("hunter2", "data.pseudonym is neither file:<path> nor env:<name>; give the location of the key"),
    ],
)
def test_an_invalid_key_location_is_a_configuration_error(where: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_key(where)


def test_a_key_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_bytes(KEY + b"\n")
    monkeypatch.setenv("SHOP_KEY", KEY.decode())
    assert read_key(f"file:{tmp_path / 'key'}") == read_key("env:SHOP_KEY") == KEY


@pytest.mark.parametrize("key", [None, "env:SHOP_KEY"])
def test_an_erased_customer_is_removed_everywhere_and_later_deliveries_are_dropped(
    key: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_KEY", KEY.decode())
    log, runs = tmp_path / "data/shop", tmp_path / "runs"
    bare = KEY if key else None
    text = (tmp_path / "sales.csv", tmp_path / "people.csv")
    source = shop(tmp_path)
    for file in text:
        file.write_text(file.read_text().replace("anna@home.example", "anna"))
    before = prepare(source, log, {"origin.json": "{}"}, bare)
    stored = pseudonym("bert", KEY) if key else "bert"
    runs.mkdir()
    scores = pl.DataFrame({"customer_id": [stored, "else"], "score": [0.5, 0.4]})
    scores.write_parquet(runs / "scores.parquet")
    for run, end in (("with", "2024-03-03"), ("before", "2024-02-01")):
        entry = {"run": run, "log": str(log), "fingerprint": before.fingerprint, "end": end}
        with open(runs / "audit.jsonl", "a") as stream:
            stream.write(json.dumps(entry) + "\n")
    known = export_customer("bert", log, runs, key)
    assert len(known["events"]) == 3 and known["models"] == ["with"] and known["events"][0]["item"] == "milk"
    assert sum(map(len, known["tables"].values())) == 2
    done = erase_customer("bert", log, runs, key)
    assert done.models == ["with"] and sum(done.removed.values()) == 3 + 1 + 1
    after = EventLog.open(log)
    others = before.customer_id[before.customer_id != stored].tolist()
    assert after.customer_id.tolist() == others and np.diff(after.offsets).tolist() == [3, 3]
    assert (
        files_mentioning(tmp_path / "data", stored) == files_mentioning(runs, stored) == []
        and (log / "origin.json").is_file()
    )
    again = prepare(source, log, None, bare)
    assert again.meta["rows"]["dropped"] == {"customer_erased": 4} and len(again) == 2
    assert "bert" not in (tmp_path / "data" / TOMBSTONES).read_text()
    rows = again.meta["rows"]
    assert rows["in"] == rows["used"] + sum(rows["quarantined"].values()) + sum(rows["dropped"].values())


def test_erasing_an_unknown_customer_is_refused_and_remaining_data_are_an_integrity_error(tmp_path: Path) -> None:
    log, runs = tmp_path / "data/shop", tmp_path / "runs"
    source = shop(tmp_path)
    (tmp_path / "sales.csv").write_text(
        "who,when,sku,paid,how\nbert,2024-03-01,milk,1,web\nanna,2024-03-01,milk,1,web\n"
    )
    (tmp_path / "people.csv").write_text("who,city\nanna,Rome\n")
    prepare(source, log)
    with pytest.raises(ConfigurationError, match="contain no data of customer zoe"):
        erase_customer("zoe", log, runs)
    with pytest.raises(ConfigurationError, match="contain no data of customer zoe"):
        export_customer("zoe", log, runs)
    runs.mkdir()
    (runs / "list.txt").write_text("bert was here\n")
    with pytest.raises(IntegrityError, match="customer bert is still found in .*list.txt; remove it there by hand"):
        erase_customer("bert", log, runs)


def test_a_run_on_pseudonyms_contains_no_contact_data_and_is_in_the_audit_record(
    small_world: dict[str, Any], composed: Any, tmp_path: Path
) -> None:
    from propensity.training.run import train

    log = small_world["log"]
    names = [f"person{k}@mail.example" for k in range(len(log))]
    tables = small_world["task"].source.load()
    ids = pl.DataFrame({"customer": log.customer_id, "name": names}).lazy()
    columns = {name: name for name in ("customer", "day", "item", "kind", "quantity", "revenue")}
    events = tables.events.join(ids, on="customer").with_columns(customer="name").drop("name").collect()
    events.write_parquet(tmp_path / "events.parquet")
    tables.items.drop(KNOWN).collect().write_parquet(tmp_path / "items.parquet")
    source = Table("events.parquet", dict(columns), items="items.parquet", folder=str(tmp_path))
    prepared = prepare(source, tmp_path / "out/log", key=KEY)
    cfg = composed("train", *SMALL, *QUICK, f"data.log={tmp_path / 'out/log'}", f"out={tmp_path / 'out/run'}")
    train(cfg)
    assert len(files_with_contact_data(tmp_path)) == 1 and files_with_contact_data(tmp_path / "out") == []
    entry = json.loads((tmp_path / "out/audit.jsonl").read_text())
    assert entry["fingerprint"] == prepared.fingerprint and entry["rows"] == prepared.meta["rows"]
    assert entry["run"].endswith("run") and entry["first_day"] < entry["end"]
