"""Events older than the days of `data.keep` leave the log, and are counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from propensity.data.event_log import COLUMNS, EventLog, to_date
from propensity.data.offer.column import ColumnOffers
from propensity.errors import ConfigurationError
from propensity.ingest.append import append
from propensity.ingest.build import prepare
from propensity.ingest.rule import UNUSED_OUTCOMES
from propensity.ingest.source.table import Table
from propensity.task import Task

MAPPING: dict[str, str | None] = {"customer": "who", "day": "on", "item": "what", "revenue": "paid", "order": "order"}


def shop(folder: Path, days: range, seed: int = 0, **more: str) -> Table:
    """Random sales, in orders of two lines, with a line without a day and an old one without an item."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    lines = ["who,on,what,paid,order", "anna,,milk,1,o", f"anna,{to_date(19800 + days.start)},,1,p"]
    for day in days:
        for who in rng.choice(["anna", "bert", "carl", "dora"], 2, replace=False):
            lines += [f"{who},{to_date(19800 + day)},{item},2,{day}{who}" for item in ("milk", "bread")]
    (folder / "sales.csv").write_text("\n".join(lines) + "\n")
    for name, text in more.items():
        (folder / f"{name}.csv").write_text(text)
    customers = str(folder / "customers.csv") if "customers" in more else None
    consents = (
        {"path": str(folder / "consents.csv"), "customer": "who", "consent": "ok"} if "consents" in more else None
    )
    return Table(str(folder / "sales.csv"), dict(MAPPING), customers=customers, consents=consents)


def same_events(one: EventLog, other: EventLog) -> None:
    assert one.customers.equals(other.customers)
    for name in ("offsets", *COLUMNS):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


def accounted(log: EventLog) -> bool:
    rows = log.meta["rows"]
    return bool(rows["in"] == rows["used"] + sum(sum(rows[name].values()) for name in UNUSED_OUTCOMES))


@pytest.mark.parametrize("keep", [1, 7, 20, 100])
def test_the_log_is_that_of_the_last_days_and_accounts_for_the_others(tmp_path: Path, keep: int) -> None:
    log = prepare(shop(tmp_path / "all", range(30)), tmp_path / "log", keep=keep)
    whole = prepare(shop(tmp_path / "again", range(30)), tmp_path / "whole")
    first = whole.last_day - keep + 1
    assert accounted(log) and log.day.min() >= first and log.meta["keep"] == keep
    old = int((whole.day < first).sum())
    assert log.meta["rows"]["dropped"].get("event_expired", 0) == old == whole.day.size - log.day.size
    assert log.first_day == max(whole.first_day, first) and log.last_day == whole.last_day
    part = whole.before(whole.last_day + 1)
    stays = part.day >= first
    np.testing.assert_array_equal(log.day, part.day[stays])
    for n in range(len(log)):
        orders = log.order[log.offsets[n] : log.offsets[n + 1]]
        assert orders.size and sorted(set(orders[orders >= 0].tolist())) == list(range(orders.max() + 1))
    quarantined = [pl.read_parquet(file) for file in (tmp_path / "log" / "quarantine").glob("*.parquet")]
    days = pl.concat(quarantined, how="diagonal_relaxed")["day"].drop_nulls()
    assert days.len() == (1 if keep == 100 else 0)
    assert not (tmp_path / "log" / "kept").exists()


def test_an_appended_log_keeps_the_days_of_both_built_at_once(tmp_path: Path) -> None:
    prepare(shop(tmp_path / "a", range(20), 1), tmp_path / "log", keep=15)
    appended = append(shop(tmp_path / "b", range(20, 30), 2), tmp_path / "log")
    prepare(shop(tmp_path / "c", range(20), 1), tmp_path / "whole")
    both = append(shop(tmp_path / "d", range(20, 30), 2), tmp_path / "whole", keep=15)
    same_events(appended, both)
    assert accounted(appended) and accounted(both)
    assert appended.meta["rows"]["dropped"] == both.meta["rows"]["dropped"]


def test_a_customer_without_events_leaves_unless_he_refused_whose_refusal_stays(tmp_path: Path) -> None:
    people = "who,city\nzoe,Rome\nzack,Oslo\nanna,Bern\nnew,Graz\n"
    sales = shop(tmp_path / "s", range(30), customers=people, consents="who,ok\nzoe,yes\nzack,no\nanna,yes\nbert,yes\n")
    file = tmp_path / "s" / "sales.csv"
    file.write_text(file.read_text() + f"zoe,{to_date(19800)},milk,2,z\nzack,{to_date(19800)},milk,2,y\n")
    log = prepare(sales, tmp_path / "log", keep=10)
    rows = {row["customer"]: (row["city"], row["suppressed"]) for row in log.customers.to_dicts()}
    assert "zoe" not in rows and rows["zack"] == (None, True)
    assert rows["anna"] == ("Bern", False) and rows["new"] == ("Graz", None)
    assert log.purchasers(log.last_day + 1).size == len(set(rows) - {"zack", "new"})


