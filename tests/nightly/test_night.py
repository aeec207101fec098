"""A night is done once, survives being killed, and loses nothing of a bad delivery."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from nightly.tiny_shop import deliver, make_shop, night, run, tree
from propensity.config import RegistryConfig, RegistryPromoteConfig
from propensity.data.event_log import EventLog
from propensity.errors import ConfigurationError, DataError, IntegrityError
from propensity.nightly import by_hand
from propensity.nightly.lock import only_night
from propensity.nightly.registry import COPY, FILE, Registry

KILLS = [(2, True), (5, False), (7, True), (12, False)]  # commit of an attempt, and whether it happens


class Killed(BaseException):
    """Stands for the end of the process."""


class KillAtCommit:
    """Ends a night at a commit: the moment in which a file or folder gets its final name."""

    def __init__(self, number: int, before: bool) -> None:
        self.left, self.before = number, before

    def around(self, move: Callable[..., None]) -> Callable[..., None]:
        def moved(*paths: Any, **options: Any) -> None:
            self.left -= 1
            if self.left == 0 and self.before:
                raise Killed
            move(*paths, **options)
            if self.left == 0:
                raise Killed

        return moved


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop after its first night and the night after the fifth delivery; other tests copy it."""
    shop = make_shop(tmp_path_factory.mktemp("night") / "shop")
    deliver(shop, 0)
    run(shop, 0).require()
    return shop


@pytest.fixture
def shop(done: Path) -> Iterator[Path]:
    """The shop after its first night; what a test does to it is undone, at the same path."""
    copy = done.parent.with_name("copy")
    shutil.copytree(done.parent, copy)
    yield done
    shutil.rmtree(done.parent)
    copy.rename(done.parent)


def state(shop: Path) -> Path:
    return shop.parent / "nightly"


def test_the_same_night_again_gives_the_same_bytes_and_does_nothing(shop: Path) -> None:
    before, said = tree(state(shop)), list[str]()
    run(shop, 0, said).require()
    assert tree(state(shop)) == before
    assert [line.split(",")[0] for line in said] == ["1 of 12", "12 of 12"]


