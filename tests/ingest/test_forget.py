"""Laws of erasure: only what a log's customer left is removed, all of it, and what is refused changes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from propensity import audit
from propensity.data.event_log import EventLog
from propensity.data.log_folder import TOMBSTONES
from propensity.errors import ConfigurationError, IntegrityError
from propensity.ingest.append import append
from propensity.ingest.build import prepare
from propensity.ingest.erasure import erase_customer, export_customer, lift_tombstone
from propensity.ingest.privacy import pseudonym
from propensity.ingest.source.table import Table

KEY, OTHER = b"a key of more than sixteen bytes", b"another key of more than sixteen"
COLUMNS: dict[str, str | None] = {"customer": "who", "day": "when", "item": "sku", "revenue": "paid"}


def shop(folder: Path, name: str = "sales", month: int = 3, revenue: int = 2) -> Table:
    rows = "".join(
        f"{who},2024-{month:02}-0{day},milk,{revenue}\n" for who in ("anna", "bert", "carl") for day in (1, 2)
    )
    (folder / f"{name}.csv").write_text(f"who,when,sku,paid\n{rows}")
    return Table(f"{name}.csv", dict(COLUMNS), folder=str(folder))


def table(file: Path, **columns: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame({"customer_id": ["anna", "bert"], "score": [0.1, 0.2]} | columns)
    frame.write_parquet(file) if file.suffix == ".parquet" else frame.write_csv(file)
    return file


def customers(file: Path) -> list[str]:
    frame = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file)
    return frame["customer_id"].to_list()


def config(run: Path, log: Path) -> None:
    run.mkdir(parents=True, exist_ok=True)
    data = {"_target_": "propensity.task.Task", "log": str(log), "offer": None}
    (run / "config.yaml").write_text(json.dumps({"data": data}))


@pytest.fixture
def shops(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Logs of two shops in one folder, with the same ids, and a folder of runs."""
    prepare(shop(tmp_path), tmp_path / "data/mine")
    prepare(shop(tmp_path, "other", revenue=5), tmp_path / "data/other")
    return tmp_path / "data/mine", tmp_path / "data/other", tmp_path / "runs"


def named_by_config(run: Path, log: Path) -> None:
    config(run, log)


def named_by_audit(run: Path, log: Path) -> None:
    opened = EventLog.open(log)
    audit.append(run.parent, "train", {"run": str(run), "log": str(log), "fingerprint": opened.fingerprint, "end": "9"})


def named_by_request(run: Path, log: Path) -> None:
    run.mkdir(parents=True, exist_ok=True)
    (run / "request.json").write_text(json.dumps({"log": EventLog.open(log).fingerprint}))


@pytest.mark.parametrize("name", [named_by_config, named_by_audit, named_by_request])
def test_tables_that_were_made_from_another_log_are_neither_changed_nor_handed_out(
    name: Any, shops: tuple[Path, Path, Path]
) -> None:
    mine, other, runs = shops
    for run, log in ((runs / "a", mine), (runs / "b", other)):
        name(run, log)
        for file in ("scores.parquet", "deeper/plan/assignments.parquet", "list.csv"):
            table(run / file)
    known = export_customer("bert", mine, runs)
    assert len(known["tables"]) == 3 and all(Path(file).is_relative_to(runs / "a") for file in known["tables"])
    erase_customer("bert", mine, runs)
    for file in ("scores.parquet", "deeper/plan/assignments.parquet", "list.csv"):
        assert customers(runs / "a" / file) == ["anna"] and customers(runs / "b" / file) == ["anna", "bert"]
    assert "bert" in EventLog.open(other).customer_id and "bert" not in EventLog.open(mine).customer_id
    export_customer("bert", other, runs)
    with pytest.raises(ConfigurationError, match="contain no data of customer bert"):
        export_customer("bert", mine, runs)


def test_runs_of_a_log_before_an_append_or_an_erasure_are_still_its_own(shops: tuple[Path, Path, Path]) -> None:
    mine, other, runs = shops
    named_by_request(runs / "a", mine)
    named_by_request(runs / "b", other)
    table(runs / "a/part-0.parquet"), table(runs / "b/part-0.parquet")
    append(shop(mine.parent.parent, "later", 4), mine)
    erase_customer("carl", mine, runs)
    assert len(export_customer("bert", mine, runs)["tables"]) == 1
    erase_customer("bert", mine, runs)
    assert customers(runs / "a/part-0.parquet") == ["anna"] and customers(runs / "b/part-0.parquet") == ["anna", "bert"]


def test_a_table_of_unknown_origin_is_said_where_runs_of_two_logs_lie(shops: tuple[Path, Path, Path]) -> None:
    mine, other, runs = shops
    config(runs / "a", mine)
    config(runs / "b", other)
    loose = table(runs / "loose.parquet")
    with pytest.raises(IntegrityError, match="bert is still found in .*loose.parquet; remove it there by hand"):
        erase_customer("bert", mine, runs)
    assert customers(loose) == ["anna", "bert"]