def test_engagement_events_leave_too_and_the_money_still_adds_up(tmp_path: Path) -> None:
    sales = shop(tmp_path / "s", range(30))
    file = tmp_path / "s" / "sales.csv"
    lines = file.read_text().splitlines()
    clicks = [f"anna,{to_date(19800 + day)},milk,0,,click" for day in range(30)]
    file.write_text("\n".join([f"{lines[0]},kind", *(f"{line},purchase" for line in lines[1:]), *clicks]) + "\n")
    source = replace(sales, columns={**MAPPING, "kind": "kind"})
    log = prepare(source, tmp_path / "log", keep=10)
    whole = prepare(source, tmp_path / "whole")
    assert log.engagement is not None and whole.engagement is not None
    first = whole.last_day - 9
    np.testing.assert_array_equal(log.engagement.day, whole.engagement.day[whole.engagement.day >= first])
    assert accounted(log) and EventLog.open(tmp_path / "log", verify=True).engagement is not None
    money = log.meta["money"]
    assert money["gross"] == whole.meta["money"]["gross"] == pytest.approx(sum(money.values()) - money["gross"])
    assert money["net"] == pytest.approx(log.revenue.sum(dtype=float))


def test_a_log_is_prepared_again_when_its_retention_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = shop(tmp_path / "a", range(30))
    tasks = [Task(ColumnOffers(), source, keep=keep) for keep in (None, 9, 9)]
    sizes = [task.open().day.size for task in tasks]
    assert sizes[0] > sizes[1] == sizes[2] == tasks[1].check().day.size


@pytest.mark.parametrize("keep", [0, -3, 1.5, True])
def test_a_retention_of_no_day_is_refused(keep: int) -> None:
    with pytest.raises(ConfigurationError, match=f"data.keep={keep} keeps nothing; give 1 day or more"):
        Task(ColumnOffers(), keep=keep)


def test_removed_quarantined_rows_are_counted_as_dropped_with_their_sales(tmp_path: Path) -> None:
    log = prepare(shop(tmp_path / "a", range(30)), tmp_path / "log", keep=10)
    whole = prepare(shop(tmp_path / "b", range(30)), tmp_path / "whole")
    rows, before = log.meta["rows"], whole.meta["rows"]
    files = [pl.read_parquet(file) for file in (tmp_path / "log" / "quarantine").glob("*.parquet")]
    assert sum(rows["quarantined"].values()) == sum(file.height for file in files)
    assert rows["dropped"]["quarantine_expired"] == 1 and accounted(log)
    assert sum(before["quarantined"].values()) == sum(rows["quarantined"].values()) + 1
    money, former = log.meta["money"], whole.meta["money"]
    assert money["quarantined"] == pytest.approx(former["quarantined"] - 1)
    assert money["gross"] == former["gross"] == pytest.approx(sum(money.values()) - money["gross"])


@pytest.mark.parametrize(("day", "listed"), [(2, False), (29, True)])
def test_large_lines_of_an_older_day_are_not_listed(day: int, listed: bool, tmp_path: Path) -> None:
    sales = shop(tmp_path / "s", range(30))
    file, date = tmp_path / "s" / "sales.csv", to_date(19800 + day)
    file.write_text(file.read_text() + f"anna,{date},yacht,9000,x\nanna,{date},POST,-9000,y\n")
    assert prepare(sales, tmp_path / "whole").meta["large_lines"]
    assert bool(prepare(sales, tmp_path / "log", keep=10).meta["large_lines"]) == listed


def test_a_given_log_with_older_events_than_the_retention_is_refused(tmp_path: Path) -> None:
    prepare(shop(tmp_path / "a", range(30)), tmp_path / "log")
    prepare(shop(tmp_path / "b", range(30)), tmp_path / "short", keep=10)
    with pytest.raises(ConfigurationError, match="data.keep=10 allows events from .* prepare the log again"):
        Task(ColumnOffers(), log=str(tmp_path / "log"), keep=10).open()
    assert len(Task(ColumnOffers(), log=str(tmp_path / "log"), keep=30).open())
    assert len(Task(ColumnOffers(), log=str(tmp_path / "short"), keep=10).open())