def test_a_night_that_is_killed_at_any_commit_ends_in_the_same_bytes(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(state(shop))
    shutil.rmtree(state(shop))
    for number, at_once in [
        (1, True),
        (2, False),
        (4, True),
        (6, False),
        (7, True),
        (8, False),
        (13, True),
        (21, False),
    ]:
        kill = KillAtCommit(number, at_once)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", kill.around(os.replace))
            patch.setattr(os, "rename", kill.around(os.rename))
            with pytest.raises(Killed):
                run(shop, 0)
    run(shop, 0).require()
    assert tree(state(shop)) == before


def test_a_night_says_what_it_did_and_its_record_has_time_and_memory(shop: Path) -> None:
    outcome = run(shop, 0)
    summary = outcome.summary
    assert [each["state"] for each in summary["deliveries"]] == ["appended", "appended"]
    assert sum(each["rows"]["used"] for each in summary["deliveries"]) == summary["log"]["events"]
    assert (summary["live"], summary["promote"]["why"]) == (summary["train"]["model"], "it is the first model")
    lists = [pl.read_csv(state(shop) / each["path"]) for each in summary["decisions"]]
    assert [each["offer_id"].unique().to_list() for each in lists] == [["category_000"], ["category_001"]]
    assert "<script" not in outcome.page.read_text() and "http:" not in outcome.page.read_text()
    assert all(each["wall_seconds"] >= 0 and each["peak_bytes"] > 1e6 for each in outcome.times)
    assert {"append", "train", "score", "decide", "summary"} <= {each["step"] for each in outcome.times}


@pytest.mark.slow
def test_bad_deliveries_are_named_and_lose_nothing_of_the_good_ones(shop: Path) -> None:
    good = deliver(shop, 1)
    missing, again = deliver(shop, 2), deliver(shop, 1, "sales-2024-02-23.csv")
    ahead, tomorrow = deliver(shop, 5, "sales-2024-02-18.csv"), deliver(shop, 6)
    undated = deliver(shop, 3, "sales-monday.csv")
    pl.read_csv(missing).drop("paid").write_csv(missing)
    outcome = run(shop, 3)
    states = {Path(each["file"]).name: each["state"] for each in outcome.summary["deliveries"]}
    assert states == {good.name: "appended", again.name: "duplicate", tomorrow.name: "waiting", missing.name: "held",
                      ahead.name: "held", undated.name: "not read"}  # fmt: skip
    reasons = [each["reason"] for each in outcome.summary["problems"]]
    for reason, words in zip(
        reasons, ("sales-monday.csv has no date", "rows of 2024-02-25, after", "=paid is not a"), strict=True
    ):
        assert words in reason
    with pytest.raises(DataError, match=r"the night of 2024-02-24 is done, except: .* \(3 problems, all in .*html\)"):
        outcome.require()
    assert outcome.summary["score"]["customers"] > 0
    assert EventLog.open(state(shop) / "log").meta["rows"]["used"] == outcome.summary["log"]["events"]


@pytest.mark.slow
def test_an_empty_delivery_is_held_back_unless_it_is_expected(shop: Path) -> None:
    file = deliver(shop, 1)
    file.write_text("card,day,sku,paid,category\n")
    with pytest.raises(DataError, match="has no rows; deliver it again, or set deliveries.empty: accept"):
        run(shop, 1).require()
    shop.write_text(shop.read_text().replace("deliveries:", "deliveries:\n  empty: accept"))
    run(shop, 1).require()


@pytest.mark.slow
def test_a_delivery_of_an_earlier_day_is_appended_and_one_that_the_log_has_is_held_back(shop: Path) -> None:
    deliver(shop, 2)
    run(shop, 2).require()
    deliver(shop, 1)
    table = pl.read_csv(deliver(shop, 2, "sales-2024-02-23.csv"))
    table[::-1].write_csv(shop.parent / "deliveries/sales-2024-02-23.csv")  # the same lines in other bytes
    outcome = run(shop, 3)
    assert [each["state"] for each in outcome.summary["deliveries"]] == ["appended", "held"]
    with pytest.raises(DataError, match="but the log ends on 2024-02-22 and has its"):
        outcome.require()


@pytest.mark.slow
def test_an_interrupted_append_is_not_done_twice(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(shop, 1)

    def killed(*arguments: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("propensity.nightly.delivery.Ledger.add", killed)
        with pytest.raises(Killed):
            run(shop, 1)
    assert (state(shop) / "pending.json").is_file()
    outcome = run(shop, 1)
    assert [each["state"] for each in outcome.summary["deliveries"]] == ["appended"]
    days = EventLog.open(state(shop) / "log").meta["rows"]["used"]
    assert days == outcome.summary["log"]["events"]


@pytest.mark.slow
def test_a_challenger_is_judged_on_the_last_closed_window_and_can_be_rolled_back(shop: Path) -> None:
    first = Registry(state(shop)).live
    shop.write_text(shop.read_text().replace("retrain:", "retrain:\n  start: warm"))
    for number in range(1, 6):
        deliver(shop, number)
    outcome = run(shop, 5)
    train, compare = outcome.summary["train"], outcome.summary["compare"]
    assert (train["start"], train["last_label"], train["window"]) == ("warm", "2024-02-21", "2024-02-21")
    assert (compare["live"], compare["challenger"]) == (first, train["model"])
    assert set(compare["metrics"]) == {"log_loss", "normalised_revenue_capture"}
    assert outcome.summary["promote"]["promoted"] == (compare["verdict"] in ("win", "tie"))
    registry = Registry(state(shop))
    assert registry.served[night(5)]["model"] == registry.live
    with pytest.raises(ConfigurationError, match="did you mean"):
        by_hand.promote(RegistryPromoteConfig(shop=str(shop), name="2024"))
    by_hand.promote(RegistryPromoteConfig(shop=str(shop), date=night(5), name=train["model"]))
    assert by_hand.rollback(RegistryConfig(shop=str(shop), date=night(5))).startswith(f"{first} is live again")
    with pytest.raises(ConfigurationError, match="is the first model that is live, so there is none to roll back to"):
        by_hand.rollback(RegistryConfig(shop=str(shop)))
    again = run(shop, 5)
    assert again.summary["score"]["model"] == first == again.summary["live"]


@pytest.mark.slow
def test_new_offers_lead_to_a_training_from_scratch_and_the_summary_says_why(shop: Path) -> None:
    shop.write_text(shop.read_text().replace("retrain:", "retrain:\n  start: warm"))
    for number in range(1, 11):
        file = deliver(shop, number)
        table = pl.read_csv(file)
        if number <= 5:  # before the window that models are compared on
            table = table.with_columns(sku=pl.lit("new-") + table["sku"].cast(pl.String), category=pl.lit("new"))
        table.write_csv(file)
    start = run(shop, 10).summary["train"]["start"]
    assert start.startswith("scratch, as offers that the last training did not know have ")


def test_a_registry_that_was_edited_by_hand_is_found_with_the_way_out(shop: Path) -> None:
    file = state(shop) / FILE
    content = file.read_text()
    file.write_text(content.replace('"live": "2024', '"live": "2025'))
    with pytest.raises(IntegrityError, match=f"changed by hand or is damaged; restore it: cp .*{COPY}"):
        run(shop, 0)
    shutil.copy(state(shop) / COPY, file)
    run(shop, 0).require()
    file.unlink()
    with pytest.raises(IntegrityError, match="registry.json was removed; restore it: cp "):
        run(shop, 0)


def test_a_removed_model_a_removed_log_and_an_edited_ledger_are_found(shop: Path) -> None:
    registry = Registry(state(shop))
    run_folder = registry.folder(str(registry.live), "run")
    run_folder.rename(run_folder.with_name("away"))
    with pytest.raises(IntegrityError, match="was removed or is not whole; .*propensity registry rollback"):
        run(shop, 0)
    run_folder.with_name("away").rename(run_folder)
    (state(shop) / "log").rename(state(shop) / "elsewhere")
    with pytest.raises(IntegrityError, match="the log of 2 deliveries, was removed; restore it from a copy"):
        run(shop, 0)
    (state(shop) / "elsewhere").rename(state(shop) / "log")
    ledger = state(shop) / "deliveries.json"
    ledger.write_text(ledger.read_text().replace("appended", "empty", 1))
    with pytest.raises(IntegrityError, match="deliveries.json was changed by hand"):
        run(shop, 0)


def test_one_nightly_run_works_at_a_time_and_the_lock_ends_with_its_process(shop: Path) -> None:
    with only_night(state(shop)):
        with pytest.raises(ConfigurationError, match=rf"another nightly run .* \(process {os.getpid()}\); wait"):
            run(shop, 0)
        with pytest.raises(ConfigurationError, match="another nightly run"):
            by_hand.rollback(RegistryConfig(shop=str(shop)))
    (state(shop) / ".nightly.lock").write_text("99999999\n")  # what a killed process leaves
    run(shop, 0).require()


@pytest.mark.slow
def test_an_earlier_night_is_shown_and_not_done_again(shop: Path) -> None:
    before = run(shop, 0).summary
    run(shop, 2).require()
    assert run(shop, 0).summary == before
    with pytest.raises(ConfigurationError, match="2024-02-22 was not done, and that of 2024-02-23 has begun"):
        run(shop, 1)


def test_a_night_without_any_delivery_says_so(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "new")
    for file in (shop.parent / "deliveries").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="there is no log yet, and nothing to read for the night of 2024-02-21"):
        run(shop, 0)
    assert json.loads((state(shop) / "nights/2024-02-21/begin.json").read_text()) == {"live": None}
