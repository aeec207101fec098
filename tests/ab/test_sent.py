"""What was sent enters the log once, on its days, with campaign, arm, probability and cost; then it is learned from."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from propensity.ab.sent import contacts_of, sent_table
from propensity.ab.split import assign
from propensity.cli import main
from propensity.data.contact import sent_messages
from propensity.data.event_log import COLUMNS, EventLog, to_date
from propensity.errors import ConfigurationError, DataError
from propensity.ingest.sent import append_contacts
from propensity.kernel.event import MESSAGE, PURCHASE
from random_log import random_log

SENT = to_date(random_log(5, customers=20).last_day - 60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random_log(5, customers=300).save(tmp_path / "log")
    return tmp_path / "log"


def contacts(folder: Path, every: int = 3, **columns: Any) -> pl.DataFrame:
    """A contact of every third customer, on one of two days."""
    ids = EventLog.open(folder).customers["customer"][::every]
    days = pl.Series([SENT + timedelta(days=k % 2) for k in range(ids.len())])
    table = pl.DataFrame({"customer_id": ids, "day": days}).with_columns(campaign=pl.lit("tea"), arm=pl.lit("mail"))
    return table.with_columns(probability=pl.lit(0.4), cost=pl.lit(0.02), channel=pl.lit("mail")).with_columns(
        **columns
    )


def test_contacts_enter_on_their_days_and_leave_every_other_event_as_it_was(folder: Path) -> None:
    before = EventLog.open(folder)
    old = {name: np.array(getattr(before, name)) for name in COLUMNS if name != "channel"}
    sent, channels = (
        sent_messages(before),
        np.array([*before.meta["channels"], None], dtype=object)[np.array(before.channel)],
    )
    log, added, left_out = append_contacts(contacts(folder), folder)
    assert (added, left_out) == (100, 0)
    new = log.contact is not None and np.asarray(log.contact) >= 0
    assert np.sum(new) == 100 and (np.asarray(log.kind)[new] == MESSAGE).all()
    for name, column in old.items():
        np.testing.assert_array_equal(np.asarray(getattr(log, name))[~new], column)
    assert (
        np.array([*log.meta["channels"], None], dtype=object)[np.array(log.channel)][~new].tolist() == channels.tolist()
    )
    owner = log.owner(np.arange(log.day.size))
    assert (np.diff(np.asarray(log.day))[np.diff(owner) == 0] >= 0).all()
    found = sent_messages(log).filter(pl.col("campaign") == "tea")
    assert set(found["day"]) == {SENT, SENT + timedelta(days=1)} and sent_messages(log).height == sent.height + 100
    assert found["probability"].to_numpy() == pytest.approx(0.4) and found["cost"].to_numpy() == pytest.approx(0.02)
    assert set(found["channel"]) == {"mail"} and set(found["arm"]) == {"mail"}
    EventLog.open(folder, verify=True)


def test_the_same_contacts_enter_once(folder: Path) -> None:
    append_contacts(contacts(folder), folder)
    first = EventLog.open(folder).fingerprint
    _, added, _ = append_contacts(contacts(folder), folder)
    assert added == 0 and EventLog.open(folder).fingerprint == first


def test_a_later_day_of_a_campaign_enters_beside_the_first(folder: Path) -> None:
    append_contacts(contacts(folder), folder)
    log, added, _ = append_contacts(contacts(folder, day=pl.col("day") + timedelta(days=9)), folder)
    assert added == 100 and sent_messages(log).filter(pl.col("campaign") == "tea").height == 200


def test_the_same_campaign_with_other_customers_is_refused(folder: Path) -> None:
    append_contacts(contacts(folder), folder)
    for other in (contacts(folder, every=2), contacts(folder).head(50)):
        with pytest.raises(DataError, match="campaign tea of .* is in the log with other customers"):
            append_contacts(other, folder)


def test_customers_whom_the_log_does_not_have_are_left_out_and_counted(folder: Path) -> None:
    more = pl.concat(
        [contacts(folder), contacts(folder).head(2).with_columns(customer_id=pl.lit(10**6) + pl.int_range(2))]
    )
    assert append_contacts(more, folder)[1:] == (100, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probability": pl.lit(0.0)}, "a probability that is missing, 0 or above 1"),
        ({"probability": pl.lit(1.2)}, "a probability that is missing, 0 or above 1"),
        ({"probability": pl.when(pl.col("cost") > 1).then(0.5)}, None),  # none is known
        ({"probability": pl.when(pl.col("day") == SENT).then(0.5)}, "a probability that is missing"),
        ({"cost": pl.lit(-0.1)}, "a cost below 0"),
        ({"day": pl.lit(SENT) + timedelta(days=900)}, "append the deliveries of these days first"),
        ({"day": pl.lit(SENT) - timedelta(days=9000)}, "before the log"),
        ({"day": pl.when(pl.col("day") == SENT).then("day")}, "contacts have no day"),
        ({"customer_id": pl.lit(100)}, "contacts repeat a campaign of the same customer and day"),
        ({"customer_id": pl.lit(10**7)}, "no customer of the contacts is in the log"),
    ],
)  # fmt: skip
def test_contacts_that_break_a_rule_leave_the_log_as_it_was(
    folder: Path, change: dict[str, Any], words: str | None
) -> None:
    before = EventLog.open(folder).fingerprint
    if words is None:
        assert append_contacts(contacts(folder, **change), folder)[1] == 100
        return
    with pytest.raises(DataError, match=words):
        append_contacts(contacts(folder, **change), folder)
    assert EventLog.open(folder).fingerprint == before


def test_a_row_of_a_holdout_was_not_sent() -> None:
    table = pl.DataFrame({"customer_id": ["1"], "day": [SENT], "arm": ["holdout"]})
    with pytest.raises(DataError, match="1 rows of sent are of customers in a holdout"):
        contacts_of(table, "spring", None)
    with pytest.raises(ConfigurationError, match="sent has no column day; give the day of the send as cutoff"):
        contacts_of(pl.DataFrame({"customer_id": ["1"]}), "spring", None)
    with pytest.raises(ConfigurationError, match="sent has no column customer_id"):
        contacts_of(pl.DataFrame({"customer": ["1"]}), "spring", None)


def test_a_list_takes_its_campaign_and_its_day_from_the_settings() -> None:
    table = contacts_of(pl.DataFrame({"customer_id": ["1"], "offer_id": ["TEA"]}), "spring", "2024-03-04")
    row = table.row(0, named=True)
    assert (row["campaign"], row["experiment"], row["offer"], str(row["day"])) == (
        "spring",
        "spring",
        "TEA",
        "2024-03-04",
    )


def test_a_folder_of_a_decision_is_a_campaign_of_its_name(tmp_path: Path) -> None:
    assert sent_table("spring", None) == ("spring", None)
    (tmp_path / "plan").mkdir()
    with pytest.raises(ConfigurationError, match="holds none of campaign.parquet"):
        sent_table(str(tmp_path / "plan"), None)
    pl.DataFrame({"customer_id": ["1"]}).write_parquet(tmp_path / "plan/campaign.parquet")
    name, table = sent_table(str(tmp_path / "plan"), None)
    assert name == "plan" and table is not None and table.height == 1


@pytest.mark.slow
def test_learning_enters_what_was_sent_measures_it_and_may_be_repeated(tmp_path: Path) -> None:
    log = random_log(5, customers=900)
    customers = pl.DataFrame({"customer_id": log.customers["customer"]})
    arms = assign(customers, "plan", {"treatment": 0.5, "holdout": 0.5})
    arms.write_parquet(tmp_path / "arms.parquet")
    treated = arms.filter(pl.col("arm") == "treatment")["customer_id"]
    revenue = np.array(log.revenue)
    place = np.flatnonzero((np.asarray(log.day) >= log.last_day - 60) & (np.asarray(log.kind) == PURCHASE))
    boost = log.customers["customer"].is_in(treated.implode()).to_numpy()[log.owner(place)]
    revenue[place[boost]] *= 5  # the effect
    replace(log, revenue=revenue).save(tmp_path / "log")
    (tmp_path / "plan").mkdir()
    plan = arms.filter(pl.col("arm") == "treatment").with_columns(day=pl.lit(SENT), campaign=pl.lit("tea"), cost=0.02)
    plan.write_parquet(tmp_path / "plan/campaign.parquet")
    settings = [f"campaign={tmp_path / 'plan'}", f"log={tmp_path / 'log'}", f"arms={tmp_path / 'arms.parquet'}"]
    settings += [
        "outcomes=[revenue]",
        "horizon=28",
        "orderings=50",
        "resamples=20",
        "learners=[t]",
        f"out={tmp_path / 'out'}",
    ]
    main(["ab", "learn", *settings])
    result = json.loads((tmp_path / "out/uplift.json").read_text())
    assert (
        result["campaign"] == "plan"
        and result["notes"][0] == f"{plan.height} contacts of plan entered {tmp_path / 'log'}"
    )
    effects = json.loads((tmp_path / "out/analysis.json").read_text())["arms"]["treatment"]["revenue"]
    assert effects["verdict"] == "win"
    messages = sent_messages(EventLog.open(tmp_path / "log")).filter(pl.col("experiment") == "plan")
    assert messages.height == plan.height and messages["probability"].null_count() == 0
    main(["ab", "learn", *settings[:-1], f"champion={tmp_path / 'out'}", f"out={tmp_path / 'again'}"])
    again = json.loads((tmp_path / "again/uplift.json").read_text())
    assert "are in" in again["notes"][0] and "already; nothing was entered" in again["notes"][0]
    assert again["comparison"]["treatment"]["revenue"]["winner"] in ("champion", None)