def test_every_kind_of_table_is_reached(shops: tuple[Path, Path, Path]) -> None:
    mine, _, runs = shops
    files = [
        runs / name for name in ("s.parquet", "states.parquet", ".s.draft.1/x.parquet", "r/values.csv", "list.tsv")
    ]
    for file in files[:-1]:
        table(file)
    files[-1].write_text("Customer_ID\tchannel\nanna\tmail\nbert\tmail\n")
    (mine.parent / "tmpabc12345").mkdir()
    (mine.parent / "tmpabc12345/day.npy").write_bytes(b"x")
    (mine.parent / ".mine.draft.x").mkdir()
    done = erase_customer("bert", mine, runs)
    assert done.removed == {str(file): 1 for file in files if file.exists()} | {str(mine): 2}
    assert not (runs / ".s.draft.1").exists(), "a draft of an interrupted command is removed whole"
    assert not (mine.parent / "tmpabc12345").exists() and not (mine.parent / ".mine.draft.x").exists()


def test_a_refused_erasure_leaves_no_tombstone(shops: tuple[Path, Path, Path]) -> None:
    mine, _, runs = shops
    before = {file: file.read_bytes() for file in mine.parent.rglob("*") if file.is_file()}
    with pytest.raises(ConfigurationError, match="contain no data of customer zoe; nothing was changed"):
        erase_customer("zoe", mine, runs)
    assert {file: file.read_bytes() for file in mine.parent.rglob("*") if file.is_file()} == before
    assert not runs.exists()


def test_tombstones_belong_to_a_log(shops: tuple[Path, Path, Path], tmp_path: Path) -> None:
    mine, other, runs = shops
    erase_customer("bert", mine, runs)
    again = prepare(shop(tmp_path, "other", revenue=5), other)
    assert "bert" in again.customer_id
    assert "bert" not in prepare(shop(tmp_path), mine).customer_id
    shutil.rmtree(mine)
    assert "bert" not in prepare(shop(tmp_path), mine).customer_id, "they outlive the folder of the log"
    moved = tmp_path / "elsewhere/shop"
    shutil.copytree(mine, moved)
    assert "bert" not in append(shop(tmp_path, "later", 4), moved).customer_id, "and move with it"
    assert "bert" not in append(shop(tmp_path, "later", 4), mine).customer_id


def test_a_tombstone_can_be_lifted(shops: tuple[Path, Path, Path], tmp_path: Path) -> None:
    mine, _, runs = shops
    erase_customer("bert", mine, runs)
    with pytest.raises(ConfigurationError, match="has no tombstone of customer anna"):
        lift_tombstone("anna", mine, runs)
    lift_tombstone("bert", mine, runs)
    assert "bert" in append(shop(tmp_path, "later", 4), mine).customer_id
    with pytest.raises(ConfigurationError, match="has no tombstone of customer bert"):
        lift_tombstone("bert", mine, runs)


def test_a_damaged_tombstone_file_is_an_integrity_error(shops: tuple[Path, Path, Path], tmp_path: Path) -> None:
    mine, _, runs = shops
    erase_customer("bert", mine, runs)
    for text in ("{", "[]", '{"logs": {"mine": {"salt": 1}}}'):
        (mine.parent / TOMBSTONES).write_text(text)
        with pytest.raises(IntegrityError, match="tombstones.json is damaged"):
            prepare(shop(tmp_path), mine)


@pytest.mark.parametrize(("first", "then"), [(KEY, None), (KEY, OTHER), (None, KEY)])
def test_a_delivery_under_another_key_is_refused(first: bytes | None, then: bytes | None, tmp_path: Path) -> None:
    log = tmp_path / "log"
    prepare(shop(tmp_path), log, key=first)
    before = {file: file.read_bytes() for file in log.rglob("*") if file.is_file()}
    with pytest.raises(ConfigurationError, match="stores customer ids"):
        append(shop(tmp_path, "later", 4), log, then)
    assert {file: file.read_bytes() for file in log.rglob("*") if file.is_file()} == before
    assert len(append(shop(tmp_path, "later", 4), log, first)) == 3


def test_a_customer_is_not_looked_for_under_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRONG", OTHER.decode())
    prepare(shop(tmp_path), tmp_path / "log", key=KEY)
    for command in (erase_customer, export_customer):
        with pytest.raises(ConfigurationError, match="stores customer ids under another key"):
            command("bert", tmp_path / "log", tmp_path / "runs", "env:WRONG")
    assert pseudonym("bert", KEY) in EventLog.open(tmp_path / "log").customer_id


def test_the_audit_log_names_persons_by_keyed_hashes_only(shops: tuple[Path, Path, Path]) -> None:
    mine, _, runs = shops
    export_customer("bert", mine, runs)
    erase_customer("bert", mine, runs)
    lift_tombstone("bert", mine, runs)
    lines = list(audit.entries(runs / audit.FILE))
    assert [line["action"] for line in lines] == ["export_customer", "forget", "lift"]
    assert len({line["customer"] for line in lines}) == 1 and len(lines[0]["customer"]) == 32
    assert "bert" not in (runs / audit.FILE).read_text() and all(line["who"] for line in lines)
    assert audit.verify(runs / audit.FILE).lines == 3


def accounted(log: EventLog) -> int:
    rows = log.meta["rows"]
    return int(rows["used"] + sum(sum(rows[way].values()) for way in ("merged", "quarantined", "dropped")))


def test_every_row_and_amount_has_one_outcome_after_an_erasure(tmp_path: Path) -> None:
    source = shop(tmp_path)
    with open(tmp_path / "sales.csv", "a") as stream:
        stream.write("bert,soon,milk,7\nbert,2024-03-01,milk,x\nanna,later,milk,9\n")
    log = prepare(source, tmp_path / "data/mine")
    before = log.meta["rows"]
    assert before["in"] == accounted(log) == 9 and sum(before["quarantined"].values()) == 3
    erase_customer("bert", tmp_path / "data/mine", tmp_path / "runs")
    after = EventLog.open(tmp_path / "data/mine")
    rows, money = after.meta["rows"], after.meta["money"]
    assert rows["in"] == accounted(after) == 9
    assert rows["used"] == after.day.size == 4 and rows["dropped"]["customer_erased"] == 4
    stored = [pl.read_parquet(file) for file in (tmp_path / "data/mine/quarantine").glob("*.parquet")]
    assert sum(rows["quarantined"].values()) == sum(frame.height for frame in stored) == 1
    assert money["gross"] == pytest.approx(sum(money.values()) - money["gross"])
    assert money["net"] == pytest.approx(float(after.revenue.sum())) and money["quarantined"] == 9


def test_a_quarantined_row_alone_is_erased_and_accounted_for(tmp_path: Path) -> None:
    source = shop(tmp_path)
    with open(tmp_path / "sales.csv", "a") as stream:
        stream.write("zoe,soon,milk,7\n")
    prepare(source, tmp_path / "data/mine")
    result = erase_customer("zoe", tmp_path / "data/mine", tmp_path / "runs")
    rows = EventLog.open(tmp_path / "data/mine").meta["rows"]
    assert result.removed == {str(tmp_path / "data/mine"): 1}
    assert rows["quarantined"] == {} and rows["dropped"] == {"customer_erased": 1} and rows["in"] == 7


def test_tables_that_the_audit_log_names_elsewhere_are_reached_and_said(shops: tuple[Path, Path, Path]) -> None:
    mine, other, runs = shops
    far = runs.parent / "far"
    own, foreign = EventLog.open(mine).fingerprint, EventLog.open(other).fingerprint
    batch, single = table(far / "batch/part-0.parquet"), table(far / "scores.parquet")
    lists, theirs = table(far / "lists/audience/assignments.parquet"), table(far / "theirs.parquet")
    audit.append(runs, "export", {"run": "runs/a", "out": str(far / "bundle"), "fingerprint": own})
    for out, log in ((batch.parent, own), (single, own), (theirs, foreign)):  # beside the bundle, not under runs
        audit.append(far, "score", {"fingerprint": log, "out": str(out)})
    audit.append(far, "decide", {"fingerprint": own, "out": str(lists.parent)})
    assert len(export_customer("bert", mine, runs)["tables"]) == 3
    result = erase_customer("bert", mine, runs)
    assert [customers(file) for file in (batch, single, lists)] == [["anna"]] * 3
    assert customers(theirs) == ["anna", "bert"]
    assert {str(mine), str(runs), str(batch.parent), str(single), str(lists.parent)} == {*result.searched}


def test_further_folders_are_searched_where_they_are_given(shops: tuple[Path, Path, Path], tmp_path: Path) -> None:
    mine, _, runs = shops
    loose = table(tmp_path / "lists/plan.csv")
    assert export_customer("bert", mine, runs)["tables"] == {}
    assert len(export_customer("bert", mine, runs, folders=[tmp_path / "lists"])["tables"]) == 1
    with pytest.raises(ConfigurationError, match="folders=.*nowhere is no folder"):
        erase_customer("bert", mine, runs, folders=[tmp_path / "nowhere"])
    result = erase_customer("bert", mine, runs, folders=[tmp_path / "lists"])
    assert customers(loose) == ["anna"] and str(tmp_path / "lists") in result.searched


def test_copies_that_were_handed_out_are_said(shops: tuple[Path, Path, Path], tmp_path: Path) -> None:
    mine, _, runs = shops
    out = tmp_path / "customer.json"
    out.write_text(json.dumps(export_customer("bert", mine, runs, out=out)))
    assert erase_customer("bert", mine, runs).copies == [str(out)] and out.is_file()
